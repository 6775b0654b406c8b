"""JPEG and WebP: a straight-through stand-in for training, the real codecs otherwise.

The stand-in follows libjpeg (JFIF colours, 4:2:0, Annex K tables scaled by quality,
triangle-filtered chroma on the way back); only entropy coding, which loses nothing,
is left out. Rounding passes gradients straight through (Bengio et al., 2013).
"""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import (
    bilinear_matrix,
    resize_to,
    separable,
)
from faketagger_tf.manipulations.photometric import (
    on_host,
    round_to_uint8,
    straight_through,
)

# fmt: off
_LUMA_TABLE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
], np.float32)
# fmt: on
_CHROMA_TABLE = np.full([8, 8], 99, np.float32)
_CHROMA_TABLE[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
_TABLES = np.stack([_LUMA_TABLE.ravel(), _CHROMA_TABLE.ravel()])

_TO_YCC = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)
_TO_RGB = np.linalg.inv(_TO_YCC).T.astype(np.float32)
_TO_YCC = _TO_YCC.T.astype(np.float32)


# Step of the quantiser of `differentiable_webp` at quality 0, what a point of quality
# takes off it, and what is added before rounding down, less than a half as encoders do
# to save bits.
WEBP_STEP, WEBP_SLOPE, WEBP_ROUNDING = 40.5, 0.335, 0.43


def _dct_matrix(side: int) -> np.ndarray:
    """Orthonormal 2-D DCT-II, `block @ matrix` for a flattened block of that side."""
    k, n = np.mgrid[:side, :side]
    dct = np.cos((2 * n + 1) * k * np.pi / (2 * side)) * np.sqrt(2 / side)
    dct[0] /= np.sqrt(2)
    return np.kron(dct, dct).T.astype(np.float32)


_DCT4, _DCT = _dct_matrix(4), _dct_matrix(8)


def quantisation_tables(quality):
    """libjpeg's tables: quality 1 to 100, number or [B] -> float32 [1 or B, 2, 64]."""
    quality = ops.reshape(ops.cast(quality, "float32"), [-1, 1, 1])
    scale = ops.where(quality < 50, ops.floor(5000 / quality), 200 - 2 * quality)
    return ops.clip(ops.floor((_TABLES * scale + 50) / 100), 1.0, 255.0)


