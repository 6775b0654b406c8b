"""Graphics swaps, reenactment and what is laid over a photo."""

import cv2
import numpy as np
import pytest

from faketagger_tf.manipulations import (
    Context,
    StatelessSeed,
    donors,
    geometry,
    graphics,
    mesh,
    overlay,
    parse_chain,
    reenactment,
)


def real(spec, photos, seed=0, context=None):
    return parse_chain(spec).apply_real(photos, np.random.default_rng(seed), context)


@pytest.mark.parametrize("name", donors.DONORS)
def test_every_donor_is_a_face_that_fits(name):
    landmarks = mesh.to_canvas(mesh.LANDMARKS, 96)
    pixels, mask = donors.fit_donor(donors.load_donor(name), landmarks, 96, 96)
    face = pixels[mask > 0].astype(float)
    assert 0.1 < np.mean(mask > 0) < 0.25
    assert face.std() > 15 and 40 < face.mean() < 230
    # An eye has more to see than the cheek below it.
    row, column = np.rint(landmarks[0, ::-1]).astype(int) - 4
    eye, cheek = (pixels[row + d : row + d + 8, column : column + 8] for d in (0, 12))
    assert eye.mean(-1).std() > cheek.mean(-1).std()


def test_an_unknown_donor_is_named(photos):
    with pytest.raises(ValueError, match=r"no donor 'me'. Accepted: drawn1, drawn2"):
        real("graphicswap(me)", photos)


def test_a_graphics_swap_changes_the_hull_alone(photos):
    changed = real("graphicswap(composite2)", photos)
    mask = mesh.hull_mask(mesh.to_canvas(mesh.mesh_points(mesh.LANDMARKS), 64), 64, 64)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    outside = np.ones([64, 64], bool)
    outside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    np.testing.assert_array_equal(changed[:, outside], photos[:, outside])
    difference = np.abs(changed.astype(int) - photos)[:, mask > 0]
    assert difference.mean() > 8


def test_star_draws_different_donors(images):
    batch = np.repeat(images[:1], 16, axis=0)
    chain = parse_chain("graphicswap(*)")
    swapped = np.asarray(chain.apply(batch, StatelessSeed(1), Context()))
    kinds = {
        tuple(np.rint(255 * image[28:36, 28:36].mean((0, 1)))) for image in swapped
    }
    assert len(kinds) >= 3


def test_no_expression_changes_nothing(photos, images):
    spec = "reenact(0,0,0,0,0,0,0)"
    np.testing.assert_array_equal(real(spec, photos), photos)
    ours = parse_chain(spec).apply(images, StatelessSeed(0))
    np.testing.assert_allclose(ours, images, atol=1e-6)


def test_reenactment_ends_at_its_ring(photos):
    changed = real("reenact(1,1,1,1,1,1,1)", photos)
    units = reenactment.canvas_places(64).reshape(64, 64, 2)
    middle, axes = np.array(reenactment.RING_MIDDLE), np.array(reenactment.RING_AXES)
    outside = np.hypot(*np.moveaxis((units - middle) / axes, -1, 0)) > 1
    np.testing.assert_array_equal(changed[:, outside], photos[:, outside])
    assert np.any(changed[:, ~outside] != photos[:, ~outside])


@pytest.mark.parametrize(
    ("name", "places", "axis", "sign"),
    [
        ("smile", [3, 4], 1, -1),
        ("turn", [2], 0, 1),
        ("nod", [2], 1, 1),
    ],
)
def test_landmarks_move_as_the_names_say(name, places, axis, sign):
    field = reenactment.expression_field(mesh.LANDMARKS[places])
    moves = field[:, axis, reenactment.EXPRESSION.index(name)]
    assert np.all(sign * moves > 0.02) and np.all(np.abs(moves) < 0.15)


def test_left_and_right_mirror_each_other():
    field = reenactment.expression_field(mesh.LANDMARKS[[0, 1, 3, 4]])
    across = [reenactment.EXPRESSION.index(n) for n in ("gaze", "turn")]
    mirrored = field[[1, 0, 3, 2]] * np.array([-1, 1])[:, None]
    mirrored[..., across] *= -1
    np.testing.assert_allclose(field, mirrored, atol=1e-5)


def test_an_opened_mouth_is_dark_below_teeth():
    white = np.full([1, 128, 128, 3], 200, np.uint8)
    opened = real("reenact(1,0,0,0,0,0,0)", white)[0].astype(int)
    x, y = mesh.to_canvas(np.array(reenactment.INNER_MIDDLE), 128)
    column = opened[round(y) - 3 : round(y) + 8, round(x)]
    assert column[:, 0].max() >= 200 and column[:, 0].min() < 90
    assert column[:, 0].argmax() < column[:, 0].argmin()
    shut = real("reenact(0,0.5,0,0,0,0,0)", white)
    np.testing.assert_array_equal(shut, white)


