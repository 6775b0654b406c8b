"""What is reported, measured on uint8 images as a saved file would hold them."""

from __future__ import annotations

import numpy as np
from keras import ops


def to_uint8(images) -> np.ndarray:
    """Rounds float images in [0, 1] (clipped) to uint8, same shape."""
    return np.clip(np.rint(np.asarray(images) * 255.0), 0, 255).astype(np.uint8)


def psnr(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio.

    Args:
        first: uint8 `[batch, height, width, 3]`.
        second: uint8, same shape.

    Returns:
        `[batch]` float64 in dB; infinity for equal images.
    """
    _check_pair(first, second)
    error = first.astype(np.float64) - second.astype(np.float64)
    mse = np.mean(np.square(error), axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(255.0**2 / mse)


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004: Gaussian window, sigma 1.5).

    Args:
        first: uint8 `[batch, height, width, 3]`, at least 11 pixels a side.
        second: uint8, same shape.

    Returns:
        `[batch]` float32, at most 1.
    """
    _check_pair(first, second)
    value = ops.image.ssim(
        first.astype(np.float32), second.astype(np.float32), max_val=255.0
    )
    return np.asarray(ops.convert_to_numpy(value))


def bit_accuracy(bits: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Share of bits that the sign of the logits gets right.

    Args:
        bits: `[batch, L]` of 0 and 1.
        logits: `[batch, L]`.

    Returns:
        `[batch]` float64 in [0, 1].
    """
    return np.mean((np.asarray(logits) > 0) == (np.asarray(bits) > 0.5), axis=-1)


def _check_pair(first: np.ndarray, second: np.ndarray) -> None:
    for images in (first, second):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                "Images must be uint8 [batch, height, width, 3]. "
                f"Received: {images.dtype} {list(images.shape)}."
            )
    if first.shape != second.shape:
        raise ValueError(
            "The two image batches must have one shape. "
            f"Received: {list(first.shape)} and {list(second.shape)}."
        )
