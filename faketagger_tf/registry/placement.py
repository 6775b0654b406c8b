"""Where the photo on record lies in a suspect: mirrored, turned, resized, cropped.

    place = find_placement(suspect, reading.canvas, record, face)
    place.shown                                   # 0.64: a third of it was cut off
    place.in_words()                              # ("cropped to about 64% of ...",)

The face is in both; its five landmarks say how the one came from the other. A swap
moves them by some percent, so that small differences say nothing: the error rates of
the limits below are in docs/serving.md.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from faketagger_tf.registry.fingerprint import SIZE, fingerprint_matrix
from faketagger_tf.registry.records import FaceRecord, Record
from faketagger_tf.tagging.search import Canvas

SHOWN = 0.85  # Share of the photo on record below which it was cropped.
TURNED = 8.0  # Degrees from which on it was turned.
RESIZED = 1.15  # Ratio of sizes, either way, from which on it was resized.
_GRID = 100  # Points each way at which it is looked what is left of a photo.


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a suspect's pixels came from those of the photo on record.

    Attributes:
        mirrored: left and right are exchanged.
        turned: degrees, clockwise, -180 to 180; of a mirrored copy, before mirroring.
        scale: pixels of the suspect for one of the record's.
        shown: share of the record's area that lies within the suspect, 0 to 1.
    """

    mirrored: bool
    turned: float
    scale: float
    shown: float

    def in_words(self) -> tuple[str, ...]:
        """What was done to the photo, a clause each; empty where nothing is sure."""
        told = []
        if self.mirrored:
            told.append("mirrored")
        if abs(self.turned) >= TURNED:
            told.append(f"turned by about {abs(self.turned):.0f} degrees")
        if max(self.scale, 1 / self.scale) >= RESIZED:
            told.append(f"resized to about {100 * self.scale:.0f}%")
        if self.shown < SHOWN:
            told.append(f"cropped to about {100 * self.shown:.0f}% of its area")
        return tuple(told)


def find_placement(
    photo: np.ndarray, canvas: Canvas, record: Record, face: FaceRecord
) -> Placement | None:
    """Finds where the photo on record lies in a suspect.

    Args:
        photo: the suspect, uint8 [H, W, 3].
        canvas: where the tag was read.
        record: of its payload.
        face: of the record, which is the one on that canvas.

    Returns:
        The placement; None without a face in both: a square says nothing of a crop.
    """
    if canvas.face is None or not face.landmarks:
        return None
    height, width = photo.shape[:2]
    to_canvas = fingerprint_matrix(width, height, canvas.face.landmarks)
    if canvas.mirrored:
        to_canvas = Canvas(to_canvas).mirror(SIZE).matrix
    own = fingerprint_matrix(record.width, record.height, face.landmarks)
    step = cv2.invertAffineTransform(to_canvas) @ np.vstack([own, [0, 0, 1]])
    down = step[:, 1]  # Where the record's vertical goes: no mirror reverses it.
    middles = (np.arange(_GRID) + 0.5) / _GRID
    x, y = np.meshgrid(middles * record.width, middles * record.height)
    x, y = (row[0] * x + row[1] * y + row[2] for row in step)
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    return Placement(
        mirrored=canvas.mirrored,
        turned=math.degrees(math.atan2(-down[0], down[1])),
        scale=math.sqrt(abs(np.linalg.det(step[:, :2]))),
        shown=float(inside.mean()),
    )
