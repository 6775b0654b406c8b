"""What is reported, measured on uint8 images as a saved file would hold them."""

from __future__ import annotations

import math

import cv2
import numpy as np

SSIM_WINDOW = 11


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
    """Structural similarity (Wang et al. 2004: 11x11 Gaussian window, sigma 1.5).

    The mean over windows that lie inside the image, and over the channels.

    Args:
        first: uint8 `[batch, height, width, 3]`, at least 11 pixels a side.
        second: uint8, same shape.

    Returns:
        `[batch]` float64, at most 1.
    """
    _check_pair(first, second)
    if min(first.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs at least {SSIM_WINDOW} pixels a side. "
            f"Received: {first.shape[2]}x{first.shape[1]}."
        )
    return np.array([_ssim(a, b) for a, b in zip(first, second, strict=True)])


def _ssim(first: np.ndarray, second: np.ndarray) -> float:
    inside = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))

    def local_mean(image):
        window = SSIM_WINDOW, SSIM_WINDOW
        return cv2.GaussianBlur(image, window, 1.5)[inside, inside]

    # About mid-grey, so that single precision is enough for the variances.
    x, y = (np.subtract(image, 128, dtype=np.float32) for image in (first, second))
    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    ratio /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return float(ratio.mean(dtype=np.float64))


def measure(
    first: np.ndarray, second: np.ndarray, rows: int = 512
) -> tuple[float, float]:
    """PSNR in dB and SSIM of two photos of any size, in strips of rows.

    Where the photos are equal both are known, so that only the rectangle around their
    differences is looked at.

    Args:
        first: uint8 `[height, width, 3]`, at least 11 pixels a side.
        second: uint8, same shape.
        rows: height of a strip, which bounds the memory.

    Returns:
        As `psnr` and `ssim` have them; infinity and 1 for equal photos.

    Example:
        >>> photo = np.zeros((64, 64, 3), np.uint8)
        >>> measure(photo, photo)
        (inf, 1.0)
    """
    height, width = first.shape[:2]
    squares, total, counted = 0.0, 0.0, 0
    border = SSIM_WINDOW - 1
    windows = (height - border) * (width - border)
    changed_columns = np.zeros(width, bool)
    changed_rows = np.zeros(height, bool)
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        change = (first[part] != second[part]).any(2)
        changed_rows[part] = change.any(1)
        changed_columns |= change.any(0)
        difference = first[part].astype(np.int16) - second[part]
        squares += float(np.square(difference, dtype=np.int32).sum(dtype=np.float64))
    if not changed_rows.any():
        return math.inf, 1.0
    top, bottom = np.flatnonzero(changed_rows)[[0, -1]]
    left, right = np.flatnonzero(changed_columns)[[0, -1]]
    # One window further than a change reaches; beyond that SSIM is 1.
    left, right = max(left - border, 0), min(right + border + 1, width)
    top, bottom = max(top - border, 0), min(bottom + border + 1, height)
    for start in range(top, bottom - border, rows):
        part = slice(start, min(start + rows + border, bottom)), slice(left, right)
        count = (part[0].stop - start - border) * (right - left - border)
        total += float(ssim(first[part][None], second[part][None])[0]) * count
        counted += count
    ratio = 10 * math.log10(255**2 * first.size / squares)
    return ratio, (total + windows - counted) / windows


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
