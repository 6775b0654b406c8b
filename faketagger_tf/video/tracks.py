"""Follows the faces of a clip, so that a canvas sits still on its face.

Faces are found in every `every`-th frame. From frame to frame a face's landmarks are
moved by the similarity that its pixels move by (pyramidal Lucas-Kanade, Bouguet 2000,
and RANSAC); what a detection says beyond that is worked in over the frames that follow,
`GAIN` of it: a detector's landmarks tremble, a face does not. A cut, which shows as
another histogram, ends all tracks. Where no face has been seen for a while the centred
square is a track.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import cv2
import numpy as np

from faketagger_tf.photos import LANDMARKS, similarity_from_landmarks
from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.tagging.search import Canvas

EVERY = 5  # Frames from one detection to the next.
GAIN = 0.5  # Share of a detection's deviation that is believed.
MISSES = 3  # Detections that may miss a face before its track ends.
FADE = 8  # Frames over which a track that begins or ends within a shot fades.
# Of the pixels, the share that must change their place in the histogram for a cut.
# Neighbouring frames of a shot differ by a few per cent, of a quick pan by up to 15.
CUT = 0.4
_SMALL = 480  # Longer side of the copy in which motion is followed.
_POINTS = 8  # Points each way, on a grid over the face, whose motion is followed.
_BINS = 16
# A detection belongs to a track if its middle lies within this share of the face's side
# and its size within this factor.
_NEAR, _ALIKE = 0.6, 1.7


@dataclasses.dataclass
class Track:
    """A face, or the centred square, through the frames of one shot.

    Attributes:
        number: tells tracks of a clip apart; from 1 on.
        points: float64 [5, 2], the landmarks in pixels of the present frame, in the
            proportions of `photos.LANDMARKS`; None for the centred square.
        first, last: indices of the frames from and up to which it has been seen.
        weight: 0 to 1, how much of it is shown; rises and falls by 1 / `FADE` a frame.
        seen: the present frame was searched, and shows it.
        confidence: the detector's, when it was seen last.
        ends: it is fading out.
    """

    number: int
    points: np.ndarray | None
    first: int
    last: int
    weight: float = 1.0
    seen: bool = True
    confidence: float = 1.0
    ends: bool = False
    _misses: int = 0
    _correction: np.ndarray | float = 0.0

    @property
    def side(self) -> float:
        """Side of the face's box in pixels."""
        return _side(self.points)

    def face(self) -> Face | None:
        """The face where it is now, as `Tagger` takes it."""
        if self.points is None:
            return None
        left, top = self.points.mean(0) - self.side * LANDMARKS.mean(0)
        box = (float(left), float(top), self.side, self.side)
        return Face(box, self.points.copy(), self.confidence)

    def canvas(self, size: int, scale: float) -> Canvas:
        """Its canvas, for a face; see `photos.similarity_from_landmarks`."""
        matrix = similarity_from_landmarks(self.points, size, scale)
        return Canvas(matrix, self.face())


