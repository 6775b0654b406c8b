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


def _dct_matrix() -> np.ndarray:
    """[64, 64]: orthonormal 2-D DCT-II, `block @ matrix` for a flattened 8x8 block."""
    k, n = np.mgrid[:8, :8]
    dct = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, 0.125, 0.25) ** 0.5
    return np.kron(dct, dct).T.astype(np.float32)


_DCT = _dct_matrix()


def quantisation_tables(quality):
    """libjpeg's tables: quality 1 to 100, number or [B] -> float32 [1 or B, 2, 64]."""
    quality = ops.reshape(ops.cast(quality, "float32"), [-1, 1, 1])
    scale = ops.where(quality < 50, ops.floor(5000 / quality), 200 - 2 * quality)
    return ops.clip(ops.floor((_TABLES * scale + 50) / 100), 1.0, 255.0)


def _quantise(planes, table):
    """Float [B, H, W, C], [1 or B, 64] -> what is left after the DCT's quantisation."""
    batch, height, width, channels = planes.shape
    blocks = [batch, height // 8, 8, width // 8, 8, channels]
    order = [0, 1, 3, 5, 2, 4]
    values = ops.transpose(ops.reshape(planes, blocks), order)
    values = ops.matmul(ops.reshape(values, [batch, -1, 64]), _DCT)
    values = straight_through(ops.round, values / table[:, None]) * table[:, None]
    values = straight_through(ops.round, ops.matmul(values, _DCT.T))
    values = ops.reshape(ops.clip(values, -128.0, 127.0), [blocks[i] for i in order])
    return ops.reshape(ops.transpose(values, [0, 1, 4, 2, 5, 3]), planes.shape)


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
    batch, rows, columns, _ = pixels.shape
    # The offset of 128 belongs to luma alone: grey has no chroma. libjpeg keeps every
    # plane in 8 bits, and chroma's rounding shows after the conversion back.
    ycc = straight_through(ops.round, ops.matmul(pixels, _TO_YCC))
    luma, chroma = ycc[..., :1], ycc[..., 1:]
    halves = ops.reshape(chroma, [batch, rows // 2, 2, columns // 2, 2, 2])
    tables = quantisation_tables(quality)
    luma = _quantise(luma, tables[:, 0])
    chroma = _quantise(ops.mean(halves, axis=(2, 4)), tables[:, 1])
    chroma = separable(
        chroma,
        bilinear_matrix(rows // 2, rows, rows // 2),
        bilinear_matrix(columns // 2, columns, columns // 2),
    )
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
    standin = differentiable_jpeg(images, webp_as_jpeg(quality))
    if not context.real_codecs or keras.backend.backend() != "tensorflow":
        return standin
    # JPEG loses other things than WebP at the same PSNR, but its gradient will do.
    return on_host(webp_real, standin, images, quality)


def gridjpeg(images, seed, context, pixels, quality):
    side, size = images.shape[1], int(pixels)
    photo = _resampled(images, size)
    coded = differentiable_jpeg(ops.clip(photo, 0.0, 1.0), quality)
    return _resampled(coded, side)


def _resampled(images, size: int):
    """Area averaging down, bicubic up, as photos are resized."""
    side = images.shape[1]
    if size < side:
        return resize_to(images, size)
    return ops.image.resize(
        images, (size, size), interpolation="bicubic", data_format="channels_last"
    )


def gridjpeg_real(images, rng, context, pixels, quality):
    side, size = images.shape[1], int(pixels)

    def resampled(images, size):
        method = cv2.INTER_AREA if size < images.shape[1] else cv2.INTER_CUBIC
        return np.stack(
            [cv2.resize(i, (size, size), interpolation=method) for i in images]
        )

    coded = jpeg_real(resampled(images, size), rng, context, quality)
    return resampled(coded, side)


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
