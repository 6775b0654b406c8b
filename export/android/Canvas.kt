package faketagger

import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.hypot
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

// Pixels and the canvas's geometry, as in web/canvas.js and faketagger_tf/photos/canvas.py.
// Android's own scaling of bitmaps is not used: it skips pixels, and a tag is a matter of
// single grey levels. Pixel i covers [i, i + 1).

/** RGB pixels. */
abstract class Pixels(val width: Int, val height: Int) {
    abstract operator fun get(x: Int, y: Int, channel: Int): Float
}

/** A photo, upright, as `Bitmap.getPixels` gives it. */
class Photo(width: Int, height: Int, private val argb: IntArray) : Pixels(width, height) {
    override operator fun get(x: Int, y: Int, channel: Int) =
        (argb[y * width + x] shr (16 - 8 * channel) and 0xFF).toFloat()
}

class FloatImage(width: Int, height: Int, val data: FloatArray) : Pixels(width, height) {
    override operator fun get(x: Int, y: Int, channel: Int) = data[(y * width + x) * 3 + channel]
}

/** From photo to canvas coordinates: x' = a x + b y + c, y' = d x + e y + f. */
class Matrix(
    val a: Double, val b: Double, val c: Double, val d: Double, val e: Double, val f: Double
) {
    fun inverse(): Matrix {
        val det = a * e - b * d
        return Matrix(
            e / det, -b / det, (b * f - e * c) / det, -d / det, a / det, (d * c - a * f) / det
        )
    }

    /** The same place, read as a mirror shows it. */
    fun mirror(size: Int) = Matrix(-a, -b, size - c, d, e, f)

    /** Side of a canvas of `size` pixels in photo pixels. */
    fun side(size: Int) = size / hypot(a, d)
}

private class Tap(val index: Int, val weight: Double)

/** Which pixels each of `to` pixels covers, and how much of each. */
private fun areaTaps(from: Int, to: Int): List<List<Tap>> {
    val step = from.toDouble() / to
    return List(to) { i ->
        val low = i * step
        val high = min((i + 1) * step, from.toDouble())
        (floor(low).toInt() until min(from, ceil(high).toInt()))
            .map { Tap(it, (min(high, it + 1.0) - max(low, it.toDouble())) / (high - low)) }
            .filter { it.weight > 1e-9 }
    }
}

/** Shrinks by area averaging; `levels` rounds to whole grey levels. */
fun areaResize(image: Pixels, width: Int, height: Int, levels: Boolean = false): FloatImage {
    val across = areaTaps(image.width, width)
    val down = areaTaps(image.height, height)
    val made = FloatArray(width * height * 3)
    val line = DoubleArray(width * 3)
    for (y in 0 until height) {
        line.fill(0.0)
        for (row in down[y]) for (x in 0 until width) for (tap in across[x]) for (k in 0..2)
            line[3 * x + k] += row.weight * tap.weight * image[tap.index, row.index, k]
        for (i in line.indices)
            made[y * line.size + i] = (if (levels) round(line[i]) else line[i]).toFloat()
    }
    return FloatImage(width, height, made)
}

/** Samples between pixels' centres; outside, the border is repeated or counts as 0. */
private class Sampler(private val image: Pixels, private val cubic: Boolean, private val zero: Boolean) {
    private val taps = if (cubic) 4 else 2
    private val xs = IntArray(taps)
    private val ys = IntArray(taps)
    private val wx = DoubleArray(taps)
    private val wy = DoubleArray(taps)

    private fun find(at: Double, length: Int, indices: IntArray, weights: DoubleArray) {
        val low = floor(at).toInt()
        val part = at - low
        if (cubic) {
            // Keys 1981, a = -0.75.
            weights[0] = ((-0.75 * (part + 1) + 3.75) * (part + 1) - 6) * (part + 1) + 3
            weights[1] = (1.25 * part - 2.25) * part * part + 1
            weights[2] = (1.25 * (1 - part) - 2.25) * (1 - part) * (1 - part) + 1
            weights[3] = 1 - weights[0] - weights[1] - weights[2]
        } else {
            weights[0] = 1 - part
            weights[1] = part
        }
        for (tap in 0 until taps) {
            val index = low - taps / 2 + 1 + tap
            indices[tap] = index.coerceIn(0, length - 1)
            if (zero && indices[tap] != index) weights[tap] = 0.0
        }
    }

