"""Deepfakes of whole photos do what their names say, by the face detector's account."""

import functools

import numpy as np
import pytest
import skimage.data

from faketagger_tf import deepfake
from faketagger_tf.manipulations.mesh import hull_mask, mesh_points
from faketagger_tf.photos.faces import detect_faces
from faketagger_tf.presets import load_latent


@pytest.fixture(scope="module")
def photo():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def faces(photo):
    return detect_faces(photo)


def around(photo, face, margin):
    """Where a photo lies near a face: bool [H, W]."""
    left, top, width, height = face.box
    row, column = np.mgrid[: photo.shape[0], : photo.shape[1]]
    across = np.abs(column - left - width / 2) < (0.5 + margin) * width
    return across & (np.abs(row - top - height / 2) < (0.5 + margin) * height)


@pytest.mark.parametrize("donor", ["drawn4", "composite2"])
def test_a_graphics_swap_puts_another_face_there(photo, faces, donor):
    before = photo.copy()
    swapped, count = deepfake.swap_faces_by_graphics(photo, donor, faces=faces)
    assert count == 1
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(
        *(p[~around(photo, faces[0], 0.2)] for p in (swapped, photo))
    )
    inside = hull_mask(mesh_points(faces[0].landmarks), *photo.shape[:2]) > 0
    # Another face's pixels, in about the colours of this one.
    pair = [p[inside].astype(float) for p in (swapped, photo)]
    correlation = np.corrcoef(*(p.mean(-1) for p in pair))[0, 1]
    assert correlation < 0.8
    np.testing.assert_allclose(pair[0].mean(0), pair[1].mean(0), atol=25)
    # And it is still a face, where it was, within a tenth of the box.
    found = detect_faces(swapped)[0]
    size = faces[0].box[2]
    assert np.abs(found.landmarks - faces[0].landmarks).max() < 0.1 * size


