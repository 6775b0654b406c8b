import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from faketagger_tf.manipulations import StatelessSeed, geometry, photometric
from faketagger_tf.manipulations import random_warp as exported_random_warp


def test_area_matrix_is_opencvs_inter_area(images):
    for size in (32, 21, 9):
        ours = np.asarray(geometry.resize_to(images, size))
        theirs = geometry.resize_to_real(images, size)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_bilinear_matrix_is_opencvs_inter_linear(images):
    for size in (96, 101, 128):
        ours = np.asarray(geometry.resize_to(images, size))
        theirs = geometry.resize_to_real(images, size)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_blur_is_opencvs_for_a_sigma_per_image(images):
    sigmas = np.float32([0.6, 1.7, 3.0])
    ours = np.asarray(photometric.gaussian_blur(images, sigmas, radius=9))
    for blurred, image, sigma in zip(ours, images, sigmas, strict=True):
        theirs = cv2.GaussianBlur(
            image, (19, 19), float(sigma), borderType=cv2.BORDER_REFLECT_101
        )
        np.testing.assert_allclose(blurred, theirs, atol=1e-5)


@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_bilinear_warp_is_scipys(border, images):
    rng = np.random.default_rng(0)
    rows, columns = rng.uniform(-40, 100, [2, 3, 30, 31]).astype(np.float32)
    ours = np.asarray(geometry.bilinear_warp(images, rows, columns, border))
    mode = {"edge": "nearest", "reflect": "reflect"}[border]
    for i in range(3):
        for channel in range(3):
            theirs = ndimage.map_coordinates(
                images[i, ..., channel], [rows[i], columns[i]], order=1, mode=mode
            )
            np.testing.assert_allclose(ours[i, ..., channel], theirs, atol=1e-4)


def test_affine_warp_is_opencvs(images, photos):
    angles, scales = np.array([0.1, -0.3, 0.0]), np.array([1.0, 0.8, 1.3])
    shifts = np.array([0.0, 3.0, -2.5]), np.array([1.0, 0.0, 4.0])
    rows = geometry.affine_coefficients(np, angles, scales, *shifts, 64)
    ours = np.asarray(geometry.affine_warp(images, rows.astype(np.float32))) * 255
    theirs = np.stack(
        [geometry.affine_warp_real(p, r) for p, r in zip(photos, rows, strict=True)]
    )
    assert np.abs(ours - theirs).mean() < 0.5
    assert np.abs(theirs[2].astype(float) - photos[2]).mean() > 5


def test_affine_coefficients_turn_enlarge_and_move_about_the_middle():
    point = np.array([31.5, 31.5])
    turn, scale = np.array([np.pi / 2]), np.array([2.0])
    zero, five = np.zeros(1), np.array([5.0])
    (row,) = geometry.affine_coefficients(np, turn, scale, zero, five, 64)
    source = row.reshape(2, 3) @ [31.5, 36.5, 1]
    np.testing.assert_allclose(source, point, atol=1e-9)
    # Two pixels right of the middle comes from one pixel away: enlarged twofold.
    source = row.reshape(2, 3) @ [33.5, 36.5, 1]
    assert np.linalg.norm(source - point) == pytest.approx(1.0)


def test_affine_stays_within_its_bounds():
    # A ramp tells where each pixel came from.
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    image = np.repeat(np.stack([ramp, ramp.T, ramp], -1)[None], 32, axis=0)
    for degrees, scale, shift in ((0.0, 0.0, 3.0), (0.0, 0.1, 0.0)):
        warped = geometry.affine(image, StatelessSeed(1), None, degrees, scale, shift)
        warped = np.asarray(warped)
        moved = (warped - image)[:, 16:48, 16:48, :2] * 63
        bound = max(shift, 0.1 / 0.9 * 16)
        assert np.abs(moved).max() <= bound + 1e-3
        assert np.abs(moved).max() > bound / 2


