"""The page cuts, shrinks and pastes as OpenCV does for Python; needs Node.js.

OpenCV computes in float32, and in another order on another processor, so that a value
may be rounded to the next grey level: a few in a thousand may, and none further.
"""

import collections

import cv2
import numpy as np
import pytest

from faketagger_tf.photos import similarity_from_landmarks, warp_canvas
from faketagger_tf.photos.canvas import LANDMARKS
from faketagger_tf.tagging import search
from faketagger_tf.tagging.paste import add_residual


def photo(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 0.7)


def image(pixels):
    height, width = pixels.shape[:2]
    return {"width": width, "height": height, "data": pixels.ravel().tolist()}


Reading = collections.namedtuple("Reading", "found surprise canvas")

BYTES = "({ ...job.photo, data: Uint8Array.from(job.photo.data) })"


def assert_same(made, expected):
    difference = np.abs(np.reshape(made, expected.shape).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


def turned(side, degrees, middle, mirrored=False, size=64):
    """The matrix of a canvas with so many photo pixels a side."""
    turn, scale = np.radians(degrees), size / side
    linear = scale * np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    matrix = np.column_stack([linear, size / 2 - linear @ middle])
    if mirrored:
        matrix = search.Canvas(matrix).mirror(size).matrix
    return matrix


@pytest.mark.parametrize("to", [(40, 33), (50, 97), (113, 97), (1, 1)])
def test_area_resize_is_opencvs(to, evaluate):
    pixels = photo(97, 113)
    made = evaluate(
        "canvas.js",
        "areaResize",
        f"Array.from(areaResize({BYTES}, ...job.to).data)",
        {"photo": image(pixels), "to": to},
    )
    assert_same(made, cv2.resize(pixels, to, interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_area_resize_by_whole_numbers_is_exact(factor, evaluate):
    pixels = photo(24 * factor, 20 * factor)
    made = evaluate(
        "canvas.js",
        "areaResize",
        f"Array.from(areaResize({BYTES}, 20, 24).data)",
        {"photo": image(pixels)},
    )
    expected = cv2.resize(pixels, (20, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(np.reshape(made, expected.shape), expected)


@pytest.mark.parametrize(
    ("side", "degrees", "mirrored"),
    [(40, 8, False), (64, 0, False), (100, -20, True), (128, 0, False), (200, 3, True)],
)
@pytest.mark.parametrize("outside", ["repeat", "black"])
def test_canvas_is_pythons(side, degrees, mirrored, outside, evaluate):
    pixels = photo(150, 170)
    # The larger ones reach over the photo's border.
    matrix = turned(side, degrees, (70.3, 81.9), mirrored)
    made = evaluate(
        "canvas.js",
        "warpCanvas",
        f"Array.from(warpCanvas({BYTES}, job.matrix, 64, job.outside).data)",
        {"photo": image(pixels), "matrix": matrix.ravel().tolist(), "outside": outside},
    )
    assert_same(made, warp_canvas(pixels, matrix, 64, outside))


def test_fit_is_pythons(evaluate):
    rng = np.random.default_rng(0)
    points = 70 * LANDMARKS @ [[0.9, 0.3], [-0.3, 0.9]] + rng.normal(0, 3, (5, 2)) + 40
    made = evaluate(
        "canvas.js",
        "similarityFromLandmarks, corners",
        "((m) => [m, corners(m, 128)])(similarityFromLandmarks(job, 128, 1.9))",
        points.tolist(),
    )
    expected = similarity_from_landmarks(points, 128, 1.9)
    np.testing.assert_allclose(np.reshape(made[0], (2, 3)), expected, atol=1e-9)
    corners = search.Canvas(expected).corners(128)
    np.testing.assert_allclose(made[1], corners, atol=1e-9)


def test_paste_is_pythons(evaluate):
    pixels = photo(150, 170)
    # One is enlarged, one shrunk, and they overlap.
    canvases = [
        search.Canvas(turned(90, 10, (60.0, 70.0))),
        search.Canvas(turned(40, -5, (110.0, 75.0))),
    ]
    residuals = np.random.default_rng(1).normal(0, 0.05, (2, 64, 64, 3))
    residuals = residuals.astype(np.float32)
    expected = pixels.copy()
    for index, residual in enumerate(residuals):
        add_residual(pixels, expected, residual, canvases, index)
    made = evaluate(
        "canvas.js",
        "addResidual",
        f"((photo) => {{ const tagged = {{ ...photo, data: photo.data.slice() }};"
        "  job.residuals.forEach((residual, index) => addResidual(photo, tagged,"
        "    Float32Array.from(residual), 64, job.matrices, index));"
        f"  return Array.from(tagged.data); }})({BYTES})",
        {
            "photo": image(pixels),
            "matrices": [canvas.matrix.ravel().tolist() for canvas in canvases],
            "residuals": residuals.reshape(2, -1).tolist(),
        },
    )
    assert (expected != pixels).mean() > 0.2
    assert_same(made, expected)


def test_places_are_pythons(evaluate):
    """Read in the same order at the same places, found last of all or not at all."""
    pixels = photo(150, 170)
    start = search.Canvas(turned(300, 10, (80.0, 70.0)))
    places = []

    def surprise(matrix):
        # Any function of the place that has no ties.
        return float(np.sin(matrix.ravel() @ [31.0, 17, 0.11, 23, 41, 0.07]))

    def read(small, canvases, factor, tight):
        for canvas in canvases:
            values = canvas.matrix.ravel().tolist()
            places.append([small.shape[1], factor, int(tight), *values])
        return [
            Reading(False, surprise(canvas.matrix) - 2 * tight, canvas)
            for canvas in canvases
        ]

    best = search.search(pixels, start, 64, read)
    made = evaluate(
        "search.js",
        "search, PLACES",
        "await (async () => { const places = [];"
        "  const weights = [31, 17, 0.11, 23, 41, 0.07];"
        "  const read = async (photo, matrix, factor, tight) => {"
        "    places.push([photo.width, factor, Number(tight), ...matrix]);"
        "    const sum = matrix.reduce((sum, v, i) => sum + v * weights[i], 0);"
        "    return { found: false, matrix, surprise: Math.sin(sum) - 2 * tight }; };"
        f"  const best = await search({BYTES}, job.matrix, 64, read);"
        "  return { places, best: best.matrix, most: PLACES }; })()",
        {"photo": image(pixels), "matrix": start.matrix.ravel().tolist()},
    )
    assert made["most"] == search.PLACES >= len(places) > 90
    np.testing.assert_allclose(made["places"], places, atol=1e-9)
    np.testing.assert_allclose(made["best"], best.canvas.matrix.ravel(), atol=1e-9)
