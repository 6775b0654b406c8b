import cv2
import numpy as np
import pytest

from faketagger_tf.photos import canvas


def test_square_is_centred_on_the_face():
    left, top, side = canvas.canvas_square(1000, 800, (400, 300, 100, 80), 1.9)
    assert side == pytest.approx(190)
    assert (left + side / 2, top + side / 2) == pytest.approx((450, 340))


@pytest.mark.parametrize("box", [(-30, 10, 90, 90), (550, 340, 80, 80), (0, 0, 600, 9)])
def test_square_stays_inside_the_photo(box):
    left, top, side = canvas.canvas_square(600, 400, box, 1.9)
    assert left >= 0 and top >= 0 and left + side <= 600 and top + side <= 400
    assert side == min(400, 1.9 * max(box[2:]))


def test_square_without_a_face_is_the_largest_centred_one():
    assert canvas.canvas_square(600, 400) == (100, 0, 400)
    assert canvas.canvas_square(40, 60) == (0, 10, 40)


@pytest.mark.parametrize(
    "box", [(10, 10, 0, 5), (700, 10, 50, 50), (float("nan"), 0, 5, 5), (1, 2, 3)]
)
def test_square_refuses_a_bad_box(box):
    with pytest.raises(ValueError, match="face box"):
        canvas.canvas_square(600, 400, box)


def ramp(height, width):
    """A photo whose value is a linear function of continuous coordinates."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return np.dstack([x, y, x + y]).astype(np.float32)


@pytest.mark.parametrize("side", [50.0, 64.0, 93.7, 200.3])
def test_crop_is_exact_to_the_subpixel(side):
    left, top, size = 31.3, 20.8, 64
    result = canvas.crop_canvas(ramp(300, 300), (left, top, side), size)
    centre = (np.arange(size) + 0.5) * side / size
    # OpenCV interpolates at steps of 1/32 pixel; its cubic bends a ramp a little.
    assert np.abs(result[..., 0] - (left + centre)[None]).max() < 0.06
    assert np.abs(result[..., 1] - (top + centre)[:, None]).max() < 0.06


def test_crop_of_whole_pixels_equals_area_interpolation():
    photo = np.random.default_rng(0).integers(0, 256, [90, 120, 3], np.uint8)
    expected = cv2.resize(photo[10:74, 20:84], (32, 32), interpolation=cv2.INTER_AREA)
    result = canvas.crop_canvas(photo, (20, 10, 64), 32)
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - expected).max() <= 1
    same = canvas.crop_canvas(photo, (20, 10, 64), 64)
    np.testing.assert_array_equal(same, photo[10:74, 20:84])


def test_crop_does_not_alias():
    y, x = np.mgrid[0:512, 0:512]
    board = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, 2)
    result = canvas.crop_canvas(board, (3.4, 5.6, 500), 60)
    assert np.abs(result.astype(int) - 127).max() < 12


def test_canvas_outside_the_photo_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        canvas.crop_canvas(ramp(50, 50), (100, 100, 20), 32)


@pytest.mark.parametrize("degrees", [0, 17, -63, 180])
def test_similarity_is_recovered_exactly(degrees):
    angle, side, centre = np.deg2rad(degrees), 83.5, np.array([140.2, 77.9])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (canvas.LANDMARKS - 0.5) @ turn.T * side + centre
    matrix = canvas.similarity_from_landmarks(points, 128, 1.9)
    scale = 128 / (1.9 * side)
    np.testing.assert_allclose(matrix[:, :2], scale * turn.T, atol=1e-12)
    np.testing.assert_allclose(matrix @ [*centre, 1], [64, 64], atol=1e-10)


def test_similarity_agrees_with_umeyama_on_noisy_points():
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(3)
    points = canvas.LANDMARKS * 90 + rng.normal(0, 3, [5, 2]) + 40
    target = ((canvas.LANDMARKS - 0.5) / 1.9 + 0.5) * 128
    expected = transform.SimilarityTransform.from_estimate(points, target).params[:2]
    result = canvas.similarity_from_landmarks(points, 128, 1.9)
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_upright_landmarks_give_the_upright_square():
    box = (60.0, 50.0, 80.0, 80.0)
    points = canvas.LANDMARKS * 80 + [60, 50]
    np.testing.assert_allclose(
        canvas.similarity_from_landmarks(points, 128, 1.9),
        canvas.square_matrix(canvas.canvas_square(300, 300, box, 1.9), 128),
        atol=1e-9,
    )


@pytest.mark.parametrize(
    "points", [np.zeros([5, 2]), np.zeros([4, 2]), np.full([5, 2], np.nan)]
)
def test_bad_landmarks_are_refused(points):
    with pytest.raises(ValueError, match="Landmarks"):
        canvas.similarity_from_landmarks(points, 128)


@pytest.mark.parametrize("scale", [0.4, 2.0])
def test_black_outside_begins_at_the_photos_border(scale):
    photo = np.full((60, 50, 3), 200, np.uint8)
    # The photo's top left lies at (20, 30) of the canvas.
    matrix = np.array([[scale, 0, 20], [0, scale, 30]])
    black = canvas.warp_canvas(photo, matrix, 64, outside="black")
    right, bottom = min(64, round(20 + 50 * scale)), min(64, round(30 + 60 * scale))
    inside = np.zeros([64, 64], bool)
    inside[30:bottom, 20:right] = True
    assert (black[inside] == 200).all() and not black[~inside].any()
    # Without it the border's pixels are repeated.
    assert (canvas.warp_canvas(photo, matrix, 64) == 200).all()