    fun sample(x: Double, y: Double, point: DoubleArray) {
        find(x - 0.5, image.width, xs, wx)
        find(y - 0.5, image.height, ys, wy)
        point.fill(0.0)
        for (j in 0 until taps) for (i in 0 until taps) for (k in 0..2)
            point[k] += wy[j] * wx[i] * image[xs[i], ys[j], k]
    }
}

/** Cuts a square patch out; `back` maps patch to image coordinates. Outside is 0. */
fun cutPatch(image: Pixels, back: Matrix, side: Int): FloatArray {
    val sampler = Sampler(image, cubic = false, zero = true)
    val point = DoubleArray(3)
    val made = FloatArray(side * side * 3)
    for (row in 0 until side) for (column in 0 until side) {
        val u = column + 0.5
        val v = row + 0.5
        sampler.sample(back.a * u + back.b * v + back.c, back.d * u + back.e * v + back.f, point)
        for (k in 0..2) made[(row * side + column) * 3 + k] = point[k].toFloat()
    }
    return made
}

/** Cuts a canvas out of a photo: [size, size, 3] in [0, 1]. */
fun cutCanvas(photo: Pixels, matrix: Matrix, size: Int, outside: String = "repeat"): FloatArray {
    val shrink = matrix.side(size) / size
    // Sampling at least once per photo pixel and averaging is area interpolation.
    val samples = max(1, ceil(shrink - 1e-6).toInt())
    val sampler = Sampler(photo, cubic = shrink < 1, zero = false)
    val back = matrix.inverse()
    val point = DoubleArray(3)
    val sum = DoubleArray(3)
    val made = FloatArray(size * size * 3)
    for (row in 0 until size) for (column in 0 until size) {
        sum.fill(0.0)
        for (j in 0 until samples) for (i in 0 until samples) {
            val u = column + (i + 0.5) / samples
            val v = row + (j + 0.5) / samples
            val x = back.a * u + back.b * v + back.c
            val y = back.d * u + back.e * v + back.f
            val inside = x >= 0 && x < photo.width && y >= 0 && y < photo.height
            if (outside == "black" && !inside) continue
            sampler.sample(x, y, point)
            for (k in 0..2) sum[k] += round(point[k]).coerceIn(0.0, 255.0)
        }
        // OpenCV's special case for means of four rounds halves up.
        for (k in 0..2) {
            val mean = sum[k] / (samples * samples)
            val level = if (samples == 2) floor(mean + 0.5) else round(mean)
            made[(row * size + column) * 3 + k] = (level / 255).toFloat()
        }
    }
    return made
}

// Five landmarks in units of the face box's side: eyes, nose, corners of the mouth.
private val LANDMARKS = arrayOf(
    doubleArrayOf(0.3, 0.35), doubleArrayOf(0.7, 0.35), doubleArrayOf(0.5, 0.579),
    doubleArrayOf(0.335, 0.812), doubleArrayOf(0.665, 0.812)
)

/** The canvas of a face: Umeyama's fit (1991) to its five landmarks. */
fun similarityFromLandmarks(points: Array<DoubleArray>, size: Int, canvasScale: Double): Matrix {
    val target = Array(5) { i ->
        DoubleArray(2) { k -> ((LANDMARKS[i][k] - 0.5) / canvasScale + 0.5) * size }
    }
    fun mean(list: Array<DoubleArray>, axis: Int) = list.sumByDouble { it[axis] } / 5
    val (px, py) = listOf(mean(points, 0), mean(points, 1))
    val (tx, ty) = listOf(mean(target, 0), mean(target, 1))
    var real = 0.0
    var imaginary = 0.0
    var spread = 0.0
    for (i in 0..4) {
        val (dx, dy) = listOf(points[i][0] - px, points[i][1] - py)
        val (ex, ey) = listOf(target[i][0] - tx, target[i][1] - ty)
        real += dx * ex + dy * ey
        imaginary += dx * ey - dy * ex
        spread += dx * dx + dy * dy
    }
    val c = real / spread
    val s = imaginary / spread
    return Matrix(c, -s, tx - c * px + s * py, s, c, ty - s * px - c * py)
}

/** The largest centred square, which a photo without a face is tagged on. */
fun centredMatrix(photo: Pixels, size: Int): Matrix {
    val side = min(photo.width, photo.height)
    val scale = size.toDouble() / side
    return Matrix(
        scale, 0.0, -(photo.width - side) / 2.0 * scale,
        0.0, scale, -(photo.height - side) / 2.0 * scale
    )
}
