"""Reads the tags of a clip: many looks at one message, added up.

A trained decoder's logits are log-likelihood ratios of the bits, and those of several
looks add. A look's logits are large where the decoder is sure and small where a frame
is blurred, coded badly or hidden: its size is its weight. It is limited to `LIMIT`
times the median of the track's looks so far, so that no single frame decides. Only the
size of the logits is used, never their signs, so that the weights favour no message.

A deepfake moves the landmarks of a face, and it moves them alike in all frames. A track
whose sum does not read is therefore searched as a face of a photo is, the same places
in a few of its looks at once; see `tagging.search`.

A sum is decoded once, and compared with the payloads that were issued where they are
given. Frames of one clip are not independent: an untagged face looks alike in all of
them, so that their sum is about as surprising as one frame, and not less. The p-value
is therefore that of one face in a photo, whose calibration allows for the search
(`messages.presence`), times `CHANCES`: untagged tracks were measured to be as
surprising two to three times as often as photos (docs/video.md).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np

from faketagger_tf.messages.registered import PayloadIndex
from faketagger_tf.photos import warp_canvas
from faketagger_tf.tagging.search import WAYS, Canvas, rank, search
from faketagger_tf.tagging.tagger import FPR, Reading, Tagger, with_nearest
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tag import clip_tracker, track_canvas
from faketagger_tf.video.tracks import Track

EVERY = 5  # Frames from one look to the next.
CHANCES = 4  # Times as often an untagged track may look like a tag as a photo may.
LIMIT = 2.0  # Largest weight of a look, as a multiple of the median.
KEPT = 8  # Looks of a track that are kept as pictures, for a search; at least half.
SEARCHED = 2  # Of them, those with which places are looked for.
# A kept look shows so many canvases each way, around the track's own, which the search
# does not leave; and it has so many pixels for one of the canvas.
WIDE, DENSE = 1.4, 2


@dataclasses.dataclass(frozen=True)
class TrackReading:
    """What was read from one track of a clip.

    Attributes:
        track: its number, see `tracks.Track`.
        face: it is a face, and not the centred square.
        start, end: seconds from the clip's first frame.
        looks: frames whose logits were added.
        reading: of their sum; its places are those of the last look, and its p-values
            those of a track, `CHANCES` times those of a photo.
    """

    track: int
    face: bool
    start: float
    end: float
    looks: int
    reading: Reading


class _Looks:
    """The looks at a track: logits of each of the `WAYS`, and some pictures."""

    def __init__(self, time: float):
        self.start = self.end = time
        self.canvases: list[Canvas] = []
        self.pictures: list[np.ndarray] = []
        self._logits: list[np.ndarray] = []
        self._step = 1

    def __len__(self) -> int:
        return len(self._logits)

    def add(self, time: float, logits: np.ndarray, canvases: list[Canvas]) -> None:
        self.end, self.canvases = time, canvases
        self._logits.append(logits)

    def keep(self, make_picture: Callable[[], np.ndarray]) -> None:
        """Keeps pictures of some looks, evenly from the first to the last."""
        if (len(self) - 1) % self._step:
            return
        if len(self.pictures) == KEPT:
            self.pictures, self._step = self.pictures[::2], 2 * self._step
            if (len(self) - 1) % self._step:
                return
        self.pictures.append(make_picture())

    def total(self) -> np.ndarray:
        return combine(np.stack(self._logits))


def combine(looks: np.ndarray) -> np.ndarray:
    """Adds the logits of looks, `[looks, ways, L]`, to `[ways, L]`.

    Example:
        >>> looks = np.array([[[1.0, -1.0]], [[1.0, -1.0]], [[-9.0, 9.0]]])
        >>> combine(looks)
        array([[0., 0.]])
    """
    sizes = np.sqrt(np.mean(np.square(looks), axis=2, keepdims=True))
    limit = LIMIT * np.median(sizes, axis=0, keepdims=True)
    return np.sum(looks * np.minimum(1.0, limit / np.maximum(sizes, 1e-9)), axis=0)


class ClipReader:
    """Reads the frames of one clip.

    Args:
        tagger: whose decoder looks.
        every: frames from one look to the next.
        fpr: largest p-value of a reading that is found, per track.
        payloads: those that were issued, from `Tagger.index`. A sum that is near enough
            to one is found, too, as for `Tagger.examine`.
        quick: search no further where a track's sum does not read.

    Example:
        >>> reader = ClipReader(tagger, every=1)
        >>> tagged = tagger.embed(photo, 0x1F2E3D4C)
        >>> for index in range(3):
        ...     _ = reader.look(Frame(index, index, index / 25, tagged))
        >>> (track,) = reader.readings()
        >>> hex(track.reading.payload), track.looks
        ('0x1f2e3d4c', 3)
    """

    def __init__(
        self,
        tagger: Tagger,
        every: int = EVERY,
        fpr: float = FPR,
        payloads: PayloadIndex | None = None,
        quick: bool = False,
    ):
        self.tagger, self._quick = tagger, quick
        self.tracker = clip_tracker(tagger, every)
        self._fpr, self._payloads = fpr / CHANCES, payloads
        self._open: dict[int, _Looks] = {}
        self._closed: dict[int, TrackReading] = {}

    def look(self, frame: Frame) -> list[Track]:
        """Takes the next frame; returns its tracks."""
        tracks = self.tracker.follow(frame.pixels)
        # What a track holds is let go when it ends, so that memory does not grow.
        for number in set(self._open) - {track.number for track in tracks}:
            self._closed[number] = self._read(number, self._open.pop(number))
        seen = [track for track in tracks if track.seen or track.points is None]
        if not self.tracker.searched or not seen:
            return tracks
        size = self.tagger.config.image_size
        canvases = [track_canvas(self.tagger, track, frame.pixels) for track in seen]
        ways = [[canvas, canvas.mirror(size)] for canvas in canvases]
        logits = self.tagger.logits_at(frame.pixels, [w for pair in ways for w in pair])
        logits = logits.reshape(len(seen), WAYS, -1)
        for track, looked, pair in zip(seen, logits, ways, strict=True):
            looks = self._open.setdefault(track.number, _Looks(frame.time))
            looks.add(frame.time, looked, pair)
            looks.keep(functools.partial(self._picture, frame.pixels, pair[0]))
        return tracks

    def readings(self) -> list[TrackReading]:
        """What the looks say so far: one reading per track, in order of time."""
        now = {
            number: self._read(number, looks) for number, looks in self._open.items()
        }
        return [row for _, row in sorted((self._closed | now).items())]

    def _read(self, number: int, looks: _Looks) -> TrackReading:
        """Reads the sum of a track's looks, and searches it if that says nothing."""
        seen = self.tagger.readings_of(
            looks.total(), looks.canvases, self._fpr, self._payloads
        )
        best = min(seen, key=rank)
        if not best.found:
            found, more = self._search(looks)
            best, seen = min(best, found, key=rank), seen + more
        if self._payloads is not None:
            best = with_nearest(best, seen)
        best = _of_a_track(best)
        face = looks.canvases[0].face is not None
        return TrackReading(number, face, looks.start, looks.end, len(looks), best)

    def _search(self, looks: _Looks) -> tuple[Reading, list[Reading]]:
        """The best reading near a track's own place, and all that there are."""
        size = self.tagger.config.image_size
        few = looks.pictures[:: -(-len(looks.pictures) // SEARCHED)]
        seen: list[Reading] = []

        def read(pictures, canvases, tight=False) -> list[Reading]:
            logits = [self.tagger.logits_at(p, canvases, tight) for p in pictures]
            total = combine(np.stack(logits))
            seen.extend(
                self.tagger.readings_of(total, canvases, self._fpr, self._payloads)
            )
            return seen[-len(canvases) :]

        last = looks.canvases[0]
        own = dataclasses.replace(last, matrix=_from_wide(size))
        best = search(
            few[0],
            own,
            size,
            lambda _, where, __, tight: read(few, where, tight),
            self._quick,
        )
        if len(looks.pictures) > len(few):
            # The place was found with a few looks, and the others know it no better.
            best = min(best, *read(looks.pictures, [best.canvas]), key=rank)
        return _moved(best, _square(own.matrix), _square(last.matrix), size), seen

    def _picture(self, pixels: np.ndarray, canvas: Canvas) -> np.ndarray:
        """What a frame shows on and around a canvas, as the search looks at it."""
        size = self.tagger.config.image_size
        matrix = np.linalg.inv(_square(_from_wide(size))) @ _square(canvas.matrix)
        side = round(WIDE * DENSE * size)
        return warp_canvas(pixels, matrix[:2], side, self.tagger.config.outside)


def _of_a_track(reading: Reading) -> Reading:
    """The same reading with the p-values of a track instead of those of a photo."""
    told = {"p_value": min(1.0, CHANCES * reading.p_value)}
    if reading.registered_p_value is not None:
        told["registered_p_value"] = min(1.0, CHANCES * reading.registered_p_value)
    return dataclasses.replace(reading, **told)


def _from_wide(size: int) -> np.ndarray:
    """Matrix 2x3 from a kept picture's pixels to its own canvas."""
    margin = (WIDE - 1) / 2 * size
    return np.array([[1 / DENSE, 0, -margin], [0, 1 / DENSE, -margin]])


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])


def _moved(reading: Reading, own, last, size: int) -> Reading:
    """A reading of kept pictures, in the frame of the last look."""
    canvas = reading.canvas
    matrix = _square(canvas.matrix) @ np.linalg.inv(own) @ last
    canvas = dataclasses.replace(canvas, matrix=matrix[:2])
    corners = canvas.corners(size)
    box = reading.box
    if canvas.face is None:
        low, high = corners.min(0), corners.max(0)
        box = tuple(float(value) for value in (*low, *(high - low)))
    return dataclasses.replace(reading, canvas=canvas, corners=corners, box=box)


def read_frames(
    tagger: Tagger,
    frames: Iterable[Frame],
    every: int = EVERY,
    fpr: float = FPR,
    payloads: PayloadIndex | None = None,
    quick: bool = False,
) -> list[TrackReading]:
    """Reads a clip's frames to their end; see `ClipReader`."""
    reader = ClipReader(tagger, every, fpr, payloads, quick)
    for frame in frames:
        reader.look(frame)
    return reader.readings()
