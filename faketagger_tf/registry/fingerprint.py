"""Is the suspect the photo on record, and what of it has changed?

    matrix = fingerprint_matrix(width, height, face.landmarks)
    face, surroundings = fingerprint(photo, matrix)       # stored when tagging
    change = compare(suspect, suspect_matrix, record.faces[0])
    change.verdict                                        # "face changed"

A fingerprint is the pHash of 16 x 16 DCT signs from `imagehash`, once of the middle
half of the canvas, which a swap replaces, and once of the canvas with that half filled
by the mean of the rest. A reader's canvas is off by a pixel or two, so the suspect's is
moved by small steps and compared where the two distances together are least.

pHash and PDQ were measured side by side, with 64 and 256 bits, and dHash and wHash:
256 bits are needed to tell a swapped face, and PDQ, which is the same idea, does no
better. `imagehash` installs without a compiler everywhere, `pdqhash` does not. The
thresholds and their error rates are in docs/registry.md.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import imagehash
import numpy as np
from PIL import Image

from faketagger_tf.photos import (
    canvas_square,
    encode_image,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.registry.records import FaceRecord

# The fingerprint has a canvas of its own, whatever the preset's is.
SIZE, SCALE = 128, 1.9
BITS = 256
FACE = 0.16  # Share of differing bits above which a face counts as changed.
SURROUNDINGS = 0.25  # And what surrounds it.
ANOTHER = 0.64  # Sum of the two above which it is another photo.
# Shifts in canvas pixels and scales at which a suspect is compared.
_STEPS = tuple(itertools.product((0, -4, 4), (0, -4, 4), (1.0, 0.96, 1.04)))
_KIND = "phash16:"
THUMBNAIL = 256


@dataclasses.dataclass(frozen=True)
class Change:
    """How a suspect differs from a face on record.

    Attributes:
        verdict: "same photo", "face changed", "surroundings changed", "face and
            surroundings changed" or "another photo" (so that the tag is a transplant).
        face, surroundings: shares of the fingerprints' bits that differ, 0 to 1; about
            0.45 between two photos that have nothing to do with each other.
    """

    verdict: str
    face: float
    surroundings: float


def fingerprint_matrix(width: int, height: int, landmarks=()) -> np.ndarray:
    """Matrix from a photo's pixels to the fingerprint's canvas, 2x3.

    Args:
        width, height: the photo's size in pixels.
        landmarks: [5, 2] of the face; empty or None for the centred square.
    """
    if landmarks is None or not len(landmarks):
        return square_matrix(canvas_square(width, height), SIZE)
    return similarity_from_landmarks(np.asarray(landmarks), SIZE, SCALE)


def fingerprint(photo: np.ndarray, matrix: np.ndarray) -> tuple[str, str]:
    """Fingerprints of a face and of its surroundings.

    Args:
        photo: uint8 [H, W, 3] RGB.
        matrix: from `fingerprint_matrix`.

    Returns:
        (face, surroundings), each "phash16:" and 64 hexadecimal digits.
    """
    face, surroundings = (_hash(part) for part in _parts(photo, matrix))
    return f"{_KIND}{face}", f"{_KIND}{surroundings}"


def compare(photo: np.ndarray, matrix: np.ndarray, record: FaceRecord) -> Change:
    """Compares a suspect with a face on record.

    Args:
        photo: the suspect, uint8 [H, W, 3] RGB.
        matrix: from `fingerprint_matrix`, with the suspect's own landmarks.
        record: the face on record, with its fingerprints.

    Raises:
        ValueError: the record has no fingerprints, or some of another kind.
    """
    stored = _parse(record.face), _parse(record.surroundings)
    face = surroundings = np.inf
    for step in _STEPS:
        parts = _parts(photo, _move(matrix, *step))
        near = [(_hash(p) - s) / BITS for p, s in zip(parts, stored, strict=True)]
        if sum(near) < face + surroundings:
            face, surroundings = near
        if face <= FACE and surroundings <= SURROUNDINGS:
            break
    return Change(_verdict(face, surroundings), float(face), float(surroundings))


def _verdict(face: float, surroundings: float) -> str:
    if face + surroundings > ANOTHER:
        return "another photo"
    changed = [
        name
        for name, share, limit in (
            ("face", face, FACE),
            ("surroundings", surroundings, SURROUNDINGS),
        )
        if share > limit
    ]
    return f"{' and '.join(changed)} changed" if changed else "same photo"


def make_thumbnail(photo: np.ndarray, side: int = THUMBNAIL) -> bytes:
    """A JPEG of a photo with at most `side` pixels each way; never enlarged."""
    height, width = photo.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return encode_image(small, ".jpg", 80)


def _parts(photo: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The canvas's middle half, and the canvas without it."""
    canvas = warp_canvas(photo, matrix, SIZE)
    middle = slice(SIZE // 4, SIZE - SIZE // 4)
    face = canvas[middle, middle].copy()
    outside = np.ones([SIZE, SIZE], bool)
    outside[middle, middle] = False
    canvas[middle, middle] = canvas[outside].mean(axis=0)
    return face, canvas


def _hash(image: np.ndarray) -> imagehash.ImageHash:
    return imagehash.phash(Image.fromarray(image), hash_size=16)


def _parse(text: str) -> imagehash.ImageHash:
    digits = text.removeprefix(_KIND)
    if digits == text or len(digits) != BITS // 4:
        raise ValueError(
            f"A fingerprint must be {_KIND!r} and {BITS // 4} hexadecimal digits. "
            f"Received: {text!r}."
        )
    try:
        return imagehash.hex_to_hash(digits)
    except ValueError:
        raise ValueError(
            f"A fingerprint must be hexadecimal. Received: {text!r}."
        ) from None


def _move(matrix: np.ndarray, right: float, down: float, scale: float) -> np.ndarray:
    """Moves a canvas by pixels of its own and enlarges what it shows."""
    moved = matrix * scale
    moved[:, 2] += SIZE / 2 * (1 - scale) + np.array([right, down])
    return moved
