"""Geometry of the square canvas that a tag is written to and read from.

Coordinates are continuous pixels: pixel i covers [i, i + 1), so its centre lies at
i + 0.5. Squares are (left, top, side) and boxes (left, top, width, height) in photo
pixels. Matrices are 2x3 and map photo coordinates to canvas coordinates.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

# Five landmarks in units of the face box's side: the two eyes, the tip of the nose
# and the two corners of the mouth, viewer's left first. The proportions are those of
# the ArcFace template (Deng et al., CVPR 2019); its scale is set so that the eyes lie
# 0.40 of a box apart, as a frontal face detector's square boxes have them.
LANDMARKS = np.array(
    [[0.300, 0.350], [0.700, 0.350], [0.500, 0.579], [0.335, 0.812], [0.665, 0.812]]
)

MIDDLE = 0.625  # Side of a canvas's middle, which a tight crop leaves, as a share.


def middle_mask(size: int) -> np.ndarray:
    """1 in the middle of a canvas of a side of `size` pixels, 0 around it.

    Returns:
        float32 `[1, size, size, 1]`.

    Example:
        >>> middle_mask(64)[0, 31, [11, 12, 51, 52], 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    length = 2 * round(size * MIDDLE / 2)
    inside = np.abs(np.arange(size) - (size - 1) / 2) < length / 2
    return np.outer(inside, inside).astype(np.float32)[None, :, :, None]


def canvas_square(
    width: int,
    height: int,
    box: tuple[float, float, float, float] | None = None,
    canvas_scale: float = 1.9,
) -> tuple[float, float, float]:
    """Finds the canvas of a photo as an upright square that lies inside the photo.

    Args:
        width, height: the photo's size in pixels.
        box: the face as (left, top, width, height) in photo pixels; None takes the
            largest centred square.
        canvas_scale: side of the canvas over the longer side of the box.

    Returns:
        (left, top, side) in photo pixels. The square is centred on the box, made no
        larger than the photo, and then moved inside the photo.

    Raises:
        ValueError: a size or scale that is not positive, or a box that is empty, not
            finite, or wholly outside the photo.
    """
    if width < 1 or height < 1:
        raise ValueError(
            "A photo must have at least one pixel in each direction. "
            f"Received: {width}x{height}."
        )
    side = float(min(width, height))
    if box is None:
        return (width - side) / 2, (height - side) / 2, side
    if not (math.isfinite(canvas_scale) and canvas_scale > 0):
        raise ValueError(f"canvas_scale must be positive. Received: {canvas_scale!r}.")
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise ValueError(
            "A face box must be four finite numbers (left, top, width, height). "
            f"Received: {tuple(box)}."
        )
    left, top, face_width, face_height = (float(value) for value in box)
    if (
        min(face_width, face_height) <= 0
        or left >= width
        or top >= height
        or left + face_width <= 0
        or top + face_height <= 0
    ):
        raise ValueError(
            f"A face box must have an area inside the {width}x{height} photo. "
            f"Received: {tuple(box)}."
        )
    side = min(canvas_scale * max(face_width, face_height), side)
    left = min(max(left + face_width / 2 - side / 2, 0.0), width - side)
    top = min(max(top + face_height / 2 - side / 2, 0.0), height - side)
    return left, top, side


def square_matrix(square: tuple[float, float, float], image_size: int) -> np.ndarray:
    """Returns the 2x3 float64 matrix that maps `square` onto the canvas."""
    left, top, side = square
    scale = image_size / side
    return np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale]])


