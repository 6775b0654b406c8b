"""Adds a canvas's residual to a photo of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from faketagger_tf.tagging.search import Canvas

STRIP = 256  # Rows of a photo that are handled at once: bounds the memory.
FEATHER = 2.0  # Canvas pixels over which a residual fades at the canvas's border.


def add_residual(
    photo: np.ndarray,
    tagged: np.ndarray,
    residual: np.ndarray,
    canvases: Sequence[Canvas],
    index: int,
) -> None:
    """Adds a canvas's residual to `tagged`, strip by strip.

    Where canvases overlap, each pixel belongs to the one in which it lies furthest
    inside, so that no two residuals add up.

    Args:
        photo: the photo without a tag, uint8 [H, W, 3].
        tagged: the same with the residuals of other canvases; is written to.
        residual: float32 [S, S, 3], 1.0 being full scale.
        canvases: all that the photo is tagged on.
        index: which of them the residual belongs to.
    """
    size = len(residual)
    matrix = canvases[index].matrix
    edge = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    fade = np.clip(edge / FEATHER, 0, 1).astype(np.float32)
    residual = 255 * residual * fade[:, None, None] * fade[None, :, None]

    left, top, right, bottom = _bounds(canvases[index], size, photo)
    if right <= left or bottom <= top:
        return
    others = [c for i, c in enumerate(canvases) if i != index]
    # Below the canvas's resolution the residual is averaged, not sampled.
    samples = math.ceil(math.hypot(matrix[0, 0], matrix[1, 0]) - 1e-6)
    for start in range(top, bottom, STRIP):
        stop = min(start + STRIP, bottom)
        rows, columns = slice(start, stop), slice(left, right)
        shape = (right - left, stop - start)
        local = matrix / np.array([[samples, samples, 1]])
        local[:, 2] += matrix[:, :2] @ (left, start)
        local[:, 2] += local[:, :2] @ (0.5, 0.5) - 0.5
        change = cv2.warpAffine(
            residual,
            local,
            (shape[0] * samples, shape[1] * samples),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        if samples > 1:
            change = cv2.resize(change, shape, interpolation=cv2.INTER_AREA)
        if others:
            own = _distance(matrix, size, left, start, shape)
            for other in others:
                change[own > _distance(other.matrix, size, left, start, shape)] = 0
        change += photo[rows, columns]
        np.rint(change, out=change)
        np.clip(change, 0, 255, out=change)
        changed = change.astype(np.uint8)
        if others:
            # Leave alone what another canvas has written.
            keep = changed == photo[rows, columns]
            changed = np.where(keep, tagged[rows, columns], changed)
        tagged[rows, columns] = changed


def copy_own(
    tagged: np.ndarray,
    part: np.ndarray,
    canvas: Canvas,
    canvases: Sequence[Canvas],
    size: int,
) -> None:
    """Copies from `part` what belongs to a canvas, which replaces its earlier tag.

    Pixels belong to canvases as in `add_residual`.

    Args:
        tagged: uint8 [H, W, 3]; is written to.
        part: the same photo with a later tag on that canvas.
        canvas: one of the canvases.
        canvases: all that the photo is tagged on.
        size: side of a canvas in pixels.
    """
    left, top, right, bottom = _bounds(canvas, size, tagged)
    for start in range(top, bottom, STRIP):
        stop = min(start + STRIP, bottom)
        rows, columns = slice(start, stop), slice(left, right)
        shape = (right - left, stop - start)
        own = _distance(canvas.matrix, size, left, start, shape)
        nearest = np.min(
            [_distance(c.matrix, size, left, start, shape) for c in canvases], axis=0
        )
        tagged[rows, columns][own <= nearest] = part[rows, columns][own <= nearest]


def _bounds(canvas: Canvas, size: int, photo: np.ndarray) -> tuple[int, ...]:
    """The photo's part under a canvas: left, top, right, bottom in whole pixels."""
    corners = canvas.corners(size)
    height, width = photo.shape[:2]
    left, top = np.floor(np.clip(corners.min(0), 0, (width, height))).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0), 0, (width, height))).astype(int)
    return left, top, right, bottom


def _distance(matrix, size, left, top, shape) -> np.ndarray:
    """Distance of pixels from a canvas's middle: 0.5 on the canvas's border."""
    x = (np.arange(left, left + shape[0], dtype=np.float32) + 0.5)[None, :]
    y = (np.arange(top, top + shape[1], dtype=np.float32) + 0.5)[:, None]
    (a, b, c), (d, e, f) = (matrix / size).astype(np.float32)
    return np.maximum(np.abs(a * x + b * y + c - 0.5), np.abs(d * x + e * y + f - 0.5))
