"""Blur, denoising, sharpening, noise, colour, a photo app's filters and rounding."""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import (
    bilinear_matrix,
    gaussian_matrix,
    separable,
)
from faketagger_tf.manipulations.lab import linear_from_lab, linear_to_lab
from faketagger_tf.manipulations.random import uniform

# Non-local means of strength h changes a photo about as much (in PSNR) as a Gaussian
# blur of 0.3 + 0.06 h pixels; fitted on three photos of scikit-image, h from 3 to 10.
DENOISE_SIGMA = (0.3, 0.06)

# Sides of the patches that non-local means compares, and of the window it looks in.
PATCH, SEARCH = 5, 15
_LAB_TO_BYTES = np.array([2.55, 1.0, 1.0], np.float32)  # OpenCV's 8-bit Lab, but 128.

# Window in pixels and its deviation of the bilateral filter of beauty apps.
BEAUTY_WINDOW, BEAUTY_SIGMA = 7, 3.0

# Rec. 601 luma, the projection on the colour plane, and a quarter turn in that plane.
_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)
_LUMA = np.tile([0.299, 0.587, 0.114], (3, 1)).astype(np.float32)
_CHROMA = (np.eye(3) - _LUMA).astype(np.float32)
_TURN = np.linalg.inv(_TO_YIQ) @ [[0, 0, 0], [0, 0, -1], [0, 1, 0]] @ _TO_YIQ
_TURN = _TURN.astype(np.float32)


def straight_through(function, values):
    """function(values), with the gradient of the identity."""
    return values + ops.stop_gradient(function(values) - values)


