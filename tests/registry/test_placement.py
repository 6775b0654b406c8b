import math

import cv2
import numpy as np
import pytest
import skimage.data

from faketagger_tf.photos.faces import Face, detect_faces
from faketagger_tf.registry.placement import Placement, find_placement
from faketagger_tf.registry.records import FaceRecord, Record
from faketagger_tf.tagging.search import Canvas

RECORD = Record("", "", width=200, height=300)
POINTS = np.array([[80, 90], [120, 92], [99, 120], [84, 140], [117, 141]], float)
FACE = FaceRecord((70, 60, 60, 100), tuple(map(tuple, POINTS)), "", "")


def place(step: np.ndarray, width: int, height: int, points=POINTS, mirrored=False):
    """A placement of a suspect to which `step`, 2x3, takes the record's pixels."""
    there = points @ step[:, :2].T + step[:, 2]
    if mirrored:  # A detector names the eyes by where they are.
        there = there[[1, 0, 2, 4, 3]]
    face = Face((0, 0, 1, 1), there, 1.0)
    canvas = Canvas(np.eye(3)[:2], face)
    canvas = canvas.mirror(128) if mirrored else canvas
    photo = np.zeros([height, width, 3], np.uint8)
    return find_placement(photo, canvas, RECORD, FACE)


def test_the_photo_itself():
    found = place(np.eye(3)[:2], 200, 300)
    assert found.scale == pytest.approx(1) and found.turned == pytest.approx(0)
    assert found.shown == 1 and not found.mirrored and found.in_words() == ()


def test_cropped_and_resized():
    # Its lower half and right quarter cut off, then enlarged.
    found = place(np.array([[1.5, 0, 0], [0, 1.5, 0]]), 225, 225)
    assert found.shown == pytest.approx(0.375, abs=0.01)  # By a grid of 100 points.
    assert found.scale == pytest.approx(1.5)
    assert found.in_words() == (
        "resized to about 150%",
        f"cropped to about {100 * found.shown:.0f}% of its area",
    )
    # Bars around a photo cut nothing off.
    found = place(np.array([[1, 0, 50], [0, 1, 70]], float), 300, 440)
    assert found.shown == 1 and found.in_words() == ()


@pytest.mark.parametrize("degrees", [10, -30, 90, 180])
def test_turned(degrees):
    turn = math.radians(degrees)  # Clockwise, as a picture's y goes down.
    c, s = math.cos(turn), math.sin(turn)
    step = np.array([[c, -s, 0], [s, c, 0]])
    step[:, 2] = (300, 300) - step[:, :2] @ (100, 150)
    found = place(step, 600, 600)
    assert abs(found.turned) == pytest.approx(abs(degrees))
    if abs(degrees) < 180:
        assert found.turned == pytest.approx(degrees)
    assert found.in_words() == (f"turned by about {abs(degrees)} degrees",)


def test_mirrored():
    step = np.array([[-1, 0, 200], [0, 1, 0]], float)
    found = place(step, 200, 300, mirrored=True)
    assert found.mirrored and "mirrored" in found.in_words()
    # Landmarks that are not the face's mirror image fit by least squares alone.
    assert abs(found.turned) < 8 and found.shown > 0.97


def test_without_a_face_nothing_is_said():
    photo = np.zeros([300, 200, 3], np.uint8)
    square = Canvas(np.eye(3)[:2])
    assert find_placement(photo, square, RECORD, FACE) is None
    face = Canvas(np.eye(3)[:2], Face((0, 0, 1, 1), POINTS, 1.0))
    bare = FaceRecord((0, 0, 1, 1), (), "", "")
    assert find_placement(photo, face, RECORD, bare) is None


def test_faces_as_they_are_found():
    photo = skimage.data.astronaut()
    (own,) = detect_faces(photo)
    record = Record("", "", width=512, height=512)
    face = FaceRecord(own.box, tuple(map(tuple, own.landmarks)), "", "")

    def seen(suspect) -> Placement:
        (found,) = detect_faces(suspect)
        return find_placement(suspect, Canvas(np.eye(3)[:2], found), record, face)

    half = seen(cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA))
    # The detector's landmarks wander by a percent or two of the face.
    assert half.scale == pytest.approx(0.5, rel=0.05) and half.shown > 0.95
    cropped = seen(np.ascontiguousarray(photo[:300, 80:380]))
    assert cropped.shown == pytest.approx(300 * 300 / 512**2, abs=0.03)
    assert cropped.in_words()[-1].startswith("cropped to about 3")
