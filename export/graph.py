"""Photos inside a TensorFlow graph: encoded bytes to canvas, and residual to photo.

The same steps as `data.decode_photo`, `data.crop_canvas` and `Tagger.embed` on the
largest centred square, with TensorFlow's operations, so that a server needs nothing of
Python. Against those, canvases and tagged photos differ by single grey levels, because
OpenCV rounds positions to 1/32 pixel.

What differs in reading files: a photo may have up to `MAX_PIXELS` pixels, GIFs are
read (first frame), BMPs with a palette are not, the EXIF orientation is applied for
JPEG alone, and 16-bit PNGs lose their low byte instead of being rounded.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

MAX_PIXELS = 50_000_000  # About 1.2 GB while a photo is worked on.
HEADER = 1 << 16  # Bytes from the start within which the EXIF block is looked for.
PARALLEL = 4  # Photos decoded at once.
FEATHER = (
    2.0  # As in `tagger`: canvas pixels over which a residual fades at the border.
)
CUBIC = -0.75  # OpenCV's coefficient of cubic interpolation.


def decode_photos(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes photos of different sizes; one that cannot be decoded is flagged.

    TensorFlow's decoders can only fail, and `tf.map_fn` fails with them; a dataset,
    which may also run inside a graph, can go on. It is made anew in every call, which
    costs the more the larger its function is: hence one for the batch, and nothing in
    it but the decoders.

    Args:
        data: JPEG, PNG, WebP, BMP or GIF, string `[N]`.

    Returns:
        (photos, valid): string `[N]`, to be opened by `open_photo`, and bool `[N]`.
        What is not valid opens as one black pixel.
    """
    count = tf.shape(data)[0]
    numbered = tf.data.Dataset.from_tensor_slices((tf.range(count), data))
    done = numbered.map(
        lambda number, content: (number, tf.io.serialize_tensor(_decode(content))),
        num_parallel_calls=PARALLEL,
    )
    done = done.ignore_errors(log_warning=False)
    done = done.batch(tf.cast(tf.maximum(count, 1), tf.int64))
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    numbers, photos = done.with_options(options).reduce(
        (tf.zeros([0], tf.int32), tf.fill([0], "")), lambda _, made: made
    )
    failed = tf.shape(numbers)[0]  # Position behind the photos.
    position = tf.tensor_scatter_nd_update(
        tf.fill([count], failed), numbers[:, tf.newaxis], tf.range(failed)
    )
    black = tf.io.serialize_tensor(tf.zeros([1, 1, 3], tf.uint8))
    photos = tf.gather(tf.concat([photos, black[tf.newaxis]], axis=0), position)
    return photos, position < failed


