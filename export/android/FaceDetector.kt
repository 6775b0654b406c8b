package faketagger

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.atan2
import kotlin.math.ceil
import kotlin.math.cos
import kotlin.math.max
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.round
import kotlin.math.sin
import kotlin.math.sqrt

// The cascade of docs/faces.md, step by step as web/faces.js and
// faketagger_tf/photos/faces.py have it. The numbers are those of faces.json.

/** The three networks; every array is a flat one of the shape that docs/faces.md gives. */
interface FaceNetworks {
    class Answer(val box: FloatArray, val probability: FloatArray, val landmarks: FloatArray?)

    fun propose(side: Int, image: FloatArray): Answer
    fun refine(patch: FloatArray): Answer
    fun locate(patch: FloatArray): Answer
}

/** A face: box (left, top, right, bottom) and five landmarks (x, y), in photo pixels. */
class Face(val box: DoubleArray, val landmarks: Array<DoubleArray>, val confidence: Float)

class FaceDetector(private val networks: FaceNetworks) {
    private val sides = intArrayOf(240, 171, 121, 86, 61, 43, 31, 22, 16)
    private val fineLevels = 2
    private val jitter = arrayOf(
        doubleArrayOf(0.0, 0.0, 1.0), doubleArrayOf(0.04, 0.02, 0.96),
        doubleArrayOf(-0.04, 0.02, 1.04), doubleArrayOf(0.0, -0.04, 1.1)
    )
    private val mirrored = intArrayOf(1, 0, 2, 4, 3)

    private class Found(val box: DoubleArray, val score: Float)

    /** Finds the faces of a photo, largest first. */
    fun detect(photo: Pixels): List<Face> {
        val shrink = 480.0 / max(photo.width, photo.height)
        val small = if (shrink < 1) areaResize(
            photo,
            max(1, round(photo.width * shrink).toInt()),
            max(1, round(photo.height * shrink).toInt()),
            levels = true
        ) else areaResize(photo, photo.width, photo.height)
        for (i in small.data.indices) small.data[i] = (small.data[i] - 127.5f) / 128f
        val across = photo.width.toDouble() / small.width
        val down = photo.height.toDouble() / small.height
        return findBoxes(small).map { found ->
            val landmarks = readLandmarks(small, square(found.box))
            val box = DoubleArray(4) { found.box[it] * if (it % 2 == 0) across else down }
            val points = Array(5) { doubleArrayOf(landmarks[it][0] * across, landmarks[it][1] * down) }
            Face(box, points, found.score)
        }.sortedByDescending { (it.box[2] - it.box[0]) * (it.box[3] - it.box[1]) }
    }

    private fun findBoxes(image: FloatImage): List<Found> {
        val large = 0.25 * max(image.width, image.height)
        val found = mutableListOf<Found>()
        for (levels in listOf(fineLevels until sides.size, 0 until fineLevels)) {
            val proposed = propose(image, levels)
            val refined = judge(image, proposed, 24, 0.6f, networks::refine)
            val kept = suppress(refined, 0.7, ::ofUnion)
            found += judge(image, kept, 48, 0.8f, networks::locate)
            if (found.any { max(it.box[2] - it.box[0], it.box[3] - it.box[1]) > large }) break
        }
        return suppress(found, 0.5, ::ofSmaller)
    }

    /** What may be faces, from some levels of the pyramid. */
    private fun propose(image: FloatImage, levels: IntRange): List<Found> {
        val all = mutableListOf<Found>()
        for (number in levels) {
            val scale = sides[0] * 0.709.pow(number) / max(image.width, image.height)
            if (scale > 1 || min(image.width, image.height) * scale < 12) continue
            // Less than a millionth of a pixel is a rounding error of the product.
            val wide = ceil(image.width * scale - 1e-6).toInt()
            val high = ceil(image.height * scale - 1e-6).toInt()
            val level = areaResize(image, wide, high)
            val side = max(wide, high)
            // The file takes squares; outside of the photo is grey.
            val values = FloatArray(side * side * 3)
            for (y in 0 until high)
                System.arraycopy(level.data, y * wide * 3, values, y * side * 3, wide * 3)
            val answer = networks.propose(side, values)
            val row = sqrt(answer.probability.size.toDouble()).toInt()
            val here = mutableListOf<Found>()
            for (y in 0..(high - 12) / 2) for (x in 0..(wide - 12) / 2) {
                val at = y * row + x
                if (answer.probability[at] <= 0.6f) continue
                val box = DoubleArray(4) {
                    2.0 * (if (it % 2 == 0) x else y) + (if (it < 2) 0 else 12) + 12 * answer.box[4 * at + it]
                }
                here += Found(box, answer.probability[at])
            }
            for (one in suppress(here, 0.5, ::ofUnion)) {
                val box = DoubleArray(4) {
                    one.box[it] * if (it % 2 == 0) image.width.toDouble() / wide else image.height.toDouble() / high
                }
                all += Found(box, one.score)
            }
        }
        return suppress(all, 0.7, ::ofUnion).take(400)
    }

