"""Attribute editing: colours by scikit-image, places by marks made by hand."""

import numpy as np
import pytest
import skimage
import tensorflow as tf

from faketagger_tf.manipulations import Context, StatelessSeed, attributes, parse_chain
from faketagger_tf.manipulations.lab import from_lab, to_lab
from faketagger_tf.manipulations.mesh import LANDMARKS, to_canvas
from faketagger_tf.photos import similarity_from_landmarks, warp_canvas
from faketagger_tf.photos.faces import detect_faces

SIDE = 128
# Marked by hand on the astronaut's canvas, in face units.
HAIR, CHEEK, NECK, WALL = (0.5, -0.25), (0.68, 0.62), (0.5, 1.12), (-0.38, -0.2)
CHIN, EYE = (0.5, 0.98), (0.3, 0.35)
DARK = Context(latents={"dark": lambda images, noise, seed: 0.7 * images})


@pytest.fixture(scope="module")
def canvas():
    photo = skimage.data.astronaut()
    matrix = similarity_from_landmarks(detect_faces(photo)[0].landmarks, SIDE)
    return warp_canvas(photo, matrix, SIDE)[None] / np.float32(255)


def at(image, place):
    """Mean of 5 by 5 pixels around a place in face units."""
    column, row = np.floor(to_canvas(np.array(place), SIDE)).astype(int)
    return np.asarray(image)[row - 2 : row + 3, column - 2 : column + 3].mean((0, 1))


def edited(canvas, attribute, amount=1.0):
    layout = attributes.canvas_layout(SIDE)
    picture, where = attributes.edit_attribute(canvas, attribute, amount, layout)
    return np.asarray(picture)[0], np.asarray(where)[0]


def test_lab_is_scikit_images():
    levels = np.linspace(0, 1, 9, dtype=np.float32)
    rgb = np.stack(np.meshgrid(levels, levels, levels), -1)
    lab = np.asarray(to_lab(rgb))
    # Both round the standard's matrix to six digits; white points differ in the sixth.
    np.testing.assert_allclose(lab, skimage.color.rgb2lab(rgb), atol=0.02)
    np.testing.assert_allclose(np.asarray(from_lab(lab)), rgb, atol=1e-3)


def test_lab_has_finite_slopes_everywhere():
    rgb = tf.constant([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.02]])
    with tf.GradientTape() as tape:
        tape.watch(rgb)
        back = tf.reduce_sum(from_lab(to_lab(rgb) + 0.5))
    assert np.all(np.isfinite(tape.gradient(back, rgb)))


def test_hair_and_skin_are_found_where_they_are(canvas):
    skin, hair = attributes.find_regions(to_lab(canvas), attributes.canvas_layout(SIDE))
    for place, skinny, hairy in (
        (CHEEK, 1, 0),
        (NECK, 1, 0),
        (HAIR, 0, 1),
        (WALL, 0, 0),
    ):
        assert at(skin[0], place) == pytest.approx(skinny, abs=0.1)
        assert at(hair[0], place) == pytest.approx(hairy, abs=0.1)


def test_a_wall_of_one_colour_has_no_hair():
    grey = np.full([1, SIDE, SIDE, 3], 0.5, np.float32)
    _, hair = attributes.find_regions(to_lab(grey), attributes.canvas_layout(SIDE))
    assert np.max(hair) < 0.01


@pytest.mark.parametrize(
    ("attribute", "number", "kept"),
    [
        *((name, 1, CHEEK) for name in attributes.HAIR),
        *((name, 0, HAIR) for name in attributes.SKIN),
    ],
)
def test_colours_come_near_their_target_and_the_rest_stays(
    canvas, attribute, number, kept
):
    target = {**attributes.HAIR, **attributes.SKIN}[attribute]
    layout = attributes.canvas_layout(SIDE)
    regions = attributes.find_regions(to_lab(canvas), layout)
    inside = np.asarray(regions[number])[0, ..., 0] > 0.9
    picture, _ = edited(canvas, attribute)
    before, after = (
        skimage.color.rgb2lab(image)[inside].mean(0) for image in (canvas[0], picture)
    )
    # The mean is moved by a power of the lightness, and what sRGB lacks is clipped:
    # some Lab units are left of the 20 to 50 that separate most colours from another.
    assert np.linalg.norm(after - target) < max(
        8, 0.4 * np.linalg.norm(before - target)
    )
    for other in (kept, WALL):
        np.testing.assert_allclose(at(picture, other), at(canvas[0], other), atol=0.02)