class Tracker:
    """Follows faces from frame to frame; frames are given to it one by one.

    Args:
        every: frames from one detection to the next.
        detect: photo -> faces.
        smallest: side in pixels below which a face is passed over.

    Attributes:
        shots: number of shots so far; a cut begins one.
        searched: whether faces were looked for in the present frame.

    Example:
        >>> tracker = Tracker(every=2)
        >>> [len(tracker.follow(photo)) for _ in range(3)]
        [1, 1, 1]
    """

    def __init__(
        self,
        every: int = EVERY,
        detect: Callable[[np.ndarray], list[Face]] = detect_faces,
        smallest: float = 24.0,
    ):
        self.every, self.smallest = every, smallest
        self.shots, self.searched = 0, False
        self._detect = detect
        self._tracks: list[Track] = []
        self._index = self._numbers = self._since = self._faceless = 0
        self._grey = self._histogram = None

    def follow(self, pixels: np.ndarray) -> list[Track]:
        """Takes the next frame, uint8 [H, W, 3], and returns its tracks; never empty.

        The tracks are the tracker's own and change with the next frame.
        """
        small, ratio = _shrink(pixels)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        histogram = _histogram(small)
        cut = self._histogram is None or _differ(self._histogram, histogram) > CUT
        if cut:
            self._tracks, self._since, self._faceless = [], 0, 0
            self.shots += 1
        else:
            self._move(grey, ratio)
        self._grey, self._histogram = grey, histogram
        self.searched = self._since % self.every == 0
        if self.searched:
            self._look(pixels, cut)
        self._fade()
        self._index, self._since = self._index + 1, self._since + 1
        return list(self._tracks)

    def _move(self, grey: np.ndarray, ratio: float) -> None:
        for track in self._tracks:
            if track.points is None:
                track.last = self._index
                continue
            motion = _motion(self._grey, grey, track.points * ratio)
            if motion is not None:
                moved = track.points * ratio @ motion[:, :2].T + motion[:, 2]
                track.points = moved / ratio
            track.points = track.points + track._correction
            if not track._misses:
                track.last = self._index

    def _look(self, pixels: np.ndarray, cut: bool) -> None:
        """Finds faces, and tells each track what it missed."""
        found = [_fit(face) for face in self._detect(pixels)]
        found = [face for face in found if _side(face[0]) >= self.smallest]
        faces = [track for track in self._tracks if track.points is not None]
        pairs = sorted(
            (distance, i, j)
            for i, track in enumerate(faces)
            for j, (points, _) in enumerate(found)
            if (distance := _apart(track.points, points)) < _NEAR
        )
        taken: dict[int, int] = {}
        for _, i, j in pairs:
            if i not in taken and j not in taken.values():
                taken[i] = j
        for i, track in enumerate(faces):
            track.seen = i in taken
            if track.seen:
                points, track.confidence = found[taken[i]]
                track._misses, track.ends, track.last = 0, False, self._index
                track._correction = GAIN * (points - track.points) / self.every
            else:
                track._misses += 1
                track._correction = 0.0
                track.ends = track._misses >= MISSES
        for j, (points, confidence) in enumerate(found):
            if j not in taken.values():
                self._begin(points, confidence, cut)
        self._faceless = 0 if found else self._faceless + 1
        middle = [track for track in self._tracks if track.points is None]
        for track in middle:
            track.ends = bool(found)
        alive = [track for track in self._tracks if not track.ends]
        if not alive and not middle:
            self._begin(None, 1.0, cut)

    def _begin(self, points, confidence: float, cut: bool) -> None:
        self._numbers += 1
        weight = 1.0 if cut else 0.0
        track = Track(self._numbers, points, self._index, self._index, weight)
        track.confidence = confidence
        self._tracks.append(track)

    def _fade(self) -> None:
        for track in self._tracks:
            step = -1 / FADE if track.ends else 1 / FADE
            track.weight = min(max(track.weight + step, 0.0), 1.0)
            if not self.searched:
                track.seen = False
        self._tracks = [t for t in self._tracks if t.weight > 0 or not t.ends]


def _fit(face: Face) -> tuple[np.ndarray, float]:
    """A face's landmarks in the template's proportions, and how certain it is."""
    matrix = similarity_from_landmarks(face.landmarks, 1, 1.0)
    back = cv2.invertAffineTransform(matrix)
    return LANDMARKS @ back[:, :2].T + back[:, 2], face.confidence


def _side(points: np.ndarray) -> float:
    """Side of the face's box of landmarks in the template's proportions."""
    return float(math.dist(points[0], points[1]) / (LANDMARKS[1, 0] - LANDMARKS[0, 0]))


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of two faces in shares of a side; infinite for unlike sizes."""
    sides = _side(one), _side(other)
    if max(sides) > _ALIKE * min(sides):
        return math.inf
    return math.dist(one.mean(0), other.mean(0)) / max(sides)


def _motion(before: np.ndarray, after: np.ndarray, points: np.ndarray):
    """The similarity 2x3 by which a face's pixels moved; None if that is unclear."""
    side = _side(points)
    grid = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    middle = points.mean(0)
    places = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 1, 2) * side + middle
    height, width = before.shape
    inside = ((places >= 0) & (places < (width, height))).all((1, 2))
    places = places[inside].astype(np.float32)
    if len(places) < 8:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, places, None, winSize=(15, 15), maxLevel=3
    )
    found = found.ravel() == 1
    if found.sum() < 8:
        return None
    motion, trusted = cv2.estimateAffinePartial2D(
        places[found], moved[found], ransacReprojThreshold=1.0
    )
    if motion is None or trusted.mean() < 0.4:
        return None
    scale = math.hypot(motion[0, 0], motion[1, 0])
    return motion if 0.8 < scale < 1.25 else None


def _shrink(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """A copy in which motion is followed, and its size over the frame's."""
    height, width = pixels.shape[:2]
    ratio = _SMALL / max(height, width)
    if ratio >= 1:
        return pixels, 1.0
    # Halves are averaged ten times as fast as any other share.
    while min(pixels.shape[:2]) > 1 and max(pixels.shape[:2]) >= 2 * _SMALL:
        rows, columns = (length // 2 for length in pixels.shape[:2])
        pixels = pixels[: 2 * rows, : 2 * columns]
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), ratio


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Histogram of colours, float32 summing to 1, [_BINS, 3]."""
    counts = [
        cv2.calcHist([pixels], [channel], None, [_BINS], [0, 256])
        for channel in range(3)
    ]
    counts = np.stack([np.ravel(each) for each in counts], 1)
    counts = cv2.blur(counts, (1, 3))  # A shade more is no change.
    return counts / counts.sum(0)


def _differ(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels that lie elsewhere in the histogram, of the worst channel."""
    return float(np.abs(one - other).sum(0).max() / 2)
