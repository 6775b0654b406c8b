"""Changes of whole photos: codecs are real, geometry is what the name says."""

import dataclasses

import cv2
import numpy as np
import pytest
from skimage import data

from faketagger_tf.evaluation import changes
from faketagger_tf.evaluation.changes import CHANGES, Scene
from faketagger_tf.models import LatentConfig, build_latent
from faketagger_tf.photos.faces import Face, detect_faces


@pytest.fixture(scope="module")
def photo():
    return cv2.resize(data.astronaut(), (240, 256), interpolation=cv2.INTER_AREA)


def scene(seed=0):
    face = Face((80.0, 30.0, 50.0, 60.0), np.zeros((5, 2)), 1.0)
    return Scene(np.random.default_rng(seed), (face,))


# These need a model.
MODELLED = [
    n
    for n in CHANGES
    if n.startswith(("deepfake", "large deepfake", "edited", "regen"))
]


@pytest.mark.parametrize("name", [n for n in CHANGES if n not in MODELLED])
def test_every_change_gives_a_photo_and_repeats_itself(photo, name):
    before = photo.copy()
    first, again = (CHANGES[name](photo, scene()) for _ in range(2))
    assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(photo, before)
    changed = first.shape != photo.shape or np.any(first != photo)
    assert changed == (name != "untouched")


def test_codecs_are_those_of_the_files(photo):
    options = [cv2.IMWRITE_JPEG_QUALITY, 30]
    _, coded = cv2.imencode(".jpg", photo[..., ::-1], options)
    theirs = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    # 4:2:0 is libjpeg's default and ours; decoders may differ by a level or two.
    ours = CHANGES["JPEG 30"](photo, scene())
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5


def test_sizes_and_places(photo):
    assert CHANGES["half size"](photo, scene()).shape == (128, 120, 3)
    twice = CHANGES["mirrored"](CHANGES["mirrored"](photo, scene()), scene())
    np.testing.assert_array_equal(twice, photo)
    grey = changes.grey(photo, scene())
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    screen = changes.letterbox(photo, scene(), 0.8)
    small = changes.scale(photo, 0.8)
    top = round(0.25 * len(small))
    np.testing.assert_array_equal(screen[top : top + len(small)], small)


def test_a_crop_keeps_the_face(photo):
    marked = photo.copy()
    marked[30:90, 80:130] = (1, 254, 3)
    for seed in range(5):
        cropped = changes.crop(marked, scene(seed), 0.1)
        assert cropped.size < photo.size
        assert np.all(cropped == (1, 254, 3), axis=2).sum() >= 60 * 50


def test_a_swap_without_a_model_is_named(photo):
    with pytest.raises(ValueError, match="needs a face-swap model"):
        changes.swap(photo, scene())
    with pytest.raises(ValueError, match="needs a latent model"):
        changes.regenerate(photo, scene())
    with pytest.raises(ValueError, match="attribute needs a latent model"):
        changes.edit(photo, scene())


def test_a_regenerated_photo_went_through_the_model(photo):
    model = build_latent(LatentConfig(channels=2, width=4, blocks=0))
    modelled = dataclasses.replace(scene(), latent=model)
    changed = changes.regenerate(photo, modelled)
    assert changed.shape == photo.shape and np.any(changed != photo)
    noisy = changes.regenerate(photo, modelled, 0.5)
    assert np.any(noisy != changed)


def test_an_edit_goes_through_the_model_and_is_drawn_by_the_generator(photo):
    model = build_latent(LatentConfig(channels=2, width=4, blocks=0))
    modelled = [dataclasses.replace(scene(s), latent=model) for s in (0, 0, 1, 2)]
    first, again, *others = (changes.edit(photo, s) for s in modelled)
    np.testing.assert_array_equal(first, again)
    assert any(np.any(first != other) for other in others)
    canvas = changes.edit(photo, modelled[0], "canvas")
    changed = [np.any(p != photo, axis=-1).mean() for p in (first, canvas)]
    # The canvas is a sixth of the photo, and the face half of the canvas.
    assert 0.04 < changed[0] < 0.75 * changed[1]


def test_a_face_alone_is_its_box(photo):
    alone = changes.face_alone(photo, scene())
    box = detect_faces(photo)[0].box
    assert abs(alone.shape[1] - box[2]) <= 1 and abs(alone.shape[0] - box[3]) <= 1
    with pytest.raises(ValueError, match="needs a face"):
        changes.face_alone(np.full([100, 100, 3], 128, np.uint8), scene())


def test_changes_are_selected_by_name():
    assert list(changes.select_changes(["mirrored"])) == ["mirrored"]
    assert changes.select_changes([]) == CHANGES
    with pytest.raises(
        ValueError, match=r"no change 'sepia'. Accepted: untouched; JPEG"
    ):
        changes.select_changes(["mirrored", "sepia"])