def test_shading_stays(canvas):
    skin, _ = attributes.find_regions(to_lab(canvas), attributes.canvas_layout(SIDE))
    inside = np.asarray(skin)[0, ..., 0] > 0.9
    for attribute in attributes.SKIN:
        picture, _ = edited(canvas, attribute)
        light = [skimage.color.rgb2lab(p)[inside][:, 0] for p in (canvas[0], picture)]
        assert np.corrcoef(*light)[0, 1] > 0.97


def test_age_takes_colour_from_hair_and_adds_lines(canvas):
    picture, _ = edited(canvas, "age")
    chroma = [
        np.hypot(*skimage.color.rgb2lab(at(image, HAIR))[1:])
        for image in (canvas[0], picture)
    ]
    assert chroma[1] < 0.4 * chroma[0]
    light = [skimage.color.rgb2lab(image)[..., 0] for image in (canvas[0], picture)]
    steps = [np.abs(np.diff(each[70:90, 40:88], axis=0)).mean() for each in light]
    assert steps[1] > 1.2 * steps[0]


def test_a_beard_is_dark_and_glasses_are_around_the_eyes(canvas):
    beard, _ = edited(canvas, "beard")
    assert at(beard, CHIN).mean() < 0.7 * at(canvas[0], CHIN).mean()
    np.testing.assert_allclose(
        at(beard, (0.5, 0.5)), at(canvas[0], (0.5, 0.5)), atol=0.02
    )
    glasses, where = edited(canvas, "glasses")
    darker = (canvas[0] - glasses).max(-1) > 0.2
    rows, columns = np.nonzero(darker)
    low, high = (to_canvas(np.array(y), SIDE) for y in (0.2, 0.55))
    assert low < rows.min() and rows.max() < high
    # As far to the left as to the right, and the pupil is seen.
    assert abs((columns.min() + columns.max()) / 2 - (SIDE - 1) / 2) < 1.5
    assert not darker[tuple(np.floor(to_canvas(np.array(EYE), SIDE)[::-1]).astype(int))]
    assert np.all(where[darker] > 0.2)


@pytest.mark.parametrize("attribute", attributes.ATTRIBUTES)
def test_an_amount_of_nothing_changes_nothing_and_half_is_between(canvas, attribute):
    none, half, full = (edited(canvas, attribute, a)[0] for a in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(none, canvas[0], atol=1e-3)
    moved = [np.abs(picture - canvas[0]).mean() for picture in (half, full)]
    assert 0 < moved[0] < moved[1]


def test_units_bring_the_landmarks_to_the_template():
    turn = np.array([[0.8, -0.5], [0.6, 0.9]]) * 40
    places = LANDMARKS @ turn + (90, 30)
    np.testing.assert_allclose(
        attributes.face_units(places, places), LANDMARKS, atol=1e-9
    )


def test_the_model_draws_the_face_or_the_whole_canvas(canvas):
    photo = np.round(255 * canvas).astype(np.uint8)
    face, whole = (
        parse_chain(f"edit(glasses,0,{region})").apply_real(
            photo, np.random.default_rng(0), DARK
        )[0]
        for region in ("face", "canvas")
    )
    np.testing.assert_allclose(whole, 0.7 * photo[0], atol=1)
    np.testing.assert_array_equal(face[:4], photo[0, :4])
    np.testing.assert_allclose(face[60:80, 50:78], 0.7 * photo[0, 60:80, 50:78], atol=1)


def test_star_draws_different_attributes(canvas):
    photos = np.repeat(np.round(255 * canvas).astype(np.uint8), 8, axis=0)
    chain = parse_chain("edit")
    made = chain.apply_real(photos, np.random.default_rng(1), DARK)
    assert len({image.tobytes() for image in made}) >= 4
    ours = {
        np.round(
            np.asarray(chain.apply(canvas, StatelessSeed(seed), DARK)), 3
        ).tobytes()
        for seed in range(6)
    }
    assert len(ours) >= 3
    with pytest.raises(ValueError, match=r"no attribute 'hat'. Accepted: blond_hair"):
        attributes.attribute_names("hat")
