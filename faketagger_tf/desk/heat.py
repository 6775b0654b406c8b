"""Where a suspect differs from the thumbnail on record, as a picture.

The registry keeps no photo, only a thumbnail, so that the map is as coarse as that: the
suspect is shrunk to the thumbnail's scale before the two are compared.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from faketagger_tf.config import TaggerConfig
from faketagger_tf.photos import (
    canvas_square,
    decode_photo,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.registry import FaceRecord, Record
from faketagger_tf.tagging.compare import (
    CHANGED,
    HOTTEST,
    SIDE,
    align,
    difference,
    face_ellipse,
    paint_heat,
)
from faketagger_tf.tagging.search import Canvas

MIN_PIXELS = 32  # Of a canvas, in the coarser of the two pictures.


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """How a suspect's canvas differs from that of the thumbnail.

    Attributes:
        picture: uint8 [256, 256, 3], the suspect's canvas in grey, and colours where it
            differs.
        heat: float32 [256, 256], smoothed difference in grey levels; 0 where one of the
            two shows nothing.
        pixels: side of the canvas in the coarser of the two pictures, in its pixels.
        changed_face, changed_around: shares of the face's ellipse and of the rest of
            the canvas that differ by `compare.CHANGED` grey levels, where both show it.
    """

    picture: np.ndarray
    heat: np.ndarray
    pixels: int
    changed_face: float
    changed_around: float

    def in_words(self) -> str:
        """What the map can show, and what it cannot."""
        return (
            "Colours show where the suspect differs from the thumbnail on record: from "
            f"blue, as any copy does, to red, for {HOTTEST:g} grey levels and more. "
            f"Both were compared with {self.pixels} pixels across this picture: it "
            "cannot show smaller changes than some of those, does not tell an edit "
            "from a bad copy, and says nothing of what lies outside of it."
        )


def make_heat_map(
    suspect: np.ndarray,
    canvas: Canvas,
    record: Record,
    face: FaceRecord,
    config: TaggerConfig,
) -> HeatMap | None:
    """Compares a suspect's face with the thumbnail on record.

    Args:
        suspect: uint8 [H, W, 3] RGB.
        canvas: where the tag was read in it.
        record: with its thumbnail.
        face: which of the record's faces it is.
        config: the tagger's.

    Returns:
        The map; None where there is no thumbnail, or the face in one of the two has
        less than `MIN_PIXELS` pixels.
    """
    if not record.thumbnail or not record.width or not record.height:
        return None
    thumbnail = decode_photo(record.thumbnail)
    height, width = thumbnail.shape[:2]
    if face.landmarks:
        ratio = width / record.width, height / record.height
        points = np.asarray(face.landmarks) * ratio
        before_matrix = similarity_from_landmarks(points, SIDE, config.canvas_scale)
    else:
        before_matrix = square_matrix(canvas_square(width, height), SIDE)
    after_matrix = canvas.matrix * (SIDE / config.image_size)
    pixels = min(_side(before_matrix), _side(after_matrix))
    if pixels < MIN_PIXELS:
        return None
    thumbnail, before_matrix = _shrink(thumbnail, before_matrix, pixels)
    suspect, after_matrix = _shrink(suspect, after_matrix, pixels)
    ellipse = face_ellipse(config.face_region)
    before = warp_canvas(thumbnail, before_matrix, SIDE)
    after_matrix = align(before, suspect, after_matrix, ~ellipse)
    after = warp_canvas(suspect, after_matrix, SIDE)
    seen = _inside(before_matrix, thumbnail) & _inside(after_matrix, suspect)
    heat = np.where(seen, difference(before, after), np.float32(0))
    changed = heat > CHANGED
    return HeatMap(
        paint_heat(after, heat),
        heat,
        round(pixels),
        _share(changed, ellipse & seen),
        _share(changed, ~ellipse & seen),
    )


def _side(matrix: np.ndarray) -> float:
    """Side of the compared canvas in a picture's own pixels."""
    return SIDE / float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _shrink(
    photo: np.ndarray, matrix: np.ndarray, pixels: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a photo until its canvas has so many pixels; never enlarges."""
    factor = pixels / _side(matrix)
    if factor >= 1:
        return photo, matrix
    height, width = photo.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return small, matrix * (width / size[0], height / size[1], 1)


def _inside(matrix: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """bool [256, 256]: where a canvas lies within its photo."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    back = cv2.invertAffineTransform(matrix)
    across, down = (row[0] * x + row[1] * y + row[2] for row in back)
    height, width = photo.shape[:2]
    return (across >= 0) & (across <= width) & (down >= 0) & (down <= height)


def _share(changed: np.ndarray, where: np.ndarray) -> float:
    return float(changed[where].mean()) if where.any() else 0.0
