"""Losses against TensorFlow's and NumPy's own."""

import numpy as np
import skimage.data
import tensorflow as tf

from faketagger_tf import losses, metrics

RNG = np.random.default_rng(0)


def test_message_loss_is_sigmoid_cross_entropy():
    message = RNG.integers(0, 2, (5, 16)).astype(np.float32)
    logits = RNG.normal(0, 30, (5, 16)).astype(np.float32)
    expected = tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(message, logits), axis=-1
    )
    np.testing.assert_allclose(
        losses.message_loss(message, logits), expected, rtol=1e-5
    )


def test_message_loss_at_chance_is_log_two():
    message = np.ones((1, 8), np.float32)
    value = losses.message_loss(message, np.zeros((1, 8), np.float32))
    np.testing.assert_allclose(value, [np.log(2)], rtol=1e-6)


def test_image_loss_is_the_mean_square():
    residual = RNG.normal(0, 0.1, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        losses.image_loss(residual), np.mean(residual**2, axis=(1, 2, 3)), rtol=1e-5
    )


def test_clipping_loss_counts_only_what_lies_outside():
    tagged = np.full((1, 2, 2, 3), 0.5, np.float32)
    assert losses.clipping_loss(tagged)[0] == 0
    tagged[0, 0, 0] = [1.1, -0.2, 1.0]
    np.testing.assert_allclose(
        losses.clipping_loss(tagged), [(0.01 + 0.04) / 12], rtol=1e-5
    )


def test_ssim_loss_is_that_of_the_report():
    photo = skimage.data.astronaut()[None, 40:168, 160:288]
    change = RNG.normal(0, 6, photo.shape)
    other = np.clip(photo + change, 0, 255).astype(np.uint8)
    loss = losses.ssim_loss(photo / np.float32(255), other / np.float32(255))
    # Half of the windows each way are looked at.
    np.testing.assert_allclose(loss, 1 - metrics.ssim(photo, other), rtol=0.02)
    np.testing.assert_allclose(losses.ssim_loss(photo, photo), [0], atol=1e-5)


def test_face_loss_is_the_mean_absolute_error():
    target, rendered = RNG.random((2, 3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        losses.face_loss(target, rendered),
        np.mean(np.abs(target - rendered), axis=(1, 2, 3)),
        rtol=1e-5,
    )
