"""Does the tag of a clip flicker?

On a moving face the tag moves too, and so it should: a viewer's eyes follow the face.
Each frame's residual is therefore looked at in the portrait's own coordinates, into
which the known motion takes it, whatever the tracker says. A tag that sits still on its
face is one picture there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from benchmarks.video_clips import RATE, MovingPortraits
from faketagger_tf.evaluation.visibility import flip
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tag import REFRESH, ClipTagger

SIDE = 256  # Of the square, the portrait's middle, in which residuals are compared.
BEFORE, AFTER = 8, 16  # Frames that are compared around a refreshed residual.


def measure_flicker(tagger, made: MovingPortraits, payload: int) -> dict[str, dict]:
    """Compares neighbouring frames' residuals: carried along, and drawn in each frame.

    Args:
        tagger: tags, at its own strength.
        made: a clip of one portrait, of at least `REFRESH` seconds and `AFTER` frames.
        payload: the payload.

    Returns:
        measure -> {"carried", "alone", where it means something "untagged"}; mean FLIP
        of residuals on grey, of the shown picture, and the root mean square of the
        difference of residuals over that of a residual.
    """
    first = round(REFRESH * RATE) - BEFORE
    last = first + BEFORE + AFTER
    frames = list(itertools.islice(made.frames(), last))

    def alone(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            pixels = frame.pixels
            if frame.index >= first:
                pixels = tagger.embed(frame.pixels, payload)
            yield dataclasses.replace(frame, pixels=pixels)

    carried = ClipTagger(tagger, payload, retag=True).change
    ways = {"carried": carried, "alone": alone, "untagged": iter}
    measures: dict[str, dict] = {}
    for name, change in ways.items():
        _measure(made, frames, change, first, name, measures)
    return measures


def _measure(made, frames, change: Callable, first: int, name: str, measures) -> None:
    residuals, pictures = [], []
    for before, after in zip(frames, change(iter(frames)), strict=True):
        if before.index < first:
            continue
        residual = after.pixels.astype(np.float32) - before.pixels
        residuals.append(_unmoved(made, before.index, residual))
        pictures.append(_unmoved(made, before.index, after.pixels))
    if name != "untagged":
        greys = [np.clip(np.rint(r + 128), 0, 255).astype(np.uint8) for r in residuals]
        size = np.sqrt(np.mean(np.square(residuals)))
        step = np.sqrt(np.mean(np.square(np.diff(residuals, axis=0))))
        _note(measures, "FLIP of neighbouring residuals", name, _mean_flip(greys))
        _note(measures, "their difference over their size", name, step / size)
    _note(measures, "FLIP of neighbouring frames", name, _mean_flip(pictures))


def _note(measures: dict, measure: str, name: str, value: float) -> None:
    measures.setdefault(measure, {})[name] = round(float(value), 5)


def _mean_flip(pictures: list[np.ndarray]) -> float:
    pairs = itertools.pairwise(pictures)
    return float(np.mean([flip(one, other).mean() for one, other in pairs]))


def _unmoved(made: MovingPortraits, index: int, picture: np.ndarray) -> np.ndarray:
    """The middle of the portrait that a frame shows, where it always is."""
    matrix = made.middle_square(index, SIDE)
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
