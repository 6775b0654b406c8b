"""Reads the tags of a clip: many looks at one message, added up.

A trained decoder's logits are log-likelihood ratios of the bits, and those of several
looks add. A look's logits are large where the decoder is sure and small where a frame
is blurred, coded badly or hidden: its size is its weight. It is limited to `LIMIT`
times the median of the track's looks so far, so that no single frame decides. Only the
size of the logits is used, never their signs, so that the weights favour no message.

The sum is decoded once, and compared with the payloads that were issued where they are
given. Frames of one clip are not independent: an untagged face looks alike in all of
them, so that their sum is about as surprising as one frame, and not less. The p-value
is therefore that of one face in a photo, whose calibration allows for a search over
many places (`messages.presence`); a track is looked at in `WAYS` only. docs/video.md
says what was measured on untagged clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from faketagger_tf.messages.registered import PayloadIndex
from faketagger_tf.tagging.search import WAYS, rank
from faketagger_tf.tagging.tagger import FPR, Reading, Tagger, with_nearest
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tag import clip_tracker, track_canvas
from faketagger_tf.video.tracks import Track

EVERY = 5  # Frames from one look to the next.
LIMIT = 2.0  # Largest weight of a look, as a multiple of the median.


@dataclasses.dataclass(frozen=True)
class TrackReading:
    """What was read from one track of a clip.

    Attributes:
        track: its number, see `tracks.Track`.
        face: it is a face, and not the centred square.
        start, end: seconds from the clip's first frame.
        looks: frames whose logits were added.
        reading: of their sum; its places are those of the last look.
    """

    track: int
    face: bool
    start: float
    end: float
    looks: int
    reading: Reading


class _Sum:
    """The logits of a track: one sum for each of the `WAYS`."""

    def __init__(self, time: float):
        self.start = self.end = time
        self.canvases, self.face = [], False
        self._looks: list[np.ndarray] = []

    def add(self, time: float, logits: np.ndarray, canvases, face: bool) -> None:
        self.end, self.canvases, self.face = time, canvases, face
        self._looks.append(logits)

    @property
    def count(self) -> int:
        return len(self._looks)

    def total(self) -> np.ndarray:
        return combine(np.stack(self._looks))


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

    Example:
        >>> reader = ClipReader(tagger, every=1)
        >>> tagged = tagger.embed(photo, 0x1F2E3D4C)
        >>> for index in range(3):
        ...     _ = reader.look(Frame(index, index, index / 25, tagged))
        >>> (track,) = reader.readings()
        >>> hex(track.reading.payload), track.looks
        ('0x1f2e3d4c', 3)
    """

    def __init__(self, tagger: Tagger, every: int = EVERY):
        self.tagger = tagger
        self.tracker = clip_tracker(tagger, every)
        self._sums: dict[int, _Sum] = {}

    def look(self, frame: Frame) -> list[Track]:
        """Takes the next frame; returns its tracks."""
        tracks = self.tracker.follow(frame.pixels)
        if not self.tracker.searched:
            return tracks
        size = self.tagger.config.image_size
        seen = [track for track in tracks if track.seen or track.points is None]
        ways = []
        for track in seen:
            canvas = track_canvas(self.tagger, track, frame.pixels)
            ways.append([canvas, canvas.mirror(size)])
        if not seen:
            return tracks
        logits = self.tagger.logits_at(frame.pixels, [w for pair in ways for w in pair])
        logits = logits.reshape(len(seen), WAYS, -1)
        for track, looked, canvases in zip(seen, logits, ways, strict=True):
            total = self._sums.setdefault(track.number, _Sum(frame.time))
            total.add(frame.time, looked, canvases, track.points is not None)
        return tracks

    def readings(
        self, fpr: float = FPR, payloads: PayloadIndex | None = None
    ) -> list[TrackReading]:
        """What the looks say so far: one reading per track, in order of time.

        Args:
            fpr: largest p-value of a reading that is found, per track.
            payloads: those that were issued, from `Tagger.index`. A sum that is near
                enough to one is found, too, as for `Tagger.examine`.
        """
        rows = []
        for number, total in sorted(self._sums.items()):
            read = self.tagger.readings_of(total.total(), total.canvases, fpr, payloads)
            best = min(read, key=rank)
            if payloads is not None:
                best = with_nearest(best, read)
            rows.append(
                TrackReading(
                    number, total.face, total.start, total.end, total.count, best
                )
            )
        return rows


def read_frames(
    tagger: Tagger,
    frames: Iterable[Frame],
    every: int = EVERY,
    fpr: float = FPR,
    payloads: PayloadIndex | None = None,
) -> list[TrackReading]:
    """Reads a clip's frames to their end; see `ClipReader`."""
    reader = ClipReader(tagger, every)
    for frame in frames:
        reader.look(frame)
    return reader.readings(fpr, payloads)