def _by_blocks(function, planes, side: int):
    """Applies a function of [B, N, side**2] to the blocks of float [B, H, W, C]."""
    batch, height, width, channels = planes.shape
    blocks = [batch, height // side, side, width // side, side, channels]
    order = [0, 1, 3, 5, 2, 4]
    values = ops.transpose(ops.reshape(planes, blocks), order)
    values = function(ops.reshape(values, [batch, -1, side * side]))
    values = ops.reshape(values, [blocks[i] for i in order])
    return ops.reshape(ops.transpose(values, [0, 1, 4, 2, 5, 3]), planes.shape)


def _quantise(planes, table):
    """Float [B, H, W, C], [1 or B, 64] -> what is left after the DCT's quantisation."""

    def function(values):
        values = ops.matmul(values, _DCT)
        values = straight_through(ops.round, values / table[:, None]) * table[:, None]
        values = straight_through(ops.round, ops.matmul(values, _DCT.T))
        return ops.clip(values, -128.0, 127.0)

    return _by_blocks(function, planes, 8)


def _halves(chroma):
    """Means of 2x2 pixels, the 4:2:0 of both codecs."""
    batch, rows, columns, channels = chroma.shape
    halves = [batch, rows // 2, 2, columns // 2, 2, channels]
    return ops.mean(ops.reshape(chroma, halves), axis=(2, 4))


def _doubled(chroma):
    rows, columns = chroma.shape[1:3]
    return separable(
        chroma,
        bilinear_matrix(rows, 2 * rows, rows),
        bilinear_matrix(columns, 2 * columns, columns),
    )


def _pad_edge(images, multiple: int):
    for axis in (1, 2):
        missing = -images.shape[axis] % multiple
        if missing:
            last = ops.take(images, [images.shape[axis] - 1] * missing, axis=axis)
            images = ops.concatenate([images, last], axis=axis)
    return images


def differentiable_jpeg(images, quality):
    """JPEG 4:2:0 with straight-through rounding.

    Args:
        images: float [B, H, W, 3] RGB, clipped to [0, 1].
        quality: 1 to 100, a number or [B].

    Returns:
        float [B, H, W, 3] in [0, 1], multiples of 1/255.
    """
    height, width = images.shape[1:3]
    pixels = _pad_edge(round_to_uint8(images) * 255.0 - 128.0, 16)
    # The offset of 128 belongs to luma alone: grey has no chroma. libjpeg keeps every
    # plane in 8 bits, and chroma's rounding shows after the conversion back.
    ycc = straight_through(ops.round, ops.matmul(pixels, _TO_YCC))
    luma, chroma = ycc[..., :1], ycc[..., 1:]
    tables = quantisation_tables(quality)
    luma = _quantise(luma, tables[:, 0])
    chroma = _doubled(_quantise(_halves(chroma), tables[:, 1]))
    ycc = ops.concatenate([luma, chroma], axis=-1)[:, :height, :width]
    return round_to_uint8((ops.matmul(ycc, _TO_RGB) + 128.0) / 255.0)


def differentiable_webp(images, quality):
    """Lossy WebP's 4x4 transforms with straight-through rounding.

    Its prediction from neighbouring blocks, which is sequential, is left out, and the
    quantiser's step was fitted so that the PSNR is about the codec's.

    Args:
        images: float [B, H, W, 3] RGB, clipped to [0, 1].
        quality: 35 to 80, where the fit was made, a number or [B].

    Returns:
        float [B, H, W, 3] in [0, 1], multiples of 1/255.
    """
    height, width = images.shape[1:3]
    pixels = _pad_edge(round_to_uint8(images) * 255.0 - 128.0, 8)
    ycc = ops.matmul(pixels, _TO_YCC)
    quality = ops.reshape(ops.cast(quality, "float32"), [-1, 1, 1])
    step = WEBP_STEP - WEBP_SLOPE * quality

    def down(values):
        return ops.sign(values) * ops.floor(ops.abs(values) + WEBP_ROUNDING)

    def quantised(values):
        values = straight_through(down, ops.matmul(values, _DCT4) / step) * step
        return ops.matmul(values, _DCT4.T)

    luma = _by_blocks(quantised, ycc[..., :1], 4)
    chroma = _doubled(_by_blocks(quantised, _halves(ycc[..., 1:]), 4))
    ycc = ops.concatenate([luma, chroma], axis=-1)[:, :height, :width]
    return round_to_uint8((ops.matmul(ycc, _TO_RGB) + 128.0) / 255.0)


def jpeg(images, seed, context, quality):
    return differentiable_jpeg(images, quality)


def _coded(image: np.ndarray, ending: str, options: list[int]) -> np.ndarray:
    done, data = cv2.imencode(ending, image[..., ::-1], options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a {ending} of {image.shape}.")
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def jpeg_real(images, rng, context, quality):
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return np.stack(
        [
            _coded(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, int(q), *sampling])
            for image, q in zip(images, quality, strict=True)
        ]
    )


def webp(images, seed, context, quality):
    if keras.backend.backend() != "tensorflow":
        return differentiable_webp(images, quality)
    standin = differentiable_jpeg(images, webp_as_jpeg(quality))
    if not context.real_codecs:
        return standin
    # JPEG loses other things than WebP at the same PSNR, but its gradient will do.
    return on_host(webp_real, standin, images, quality)


def gridjpeg(images, seed, context, pixels, quality):
    side, size = images.shape[1], int(pixels)
    photo = resampled(images, size)
    coded = differentiable_jpeg(ops.clip(photo, 0.0, 1.0), quality)
    return resampled(coded, side)


def resampled(images, size: int):
    """Area averaging down, bicubic up, as photos are resized."""
    side = images.shape[1]
    if size <= side:
        return resize_to(images, size)
    return ops.image.resize(
        images, (size, size), interpolation="bicubic", data_format="channels_last"
    )


def gridjpeg_real(images, rng, context, pixels, quality):
    side, size = images.shape[1], int(pixels)

    def again(images, size):
        method = cv2.INTER_AREA if size < images.shape[1] else cv2.INTER_CUBIC
        return np.stack(
            [cv2.resize(i, (size, size), interpolation=method) for i in images]
        )

    coded = jpeg_real(again(images, size), rng, context, quality)
    return again(coded, side)


def webp_as_jpeg(quality):
    """The JPEG quality whose PSNR is about that of a WebP quality: 50 -> 67, 75 -> 82.

    Two straight lines fitted to OpenCV's codecs on three photos of scikit-image.
    """
    quality = ops.cast(quality, "float32")
    return ops.round(ops.minimum(15 + 1.04 * quality, 36 + 0.62 * quality))


def webp_real(images, rng, context, quality):
    return np.stack(
        [
            _coded(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, int(q)])
            for image, q in zip(images, quality, strict=True)
        ]
    )
