"""Reenactment: another expression and another turn of the head, by landmarks.

A face's control points follow its five landmarks. An expression moves them; a
thin-plate spline carries the move over the face, to nothing at a ring around it. What
an opened mouth shows, the dark inside and a row of teeth, is painted in. All units are
those of faces, see `mesh`.
"""

from __future__ import annotations

import functools

import numpy as np

from faketagger_tf.manipulations import mesh
from faketagger_tf.photos.canvas import LANDMARKS

# What an expression is made of, each from -1 (mouth: 0) to 1.
EXPRESSION = ("mouth", "smile", "brows", "eyes", "gaze", "turn", "nod")
MOUTH, TURN, NOD = (EXPRESSION.index(n) for n in ("mouth", "turn", "nod"))

# Nothing moves at the ring and beyond it: an ellipse, its middle and half axes.
RING_MIDDLE, RING_AXES, RING_POINTS = (0.5, 0.55), (0.74, 0.86), 16
FADE = 0.2  # Share of the ring's radius over which the move falls to nothing.
TURN_SHIFT, NOD_SHIFT = 0.09, 0.07  # Of what lies at depth 1, at full turn.

# Control points: place, the landmarks that it follows (left eye, right eye, nose, left
# and right corner of the mouth), depth, and what moves it at full amount: (name, x, y).
# Those on the left are given; the right ones mirror them.
_LEFT, _NOSE, _MOUTH = (1, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0.5, 0.5)
_CORNER = (0, 0, 0, 1, 0)
_SIDE = (
    ((0.18, 0.26), _LEFT, 0.3, (("brows", 0, -0.035),)),
    ((0.30, 0.22), _LEFT, 0.45, (("brows", 0, -0.05),)),
    ((0.42, 0.25), _LEFT, 0.6, (("brows", 0, -0.05),)),
    ((0.22, 0.355), _LEFT, 0.4, ()),
    ((0.38, 0.36), _LEFT, 0.65, ()),
    ((0.30, 0.322), _LEFT, 0.55, (("eyes", 0, -0.018), ("smile", 0, 0.004))),
    ((0.30, 0.384), _LEFT, 0.55, (("eyes", 0, 0.010), ("smile", 0, -0.012))),
    ((0.30, 0.352), _LEFT, 0.55, (("gaze", 0.03, 0),)),
    ((0.42, 0.60), _NOSE, 0.8, (("smile", -0.008, -0.004),)),
    ((0.20, 0.66), (0.5, 0, 0, 0.5, 0), 0.3, (("smile", -0.008, -0.02),)),
    (
        (0.335, 0.812),
        _CORNER,
        0.55,
        (("smile", -0.045, -0.04), ("mouth", 0.012, 0.012)),
    ),
    ((0.25, 0.95), _CORNER, 0.2, (("mouth", 0, 0.03),)),
)
_MIDDLE = (
    ((0.50, 0.42), (0.25, 0.25, 0.5, 0, 0), 0.75, ()),
    ((0.50, 0.579), _NOSE, 1.0, ()),
    ((0.50, 0.772), _MOUTH, 0.8, (("mouth", 0, -0.012), ("smile", 0, -0.008))),
    ((0.50, 0.862), _MOUTH, 0.8, (("mouth", 0, 0.06), ("smile", 0, -0.008))),
    ((0.50, 1.04), _MOUTH, 0.6, (("mouth", 0, 0.055),)),
)

# The inside of an opened mouth at full amount: its middle, half axes, and colours as
# shares of the face's brightness.
INNER_MIDDLE, INNER_AXES, INNER_DROP = (0.5, 0.818), (0.10, 0.042), 0.022
INNER_COLOUR, TEETH_COLOUR = (0.30, 0.10, 0.11), (1.25, 1.2, 1.12)
TEETH, SOFT = 0.38, 0.22  # Share of the height that is teeth; softness of the border.


def _mirrored(entry):
    (x, y), (a, b, nose, c, d), depth, moves = entry
    # A gaze goes the same way with both eyes.
    moves = tuple((n, dx if n == "gaze" else -dx, dy) for n, dx, dy in moves)
    return (1 - x, y), (b, a, nose, d, c), depth, moves


