"""Compares a suspect photo with the tagged original: what is left, what has changed."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from faketagger_tf.photos import warp_canvas
from faketagger_tf.tagging.tagger import FPR, Reading, Tagger

SIDE = 256  # Pixels of a compared canvas.
SMOOTH = 3.0  # Standard deviation in those pixels, so that recompression averages out.
CHANGED = 12.0  # Grey levels from which a place counts as changed.
HOTTEST = 48.0  # Grey levels shown in the heat map's last colour.


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One face of the original, looked for in the suspect.

    Attributes:
        original: its tag in the original.
        suspect: the suspect's reading with the same payload, else its nearest face.
        intact: whether the same payload was found in the suspect.
        before, after: uint8 [256, 256, 3], the two canvases, aligned.
        heat: float32 [256, 256], smoothed difference in grey levels.
        changed_face: share of the face's ellipse that changed.
        changed_around: share of the rest of the canvas that changed.
    """

    original: Reading
    suspect: Reading
    intact: bool
    before: np.ndarray
    after: np.ndarray
    heat: np.ndarray
    changed_face: float
    changed_around: float


def verify(
    tagger: Tagger, original: np.ndarray, suspect: np.ndarray, fpr: float = FPR
) -> list[Comparison]:
    """Looks for each tag of the original in the suspect, and for what has changed.

    Args:
        tagger: reads both.
        original: the tagged photo as it was published, uint8 [H, W, 3].
        suspect: uint8 [H', W', 3]; may be cropped, resized or turned.
        fpr: largest p-value of a tag that counts as found.

    Raises:
        ValueError: a photo is not accepted, or the original has no tag.
    """
    tags = tagger.read(original, fpr)
    if not tags:
        raise ValueError(
            "The original must carry a tag of this tagger and key. Received: no tag."
        )
    readings = tagger.examine(suspect, fpr)
    return [_compare(tagger, original, suspect, tag, readings) for tag in tags]


def _compare(tagger, original, suspect, tag, readings) -> Comparison:
    size = tagger.config.image_size

    def rank(reading: Reading):
        ratio = np.array([suspect.shape[1], suspect.shape[0]]) / (
            original.shape[1],
            original.shape[0],
        )
        distance = reading.corners.mean(0) - tag.corners.mean(0) * ratio
        same = reading.found and reading.payload == tag.payload
        return not same, float(np.hypot(*distance))

    match = min(readings, key=rank)
    intact = match.found and match.payload == tag.payload
    enlarge = SIDE / size
    face = face_ellipse(tagger.config.face_region)
    before = warp_canvas(original, tag.canvas.matrix * enlarge, SIDE)
    matrix = align(before, suspect, match.canvas.matrix * enlarge, ~face)
    after = warp_canvas(suspect, matrix, SIDE)
    heat = difference(before, after)
    changed = heat > CHANGED
    return Comparison(
        tag,
        match,
        intact,
        before,
        after,
        heat,
        float(changed[face].mean()),
        float(changed[~face].mean()),
    )


def face_ellipse(face_region: float) -> np.ndarray:
    """bool [256, 256]: the face in a compared canvas, `face_region` of it wide."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE - 0.5
    half = face_region / 2
    return (x / half) ** 2 + (y / half) ** 2 < 1


def align(
    before: np.ndarray, suspect: np.ndarray, matrix: np.ndarray, around: np.ndarray
) -> np.ndarray:
    """Refines a canvas's matrix by what lies around the face.

    A swap moves the landmarks to which the canvas is fixed. The shift is found by
    maximising the enhanced correlation coefficient (Evangelidis and Psarakis 2008).

    Args:
        before: uint8 [256, 256, 3], the original's canvas.
        suspect: uint8 [H, W, 3].
        matrix: 2x3, pixels of the suspect to pixels of the compared canvas, as found.
        around: bool [256, 256], what lies around the face.

    Returns:
        The matrix; the given one where the two have nothing in common.
    """
    template = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY)
    moved = cv2.cvtColor(warp_canvas(suspect, matrix, SIDE), cv2.COLOR_RGB2GRAY)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        _, warp = cv2.findTransformECC(
            template,
            moved,
            np.eye(2, 3, dtype=np.float32),
            cv2.MOTION_AFFINE,
            criteria,
            around.astype(np.uint8) * 255,
            9,
        )
    except cv2.error:
        # It does not converge where the two have nothing in common.
        return matrix
    warp = warp.astype(np.float64)
    # From OpenCV's pixel centres to pixel borders.
    warp[:, 2] += 0.5 - warp[:, :2] @ (0.5, 0.5)
    back = np.vstack([cv2.invertAffineTransform(warp), (0, 0, 1)])
    aligned = (back @ np.vstack([matrix, (0, 0, 1)]))[:2]
    scale = math.hypot(aligned[0, 0], aligned[1, 0])
    ratio = scale / math.hypot(matrix[0, 0], matrix[1, 0])
    return aligned if 0.7 < ratio < 1.4 else matrix


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Smoothed difference of two aligned canvases in grey levels, float32 [S, S]."""
    first = cv2.GaussianBlur(before.astype(np.float32), (0, 0), SMOOTH)
    second = cv2.GaussianBlur(after.astype(np.float32), (0, 0), SMOOTH)
    # Brightness and colour of the whole are no local change. The median of the
    # difference is not moved by a face that is.
    shift = np.median(second - first, axis=(0, 1))
    return np.abs(second - first - shift).mean(axis=2)


def draw_comparisons(comparisons: list[Comparison]) -> np.ndarray:
    """Returns a picture, uint8: per face the original, the suspect and the heat map."""
    rows = [
        np.hstack([face.before, face.after, paint_heat(face.after, face.heat)])
        for face in comparisons
    ]
    return np.vstack(rows)


def paint_heat(after: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns a canvas in grey with `heat` in colours over it, uint8 [S, S, 3]."""
    level = np.clip(heat / HOTTEST, 0, 1)
    colours = cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)[..., None]
    weight = np.clip(level * 2, 0, 0.8)[..., None]
    return ((1 - weight) * grey + weight * colours).astype(np.uint8)