    /** Puts boxes before the second or the third network; what passes is moved. */
    private fun judge(
        image: FloatImage, boxes: List<Found>, side: Int, threshold: Float,
        network: (FloatArray) -> FaceNetworks.Answer
    ) = boxes.mapNotNull { found ->
        val start = square(found.box)
        val answer = network(patch(image, start, side, 0.0))
        val length = start[2] - start[0]
        if (answer.probability[0] <= threshold) null
        else Found(DoubleArray(4) { start[it] + length * answer.box[it] }, answer.probability[0])
    }

    private fun readLandmarks(image: FloatImage, box: DoubleArray): Array<DoubleArray> {
        val first = readTurned(image, box, 0.0)
        val angle = tilt(first)
        val share = ((abs(angle) * 180 / PI - 5) / (9 - 5)).coerceIn(0.0, 1.0)
        if (share == 0.0) return first
        val upright = readTurned(image, box, angle)
        // It still tilts: of something else than the face.
        if (abs(tilt(upright) - angle) * 180 / PI >= 15) return first
        return Array(5) { i ->
            DoubleArray(2) { first[i][it] + 0.5 * share * (upright[i][it] - first[i][it]) }
        }
    }

    /** The mean of readings around a box that is turned clockwise, each also mirrored. */
    private fun readTurned(image: FloatImage, box: DoubleArray, turn: Double): Array<DoubleArray> {
        val side = box[2] - box[0]
        val total = Array(5) { DoubleArray(2) }
        for ((right, down, scale) in jitter) {
            val x = (box[0] + box[2]) / 2 + side * right
            val y = (box[1] + box[3]) / 2 + side * down
            val half = side * scale / 2
            val pixels = patch(image, doubleArrayOf(x - half, y - half, x + half, y + half), 48, turn)
            val straight = networks.locate(pixels).landmarks!!
            val mirror = networks.locate(mirror(pixels, 48)).landmarks!!
            for (i in 0..4) {
                val j = mirrored[i]
                val u = (straight[2 * i] + 1 - mirror[2 * j]) / 2.0 - 0.5
                val v = (straight[2 * i + 1] + mirror[2 * j + 1]) / 2.0 - 0.5
                total[i][0] += x + 2 * half * (cos(turn) * u - sin(turn) * v)
                total[i][1] += y + 2 * half * (sin(turn) * u + cos(turn) * v)
            }
        }
        return Array(5) { i -> DoubleArray(2) { total[i][it] / jitter.size } }
    }

    /** By how much a face is turned clockwise, in radians. */
    private fun tilt(points: Array<DoubleArray>): Double {
        fun across(axis: Int) = points[1][axis] - points[0][axis] + points[4][axis] - points[3][axis]
        return atan2(across(1), across(0))
    }

    private fun patch(image: FloatImage, box: DoubleArray, side: Int, turn: Double): FloatArray {
        val scale = (box[2] - box[0]) / side
        val c = scale * cos(turn)
        val s = scale * sin(turn)
        val x = (box[0] + box[2]) / 2
        val y = (box[1] + box[3]) / 2
        val half = side / 2.0
        return cutPatch(image, Matrix(c, -s, x - half * (c - s), s, c, y - half * (s + c)), side)
    }

    private fun mirror(pixels: FloatArray, side: Int) = FloatArray(pixels.size) {
        val column = it / 3 % side
        pixels[it + 3 * (side - 1 - 2 * column)]
    }

    private fun square(box: DoubleArray): DoubleArray {
        val x = (box[0] + box[2]) / 2
        val y = (box[1] + box[3]) / 2
        val half = max(box[2] - box[0], box[3] - box[1]) / 2
        return doubleArrayOf(x - half, y - half, x + half, y + half)
    }

    /** Non-maximum suppression: what shares more than `most` with a better one goes. */
    private fun suppress(
        found: List<Found>, most: Double, share: (DoubleArray, DoubleArray) -> Double
    ): List<Found> {
        val kept = mutableListOf<Found>()
        for (one in found.sortedByDescending { it.score })
            if (kept.all { share(one.box, it.box) <= most }) kept += one
        return kept
    }

    private fun area(box: DoubleArray) = (box[2] - box[0]) * (box[3] - box[1])

    private fun common(a: DoubleArray, b: DoubleArray) =
        max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))

    private fun ofUnion(a: DoubleArray, b: DoubleArray) =
        common(a, b) / (area(a) + area(b) - common(a, b))

    private fun ofSmaller(a: DoubleArray, b: DoubleArray) = common(a, b) / min(area(a), area(b))
}
