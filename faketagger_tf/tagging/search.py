"""Where a face's tag is looked for: a list of places, each looked at once.

Landmarks move when a photo is compressed, shrunk or given another face, and the canvas
moves with them. A face whose tag does not read where its canvas lies is therefore read
at `PLACES` places: each way, as the photo is and mirrored,

- at the canvas itself, whole and *tight*: what surrounds the face may be lost to a
  crop, or black after a turn;
- on a coarse grid: scaled and turned, shifted, and a few of both;
- a half step around the best two of the grid.

Each place is another chance for noise to look like a tag, so that their number is part
of the p-value; see `messages.presence`.

A photo without a face that stands upright beyond doubt may lie on its side or stand on
its head: it is looked at in all `DIRECTIONS`. That multiplies the places of this photo,
and so the p-value of everything read in it; other photos pay nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from faketagger_tf.photos.faces import Face

TIGHT = 0.625  # Side of what a tight reading looks at, as a share of the canvas.
GREY = 0.5  # What it paints the rest, as the manipulation `facecrop` does in training.
# Steps of the grid. A deepfake's landmarks turn the canvas by up to 4 degrees and scale
# it by up to 7% (docs/training-log.md), and shift it by 2 pixels of 128 only.
_SHIFT, _SCALE, _TURN = 0.025, 0.07, 4.5  # Share of the canvas; factor; degrees.


def _step(right: int, down: int, scale: int, turn: int, part: float = 1.0) -> tuple:
    """A step of the grid, or a part of one: what `Canvas.move` takes."""
    return (
        right * part * _SHIFT,
        down * part * _SHIFT,
        1 + scale * part * _SCALE,
        turn * part * _TURN,
    )


_SIGNS = (-1, 0, 1)
_PAIRS = [(a, b) for a in _SIGNS for b in _SIGNS if (a, b) != (0, 0)]
_SHIFTS = [(right, down, 0, 0) for right, down in _PAIRS]
_COARSE = [
    _step(*step)
    for step in (
        *((0, 0, scale, turn) for scale, turn in _PAIRS),
        *_SHIFTS,
        *((0, 0, scale, 0) for scale in (-2, 2)),
        *((0, 0, 0, turn) for turn in (-2, 2)),
        *((0, 1, scale, 0) for scale in (-1, 1)),
        *((0, 1, 0, turn) for turn in (-1, 1)),
    )
]
_FINE = [
    _step(*step, part=0.5)
    for step in (
        *_SHIFTS,
        *((0, 0, scale, 0) for scale in (-1, 1)),
        *((0, 0, 0, turn) for turn in (-1, 1)),
    )
]
_REFINED = 2  # Places of the grid around which the fine steps are tried.
WAYS = 2  # As the photo is, and mirrored.
# The canvas, its tight view, the grid and the fine steps. Where the best two of the
# grid are neighbours, some of their fine steps are one place and are looked at once.
PLACES = WAYS * (2 + len(_COARSE) + _REFINED * len(_FINE))
DIRECTIONS = 4  # In which a photo is looked at where no face stands upright.


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Where a tag lies in a photo.

    Attributes:
        matrix: float64 2x3, photo pixels to canvas pixels; one that mirrors reads the
            photo as its mirror shows it.
        face: the face it is fixed to, or None for the centred square.
        directions: in how many directions its photo is looked at; p-values are
            multiplied by it.
    """

    matrix: np.ndarray
    face: Face | None = None
    directions: int = 1

    @property
    def mirrored(self) -> bool:
        """Whether the matrix mirrors."""
        return float(np.linalg.det(self.matrix[:, :2])) < 0

    def corners(self, size: int) -> np.ndarray:
        """Corners in photo pixels, float64 [4, 2], clockwise, of a canvas of `size`.

        The first one is the canvas's top left as the photo shows it.
        """
        square = np.array([[0, 0, 1], [size, 0, 1], [size, size, 1], [0, size, 1]])
        if self.mirrored:
            square = square[[1, 0, 3, 2]]
        return square @ cv2.invertAffineTransform(self.matrix).T

    def side(self, size: int) -> float:
        """Side in photo pixels."""
        return size / math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    def mirror(self, size: int) -> Canvas:
        """The same place, read as a mirror shows it."""
        matrix = self.matrix * [[-1.0], [1.0]]
        matrix[0, 2] += size
        return dataclasses.replace(self, matrix=matrix)

    def move(
        self, size: int, right: float, down: float, scale: float, turn: float
    ) -> Canvas:
        """Moves a canvas by shares of its side, a factor and degrees."""
        cosine = math.cos(math.radians(turn)) / scale
        sine = math.sin(math.radians(turn)) / scale
        step = np.array([[cosine, -sine], [sine, cosine]])
        matrix = step @ self.matrix
        middle = np.array([size / 2, size / 2])
        matrix[:, 2] += middle - step @ (middle + np.array([right, down]) * size)
        return dataclasses.replace(self, matrix=matrix)


