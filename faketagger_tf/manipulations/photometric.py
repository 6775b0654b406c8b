"""Blur, denoising, noise, colour and rounding."""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import gaussian_matrix, separable
from faketagger_tf.manipulations.random import uniform

# Non-local means of strength h changes a photo about as much (in PSNR) as a Gaussian
# blur of 0.3 + 0.06 h pixels; fitted on three photos of scikit-image, h from 3 to 10.
DENOISE_SIGMA = (0.3, 0.06)

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


def denoise(images, seed, context, strength):
    return gaussian_blur(images, DENOISE_SIGMA[0] + DENOISE_SIGMA[1] * strength)


def denoise_real(images, rng, context, strength):
    return np.stack(
        [
            cv2.fastNlMeansDenoisingColored(
                np.ascontiguousarray(image[..., ::-1]), None, float(h), float(h), 5, 15
            )[..., ::-1]
            for image, h in zip(images, strength, strict=True)
        ]
    )


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


def round_real(images, rng, context):
    return images.copy()


def round_(images, seed, context):
    return round_to_uint8(images)