def similarity_from_landmarks(
    points: np.ndarray, image_size: int, canvas_scale: float = 1.9
) -> np.ndarray:
    """Fits the rotated canvas of a face to its five landmarks by least squares.

    Args:
        points: [5, 2] photo coordinates in the order of `LANDMARKS`.
        image_size: side of the canvas in pixels.
        canvas_scale: side of the canvas over the side of the face box.

    Returns:
        2x3 float64 matrix, a rotation, one scale and a shift without reflection, that
        maps photo coordinates to canvas coordinates. The fit is Umeyama's (1991) for
        two dimensions, written with complex numbers.

    Raises:
        ValueError: wrong shape, values that are not finite, or coincident points.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(
            "Landmarks must be five finite points (x, y). "
            f"Received: an array of shape {points.shape}."
        )
    template = ((LANDMARKS - 0.5) / canvas_scale + 0.5) * image_size
    source = points[:, 0] + 1j * points[:, 1]
    target = template[:, 0] + 1j * template[:, 1]
    centred = source - source.mean()
    spread = np.sum(np.abs(centred) ** 2)
    if spread < 1e-6:
        raise ValueError(
            "Landmarks must not all lie on one point. "
            f"Received: five points at {points[0].tolist()}."
        )
    turn = np.sum(np.conj(centred) * (target - target.mean())) / spread
    shift = target.mean() - turn * source.mean()
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    )


def warp_canvas(
    photo: np.ndarray, matrix: np.ndarray, image_size: int, outside: str = "repeat"
) -> np.ndarray:
    """Resamples a photo onto a canvas, anti-aliased and exact to the subpixel.

    Args:
        photo: [H, W, 3] (or [H, W]) uint8 or float32.
        matrix: 2x3, photo to canvas coordinates (rotation, one scale, shift, and
            perhaps a mirror).
        image_size: side S of the canvas in pixels.
        outside: "repeat" repeats the photo's border pixels outside of it; "black"
            leaves it black there, up to the very edge.

    Returns:
        [S, S, 3] (or [S, S]) of the photo's dtype.
    """
    matrix = np.asarray(matrix, np.float64)
    shrink = 1.0 / math.hypot(matrix[0, 0], matrix[1, 0])
    # Sampling at least once per photo pixel and averaging is area interpolation at
    # any offset and angle; cv2.INTER_AREA alone works on whole pixels only.
    samples = max(1, math.ceil(shrink - 1e-6))
    side = image_size * samples

    # Only the photo's part under the canvas is warped: large photos stay cheap and
    # within warpAffine's limit of 32,767 pixels a side.
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], np.float64)
    corners[:, :2] *= image_size
    corners = corners @ inverse.T
    low = np.floor(corners.min(0)).astype(int) - 3
    high = np.ceil(corners.max(0)).astype(int) + 3
    height, width = photo.shape[:2]
    left, right = np.clip((low[0], high[0]), 0, width)
    top, bottom = np.clip((low[1], high[1]), 0, height)
    if right <= left or bottom <= top:
        raise ValueError(
            f"The canvas must overlap the {width}x{height} photo. Received: a canvas "
            f"around ({low[0]}, {low[1]}) to ({high[0]}, {high[1]})."
        )

    dense = matrix * samples
    dense[:, 2] += dense[:, :2] @ (left, top)
    # From pixel borders (ours) to pixel centres (OpenCV's).
    dense[:, 2] += dense[:, :2] @ (0.5, 0.5) - 0.5
    canvas = cv2.warpAffine(
        photo[top:bottom, left:right],
        dense,
        (side, side),
        flags=cv2.INTER_CUBIC if shrink < 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if outside == "black":
        # Repeated first, so that no pixel inside is mixed with black; then cut off
        # where a sample's centre lies outside.
        back = cv2.invertAffineTransform(matrix * samples)
        at = np.arange(side, dtype=np.float32) + 0.5
        x = back[0, 0] * at[None, :] + back[0, 1] * at[:, None] + back[0, 2]
        y = back[1, 0] * at[None, :] + back[1, 1] * at[:, None] + back[1, 2]
        canvas[(x < 0) | (x >= width) | (y < 0) | (y >= height)] = 0
    if samples > 1:
        canvas = cv2.resize(
            canvas, (image_size, image_size), interpolation=cv2.INTER_AREA
        )
    return canvas


def crop_canvas(
    photo: np.ndarray, square: tuple[float, float, float], image_size: int
) -> np.ndarray:
    """Cuts a canvas out of a photo.

    Args:
        photo: [H, W, 3] uint8 (or float32).
        square: (left, top, side) from `canvas_square`.
        image_size: side S of the canvas in pixels.

    Returns:
        [S, S, 3] of the photo's dtype.
    """
    return warp_canvas(photo, square_matrix(square, image_size), image_size)
