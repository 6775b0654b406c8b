"""Tags a clip, frame by frame, such that the tag does not flicker.

A residual is drawn for one moment and carried along with its canvas; a new one is drawn
every `REFRESH` seconds and faded in. A track has one strength from its first frame to
its last: the same for all, or what `choose_track_strengths` found on a first pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from faketagger_tf.tagging.assure import check_untagged
from faketagger_tf.tagging.paste import add_residual
from faketagger_tf.tagging.promise import Choice, check_promise, choose_strengths
from faketagger_tf.tagging.search import Canvas
from faketagger_tf.tagging.tagger import MIN_CANVAS, Tagger
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tracks import Track, Tracker

REFRESH = 2.0  # Seconds from one residual of a track to the next.
BLEND = 12  # Frames over which the next one is faded in.
# Seconds after a track's beginning at which its strength is looked for: soon, since
# most shots are short, and then ever later, since a long one changes slowly.
KEY_TIMES = (0.0, 1.0, 4.0, 16.0)


@dataclasses.dataclass
class _Carried:
    """A track's residual: `old` fades into `new` from frame `since` on."""

    new: np.ndarray
    old: np.ndarray
    since: int
    time: float

    def at(self, index: int) -> np.ndarray:
        share = min((index - self.since + 1) / BLEND, 1.0)
        return share * self.new + (1 - share) * self.old


class ClipTagger:
    """Tags the frames of one clip; see `rewrite_clip`, which takes `change`.

    Args:
        tagger: whose encoder draws the residuals.
        payload: as `messages.parse_payload` accepts it; the same for all faces.
        strength: in dB, as `Tagger.check_strength` takes it: one for the whole clip,
            or each track's by its number; None, and tracks without one, take the
            tagger's own.
        retag: write over a tag that the clip carries already.

    Attributes:
        tracks: number of faces and squares that were tagged.
        faces: number of faces among them.

    Example:
        >>> clip = ClipTagger(tagger, 0x1F2E3D4C)
        >>> frames = [Frame(i, i, i / 25, photo) for i in range(3)]
        >>> tagged = list(clip.change(frames))
        >>> hex(tagger.read(tagged[2].pixels)[0].payload)
        '0x1f2e3d4c'
    """

    def __init__(
        self,
        tagger: Tagger,
        payload: int | str | bytes,
        strength: float | Mapping[int, float] | None = None,
        retag: bool = False,
    ):
        self.tagger, self.payload = tagger, payload
        each = strength if isinstance(strength, Mapping) else {}
        self._own = tagger.check_strength(None if each else strength)
        self._strengths = {n: tagger.check_strength(s) for n, s in each.items()}
        self._retag = retag
        self._numbers: set[int] = set()
        self._faces: set[int] = set()

    @property
    def tracks(self) -> int:
        return len(self._numbers)

    @property
    def faces(self) -> int:
        return len(self._faces)

    def change(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yields the frames with their tags.

        Raises:
            ValueError: the first frame carries a tag already.
        """
        tracker = clip_tracker(self.tagger)
        carried: dict[int, _Carried] = {}
        for frame in frames:
            tracks = tracker.follow(frame.pixels)
            canvases = [track_canvas(self.tagger, t, frame.pixels) for t in tracks]
            if frame.index == 0 and not self._retag:
                check_first_frame(self.tagger, frame)
            tagged = frame.pixels.copy()
            alive = {}
            for place, track in enumerate(tracks):
                residual = carried.get(track.number)
                if residual is None or frame.time - residual.time >= REFRESH:
                    residual = self._draw(frame, canvases[place], track, residual)
                alive[track.number] = residual
                change = residual.at(frame.index) * np.float32(track.weight)
                add_residual(frame.pixels, tagged, change, canvases, place)
                self._numbers.add(track.number)
                if track.points is not None:
                    self._faces.add(track.number)
            carried = alive
            yield dataclasses.replace(frame, pixels=tagged)

    def _draw(
        self, frame: Frame, canvas: Canvas, track: Track, before: _Carried | None
    ) -> _Carried:
        strength = self._strengths.get(track.number, self._own)
        (new,) = self.tagger.residuals(frame.pixels, self.payload, [canvas], strength)
        old = new if before is None else before.at(frame.index)
        return _Carried(new, old, frame.index, frame.time)


def check_first_frame(tagger: Tagger, frame: Frame) -> None:
    """Raises a ValueError if a clip's first frame carries a tag already."""
    tracks = clip_tracker(tagger).follow(frame.pixels)
    canvases = [track_canvas(tagger, track, frame.pixels) for track in tracks]
    check_untagged(tagger, frame.pixels, canvases)


def choose_track_strengths(
    tagger: Tagger,
    frames: Iterable[Frame],
    payload: int | str | bytes,
    promise: str = "web",
) -> dict[int, Choice]:
    """Finds for each track the weakest strength that keeps a promise.

    A clip's frames are passed on as a video codec leaves them, and a clip is read by
    many of them, so that a promise that each frame keeps by itself is kept with room
    to spare. It is looked for in a few frames of a track (`KEY_TIMES`), the strongest
    of which counts. Frames are followed as `ClipTagger` does, which knows the tracks by
    the same numbers on its own pass.

    Args:
        tagger: its strength must be one that can be set.
        frames: all of the clip's.
        payload: as `messages.parse_payload` accepts it.
        promise: one of `promise.PROMISES`.

    Returns:
        a choice per track; its `broken` names what any of the looks could not keep.

    Raises:
        ValueError: there is no such promise, or the strength is learned.

    Example:
        >>> frames = [Frame(i, i, i / 25, photo) for i in range(3)]
        >>> choices = choose_track_strengths(tagger, frames, 0x1F2E3D4C, "archive")
        >>> strengths = {number: each.strength for number, each in choices.items()}
        >>> clip = ClipTagger(tagger, 0x1F2E3D4C, strengths)
    """
    check_promise(tagger, promise)
    tracker = clip_tracker(tagger)
    looks: dict[int, list[Choice]] = {}
    starts: dict[int, float] = {}
    for frame in frames:
        for track in tracker.follow(frame.pixels):
            start = starts.setdefault(track.number, frame.time)
            seen = looks.setdefault(track.number, [])
            if len(seen) == len(KEY_TIMES) or frame.time - start < KEY_TIMES[len(seen)]:
                continue
            canvas = track_canvas(tagger, track, frame.pixels)
            seen += choose_strengths(tagger, frame.pixels, payload, [canvas], promise)
    return {
        number: Choice(
            min(choice.strength for choice in choices),
            tuple(dict.fromkeys(name for each in choices for name in each.broken)),
        )
        for number, choices in looks.items()
    }


def clip_tracker(tagger: Tagger, every: int | None = None) -> Tracker:
    """A tracker of the faces that a tagger tags."""
    smallest = MIN_CANVAS / tagger.config.canvas_scale
    options = {} if every is None else {"every": every}
    return Tracker(detect=tagger.find_faces, smallest=smallest, **options)


def track_canvas(tagger: Tagger, track: Track, pixels: np.ndarray) -> Canvas:
    """Where a track's tag lies in a frame."""
    if track.points is None:
        return tagger.centred_canvas(pixels)
    return track.canvas(tagger.config.image_size, tagger.config.canvas_scale)