def test_crop_keeps_a_window_of_the_right_size(images):
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    image = np.repeat(np.stack([ramp, ramp.T, ramp], -1)[None], 16, axis=0)
    for fraction in (0.5, np.full(16, 0.75, np.float32)):
        size = float(np.max(fraction)) * 64
        output = np.asarray(geometry.crop(image, StatelessSeed(0), None, fraction, 0))
        widths = output[:, 0, -1, 0] - output[:, 0, 0, 0]
        np.testing.assert_allclose(widths, size - 1, atol=1e-3)
        assert len(set(np.round(output[:, 0, 0, 0]))) > 3
        np.testing.assert_allclose(output[..., 0, 0, 0] % 1, 0, atol=1e-3)


def test_overhang_repeats_the_border_of_what_is_left():
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    image = np.repeat(np.stack([ramp, ramp.T, ramp], -1)[None], 40, axis=0)
    ours = np.asarray(geometry.overhang(image, StatelessSeed(0), None, 0.25))
    real = geometry.overhang_real(
        image.astype(np.uint8), np.random.default_rng(0), None, np.full(40, 0.25)
    )
    for outputs in (ours, real.astype(np.float32)):
        # The ramps tell which column and row is shown where.
        left, right = outputs[:, 0, 0, 0], 63 - outputs[:, 0, -1, 0]
        top, bottom = outputs[:, 0, 0, 1], 63 - outputs[:, -1, 0, 1]
        for lost in (left, right, top, bottom):
            assert lost.max() <= 16 and lost.max() > 8
            assert 0.25 < np.mean(lost == 0) < 0.75
        for i in range(40):
            sides = [int(x[i]) for x in (top, bottom, left, right)]
            kept = image[i, sides[0] : 64 - sides[1], sides[2] : 64 - sides[3]]
            kept = np.ascontiguousarray(kept)
            expected = cv2.copyMakeBorder(kept, *sides, cv2.BORDER_REPLICATE)
            np.testing.assert_array_equal(outputs[i], expected)


def test_random_warp_moves_by_the_strength_asked_for():
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    image = np.repeat(np.stack([ramp, ramp.T, ramp], -1)[None], 32, axis=0)
    warped = np.asarray(exported_random_warp(image, StatelessSeed(1), 0.05))
    real = geometry.random_warp_real(image, np.random.default_rng(1), np.full(32, 0.05))
    for outputs in (warped, real):
        # The nodes sit at the middles of 5 x 5 cells; there the shift is theirs.
        nodes = (outputs - image)[:, 18:46:13, 18:46:13, :2] * 63 / 64
        assert np.std(nodes) == pytest.approx(0.05, rel=0.2)


def test_warp_compiles_under_xla(images):
    @tf.function(jit_compile=True)
    def run(inputs, flow):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = geometry.dense_image_warp(inputs, flow)
            loss = tf.reduce_sum(tf.square(outputs))
        return outputs, tape.gradient(loss, inputs)

    nodes = np.random.default_rng(0).normal(0, 4, [3, 5, 5, 2]).astype(np.float32)
    flow = geometry.elastic_flow(nodes, 64)
    outputs, gradient = run(tf.constant(images), flow)
    eager = geometry.dense_image_warp(images, flow)
    np.testing.assert_allclose(outputs, eager, atol=1e-4)
    assert np.abs(gradient).mean() > 0.1


def test_hue_and_saturation_leave_luma_alone():
    weights = np.array([0.299, 0.587, 0.114])
    matrix = photometric.colour_matrix(
        np, np.ones(1), np.array([1.4]), np.array([0.3])
    )[0]
    colours = np.random.default_rng(0).random([10, 3])
    changed = colours @ matrix
    np.testing.assert_allclose(changed @ weights, colours @ weights, atol=2e-3)
    assert np.abs(changed - colours).max() > 0.05
    grey = np.full([1, 3], 0.4)
    np.testing.assert_allclose(grey @ matrix, grey, atol=2e-3)


def test_recolour_is_the_same_on_both_sides(images, photos):
    factors = np.float32([0.9, 1.2, 1.0]), np.float32([0.7, 1.3, 1.0])
    matrix = photometric.colour_matrix(np, *factors, np.float32([0.1, -0.1, 0]))
    shift = np.float32([0.05, -0.05, 0.1])
    ours = np.asarray(photometric.recolour(images, shift, matrix)) * 255
    real = photometric.recolour_real(photos, shift, matrix)
    assert np.abs(ours - real).max() < 0.6
