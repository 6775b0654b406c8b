"""Poisson blending (Perez et al. 2003): OpenCV's, and the same one differentiably."""

from __future__ import annotations

import cv2
import numpy as np
from keras import ops

# OpenCV takes a donor's gradients this many pixels inside the mask's border.
ERODED = 3


def poisson_clone(
    photo: np.ndarray, pixels: np.ndarray, mask: np.ndarray
) -> np.ndarray | None:
    """Clones `pixels` into a photo by `cv2.seamlessClone`.

    Args:
        photo, pixels: uint8 [H, W, 3].
        mask: bool or uint8 [H, W]; what is cloned. Not at the photo's border, which
            the blending is tied to.

    Returns:
        A new uint8 photo, or None where the mask is too small.
    """
    box = mask_box(mask)
    if box is None:
        return None
    top, bottom, left, right = box
    inside = np.zeros(mask.shape, np.uint8)
    inside[top:bottom, left:right] = 255 * (mask[top:bottom, left:right] > 0)
    # The clone is centred on the middle of the mask's bounding box.
    middle = int(left + (right - left) // 2), int(top + (bottom - top) // 2)
    return cv2.seamlessClone(pixels, photo, inside, middle, cv2.NORMAL_CLONE)


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of a mask inside its border; None below 4 pixels."""
    inside = np.zeros(mask.shape, bool)
    inside[1:-1, 1:-1] = mask[1:-1, 1:-1] > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) < 4 or len(columns) < 4:
        return None
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def _sines(count: int) -> np.ndarray:
    """The orthonormal, symmetric discrete sine transform of an axis."""
    order = np.arange(1, count + 1)
    angles = np.pi * np.outer(order, order) / (count + 1)
    return np.sin(angles) * np.sqrt(2 / (count + 1))


def _eigenvalues(count: int) -> np.ndarray:
    return 2 * np.cos(np.pi * np.arange(1, count + 1) / (count + 1)) - 2


def poisson_blend(images, pixels, mask: np.ndarray):
    """What `poisson_clone` gives, differentiable with respect to both pictures.

    The gradients are the pixels' inside the mask and the images' outside; the picture
    that has them best is solved for in the mask's bounding box, whose border stays.

    Args:
        images, pixels: float [B, H, W, 3] of static H and W.
        mask: bool or uint8 [H, W], as for `poisson_clone`.

    Returns:
        float32 [B, H, W, 3]; about [0, 1] where the inputs are.
    """
    box = mask_box(mask)
    if box is None:
        return images
    top, bottom, left, right = box
    height, width = bottom - top, right - left
    kernel = np.ones([3, 3], np.uint8)
    inside = (mask[top:bottom, left:right] > 0).astype(np.uint8)
    inside = cv2.erode(inside, kernel, iterations=ERODED, borderValue=0)
    inside = inside[..., None].astype(np.float32)
    target = ops.cast(images[:, top:bottom, left:right], "float32")
    donor = ops.cast(pixels[:, top:bottom, left:right], "float32")

    def differences(values, axis):
        later = values[:, 1:] if axis == 1 else values[:, :, 1:]
        earlier = values[:, :-1] if axis == 1 else values[:, :, :-1]
        return later - earlier

    down, across = inside[:-1], inside[:, :-1]
    rows = down * differences(donor, 1) + (1 - down) * differences(target, 1)
    columns = across * differences(donor, 2) + (1 - across) * differences(target, 2)
    divergence = differences(rows, 1)[:, :, 1:-1] + differences(columns, 2)[:, 1:-1]
    # Known values at the border go to the right-hand side.
    edge = np.zeros([height, width, 1], np.float32)
    edge[[0, -1]] = edge[:, [0, -1]] = 1
    border = target * edge
    around = border[:, :-2, 1:-1] + border[:, 2:, 1:-1]
    around = around + border[:, 1:-1, :-2] + border[:, 1:-1, 2:]
    wanted = divergence - around
    first, second = _sines(height - 2), _sines(width - 2)
    scale = 1 / (_eigenvalues(height - 2)[:, None] + _eigenvalues(width - 2))
    first, second, scale = (m.astype(np.float32) for m in (first, second, scale))
    spectrum = _both(wanted, first, second) * scale[..., None]
    solved = _both(spectrum, first, second)
    solved = border + ops.pad(solved, [[0, 0], [1, 1], [1, 1], [0, 0]])
    margins = [top, images.shape[1] - bottom], [left, images.shape[2] - right]
    outside = np.pad(
        np.zeros([height, width, 1], np.float32), [*margins, [0, 0]], constant_values=1
    )
    return outside * images + ops.pad(solved, [[0, 0], *margins, [0, 0]])


def _both(values, first: np.ndarray, second: np.ndarray):
    """Applies a symmetric matrix to the rows and another one to the columns."""
    batch, height, width, channels = values.shape
    flat = ops.reshape(values, [batch, height, width * channels])
    flat = ops.reshape(ops.matmul(first, flat), [batch, height, width, channels])
    flat = ops.transpose(flat, [0, 2, 1, 3])
    flat = ops.reshape(flat, [batch, width, height * channels])
    flat = ops.reshape(ops.matmul(second, flat), [batch, width, height, channels])
    return ops.transpose(flat, [0, 2, 1, 3])
