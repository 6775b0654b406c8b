"""Training's canvases are the product's; faces are found once."""

import dataclasses
import json
import os

import cv2
import numpy as np
import pytest
from skimage import data

from faketagger_tf.config import TaggerConfig
from faketagger_tf.data import Photo, PhotoSet, find_landmarks, read_canvas
from faketagger_tf.data.landmarks import CACHE, VERSION, cache_path
from faketagger_tf.photos import similarity_from_landmarks, write_image
from faketagger_tf.photos.faces import Face, detect_faces


@pytest.fixture(scope="module")
def turned():
    """A face turned by 15 degrees, as snapshots have them."""
    photo = data.astronaut()[:400, 50:450]
    matrix = cv2.getRotationMatrix2D((170, 120), 15, 1.0)
    return cv2.warpAffine(photo, matrix, (400, 400), borderMode=cv2.BORDER_REPLICATE)


class Detector:
    """Answers with given faces and counts how often it is asked."""

    def __init__(self, *faces):
        self.faces, self.calls = list(faces), 0

    def __call__(self, photo):
        self.calls += 1
        return self.faces


def face(left, top, side):
    points = [[0.3, 0.35], [0.7, 0.35], [0.5, 0.58], [0.34, 0.81], [0.66, 0.81]]
    corner = np.array([left, top])
    return Face((left, top, side, side), corner + side * np.array(points), 1.0)


@pytest.fixture
def photo_set(tmp_path):
    rng = np.random.default_rng(0)
    photos = []
    for name in ("a", "b"):
        image = rng.integers(0, 256, (80, 100, 3)).astype(np.uint8)
        write_image(tmp_path / f"{name}.png", image)
        photos.append(Photo(str(tmp_path / f"{name}.png"), name))
    (tmp_path / "bad.png").write_bytes(b"no photo")
    return PhotoSet((*photos, Photo(str(tmp_path / "bad.png"), "bad")))


def test_training_cuts_the_canvas_that_the_product_tags(turned, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_image(tmp_path / "turned.png", turned)
    (photo,) = find_landmarks(PhotoSet((Photo(str(tmp_path / "turned.png"), "P"),)))
    canvas = read_canvas(photo, 64, 1.9)
    from faketagger_tf.photos import warp_canvas

    (found, *_) = detect_faces(turned)
    matrix = similarity_from_landmarks(found.landmarks, 64, 1.9)
    theirs = warp_canvas(turned, matrix, 64)
    # The cache rounds landmarks to a thousandth of a pixel.
    assert np.abs(canvas.astype(int) - theirs).max() <= 2
    upright = read_canvas(dataclasses.replace(photo, landmarks=None, box=found.box), 64)
    assert np.abs(canvas.astype(int) - upright).mean() > 5, "the face is turned"
    assert TaggerConfig().canvas_scale == 1.9


def test_the_margin_lies_around_the_same_canvas(turned, tmp_path):
    write_image(tmp_path / "turned.png", turned)
    points = tuple(map(tuple, face(120, 70, 90).landmarks.tolist()))
    photo = Photo(str(tmp_path / "turned.png"), "P", landmarks=points)
    canvas, padded = read_canvas(photo, 64), read_canvas(photo, 64, margin=0.25)
    assert padded.shape == (80, 80, 3)
    # Both sample the photo at the same places: 8 pixels of border on every side.
    assert np.abs(padded[8:-8, 8:-8].astype(int) - canvas).max() <= 1


def test_faces_are_found_once(photo_set, tmp_path):
    detect = Detector(face(20, 10, 40))
    first = find_landmarks(photo_set, detect)
    assert detect.calls == 2
    assert [p.landmarks is None for p in first] == [False, False, True]
    assert json.loads((tmp_path / CACHE).read_text())["version"] == VERSION
    never = Detector()
    assert find_landmarks(photo_set, never) == first
    assert never.calls == 0

    # A photo that has changed is searched anew, the other one is not.
    write_image(tmp_path / "a.png", np.zeros((90, 90, 3), np.uint8))
    again = Detector()
    changed = find_landmarks(photo_set, again)
    assert again.calls == 1
    assert changed[0].landmarks is None and changed[1] == first[1]


def test_a_damaged_cache_is_written_anew(photo_set, tmp_path):
    (tmp_path / CACHE).write_text("{not json")
    detect = Detector(face(20, 10, 40))
    find_landmarks(photo_set, detect)
    assert detect.calls == 2
    assert set(json.loads((tmp_path / CACHE).read_text())["photos"]) == {
        "a.png",
        "b.png",
    }


def test_the_box_says_whose_face_it_is(photo_set):
    large, small = face(0, 0, 60), face(70, 40, 20)
    photos = PhotoSet(
        (
            dataclasses.replace(photo_set[0], box=(68.0, 38.0, 24.0, 24.0)),
            dataclasses.replace(photo_set[1], box=(85.0, 0.0, 15.0, 15.0)),
        )
    )
    found = find_landmarks(photos, Detector(large, small))
    np.testing.assert_allclose(found[0].landmarks, small.landmarks, atol=1e-3)
    assert found[1].landmarks is None, "no face lies under that box"


def test_a_read_only_folder_is_cached_elsewhere(photo_set, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_path(tmp_path) == tmp_path / CACHE
    os.chmod(tmp_path, 0o555)
    try:
        path = cache_path(tmp_path)
        assert path.parent == tmp_path / "cache" / "faketagger"
    finally:
        os.chmod(tmp_path, 0o755)