def tight_view(canvases: np.ndarray, outside: str = "repeat") -> np.ndarray:
    """Paints all but the middle of canvases, float32 `[N, S, S, 3]` in [0, 1].

    Grey, or black for a tagger whose canvases are black outside of the photo.
    """
    size = canvases.shape[1]
    length = 2 * round(size * TIGHT / 2)
    inside = slice((size - length) // 2, (size - length) // 2 + length)
    view = np.full_like(canvases, 0.0 if outside == "black" else GREY)
    view[:, inside, inside] = canvases[:, inside, inside]
    return view


def rank(reading):
    """Sorts readings: those that may be found first, then the most surprising."""
    return not reading.found, -reading.surprise


def search(
    photo: np.ndarray,
    canvas: Canvas,
    size: int,
    read: Callable[[np.ndarray, list[Canvas], int, bool], list[Any]],
):
    """Reads a face at its places until its tag is found.

    The canvas itself comes first, both ways, so that a photo whose landmarks have not
    moved is read at once; the grid comes last.

    Args:
        photo: uint8 [H, W, 3].
        canvas: the face's.
        size: side of the canvas in pixels.
        read: (photo, canvases, factor, tight) -> readings with `found`, `surprise` and
            `canvas`. The photo is the given one or one `factor` times smaller; the
            canvases lie in the given one.

    Returns:
        The first reading that is found, else the most surprising one.
    """
    ways = [canvas, canvas.mirror(size)]
    whole, best = [], []
    for way in ways:
        for tight in (False, True):
            (reading,) = read(photo, [way], 1, tight)
            if reading.found:
                return reading
            best.append(reading)
        whole.append(best[-2])
    factor = _factor(canvas, size)
    small = _shrink(photo, factor)
    for way, middle in zip(ways, whole, strict=True):
        coarse = [way.move(size, *step) for step in _COARSE]
        grid = [middle, *read(small, coarse, factor, False)]
        tops = sorted(grid, key=rank)[:_REFINED]
        fine = _distinct(
            [top.canvas.move(size, *step) for top in tops for step in _FINE], size
        )
        found = min(grid + read(small, fine, factor, False), key=rank)
        if found.found:
            return found
        best.append(found)
    return min(best, key=rank)


def _distinct(canvases: list[Canvas], size: int) -> list[Canvas]:
    """Leaves out places that are there already, to 1/10,000 of a canvas."""
    places = {}
    for canvas in canvases:
        corners = canvas.corners(size) / canvas.side(size)
        places.setdefault(tuple(np.rint(10_000 * corners).ravel()), canvas)
    return list(places.values())


def _factor(canvas: Canvas, size: int) -> int:
    """How many times a photo may be shrunk for a search, which reads it many times.

    At least four pixels a side are left for each of the canvas.
    """
    return max(1, int(canvas.side(size) / size / 4))


def _shrink(photo: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return photo
    height, width = (length // factor for length in photo.shape[:2])
    return cv2.resize(
        photo[: height * factor, : width * factor],
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
