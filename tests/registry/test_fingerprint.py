import dataclasses

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.registry import FaceRecord
from faketagger_tf.registry.fingerprint import (
    compare,
    fingerprint,
    fingerprint_matrix,
    make_thumbnail,
)

BOX = (80.0, 60.0, 140.0, 140.0)


def draw(seed: int, side: int = 300) -> np.ndarray:
    """Smooth random colours: any two seeds are photos of different things."""
    rng = np.random.default_rng(seed)
    photo = sum(
        cv2.resize(
            rng.normal(size=(n, n, 3)).astype(np.float32) / n**0.7,
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        for n in (4, 8, 16, 32)
    )
    photo = (photo - photo.min()) / np.ptp(photo)
    return np.rint(255 * photo).astype(np.uint8)


def record_of(photo: np.ndarray) -> tuple[FaceRecord, np.ndarray]:
    matrix = fingerprint_matrix(photo.shape[1], photo.shape[0])
    return FaceRecord(BOX, (), *fingerprint(photo, matrix)), matrix


def jpeg(photo: np.ndarray) -> np.ndarray:
    return decode_photo(encode_image(photo, ".jpg", 75))


@pytest.mark.parametrize("seed", range(4))
def test_verdicts(seed):
    photo, other = draw(seed), draw(seed + 100)
    record, matrix = record_of(photo)
    assert compare(photo, matrix, record) == dataclasses.replace(
        compare(photo, matrix, record), verdict="same photo", face=0, surroundings=0
    )
    half = cv2.resize(photo, (150, 150), interpolation=cv2.INTER_AREA)
    assert compare(jpeg(photo), matrix, record).verdict == "same photo"
    assert compare(half, fingerprint_matrix(150, 150), record).verdict == "same photo"
    middle = slice(75, 225)
    swapped = photo.copy()
    swapped[middle, middle] = other[middle, middle]
    assert compare(jpeg(swapped), matrix, record).verdict == "face changed"
    moved = other.copy()
    moved[middle, middle] = photo[middle, middle]
    assert compare(jpeg(moved), matrix, record).verdict == "surroundings changed"
    assert compare(jpeg(other), matrix, record).verdict == "another photo"


def test_a_canvas_that_is_off_by_a_few_pixels():
    photo = draw(7)
    record, matrix = record_of(photo)
    off = matrix.copy()
    off[:, 2] += (3.5, -3.0)
    assert compare(photo, off, record).verdict == "same photo"


def test_the_fingerprint_is_the_phash_of_the_middle():
    photo = draw(3, 128)
    face, surroundings = fingerprint(photo, fingerprint_matrix(128, 128))
    middle = Image.fromarray(photo[32:96, 32:96])
    assert face == f"phash16:{imagehash.phash(middle, 16)}"
    changed = photo.copy()
    changed[32:96, 32:96] = 0
    # What the swap replaces is not part of the surroundings.
    assert fingerprint(changed, fingerprint_matrix(128, 128))[1] == surroundings


def test_landmarks_make_the_canvas_follow_the_face():
    photo = draw(5)
    landmarks = np.array([[120, 120], [180, 120], [150, 150], [125, 185], [175, 185]])
    record = FaceRecord(
        BOX, (), *fingerprint(photo, fingerprint_matrix(300, 300, landmarks))
    )
    turn = cv2.getRotationMatrix2D((150, 150), 20, 1.0)
    turned = cv2.warpAffine(photo, turn, (300, 300), flags=cv2.INTER_CUBIC)
    # cv2 turns pixel centres, landmarks are in pixel borders.
    points = (landmarks - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    matrix = fingerprint_matrix(300, 300, points)
    assert compare(turned, matrix, record).face < 0.1
    straight = fingerprint_matrix(300, 300, landmarks)
    assert compare(turned, straight, record).face > 0.2


def test_bad_fingerprints():
    photo = draw(1)
    record, matrix = record_of(photo)
    for bad in ("", "pdq:00", "phash16:00", "phash16:" + "x" * 64):
        with pytest.raises(ValueError, match="fingerprint must be"):
            compare(photo, matrix, dataclasses.replace(record, face=bad))


def test_thumbnails():
    small = decode_photo(make_thumbnail(draw(1, 600)[:, :300]))
    assert small.shape == (256, 128, 3)
    assert decode_photo(make_thumbnail(draw(1, 100))).shape == (100, 100, 3)
