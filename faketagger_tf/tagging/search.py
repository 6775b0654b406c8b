"""Where a face's tag is looked for: a list of places, each looked at once.

Landmarks move when a photo is compressed, shrunk or given another face, and the canvas
moves with them. A face whose tag does not read where its canvas lies is therefore read
at `PLACES` places:

- at the canvas itself, whole and *tight* (what surrounds the face may be lost to a
  crop, or black after a turn), as the photo is and as a mirror shows it;
- on a grid around it, in rings of growing distance: scaled, turned, shifted, and at
  most two or three of these at once;
- uphill from the best three of the grid, in half and quarter steps;
- as a mirror shows it on the grid's first rings. A mirror hardly moves landmarks.

Everyday copies move a canvas by less than 1 pixel of 128, 2% and 1 degree. A deepfake
moves it by up to 7%, 4 degrees and 3 pixels, one from hairline to chin by twice that
(nine in ten, docs/training-log.md): the grid is made for these.

Each place is another chance for noise to look like a tag, so that their number is part
of the p-value; see `messages.presence`.

A photo without a face that stands upright beyond doubt may lie on its side or stand on
its head: it is looked at in all `DIRECTIONS`. That multiplies the places of this photo,
and so the p-value of everything read in it; other photos pay nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from faketagger_tf.photos.canvas import middle_mask
from faketagger_tf.photos.faces import Face

# What a tight reading paints around the middle, as the manipulation `facecrop` does in
# training.
GREY = 0.5
_SHIFT, _SCALE, _TURN = 0.025, 0.07, 4.5  # Share of the canvas; factor; degrees.
Step = tuple[float, float, float, float]  # What `Canvas.move` takes.


def _step(right: float, down: float, scale: float, turn: float) -> Step:
    """So many steps of the grid."""
    return right * _SHIFT, down * _SHIFT, 1 + scale * _SCALE, turn * _TURN


def _make_rings() -> list[list[Step]]:
    """The grid by distance. A step of scale counts half: scale moves most."""
    rings: dict[float, list[Step]] = {}
    one, two = (0, -1, 1), (0, -1, 1, -2, 2)
    for scale, turn, down, right in itertools.product(two, two, one, one):
        away = abs(scale) / 2 + abs(turn) + abs(down) + abs(right)
        if 0 < away <= 2.5:
            rings.setdefault(away, []).append(_step(right, down, scale, turn))
    return [rings[away] for away in sorted(rings)]


_RINGS = _make_rings()
_CLIMBS = 3  # Places of the grid from which a tag is climbed to.
_STRIDES = (0.5, 0.5, 0.25)  # Of a climb, in steps of the grid, one after the other.
_AROUND = [
    tuple(sign * (axis == other) for other in range(4))
    for axis in range(4)
    for sign in (1, -1)
]
WAYS = 2  # As the photo is, and mirrored.
_MIRRORED_RINGS = 2  # That are looked at as a mirror shows the photo.
# The canvas and its tight view, both ways; the grid; the climbs; the mirrored rings.
# Where two climbs meet, what has been looked at is not looked at again.
PLACES = (
    WAYS * 2
    + sum(map(len, _RINGS))
    + _CLIMBS * len(_STRIDES) * len(_AROUND)
    + sum(map(len, _RINGS[:_MIRRORED_RINGS]))
)
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
    paint = np.float32(0.0 if outside == "black" else GREY)
    return np.where(middle_mask(canvases.shape[1]) > 0, canvases, paint)


def rank(reading):
    """Sorts readings: those that may be found first, then the most surprising."""
    return not reading.found, -reading.surprise


def search(
    photo: np.ndarray,
    canvas: Canvas,
    size: int,
    read: Callable[[np.ndarray, list[Canvas], int, bool], list[Any]],
    quick: bool = False,
):
    """Reads a face at its places until its tag is found.

    The canvas itself comes first, both ways, so that a photo whose landmarks have not
    moved is read at once; then the grid, ring by ring.

    Args:
        photo: uint8 [H, W, 3].
        canvas: the face's.
        size: side of the canvas in pixels.
        read: (photo, canvases, factor, tight) -> readings with `found`, `surprise` and
            `canvas`. The photo is the given one or one `factor` times smaller; the
            canvases lie in the given one.
        quick: look at the canvas itself alone, whole and tight, both ways.

    Returns:
        The first reading that is found, else the most surprising one.
    """
    whole, tight = [], []
    for way in (canvas, canvas.mirror(size)):
        for views, is_tight in ((whole, False), (tight, True)):
            views += read(photo, [way], 1, is_tight)
            if views[-1].found:
                return views[-1]
    if quick:
        return min([*whole, *tight], key=rank)
    factor = _factor(canvas, size)
    small = _shrink(photo, factor)

    def look(canvases: list[Canvas], seen: list[Any]) -> bool:
        """Reads canvases; whether a tag is found in one of them."""
        readings = read(small, canvases, factor, False)
        seen += readings
        return any(reading.found for reading in readings)

    straight, mirrored = whole[:1], whole[1:]
    for ring in _RINGS:
        if look([canvas.move(size, *step) for step in ring], straight):
            return min(straight, key=rank)
    known = {_key(reading.canvas, size) for reading in straight}
    for top in sorted(straight, key=rank)[:_CLIMBS]:
        for stride in _STRIDES:
            steps = (_step(*(stride * part for part in one)) for one in _AROUND)
            around = {
                _key(c, size): c for c in (top.canvas.move(size, *s) for s in steps)
            }
            new = [place for key, place in around.items() if key not in known]
            known |= around.keys()
            if new and look(new, straight):
                return min(straight, key=rank)
            top = min([top, *straight[len(straight) - len(new) :]], key=rank)
    way = canvas.mirror(size)
    for ring in _RINGS[:_MIRRORED_RINGS]:
        if look([way.move(size, *step) for step in ring], mirrored):
            break
    return min([*straight, *mirrored, *tight], key=rank)


def _key(canvas: Canvas, size: int) -> tuple[float, ...]:
    """What tells places apart, to 1/10,000 of a canvas."""
    corners = canvas.corners(size) / canvas.side(size)
    return tuple(np.rint(10_000 * corners).ravel())


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