def test_the_donors_are_drawn_by_the_generator(photo, faces):
    first, again, other = (
        deepfake.swap_faces_by_graphics(photo, "*", np.random.default_rng(s), faces)[0]
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize(
    ("text", "points", "axis", "sign"),
    [
        ("smile=1", [3, 4], 1, -1),
        ("smile=-1", [3, 4], 1, 1),
        ("turn=1", [2], 0, 1),
        ("turn=-1", [2], 0, -1),
        ("nod=1", [2], 1, 1),
    ],
)
def test_the_detector_sees_the_expression(photo, faces, text, points, axis, sign):
    expression = deepfake.parse_expression(text)
    changed, count = deepfake.reenact_faces(photo, expression, faces=faces)
    assert count == 1
    eyes, after = faces[0].landmarks, detect_faces(changed)[0].landmarks
    # Against the eyes, since the detector's box may move as a whole.
    moves = (after - after[:2].mean(0)) - (eyes - eyes[:2].mean(0))
    assert np.all(sign * moves[points, axis] > 0.01 * faces[0].box[2])


def test_nothing_but_the_face_moves(photo, faces):
    changed, _ = deepfake.reenact_faces(photo, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(
        *(p[~around(photo, faces[0], 0.6)] for p in (changed, photo))
    )
    same, _ = deepfake.reenact_faces(photo, {}, faces=faces)
    np.testing.assert_array_equal(same, photo)


def test_a_turned_photo_is_reenacted_alike(photo, faces):
    expression = {"mouth": 0.8, "smile": 0.5, "turn": 0.6}
    changed, _ = deepfake.reenact_faces(photo, expression, faces=faces)
    turned = np.ascontiguousarray(np.rot90(photo))
    side = photo.shape[1]
    (x, y), (left, top, width, height) = faces[0].landmarks.T, faces[0].box
    face = type(faces[0])(
        (top, side - left - width, height, width), np.stack([y, side - x], 1), 1.0
    )
    other, _ = deepfake.reenact_faces(turned, expression, faces=[face])
    difference = np.rot90(other, -1).astype(int) - changed
    # The lattice of the warp is read linearly, the same at any angle but for rounding.
    assert np.abs(difference).mean() < 0.05


def test_a_mouth_opens(photo, faces):
    opened, _ = deepfake.reenact_faces(photo, {"mouth": 1.0}, faces=faces)
    corners = faces[0].landmarks[3:]
    x, y = corners.mean(0)
    width = corners[1, 0] - corners[0, 0]
    part = np.s_[
        round(y) : round(y + 0.4 * width),
        round(x - 0.2 * width) : round(x + 0.2 * width),
    ]
    assert np.percentile(opened[part], 10) < np.percentile(photo[part], 10) - 20


@pytest.fixture(scope="module")
def latent():
    return load_latent("unseen")[1]


# A place of the astronaut's photo that the attribute is about, a square of 12 pixels,
# and whether its mean of red, green and blue goes up or down.
EDITED = {
    "red_hair": ((30, 215), (1, -1, -1)),
    "black_hair": ((30, 215), (-1, -1, -1)),
    "dark_skin": ((125, 190), (-1, -1, -1)),
    "beard": ((160, 212), (-1, -1, -1)),
}


@pytest.mark.parametrize("attribute", EDITED)
def test_an_edit_does_what_it_says_and_stays_at_the_face(
    photo, faces, latent, attribute
):
    before = photo.copy()
    edited, count = deepfake.edit_faces(photo, latent, attribute, 1.0, faces=faces)
    assert count == 1
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(
        *(p[~around(photo, faces[0], 0.5)] for p in (edited, photo))
    )
    (top, left), signs = EDITED[attribute]
    place = np.s_[top : top + 12, left : left + 12]
    moved = edited[place].mean((0, 1)) - photo[place].mean((0, 1))
    assert np.all(moved * signs > 8)
    # The wall beside the hair, inside of the canvas, is as it was within a little.
    wall = np.s_[5:25, 130:150]
    assert np.abs(edited[wall].astype(float) - photo[wall]).mean() < 1.5
    found = detect_faces(edited)[0]
    assert np.abs(found.landmarks - faces[0].landmarks).max() < 0.1 * faces[0].box[2]


def test_a_whole_canvas_is_drawn_anew_by_the_model(photo, faces, latent):
    face, canvas = (
        deepfake.edit_faces(photo, latent, "glasses", 0.0, region, faces=faces)[0]
        for region in ("face", "canvas")
    )
    near = around(photo, faces[0], 0.4)
    changed = [np.any(p != photo, axis=-1)[near].mean() for p in (face, canvas)]
    assert changed[0] < 0.7 < 0.9 < changed[1]
    np.testing.assert_array_equal(
        *(p[~around(photo, faces[0], 0.75)] for p in (canvas, photo))
    )
    # A redrawn picture is the picture, at some 30 dB.
    error = np.square(canvas[near].astype(float) - photo[near]).mean()
    assert 24 < 10 * np.log10(255**2 / error) < 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attribute": "hat"}, r"no attribute 'hat'. Accepted: blond_hair"),
        ({"amount": 1.5}, r"amount must be from 0 to 1. Received: 1.5"),
        ({"region": "hat"}, r"no region 'hat'. Accepted: face, canvas"),
    ],
)
def test_bad_edits_are_named(photo, latent, arguments, message):
    with pytest.raises(ValueError, match=message):
        deepfake.edit_faces(photo, latent, faces=[], **arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grin=1", r"no argument 'grin'. Accepted: mouth, smile"),
        ("mouth=-1", r"mouth of reenact must be"),
        ("turn=2", r"turn of reenact must be"),
    ],
)
def test_bad_expressions_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        deepfake.parse_expression(text)


def test_no_face_is_one_sentence(latent):
    grey = np.full([200, 300, 3], 128, np.uint8)
    edit = functools.partial(deepfake.edit_faces, model=latent)
    for fake in (deepfake.swap_faces_by_graphics, deepfake.reenact_faces, edit):
        with pytest.raises(ValueError, match=r"no face that could be .* 0 faces"):
            fake(grey)


def test_a_small_photo_of_a_face_at_the_border(photo, faces, latent):
    left, top, width, _ = (round(v) for v in faces[0].box)
    cut = np.ascontiguousarray(photo[top : top + 200, left + width // 4 :][:, :200])
    face = type(faces[0])(
        (-width // 4, 0, width, width),
        faces[0].landmarks - (left + width // 4, top),
        1.0,
    )
    edit = functools.partial(deepfake.edit_faces, model=latent)
    for fake in (deepfake.swap_faces_by_graphics, deepfake.reenact_faces, edit):
        changed, count = fake(cut, faces=[face])
        assert changed.shape == cut.shape and count == 1
        assert np.any(changed != cut)