def test_regenerate_names_what_it_needs(photos):
    with pytest.raises(ValueError, match=r"no latent model 'x'.*there are none"):
        real("regenerate(x)", photos)
    context = Context(latents={"same": lambda images, noise, seed: images})
    np.testing.assert_array_equal(
        real("regenerate(*)", photos, context=context), photos
    )
    with pytest.raises(ValueError, match=r"side is a multiple of 8. Received: 60"):
        real("regenerate(*)", photos[:, :60, :60], context=context)


def test_star_deals_the_batch_out_to_the_latents(photos, images):
    context = Context(
        latents={
            "black": lambda images, noise, seed: 0 * images,
            "noise": lambda images, noise, seed: 0 * images + noise[0],
        }
    )
    made = real("regenerate(*,noise=0.5)", photos, context=context)
    np.testing.assert_array_equal(made[:, 0, 0, 0], [0, 128, 0])
    with pytest.raises(ValueError, match=r"no latent model 'white'"):
        parse_chain("regenerate(white)").apply(images, StatelessSeed(0), context)
    assert parse_chain("jpeg|regenerate(a)|regenerate").latent_names() == ["a", "*"]


def test_a_caption_is_white_on_black_and_leaves_the_rest(photos):
    large = np.repeat(np.repeat(photos, 4, 1), 4, 2)
    for image, before in zip(real("caption", large, 3), large, strict=True):
        changed = np.any(image != before, axis=-1)
        assert 0.01 < changed.mean() < 0.3
        rows = np.flatnonzero(changed.any(1))
        assert np.ptp(rows) < 64
        written = image[changed]
        assert np.mean(written.min(-1) > 240) > 0.1
        assert np.mean(written.max(-1) < 15) > 0.1


def test_whole_photos_have_a_caption_of_the_width_asked_for():
    grey = np.full([300, 400, 3], 128, np.uint8)
    written = overlay.draw_caption(grey, 0.9, 0.6, 0.1)
    columns = np.flatnonzero(np.any(written != grey, axis=(0, 2)))
    assert abs(columns[0] - 40) < 8 and abs(columns[-1] - 280) < 16


def test_a_sticker_covers_its_share(photos, images):
    changed = real("sticker(0.5)", photos)
    share = np.mean(np.any(changed != photos, axis=-1), axis=(1, 2))
    # A disc of .97 of half of the side.
    np.testing.assert_allclose(share, np.pi * (0.97 * 0.25) ** 2, rtol=0.15)
    ours = np.asarray(parse_chain("sticker(0.5)").apply(images, StatelessSeed(0)))
    moved = np.mean(np.any(np.abs(ours - images) > 1e-4, axis=-1), axis=(1, 2))
    np.testing.assert_allclose(moved, np.pi * (0.97 * 0.25) ** 2, rtol=0.15)


@pytest.mark.parametrize("side", ["real", "differentiable"])
def test_letterbox_bars_are_black_and_as_wide_as_asked(side):
    white = np.full([8, 64, 64, 3], 255, np.uint8)
    chain = parse_chain("letterbox(0.25,0.5)")
    if side == "real":
        boxed = chain.apply_real(white, np.random.default_rng(0)) / 255
    else:
        boxed = np.asarray(chain.apply(white / np.float32(255), StatelessSeed(0)))
    directions = set()
    for image in boxed:
        black = image.max(-1) == 0
        assert black.mean() == 0.5
        directions.add(bool(black.all(1).any()))
    assert directions == {True, False}


def test_a_cubic_stretch_is_opencvs(photos):
    small = geometry.resize_to_real(photos, 24)[0].astype(np.float32)
    theirs = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
    matrix = geometry.cubic_matrix(24, 64, 24)
    ours = np.asarray(geometry.separable(small[None], matrix))[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-2)


def test_super_resolution_is_what_was_reduced_and_sharper(photos):
    small = cv2.resize(photos[0], (32, 32), interpolation=cv2.INTER_AREA)
    large = geometry.upscale(small, 64, 64)
    again = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
    errors = [np.abs(x.astype(float) - photos[0]).mean() for x in (large, plain)]
    assert np.abs(again.astype(int) - small).mean() < 1
    assert errors[0] < errors[1]


def test_random_expressions_lie_in_their_ranges():
    parameters = parse_chain("reenact").steps[0].arguments
    assert [(p.low, p.high) for p in parameters] == [(0, 0.5)] + 6 * [(-0.5, 0.5)]
    amounts = graphics._amounts(np, dict.fromkeys(reenactment.EXPRESSION, 0.25), 3)
    np.testing.assert_array_equal(amounts, np.full([3, 7], 0.25))