def open_photo(photo: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Returns a photo of `decode_photos`, upright: uint8 `[H, W, 3]`.

    Args:
        photo: string [].
        data: what it was decoded from, for the EXIF orientation.
    """
    image = tf.ensure_shape(tf.io.parse_tensor(photo, tf.uint8), [None, None, 3])
    return tf.cond(
        tf.io.is_jpeg(data),
        lambda: _turn_upright(image, exif_orientation(data)),
        lambda: image,
    )


def _decode(data: tf.Tensor) -> tf.Tensor:
    def jpeg():
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(data))
        with tf.control_dependencies([_limit(height, width)]):
            # The default DCT is a faster one, up to 8 grey levels off every other
            # reader.
            return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")

    def other():
        with tf.control_dependencies([_limit_png(data)]):
            image = tf.io.decode_image(data, 3, expand_animations=False)
        image = tf.ensure_shape(image, [None, None, 3])
        with tf.control_dependencies([_limit(*tf.unstack(tf.shape(image)[:2]))]):
            return tf.identity(image)

    return tf.cond(tf.io.is_jpeg(data), jpeg, other)


def _limit(height, width) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.Assert(
        (pixels > 0) & (pixels <= MAX_PIXELS), ["Too many pixels:", pixels]
    )


def _limit_png(data: tf.Tensor) -> tf.Operation:
    """Checks a PNG's size before it is decoded; others pass."""
    is_png = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
    padded = tf.strings.substr(data + b"\0" * 24, 16, 8)
    size = tf.io.decode_raw(padded, tf.int32, little_endian=False)
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    return tf.debugging.Assert(
        ~is_png | ((pixels > 0) & (pixels <= MAX_PIXELS)), ["Too many pixels:", pixels]
    )


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns a JPEG's EXIF orientation, int32 1 to 8; 1 where there is none.

    EXIF 2.32, section 4: an APP1 segment, "Exif", a TIFF header, and in the first
    directory the entry 0x0112.
    """
    head = tf.io.decode_raw(tf.strings.substr(data, 0, HEADER), tf.uint8)
    head = tf.concat([tf.cast(head, tf.int32), tf.zeros([16], tf.int32)], axis=0)
    last = tf.shape(head)[0] - 1
    starts = last - 15
    found = tf.ones([starts], tf.bool)
    for offset, value in zip(
        (0, 1, 4, 5, 6, 7, 8, 9), b"\xff\xe1Exif\0\0", strict=True
    ):
        found &= head[offset : starts + offset] == value

    tiff = tf.argmax(found, output_type=tf.int32) + 10

    def byte(at):
        return tf.gather(head, tf.clip_by_value(at, 0, last))

    little = byte(tiff) == ord("I")

    def uint16(at):
        first, second = byte(at), byte(at + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    def uint32(at):
        low, high = tf.where(little, 0, 2), tf.where(little, 2, 0)
        return uint16(at + low) + 65536 * uint16(at + high)

    directory = tiff + uint32(tiff + 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(uint16(directory), 256))
    here = uint16(entries) == 0x0112
    values = tf.boolean_mask(uint16(entries + 8), here)
    value = tf.concat([values, [1]], axis=0)[0]
    known = tf.reduce_any(found) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)


def _turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def has(*values):
        return tf.reduce_any(orientation == list(values))

    image = tf.cond(
        orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image
    )
    image = tf.cond(has(2, 3, 6, 7), lambda: image[:, ::-1], lambda: image)
    return tf.cond(has(3, 4, 7, 8), lambda: image[::-1], lambda: image)


def centred_canvas(photo: tf.Tensor, image_size: int) -> tf.Tensor:
    """Cuts the largest centred square: uint8 `[H, W, 3]` -> uint8 `[S, S, 3]`.

    As `data.warp_canvas`: bilinear samples, at least one per photo pixel, averaged;
    cubic interpolation where the photo is smaller than the canvas.
    """
    height, width = tf.unstack(tf.shape(photo)[:2])
    side = tf.minimum(height, width)
    rows = _matrix(image_size, height, side, _down_taps)
    columns = _matrix(image_size, width, side, _down_taps)
    flat = tf.reshape(tf.cast(photo, tf.float32), [height, width * 3])
    narrow = tf.reshape(tf.matmul(rows, flat), [image_size, width, 3])
    return _to_uint8(tf.einsum("jw,iwc->ijc", columns, narrow))


def add_residual(photo: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
    """Adds a canvas's residual to the largest centred square of a photo.

    As `Tagger.embed` for a photo without a face: the residual fades over the canvas's
    two outer pixels and is enlarged by cubic interpolation.

    Args:
        photo: uint8 `[H, W, 3]`.
        residual: float32 `[S, S, 3]`, 1.0 being full scale.

    Returns:
        uint8 `[H, W, 3]`.
    """
    size = residual.shape[0]
    height, width = tf.unstack(tf.shape(photo)[:2])
    side = tf.minimum(height, width)
    edge = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    fade = np.clip(edge / FEATHER, 0, 1).astype(np.float32)
    residual *= 255.0 * fade[:, None, None] * fade[None, :, None]
    rows = _matrix(height, size, side, _up_taps)
    columns = _matrix(width, size, side, _up_taps)
    flat = tf.reshape(residual, [size, size * 3])
    tall = tf.reshape(tf.matmul(rows, flat), [height, size, 3])
    change = tf.einsum("wj,hjc->hwc", columns, tall)
    return _to_uint8(tf.cast(photo, tf.float32) + change)


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


def _matrix(rows, columns, side, taps) -> tf.Tensor:
    """Resampling along one axis as a matrix float32 `[rows, columns]`."""
    row, column, weight = taps(rows, columns, side)
    inside = (column >= 0) & (column < columns)
    weight = tf.where(inside, weight, 0.0)
    column = tf.clip_by_value(column, 0, columns - 1)
    row = tf.broadcast_to(row[:, tf.newaxis], tf.shape(column))
    matrix = tf.scatter_nd(tf.stack([row, column], axis=-1), weight, [rows, columns])
    return tf.cast(matrix, tf.float32)


def _down_taps(size: int, length, side):
    """Taps of `size` canvas pixels in a photo's axis; its border pixels repeat."""
    samples = tf.maximum(tf.cast(tf.math.ceil(side / size - 1e-6), tf.int32), 1)
    count = size * samples
    at = (tf.cast(tf.range(count), tf.float64) + 0.5) * (side / count)
    at += tf.cast(length - side, tf.float64) / 2 - 0.5
    low = tf.floor(at)
    part = at - low
    zero = tf.zeros_like(part)
    linear = tf.stack([zero, 1 - part, part, zero], axis=1)
    weight = tf.where(side < size, _cubic(part), linear)
    column = tf.cast(low, tf.int32)[:, tf.newaxis] + [-1, 0, 1, 2]
    column = tf.clip_by_value(column, 0, length - 1)
    return (tf.range(count) // samples, column, weight / tf.cast(samples, tf.float64))


def _up_taps(length, size: int, side):
    """Taps of a photo's pixels in the canvas; beyond its border lies nothing."""
    samples = tf.cast(tf.math.ceil(size / side - 1e-6), tf.int32)
    start = tf.cast(length - side, tf.float64) / 2
    at = (tf.cast(tf.range(length * samples), tf.float64) + 0.5) / tf.cast(
        samples, tf.float64
    )
    pixel = tf.floor(at)
    inside = (pixel >= tf.floor(start)) & (
        pixel < tf.math.ceil(start + tf.cast(side, tf.float64))
    )
    at = (at - start) * (size / side) - 0.5
    low = tf.floor(at)
    weight = _cubic(at - low) * tf.cast(inside, tf.float64)[:, tf.newaxis]
    column = tf.cast(low, tf.int32)[:, tf.newaxis] + [-1, 0, 1, 2]
    return (
        tf.range(length * samples) // samples,
        column,
        weight / tf.cast(samples, tf.float64),
    )


def _cubic(part: tf.Tensor) -> tf.Tensor:
    """Weights `[n, 4]` of the pixels at -1, 0, 1, 2 (Keys 1981, a = -0.75)."""

    def near(t):
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    def far(t):
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    return tf.stack([far(1 + part), near(part), near(1 - part), far(2 - part)], axis=1)
