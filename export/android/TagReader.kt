package faketagger

import android.content.Context
import android.graphics.Bitmap
import org.json.JSONObject
import org.tensorflow.lite.Interpreter
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/** Finds the faces of a photo and reads their canvases. For one thread at a time. */
class TagReader(context: Context) : AutoCloseable {
    private val assets = context.assets
    private val about = JSONObject(assets.open("decoder.tflite.json").bufferedReader().readText())
    private val size = about.getInt("image_size")
    private val bits = about.getInt("message_bits")
    private val outside = about.optString("outside", "repeat")
    private val decoder = load("decoder.tflite")
    private val proposing = load("pnet.tflite")
    private val refining = load("rnet.tflite")
    private val locating = load("onet.tflite")

    private val detector = FaceDetector(object : FaceNetworks {
        override fun propose(side: Int, image: FloatArray): FaceNetworks.Answer {
            val edge = (side - 1) / 2 - 4
            return answer(proposing, "propose_$side", image, edge * edge)
        }

        override fun refine(patch: FloatArray) = answer(refining, "refine", patch, 1)

        override fun locate(patch: FloatArray) =
            answer(locating, "locate", patch, 1, FloatArray(10))
    })

    /** A place to read; `face` is null for the centred square. */
    class Place(val matrix: Matrix, val face: Face?)

    /** Where the tags of a photo lie, largest face first; never empty. */
    fun places(photo: Photo): List<Place> {
        val scale = about.getDouble("canvas_scale")
        val found = detector.detect(photo)
            .map { Place(similarityFromLandmarks(it.landmarks, size, scale), it) }
            .filter { it.matrix.side(size) >= 48 }
        return if (found.isEmpty()) listOf(Place(centredMatrix(photo, size), null)) else found
    }

    /** Reads one place; a positive logit is a 1. */
    fun logits(photo: Photo, matrix: Matrix): FloatArray {
        val image = FloatBuffer.wrap(cutCanvas(photo, matrix, size, outside))
        val logits = FloatArray(bits)
        decoder.runSignature(
            mapOf("image" to image), mapOf("logits" to FloatBuffer.wrap(logits)), "decode"
        )
        return logits
    }

    private fun answer(
        network: Interpreter, signature: String, values: FloatArray, windows: Int,
        landmarks: FloatArray? = null
    ): FaceNetworks.Answer {
        val box = FloatArray(4 * windows)
        val probability = FloatArray(windows)
        val outputs = mutableMapOf<String, Any>(
            "box" to FloatBuffer.wrap(box), "probability" to FloatBuffer.wrap(probability)
        )
        if (landmarks != null) outputs["landmarks"] = FloatBuffer.wrap(landmarks)
        network.runSignature(mapOf("image" to FloatBuffer.wrap(values)), outputs, signature)
        return FaceNetworks.Answer(box, probability, landmarks)
    }

    private fun load(name: String): Interpreter {
        val model = assets.open(name).readBytes()
        val buffer = ByteBuffer.allocateDirect(model.size).order(ByteOrder.nativeOrder())
        buffer.put(model).rewind()
        return Interpreter(buffer, Interpreter.Options().setNumThreads(1))
    }

    override fun close() {
        for (network in listOf(decoder, proposing, refining, locating)) network.close()
    }
}

/** The pixels of a bitmap that is upright already; see ExifInterface. */
fun toPhoto(bitmap: Bitmap): Photo {
    val argb = IntArray(bitmap.width * bitmap.height)
    bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    return Photo(bitmap.width, bitmap.height, argb)
}