def round_to_uint8(images):
    """Clips to [0, 1] and rounds to 8 bits, straight through."""
    return straight_through(ops.round, ops.clip(images, 0.0, 1.0) * 255.0) / 255.0


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Float [0, 255] -> uint8, clipped and rounded."""
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def on_host(function, standin, images, argument):
    """The values of an OpenCV function with the gradient of a differentiable stand-in.

    Args:
        function: the real version: (uint8 images, rng, context, float [B]) -> uint8.
        standin: float [B, S, S, 3], what a differentiable version made of `images`.
        images: float [B, S, S, 3] in [0, 1].
        argument: number or [B].
    """
    import tensorflow as tf

    def run(images, argument):
        values = np.broadcast_to(argument, len(images)).astype(np.float64)
        changed = function(to_uint8(255 * images), None, None, values)
        return changed.astype(np.float32) / 255

    # The rest of the chain may be float32 where the networks are not.
    images = tf.cast(images, tf.float32)
    changed = tf.numpy_function(run, [images, argument], tf.float32, stateful=False)
    changed = tf.ensure_shape(changed, images.shape)
    return straight_through(lambda _: changed, standin)


def gaussian_blur(images, sigma, radius: int | None = None):
    """Gaussian blur with borders mirrored about the edge pixel.

    Equals tfa.image.gaussian_filter2d (filter of 2 radius + 1) and cv2.GaussianBlur.

    Args:
        images: float [B, S, S, C].
        sigma: number or [B], in pixels.
        radius: where the kernel is cut; by default it is not.
    """
    return separable(images, gaussian_matrix(sigma, images.shape[1], radius))


def colour_matrix(xp, contrast, saturation, hue):
    """[B] factors and turns in radians -> [B, 3, 3] for `images @ matrix`."""
    contrast, cosine, sine = (
        xp.reshape(x, [-1, 1, 1])
        for x in (contrast, saturation * xp.cos(hue), saturation * xp.sin(hue))
    )
    return contrast * (_LUMA.T + cosine * _CHROMA.T + sine * _TURN.T)


def identity(images, seed, context):
    return images


def identity_real(images, rng, context):
    return images.copy()


def blur(images, seed, context, sigma):
    return gaussian_blur(images, sigma)


def blur_real(images, rng, context, sigma):
    border = cv2.BORDER_REFLECT_101
    return np.stack(
        [
            cv2.GaussianBlur(image, (0, 0), float(s), borderType=border)
            for image, s in zip(images, sigma, strict=True)
        ]
    )


def non_local_means(images, strength):
    """cv2.fastNlMeansDenoisingColored as `keras.ops`, in one program for a batch.

    Each pixel becomes the mean over a window, weighted by how like its patch theirs
    are. The weights carry no gradient: they are found from differences that a tag
    hardly changes, and the gradient then is that of a fixed filter.

    Args:
        images: float [B, S, S, 3], clipped to [0, 1], S more than 9.
        strength: number or [B], OpenCV's h.

    Returns:
        float32 [B, S, S, 3] in [0, 1].
    """
    batch, side = images.shape[:2]
    border, reach = PATCH // 2, SEARCH // 2
    wide = side + 2 * border
    # OpenCV takes the pixels for linear light, and compares luma and colour apart.
    values = linear_to_lab(round_to_uint8(ops.cast(images, "float32")))
    values = straight_through(ops.round, values * _LAB_TO_BYTES)
    margin = border + reach
    margins = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
    padded = ops.pad(values, margins, mode="reflect")
    middle = padded[:, reach : reach + wide, reach : reach + wide]
    middle = ops.stop_gradient(middle)[:, None]
    strength = ops.reshape(ops.cast(strength, "float32"), [-1, 1, 1, 1, 1])
    scale = np.array([1.0, 2.0], np.float32) * ops.square(strength)

    def add_row(sums, down):
        rows = ops.slice(padded, [0, down, 0, 0], [batch, wide, padded.shape[2], 3])
        moved = [rows[:, :, right : right + wide] for right in range(SEARCH)]
        moved = ops.stack(moved, axis=1)
        apart = ops.square(ops.stop_gradient(moved) - middle)
        apart = ops.stack([apart[..., 0], apart[..., 1] + apart[..., 2]], axis=-1)
        apart = ops.reshape(apart, [-1, wide, wide, 2])
        apart = ops.average_pool(apart, PATCH, strides=1, padding="valid")
        apart = ops.reshape(apart, [batch, SEARCH, side, side, 2])
        weights = ops.stop_gradient(ops.exp(-apart / scale))
        weights = ops.concatenate([weights, weights[..., 1:]], axis=-1)
        moved = moved[:, :, border : border + side, border : border + side]
        total, weight = sums
        total = total + ops.sum(weights * moved, axis=1)
        return (total, weight + ops.sum(weights, axis=1)), None

    # A loop, and not 225 copies of it: a program that compiles. Its values are made
    # anew for the gradient, because keeping them takes gigabytes.
    if keras.backend.backend() == "jax":
        add_row = keras.remat(add_row)
    nothing = ops.zeros_like(values)
    offsets = np.arange(SEARCH, dtype=np.int32)
    (total, weight), _ = ops.scan(add_row, (nothing, nothing), offsets)
    values = straight_through(ops.round, total / weight) / _LAB_TO_BYTES
    return linear_from_lab(values)


def denoise(images, seed, context, strength):
    if keras.backend.backend() != "tensorflow":
        return non_local_means(images, strength)
    standin = gaussian_blur(images, DENOISE_SIGMA[0] + DENOISE_SIGMA[1] * strength)
    if not context.real_codecs:
        return standin
    return on_host(denoise_real, standin, images, strength)


def denoise_real(images, rng, context, strength):
    return np.stack(
        [
            cv2.fastNlMeansDenoisingColored(
                np.ascontiguousarray(image[..., ::-1]),
                None,
                float(h),
                float(h),
                PATCH,
                SEARCH,
            )[..., ::-1]
            for image, h in zip(images, strength, strict=True)
        ]
    )


def beauty(images, seed, context, strength):
    side = images.shape[1]
    strength = ops.reshape(ops.cast(strength, "float32"), [-1, 1, 1, 1])
    border = BEAUTY_WINDOW // 2
    margins = [[0, 0], [border, border], [border, border], [0, 0]]
    padded = ops.pad(images, margins, mode="reflect")
    total, weights = 0.0, 0.0
    for down, right in np.ndindex(BEAUTY_WINDOW, BEAUTY_WINDOW):
        distance = np.hypot(down - border, right - border)
        if distance > border:
            continue
        moved = padded[:, down : down + side, right : right + side]
        # OpenCV's distance between two colours is the sum over the channels.
        apart = ops.sum(ops.abs(moved - images), axis=-1, keepdims=True) / strength
        weight = ops.exp(-0.5 * ops.square(apart))
        weight = weight * float(np.exp(-0.5 * (distance / BEAUTY_SIGMA) ** 2))
        total, weights = total + weight * moved, weights + weight
    return total / weights


def beauty_real(images, rng, context, strength):
    return np.stack(
        [
            cv2.bilateralFilter(image, BEAUTY_WINDOW, 255 * float(s), BEAUTY_SIGMA)
            for image, s in zip(images, strength, strict=True)
        ]
    )


def sharpen(images, seed, context, amount):
    amount = ops.reshape(ops.cast(amount, "float32"), [-1, 1, 1, 1])
    values = images + amount * (images - gaussian_blur(images, 1.0))
    return ops.clip(values, 0.0, 1.0)


def sharpen_real(images, rng, context, amount):
    blurred = blur_real(images, rng, context, np.ones(len(images)))
    detail = images.astype(np.float32) - blurred
    return to_uint8(images + amount[:, None, None, None] * detail)


def _fractal_sizes(side: int) -> list[int]:
    return [2**k for k in range(1, side.bit_length()) if 2**k <= side]


def fractal(images, seed, context, roughness):
    batch, side = images.shape[:2]
    roughness = ops.reshape(ops.cast(roughness, "float32"), [-1, 1, 1, 1])
    total = 0.0
    for size in _fractal_sizes(side):
        octave = keras.random.normal([batch, size, size, 3], seed=seed)
        rows = bilinear_matrix(size, side, size)
        total = total + separable(octave, rows) * ops.power(float(size), -roughness)
    deviation = ops.std(total, axis=(1, 2, 3), keepdims=True)
    draws = ops.reshape(uniform(seed, [2, batch], 0.0, 1.0), [2, -1, 1, 1, 1])
    contrast, grey_level = 0.005 + 0.3 * draws[0], 0.1 + 0.8 * draws[1]
    return ops.clip(total / deviation * contrast + grey_level, 0.0, 1.0)


def fractal_real(images, rng, context, roughness):
    made = []
    for image, steepness in zip(images, roughness, strict=True):
        side, total = image.shape[0], 0.0
        for size in _fractal_sizes(side):
            octave = rng.standard_normal([size, size, 3]).astype(np.float32)
            octave = cv2.resize(octave, (side, side), interpolation=cv2.INTER_LINEAR)
            total = total + octave * size**-steepness
        contrast, grey_level = 0.005 + 0.3 * rng.random(), 0.1 + 0.8 * rng.random()
        made.append(to_uint8(255 * (total / total.std() * contrast + grey_level)))
    return np.stack(made)


def noise(images, seed, context, std):
    std = ops.reshape(ops.cast(std, "float32"), [-1, 1, 1, 1])
    values = images + std * keras.random.normal(images.shape, seed=seed)
    return ops.clip(values, 0.0, 1.0)


def noise_real(images, rng, context, std):
    values = rng.standard_normal(images.shape, np.float32)
    return to_uint8(images + 255 * std[:, None, None, None] * values)


def _colour_draws(units, strength):
    """[4, B] in [-1, 1] -> brightness shift, contrast, saturation, hue in radians."""
    jitter = units * strength
    return 0.5 * jitter[0], 1 + jitter[1], 1 + jitter[2], 0.5 * jitter[3]


def color(images, seed, context, strength):
    units = uniform(seed, [4, images.shape[0]], -1.0, 1.0)
    brightness, *factors = _colour_draws(units, strength)
    return recolour(images, brightness, colour_matrix(ops, *factors))


def recolour(images, brightness, matrix):
    """(images - 1/2) @ matrix + 1/2 + brightness, clipped to [0, 1]."""
    batch, side = images.shape[:2]
    flat = ops.reshape(images - 0.5, [batch, side * side, 3])
    flat = ops.matmul(flat, matrix) + (0.5 + ops.reshape(brightness, [-1, 1, 1]))
    return ops.clip(ops.reshape(flat, images.shape), 0.0, 1.0)


def color_real(images, rng, context, strength):
    units = rng.uniform(-1.0, 1.0, [4, len(images)])
    brightness, *factors = _colour_draws(units, strength)
    return recolour_real(images, brightness, colour_matrix(np, *factors))


def recolour_real(images, brightness, matrix):
    """`recolour` by OpenCV on uint8."""
    recoloured = []
    for image, shift, rows in zip(images, brightness, matrix, strict=True):
        values = cv2.transform(image.astype(np.float32) - 127.5, rows.T)
        recoloured.append(to_uint8(values + 127.5 + 255 * shift))
    return np.stack(recoloured)


def grey(images, seed, context):
    luma = ops.matmul(images, _LUMA[0][:, None])
    return ops.repeat(luma, 3, axis=-1)


def grey_real(images, rng, context):
    luma = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return np.stack([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in luma])


def gamma(images, seed, context, power):
    power = ops.reshape(ops.cast(power, "float32"), [-1, 1, 1, 1])
    # Not from 0, where the slope of a root is not finite.
    return ops.power(ops.clip(images, 1e-3, 1.0), power)


def gamma_real(images, rng, context, power):
    levels = np.arange(256) / 255
    tables = to_uint8(255 * levels[None] ** power[:, None])
    return np.stack(
        [cv2.LUT(image, table) for image, table in zip(images, tables, strict=True)]
    )


def _filtered(xp, images, units, strength):
    """Curve, tint, saturation and vignette of a photo app; `units` [7, B] in [-1, 1].

    Args:
        xp: numpy or keras.ops.
        images: float [B, S, S, 3] in [0, 1].
        units: one row each for contrast, saturation, the three channels' tint, the
            curve and the vignette.
        strength: number or [B]; 1 is as much as apps offer.
    """
    side = images.shape[1]
    draws = xp.reshape(units * strength, [7, -1, 1, 1, 1])
    luma = xp.matmul(images, _LUMA[0][:, None])
    values = luma + (images - luma) * (1 + 0.6 * draws[1])
    values = values * (
        1 + 0.12 * xp.concatenate([draws[2], draws[3], draws[4]], axis=-1)
    )
    values = (values - 0.5) * (1 + 0.3 * draws[0]) + 0.5
    values = xp.clip(values, 1e-3, 1.0) ** xp.exp(0.4 * draws[5])
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    far = 2 * (place[:, None] ** 2 + place**2)[..., None]
    # A vignette only darkens.
    return values * (1 - 0.5 * xp.maximum(draws[6], 0.0) * far)


def filter_(images, seed, context, strength):
    units = uniform(seed, [7, images.shape[0]], -1.0, 1.0)
    return _filtered(ops, images, units, strength)


def filter_real(images, rng, context, strength):
    units = rng.uniform(-1.0, 1.0, [7, len(images)]).astype(np.float32)
    values = _filtered(np, images / np.float32(255), units, strength)
    return to_uint8(255 * values)


def round_real(images, rng, context):
    return images.copy()


def round_(images, seed, context):
    return round_to_uint8(images)
