"""How visible a residual is, for training and for scaling. `keras.ops` only.

A Laplacian pyramid of opponent channels: one band for each octave of detail, as the eye
has channels of its own for each. A band's change is weighted by what a level of it
shows, divided by what the photo's own detail hides in that band (contrast masking;
Legge and Foley 1980), and pooled over pixels with an exponent of 4, so that the places
where a tag shows best decide. The weights lie between two measures of what is seen:
FLIP (Andersson et al. 2020), for which a level of fine colour weighs 1.4 times one of
luma, and ColorVideoVDP (Mantiuk et al. 2024), for which it weighs a sixth; broad colour
weighs as much as its distance in CIE Lab. docs/training-log.md has both measures of a
tag's parts.

PSNR is no budget: at one PSNR a residual may be unseen or be a stain on a plain wall.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import gaussian_matrix, separable

# RGB to Y, Cb, Cr (Rec. 601).
_TO_YCC = np.array(
    [
        [0.299, -0.168736, 0.5],
        [0.587, -0.331264, -0.418688],
        [0.114, 0.5, -0.081312],
    ],
    np.float32,
)
# What one level of luma, Cb and Cr shows in each band, finest first, for a canvas pixel
# that is one photo pixel, and for one that is three, which the eye sees as coarser
# detail. Fine changes of colour show least, broad ones are stains on a plain wall.
_OWN_SIZE = np.array(
    [
        [0.85, 0.9, 1.0],
        [1.2, 1.6, 1.7],
        [1.35, 2.5, 2.2],
        [1.45, 3.4, 2.9],
        [1.4, 3.9, 3.2],
    ],
    np.float32,
)
_ENLARGED = np.array(
    [
        [1.35, 0.9, 1.0],
        [1.9, 1.6, 1.6],
        [1.8, 2.4, 2.0],
        [1.35, 3.2, 2.7],
        [1.2, 3.8, 3.1],
    ],
    np.float32,
)
# Deviation of a band at which the photo begins to hide a change there, and the most
# that it may hide.
_THRESHOLD = (0.02, 0.03, 0.05, 0.08, 0.12)
_MOST = (3.0, 3.0, 2.5, 2.0, 1.5)
SMALLEST_BAND = 8  # Pixels a side of the coarsest band.
NEAREST = 1.3  # Of `nearness`: a scale of 4.2.
OUTSIDE = 0.004  # A pixel below this, one 8-bit level, lies outside of the photo.


def nearness(scale):
    """How much coarser a canvas looks than at one photo pixel a canvas pixel.

    Args:
        scale: photo pixels per canvas pixel, `[batch, 1]`, positive.

    Returns:
        `[batch, 1]`, 0 up to a scale of 1, 1 at 3, at most `NEAREST`.
    """
    return ops.clip(ops.log(scale) / math.log(3.0), 0.0, NEAREST)


def _radius(sigma: float) -> int:
    return math.ceil(2.5 * sigma)


def _gaussian(sigma: float) -> np.ndarray:
    radius = _radius(sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def blur(images, sigma: float):
    """Gaussian blur by two short convolutions; borders mirrored about the edge pixel.

    `manipulations.gaussian_blur` does the same by matrices, with a width of its own for
    every image; this one converts to small TFLite graphs. On JAX it is two products
    with constant matrices, because XLA's depthwise convolutions are slow on GPUs.

    Args:
        images: float `[batch, height, width, channels]`.
        sigma: standard deviation in pixels; 2.5 of it must be less than a side.
    """
    if keras.backend.backend() == "jax":
        rows, columns = (
            gaussian_matrix(sigma, side, _radius(sigma)) for side in images.shape[1:3]
        )
        return separable(ops.cast(images, "float32"), rows, columns)
    taps = _gaussian(sigma)
    border, channels = len(taps) // 2, images.shape[-1]
    margins = [[0, 0], [border, border], [border, border], [0, 0]]
    images = ops.pad(images, margins, mode="reflect")
    for axis in (0, 1):
        shape = [1, 1, 1, 1]
        shape[axis] = len(taps)
        kernel = np.tile(taps.reshape(shape), (1, 1, channels, 1))
        images = ops.depthwise_conv(images, kernel, padding="valid")
    return images


def _bands(ycc) -> list:
    """Laplacian pyramid, finest band first; the last is what is left."""
    bands = []
    for _ in range(min(4, int(math.log2(ycc.shape[1] / SMALLEST_BAND)))):
        low = blur(ycc, 1.0)
        bands.append(ycc - low)
        ycc = ops.average_pool(low, 2, strides=2, padding="valid")
    return [*bands, ycc]


def _ycc(images):
    return ops.matmul(ops.cast(images, "float32"), _TO_YCC)


def _resized(images, side: int):
    if images.shape[1] == side:
        return images
    return ops.image.resize(
        images, (side, side), interpolation="bilinear", data_format="channels_last"
    )


def masks(cover) -> list:
    """What a photo hides, by band.

    Args:
        cover: float `[batch, S, S, 3]` in [0, 1], S a power of two times 8.

    Returns:
        A list of `[batch, S / 2**k, S / 2**k, 3]` for k = 0, 1, ...: factors from 1 on
        by which a change of luma, Cb and Cr may be larger than on a plain grey.
    """
    ycc = _ycc(cover)
    # Up to 1.6 times as much is hidden in the dark.
    dark = 1 + 0.6 * ops.relu(0.25 - ycc[..., :1]) / 0.25
    factors = []
    for band, threshold, most in zip(_bands(ycc), _THRESHOLD, _MOST, strict=False):
        energy = blur(band * band, 1.5)
        # An edge does not hide what lies on its plain side.
        flat = -ops.max_pool(-energy, 5, strides=1, padding="same")
        energy = ops.minimum(energy, 4 * flat + 1e-5) / threshold**2
        luma = energy[..., :1]
        energy = ops.concatenate([luma, energy[..., 1:] + 0.1 * luma], axis=-1)
        hidden = ops.minimum(ops.power(1 + energy, 0.3), most)
        factors.append(hidden * _resized(dark, band.shape[1]))
    return factors


def visibility(residual, factors: list, near):
    """How visible a residual is.

    Args:
        residual: float `[batch, S, S, 3]`, tagged minus cover.
        factors: the cover's `masks`.
        near: `[batch, 1]` from `nearness`.

    Returns:
        `[batch]` float32, proportional to the residual: 0.0063 (a level of 44 dB) is
        about what a careful look finds on plain backgrounds.

    Example:
        >>> cover = np.full((1, 32, 32, 3), 0.5, np.float32)
        >>> residual = 0.01 * np.random.default_rng(0).standard_normal(cover.shape)
        >>> near = nearness(np.ones((1, 1), np.float32))
        >>> visibility(residual.astype(np.float32), masks(cover), near).shape
        TensorShape([1])
    """
    near = ops.reshape(near, (-1, 1, 1, 1))
    total = 0.0
    weights = zip(_bands(_ycc(residual)), factors, _OWN_SIZE, _ENLARGED, strict=False)
    for band, hidden, own, enlarged in weights:
        seen = band * (own + near * (enlarged - own)) / hidden
        fourth = ops.square(ops.square(seen))
        total = total + ops.mean(ops.sum(fourth, axis=-1), axis=(1, 2))
    return ops.power(total + 1e-12, 0.25)


def scale_to(residual, wanted, factors, near):
    """Scales a residual `[batch, S, S, 3]` to a visibility, a number or `[batch]`."""
    seen = visibility(residual, factors, near)
    return residual * ops.reshape(wanted / (seen + 1e-9), (-1, 1, 1, 1))


def steepest(slope, factors: list, near):
    """The direction that changes a loss most at a given visibility, of any length.

    Args:
        slope: gradient of the loss by the canvas, `[batch, S, S, 3]`.
        factors: the cover's `masks`.
        near: `[batch, 1]` from `nearness`.

    Returns:
        `[batch, S, S, 3]`; subtract it to lower the loss.
    """
    near = ops.reshape(near, (-1, 1, 1, 1))
    # How the loss changes with Y, Cb and Cr.
    slope = ops.matmul(slope, np.linalg.inv(_TO_YCC).T.astype(np.float32))
    slope = slope * 1e6  # Away from the least numbers that a float holds.
    bands = []
    weights = zip(factors, _OWN_SIZE, _ENLARGED, strict=False)
    for hidden, own, enlarged in weights:
        room = hidden / (own + near * (enlarged - own))
        gain = slope * room
        # The power 5/16, near enough to 1/3, by roots: TFLite's powers are slow.
        root = ops.sqrt(ops.sqrt(ops.abs(gain) + 1e-12))
        bands.append(room * ops.sign(gain) * root * ops.sqrt(ops.sqrt(root)))
        slope = _shrunk(slope)
    way = bands[-1]
    for band in reversed(bands[:-1]):
        way = _resized(way, band.shape[1]) + band
    return ops.matmul(way, np.linalg.inv(_TO_YCC).astype(np.float32))


def _shrunk(slope):
    """Half the size: bilinear enlarging read backwards."""
    taps = np.array([1, 3, 3, 1], np.float32) / 8
    kernel = np.tile((taps[:, None] * taps)[:, :, None, None], (1, 1, 3, 1))
    slope = ops.pad(slope, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="symmetric")
    return ops.depthwise_conv(slope, kernel, strides=2, padding="valid")


def room(factors: list):
    """A gain `[batch, S, S, 1]` that follows what the three finest bands hide."""
    side = factors[0].shape[1]
    finest = [_resized(hidden[..., :1], side) for hidden in factors[:3]]
    return sum(finest) / len(finest)


def inside(cover):
    """1 where a canvas lies in the photo, 0 where it is black beyond the border.

    Args:
        cover: float `[batch, S, S, 3]` in [0, 1].

    Returns:
        `[batch, S, S, 1]` float32. A single black pixel of the photo counts as inside.
    """
    lit = ops.cast(ops.max(cover, axis=-1, keepdims=True) > OUTSIDE, "float32")
    return ops.max_pool(lit, 5, strides=1, padding="same")
