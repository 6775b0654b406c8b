"""Meshes on a face's landmarks, and the warps that move them.

Points are (x, y). A face's own units are those of `photos.canvas.LANDMARKS`: its box is
[0, 1] x [0, 1], and a canvas shows the square of `CANVAS_SCALE` boxes about its middle.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from faketagger_tf.photos.canvas import LANDMARKS

CANVAS_SCALE = 1.9  # Boxes that a canvas shows, as the shipped taggers have it.
# What a graphics swap exchanges: from above the brows to the chin, from temple to
# temple; an ellipse in face units, its middle and half axes, and its number of corners.
HULL_MIDDLE, HULL_AXES, HULL_CORNERS = (0.5, 0.56), (0.42, 0.50), 16


def _ellipse(middle, axes, corners: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(corners) / corners
    return middle + np.stack([np.cos(angles), np.sin(angles)], 1) * axes


HULL = _ellipse(HULL_MIDDLE, HULL_AXES, HULL_CORNERS)


def to_canvas(points: np.ndarray, side: int) -> np.ndarray:
    """Face units -> continuous canvas pixels (pixel i covers [i, i + 1))."""
    return ((points - 0.5) / CANVAS_SCALE + 0.5) * side


def mesh_points(landmarks: np.ndarray) -> np.ndarray:
    """The five landmarks, then the hull, which follows them by the best affine map.

    Args:
        landmarks: [5, 2] in any units.

    Returns:
        float64 [5 + HULL_CORNERS, 2] in the same units.
    """
    landmarks = np.asarray(landmarks, np.float64)
    ones = np.ones([5, 1])
    fit, *_ = np.linalg.lstsq(np.hstack([LANDMARKS, ones]), landmarks, rcond=None)
    hull = np.hstack([HULL, np.ones([len(HULL), 1])]) @ fit
    return np.concatenate([landmarks, hull])


@functools.cache
def mesh_triangles() -> np.ndarray:
    """Delaunay triangles of the mesh as drawn on the template: int [T, 3]."""
    points = np.concatenate([LANDMARKS, HULL]).astype(np.float32)
    division = cv2.Subdiv2D((-1, -1, 3, 3))
    for x, y in points:
        division.insert((float(x), float(y)))
    triangles = []
    for corners in division.getTriangleList().reshape(-1, 3, 2):
        apart = np.abs(points[None] - corners[:, None]).max(-1)
        # The subdivision also lists triangles with its own far corners.
        if apart.min(1).max() < 1e-5:
            triangles.append(apart.argmin(1))
    return np.array(triangles)


def piecewise_affine_map(
    target: np.ndarray, source: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Where in a source every pixel of a target comes from, triangle by triangle.

    Args:
        target, source: [K, 2] of `mesh_points`, continuous pixels of each picture.
        height, width: of the target.

    Returns:
        float32 [height, width, 2], continuous (x, y) in the source for the centre of
        each pixel; NaN outside of the mesh.
    """
    found = np.full([height, width, 2], np.nan, np.float32)
    for corners in mesh_triangles():
        triangle = target[corners]
        low = np.floor(triangle.min(0) - 0.5).astype(int)
        high = np.ceil(triangle.max(0) + 0.5).astype(int)
        left, top = np.clip(low, 0, (width, height))
        right, bottom = np.clip(high, 0, (width, height))
        if right <= left or bottom <= top:
            continue
        system = np.vstack([triangle.T, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-9:  # Folded flat.
            continue
        inverse = np.linalg.inv(system)
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        weights = np.stack([x, y, np.ones_like(x)], -1) @ inverse.T
        inside = (weights > -1e-9).all(-1)
        part = found[top:bottom, left:right]
        part[inside] = (weights @ source[corners])[inside]
    return found


def hull_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [height, width], 255 inside the hull of `mesh_points` in pixels."""
    mask = np.zeros([height, width], np.uint8)
    corners = np.rint((points[5:] - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 255, cv2.LINE_8, 4)
    return mask


def thin_plate_weights(controls: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Thin-plate spline through control points, as weights of their values.

    Args:
        controls: [K, 2], no three on one line alone.
        places: [P, 2].

    Returns:
        float64 [P, K]: `weights @ values` is the spline at the places; values of an
        affine function are met everywhere (Bookstein 1989).
    """
    count = len(controls)
    system = np.zeros([count + 3, count + 3])
    system[:count, :count] = _radial(controls, controls)
    system[:count, count:] = np.hstack([np.ones([count, 1]), controls])
    system[count:, :count] = system[:count, count:].T
    inverse = np.linalg.inv(system)[:, :count]
    basis = np.hstack(
        [_radial(places, controls), np.ones([len(places), 1]), np.asarray(places)]
    )
    return basis @ inverse


def _radial(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    squares = ((first[:, None] - second[None]) ** 2).sum(-1)
    return squares * np.log(np.maximum(squares, 1e-300)) / 2
