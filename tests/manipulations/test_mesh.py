"""Meshes, splines and blending against SciPy and OpenCV."""

import cv2
import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator

from faketagger_tf.manipulations import blend, mesh
from faketagger_tf.photos.canvas import LANDMARKS


@pytest.fixture
def points():
    return mesh.to_canvas(mesh.mesh_points(LANDMARKS), 128)


def area(corners):
    (ax, ay), (bx, by), (cx, cy) = corners
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2


def test_the_triangles_tile_the_hull(points):
    triangles = mesh.mesh_triangles()
    total = sum(area(points[corners]) for corners in triangles)
    hull = cv2.contourArea(points[5:].astype(np.float32))
    assert total == pytest.approx(hull, rel=1e-5)
    assert set(triangles.ravel()) == set(range(len(points)))


def test_the_hull_follows_turned_and_stretched_landmarks():
    matrix = np.array([[1.4, 0.5], [-0.3, 1.1]])
    moved = mesh.mesh_points(LANDMARKS @ matrix + (20, 30))
    np.testing.assert_allclose(moved[5:], mesh.HULL @ matrix + (20, 30), atol=1e-9)


def test_the_piecewise_affine_map_is_scipys(points):
    source = points + np.random.default_rng(0).normal(0, 3, points.shape)
    ours = mesh.piecewise_affine_map(points, source, 128, 128)
    row, column = np.mgrid[:128, :128] + 0.5
    theirs = LinearNDInterpolator(points, source)(column, row)
    inside = ~np.isnan(ours[..., 0]) & ~np.isnan(theirs[..., 0])
    outline = np.isnan(ours[..., 0]) != np.isnan(theirs[..., 0])
    assert inside.mean() > 0.1 and outline.mean() < 0.005
    # Four points on a circle can be cut into triangles in two ways, and the mirrored
    # corners of the hull are such: there the two may differ.
    same = np.abs(ours - theirs)[inside].max(-1) < 1e-3
    assert same.mean() > 0.9


def test_the_mask_is_where_the_map_is(points):
    mask = mesh.hull_mask(points, 128, 128) > 0
    inside = ~np.isnan(mesh.piecewise_affine_map(points, points, 128, 128)[..., 0])
    # They may differ in pixels that the outline cuts.
    assert np.mean(mask != inside) < 0.01
    assert mask.sum() == pytest.approx(inside.sum(), rel=0.06)


def test_the_thin_plate_spline_is_scipys(points):
    rng = np.random.default_rng(1)
    values, places = rng.normal(size=(len(points), 2)), rng.uniform(0, 128, (50, 2))
    theirs = RBFInterpolator(points, values, kernel="thin_plate_spline")(places)
    ours = mesh.thin_plate_weights(points, places) @ values
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (50, 71)])
def test_poisson_blending_is_opencvs(shape, photos):
    height, width = shape
    target, donor, _ = (cv2.resize(p, (width, height)) for p in photos)
    mask = np.zeros(shape, np.uint8)
    middle, axes = (width // 2, height // 2), (width // 3, height // 3)
    cv2.ellipse(mask, middle, axes, 20, 0, 360, 255, -1)
    theirs = blend.poisson_clone(target, donor, mask)
    pair = (p[None].astype(np.float32) / 255 for p in (target, donor))
    ours = np.asarray(blend.poisson_blend(*pair, mask))[0] * 255
    # OpenCV truncates to whole levels; the donor itself is tens of levels away.
    assert np.abs(np.clip(ours, 0, 255) - theirs).max() < 2
    assert np.abs(theirs.astype(float) - target)[mask > 0].mean() > 20


def test_too_small_a_mask_leaves_the_photo(photos):
    mask = np.zeros([64, 64], np.uint8)
    mask[30:32, 30:32] = 255
    assert blend.poisson_clone(photos[0], photos[1], mask) is None
    images = photos[:1].astype(np.float32)
    assert blend.poisson_blend(images, images, mask) is images
