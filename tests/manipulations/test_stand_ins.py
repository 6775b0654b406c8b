"""Non-local means and WebP as tensor operations, for backends other than TensorFlow."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.manipulations import codecs, photometric


@pytest.fixture(scope="module")
def faces():
    """uint8 [3, 128, 128, 3]: drawn photos."""
    photos = [
        draw_photo(identity_from_seed(seed), np.random.default_rng(seed), 256)[0]
        for seed in range(3)
    ]
    return np.stack(
        [cv2.resize(p, (128, 128), interpolation=cv2.INTER_AREA) for p in photos]
    )


@pytest.mark.parametrize("strength", [3.0, 5.0, 8.0])
def test_non_local_means_are_opencvs(strength, faces):
    real = photometric.denoise_real(faces, None, None, [strength] * 3)
    ours = 255 * np.asarray(
        photometric.non_local_means((faces / 255).astype(np.float32), strength)
    )
    # OpenCV converts to 8-bit Lab and back by tables in fixed point: without any
    # denoising its result is 0.67 levels from ours already, on these photos. The same
    # means in Lab of sRGB, which OpenCV does not take, are 1.4 levels away.
    assert np.abs(ours - real).mean() < 0.8
    # What it does to the photos is two to four times as much.
    damage = np.abs(real.astype(float) - faces).mean()
    assert np.abs(ours - real).mean() < 0.55 * damage


def test_every_image_is_denoised_with_its_own_strength(images):
    mixed = photometric.non_local_means(images, np.array([3, 5, 8], np.float32))
    for image, strength, row in zip(images, (3, 5, 8), mixed, strict=True):
        alone = photometric.non_local_means(image[None], strength)[0]
        # A last bit can tip a rounding to 8 bits, one level of Lab, in few pixels.
        assert (np.abs(row - alone) > 1e-3).mean() < 0.01


def test_the_gradient_is_that_of_a_mean(images):
    # A grey that changes everywhere changes the mean as much, whatever the weights.
    batch = tf.constant(np.full([1, 32, 32, 3], 0.5, np.float32))
    with tf.GradientTape() as tape:
        tape.watch(batch)
        smooth = photometric.non_local_means(batch, 5.0)
        loss = tf.reduce_mean(smooth[:, 15, 15])
    slope = tape.gradient(loss, batch).numpy()
    assert slope.sum() == pytest.approx(1.0, abs=0.02)
    # On a plain wall all 225 pixels of the window weigh the same.
    assert np.count_nonzero(np.abs(slope).sum(-1) > 1e-4) == photometric.SEARCH**2


@pytest.mark.parametrize("quality", [35, 50, 65, 80])
def test_webps_psnr_follows_the_codecs(quality, faces):
    def psnr(coded):
        return -10 * np.log10(np.square(coded - faces / 255).mean(axis=(1, 2, 3)))

    real = codecs.webp_real(faces, None, None, [quality] * 3) / 255
    ours = codecs.differentiable_webp((faces / 255).astype(np.float32), quality)
    assert np.abs(psnr(np.asarray(ours)) - psnr(real)).max() < 1.5


def test_webp_takes_sizes_that_are_no_multiple_of_8(images):
    coded = np.asarray(codecs.differentiable_webp(images[:, :50, :35], [40, 60, 80]))
    assert coded.shape == (3, 50, 35, 3)
    np.testing.assert_allclose(255 * coded, np.round(255 * coded), atol=1e-3)
