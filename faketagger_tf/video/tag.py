"""Tags a clip, frame by frame, such that the tag does not flicker.

A residual is drawn for one moment and carried along with its canvas; a new one is drawn
every `REFRESH` seconds and faded in. All frames are tagged at one strength.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from faketagger_tf.tagging.assure import check_untagged
from faketagger_tf.tagging.paste import add_residual
from faketagger_tf.tagging.search import Canvas
from faketagger_tf.tagging.tagger import MIN_CANVAS, Tagger
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tracks import Track, Tracker

REFRESH = 2.0  # Seconds from one residual of a track to the next.
BLEND = 12  # Frames over which the next one is faded in.


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
        strength: as `Tagger.embed` takes it; one for the whole clip.
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
        strength: float | None = None,
        retag: bool = False,
    ):
        self.tagger, self.payload = tagger, payload
        self.strength = tagger.check_strength(strength)
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
                check_untagged(self.tagger, frame.pixels, canvases)
            tagged = frame.pixels.copy()
            alive = {}
            for place, track in enumerate(tracks):
                residual = carried.get(track.number)
                if residual is None or frame.time - residual.time >= REFRESH:
                    residual = self._draw(frame, canvases[place], residual)
                alive[track.number] = residual
                change = residual.at(frame.index) * np.float32(track.weight)
                add_residual(frame.pixels, tagged, change, canvases, place)
                self._numbers.add(track.number)
                if track.points is not None:
                    self._faces.add(track.number)
            carried = alive
            yield dataclasses.replace(frame, pixels=tagged)

    def _draw(self, frame: Frame, canvas: Canvas, before: _Carried | None) -> _Carried:
        (new,) = self.tagger.residuals(
            frame.pixels, self.payload, [canvas], self.strength
        )
        old = new if before is None else before.at(frame.index)
        return _Carried(new, old, frame.index, frame.time)


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
