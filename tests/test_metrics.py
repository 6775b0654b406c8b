"""Reported metrics against scikit-image."""

import math

import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from faketagger_tf import metrics


@pytest.fixture(scope="module")
def pair():
    photo = data.astronaut()[40:168, 160:288]
    noise = np.random.default_rng(0).normal(0, 8, photo.shape)
    noisy = np.clip(photo + noise, 0, 255).astype(np.uint8)
    return photo[None], noisy[None]


def test_psnr_agrees_with_scikit_image(pair):
    expected = peak_signal_noise_ratio(pair[0][0], pair[1][0], data_range=255)
    np.testing.assert_allclose(metrics.psnr(*pair), [expected], rtol=1e-9)


def test_psnr_of_equal_images_is_infinite(pair):
    assert metrics.psnr(pair[0], pair[0])[0] == np.inf


def test_ssim_agrees_with_scikit_image(pair):
    expected = structural_similarity(
        pair[0][0],
        pair[1][0],
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    # scikit-image leaves out a border, ours uses valid windows: the same pixels.
    np.testing.assert_allclose(metrics.ssim(*pair), [expected], atol=2e-4)


def test_bit_accuracy():
    bits = np.array([[0, 1, 1, 0], [1, 1, 1, 1]])
    logits = np.array([[-2.0, 3.0, -0.1, -5.0], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(metrics.bit_accuracy(bits, logits), [0.75, 1.0])


def test_to_uint8_rounds_and_clips():
    values = np.array([-0.2, 0.0, 0.4999 / 255, 0.51 / 255, 1.0, 1.3])
    np.testing.assert_array_equal(metrics.to_uint8(values), [0, 0, 0, 1, 255, 255])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)), "uint8.*float64"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "uint8"),
        (
            np.zeros((1, 8, 8, 3), np.uint8),
            np.zeros((1, 9, 8, 3), np.uint8),
            "one shape",
        ),
    ],
)
def test_bad_images(first, second, message):
    with pytest.raises(ValueError, match=message):
        metrics.psnr(first, second)


def test_measure_is_the_whole_photos():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    second = first.copy()
    second[30:60, 50:80] ^= 9
    psnr, ssim = metrics.measure(first, second, rows=16)
    assert psnr == pytest.approx(metrics.psnr(first[None], second[None])[0], abs=1e-9)
    assert ssim == pytest.approx(metrics.ssim(first[None], second[None])[0], abs=2e-5)
    assert metrics.measure(first, first) == (math.inf, 1.0)