@functools.cache
def _controls() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places [K, 2], what they follow [K, 5], and moves [K, 2, 7] at full amount."""
    points = [*_SIDE, *map(_mirrored, _SIDE), *_MIDDLE]
    places = np.array([place for place, *_ in points])
    follows = np.array([follow for _, follow, *_ in points], float)
    moves = np.zeros([len(points), 2, len(EXPRESSION)])
    for move, (_, _, depth, parts) in zip(moves, points, strict=True):
        for name, x, y in parts:
            move[:, EXPRESSION.index(name)] += x, y
        move[0, TURN], move[1, NOD] = TURN_SHIFT * depth, NOD_SHIFT * depth
    return places, follows, moves


def expression_field(
    places: np.ndarray, landmarks: np.ndarray = LANDMARKS
) -> np.ndarray:
    """Moves of places at full amount of each part of an expression.

    Args:
        places: [P, 2].
        landmarks: [5, 2] of the face.

    Returns:
        float32 [P, 2, 7]; `field @ amounts` is the move. What lies at a place after
        the move was at the place less the move before it.
    """
    points, follows, moves = _controls()
    points = points + follows @ (np.asarray(landmarks) - LANDMARKS)
    angles = 2 * np.pi * np.arange(RING_POINTS) / RING_POINTS
    ring = np.stack([np.cos(angles), np.sin(angles)], 1) * RING_AXES + RING_MIDDLE
    weights = mesh.thin_plate_weights(np.concatenate([points, ring]), places)
    field = weights[:, : len(points)] @ moves.reshape(len(points), -1)
    radius = np.hypot(*((places - np.array(RING_MIDDLE)) / RING_AXES).T)
    fade = np.clip((1 - radius) / FADE, 0, 1)
    fade = fade * fade * (3 - 2 * fade)
    return (
        (fade[:, None] * field)
        .reshape(len(places), *moves.shape[1:])
        .astype(np.float32)
    )


def paint_mouth(xp, places, amounts, brightness, landmarks=LANDMARKS):
    """The inside of the mouth and where it is seen.

    Args:
        xp: numpy or keras.ops.
        places: float32 [P, 2], constant.
        amounts: [B, 7].
        brightness: [B], mean of the face, white being 1.
        landmarks: [5, 2] of the face.

    Returns:
        (colours [B, P, 3] in [0, 1], weights [B, P, 1] in [0, 1]).
    """
    offset = np.asarray(landmarks)[3:].mean(0) - LANDMARKS[3:].mean(0)
    amounts = xp.reshape(amounts, [-1, len(EXPRESSION), 1])
    opened, turn, nod = amounts[:, MOUTH], amounts[:, TURN], amounts[:, NOD]
    x = places[None, :, 0] - (INNER_MIDDLE[0] + offset[0]) - 0.8 * TURN_SHIFT * turn
    middle = INNER_MIDDLE[1] + offset[1] + INNER_DROP * opened
    y = places[None, :, 1] - middle - 0.8 * NOD_SHIFT * nod
    height = INNER_AXES[1] * xp.maximum(opened, 0.02)
    across, down = x / INNER_AXES[0], y / height
    radius = xp.sqrt(across * across + down * down + 1e-6)
    weights = xp.clip((1 - radius) / SOFT, 0.0, 1.0)
    # A mouth that hardly opens shows nothing.
    weights = weights * xp.clip(opened / 0.15, 0.0, 1.0)
    teeth = xp.clip((2 * TEETH - 1 - down) / SOFT + 0.5, 0.0, 1.0)[..., None]
    colours = teeth * np.array(TEETH_COLOUR, np.float32)
    colours = colours + (1 - teeth) * np.array(INNER_COLOUR, np.float32)
    colours = xp.clip(colours * xp.reshape(brightness, [-1, 1, 1]), 0.0, 1.0)
    return colours, weights[..., None]


@functools.cache
def canvas_places(side: int) -> np.ndarray:
    """Centres of a canvas's pixels in face units: float32 [side * side, 2]."""
    row, column = np.mgrid[:side, :side] + 0.5
    pixels = np.stack([column, row], -1).reshape(-1, 2) / side
    return ((pixels - 0.5) * mesh.CANVAS_SCALE + 0.5).astype(np.float32)


@functools.cache
def canvas_field(side: int) -> np.ndarray:
    """`expression_field` of a canvas in its pixels: float32 [side * side, 2, 7]."""
    return expression_field(canvas_places(side)) * (side / mesh.CANVAS_SCALE)
