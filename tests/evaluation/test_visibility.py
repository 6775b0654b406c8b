"""FLIP, PSNR and SSIM of pairs whose differences are known."""

import numpy as np
import pytest
from skimage import data

from faketagger_tf.evaluation import visibility


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:200, 120:300]


def test_equal_photos_show_nothing(photo):
    found = visibility.measure_visibility(photo, photo)
    assert found["flip_mean"] == 0 and found["flip_p99"] == 0
    assert found["psnr"] == np.inf and found["ssim"] == pytest.approx(1.0)


def test_flip_knows_what_the_eye_sees(photo):
    rng = np.random.default_rng(0)
    noise = rng.choice([-3, 3], photo.shape[:2])[..., None]

    def with_(change):
        return np.clip(photo.astype(int) + change, 0, 255).astype(np.uint8)

    # The same error in squares: single pixels of luma, and coarse blotches of colour.
    fine = visibility.measure_visibility(photo, with_(noise))
    blotches = np.kron(rng.choice([-1, 1], (10, 9)), np.ones((20, 20), int))
    coloured = np.stack([4 * blotches, -3 * blotches, 0 * blotches], -1)
    coarse = visibility.measure_visibility(photo, with_(coloured))
    assert coarse["psnr"] == pytest.approx(fine["psnr"], abs=1)
    assert coarse["flip_mean"] > 1.5 * fine["flip_mean"]
    assert coarse["flip_p99"] >= coarse["flip_mean"]


def test_flip_equals_the_reference_on_black_and_white():
    """The largest difference there is: FLIP's maps reach 1 inside of large areas."""
    black = np.zeros((80, 80, 3), np.uint8)
    error = visibility.flip(black, np.full_like(black, 255))
    assert error.shape == (80, 80) and error.dtype == np.float32
    # Andersson et al. 2020, section 4: colour errors are mapped to [0, 0.95] by 0.4
    # of the largest distance and to 1 above; black and white lie near the top.
    assert error[40, 40] > 0.9


def test_enlarged_canvases_show_more_of_fine_noise(photo):
    noise = np.random.default_rng(0).integers(-6, 7, photo.shape)
    tagged = np.clip(photo + noise, 0, 255).astype(np.uint8)
    own = visibility.measure_visibility(photo, tagged)["flip_mean"]
    near = visibility.measure_visibility(
        visibility.enlarge(photo), visibility.enlarge(tagged)
    )["flip_mean"]
    assert near > 1.2 * own
