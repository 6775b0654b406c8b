"""Losses of the joint training. `keras.ops` only; one value per image."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import separable
from faketagger_tf.metrics import SSIM_WINDOW


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the joint loss's terms.

    Attributes:
        message: of `message_loss`, the paper's lambda; a number or a scalar tensor.
        image: of `image_loss`, the paper's alpha.
        clipping: of `clipping_loss`.
        ssim: of `ssim_loss`, which is left out where it is 0.
    """

    message: float = 1.0
    image: float = 0.0
    clipping: float = 1.0
    ssim: float = 0.0


def joint_terms(cover, message, residual, logits, weights: Weights) -> dict:
    """The joint loss and its terms (arXiv:2009.09869, section 3), image by image.

    Args:
        cover: `[batch, height, width, 3]` in [0, 1].
        message: `[batch, L]` of 0 and 1.
        residual: the encoder's output, of the cover's shape.
        logits: the decoder's output, `[batch, L]`.
        weights: of the terms.

    Returns:
        "loss" and its parts "message_loss", "image_mse", "clipping_loss" and (with a
        weight) "ssim_loss", and "bits", the share of bits read right: float32
        `[batch]` each.
    """
    tagged = cover + residual
    terms = {
        "message_loss": message_loss(message, logits),
        "image_mse": image_loss(residual),
        "clipping_loss": clipping_loss(tagged),
    }
    loss = weights.message * terms["message_loss"]
    loss = loss + weights.image * terms["image_mse"]
    loss = loss + weights.clipping * terms["clipping_loss"]
    if weights.ssim:
        terms["ssim_loss"] = ssim_loss(cover, tagged)
        loss = loss + weights.ssim * terms["ssim_loss"]
    right = ops.equal(logits > 0, message > 0.5)
    bits = ops.mean(ops.cast(right, "float32"), axis=-1)
    return {**terms, "loss": loss, "bits": bits}


def message_loss(message, logits):
    """Binary cross-entropy between message bits and logits.

    Args:
        message: `[batch, L]` of 0 and 1.
        logits: `[batch, L]`, positive for a 1.

    Returns:
        `[batch]` float32; 0.693 (the logarithm of 2) is chance.
    """
    message, logits = ops.cast(message, "float32"), ops.cast(logits, "float32")
    loss = ops.softplus(logits) - message * logits
    return ops.mean(loss, axis=-1)


def image_loss(residual):
    """Mean squared error between cover and tagged photo.

    Args:
        residual: `[batch, height, width, 3]`, tagged minus cover, in [0, 1] units.

    Returns:
        `[batch]` float32.
    """
    return ops.mean(ops.square(ops.cast(residual, "float32")), axis=(1, 2, 3))


def clipping_loss(tagged):
    """Mean squared excess over [0, 1], which rounding to uint8 would cut off.

    Args:
        tagged: `[batch, height, width, 3]` before clipping.

    Returns:
        `[batch]` float32.
    """
    excess = ops.relu(tagged - 1.0) + ops.relu(-tagged)
    return ops.mean(ops.square(ops.cast(excess, "float32")), axis=(1, 2, 3))


def ssim_loss(cover, tagged):
    """One minus the structural similarity, on every second window each way.

    The window, the constants and the mean are those of `metrics.ssim`.

    Args:
        cover: `[batch, height, width, 3]` in [0, 1], static sizes of 11 at least.
        tagged: same shape.

    Returns:
        `[batch]` float32, from 0 for equal images to 2.
    """
    # About mid-grey, so that single precision is enough for the variances.
    x, y = (ops.cast(image, "float32") - 0.5 for image in (cover, tagged))
    rows, columns = (_ssim_windows(side)[None] for side in x.shape[1:3])
    planes = ops.concatenate([x, y, x * x + y * y, x * y], axis=-1)
    planes = separable(planes, rows, columns)
    mean_x, mean_y, squares, product = ops.split(planes, 4, axis=-1)
    variances = squares - mean_x**2 - mean_y**2
    covariance = product - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    ratio = ratio / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    return 1.0 - ops.mean(ratio, axis=(1, 2, 3))


def _ssim_windows(side: int) -> np.ndarray:
    """float32 [windows, side]: Gaussian weights of every second window inside."""
    taps = np.exp(-0.5 * (np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2 / 1.5**2)
    starts = range(0, side - SSIM_WINDOW + 1, 2)
    windows = np.zeros([len(starts), side], np.float32)
    for window, start in zip(windows, starts, strict=True):
        window[start : start + SSIM_WINDOW] = taps / taps.sum()
    return windows


def face_loss(target, rendered):
    """Mean absolute error of a rendered face, the face-swap autoencoder's loss.

    Args:
        target: `[batch, F, F, 3]` in [0, 1].
        rendered: same shape and range.

    Returns:
        `[batch]` float32.
    """
    return ops.mean(
        ops.abs(ops.cast(target, "float32") - ops.cast(rendered, "float32")),
        axis=(1, 2, 3),
    )
