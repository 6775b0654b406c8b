import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.manipulations import codecs


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 90, 100])
def test_stand_in_is_close_to_the_real_codec(quality, images, photos):
    ours = np.asarray(codecs.differentiable_jpeg(images, quality)) * 255
    real = codecs.jpeg_real(photos, None, None, [quality] * 3)
    assert np.abs(ours - real).mean() <= 1.0
    # Much closer to the codec's output than the codec's output is to the photo.
    if quality <= 75:
        damage = np.abs(real.astype(float) - photos).mean()
        assert np.abs(ours - real).mean() < 0.25 * damage


def test_every_image_has_its_own_quality(images):
    mixed = codecs.differentiable_jpeg(images, tf.constant([30.0, 50.0, 90.0]))
    for image, quality, row in zip(images, (30, 50, 90), mixed, strict=True):
        alone = codecs.differentiable_jpeg(image[None], quality)[0]
        # A last bit, which a product of other size may round otherwise, can tip a
        # coefficient and so move one block: 256 pixels of 4,096 at most.
        moved = np.abs(row - alone).max(axis=-1) > 1e-3
        assert moved.mean() < 0.1


@pytest.mark.parametrize("size", [(50, 35), (17, 64), (16, 16)])
def test_sizes_that_are_no_multiple_of_16(size, images, photos):
    height, width = size
    ours = codecs.differentiable_jpeg(images[:, :height, :width], 75)
    real = codecs.jpeg_real(photos[:, :height, :width], None, None, [75] * 3)
    assert np.abs(np.asarray(ours) * 255 - real).mean() <= 1.2


def test_tables_are_libjpegs():
    # The first row of libjpeg's luma table at quality 75, and the extremes.
    table = np.asarray(codecs.quantisation_tables(75))[0]
    assert table[0, :8].tolist() == [8, 6, 5, 8, 12, 20, 26, 31]
    assert np.all(np.asarray(codecs.quantisation_tables(100)) == 1)
    assert np.asarray(codecs.quantisation_tables(1)).max() == 255


def test_output_is_8_bit_and_inputs_are_clipped(images):
    output = np.asarray(codecs.differentiable_jpeg(images * 1.4 - 0.2, 90)) * 255
    assert output.min() >= 0 and output.max() <= 255
    np.testing.assert_allclose(output, np.round(output), atol=1e-3)


def test_gradient_is_that_of_a_lossless_channel_away_from_the_limits():
    # Straight through every rounding and the orthonormal DCT, a grey change comes out
    # as it went in.
    flat = tf.constant(np.random.default_rng(0).uniform(0.4, 0.6, [1, 16, 16, 1]))
    image = tf.cast(tf.repeat(flat, 3, axis=-1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(image)
        grey = tf.reduce_mean(codecs.differentiable_jpeg(image, 30), axis=-1)
        loss = tf.reduce_sum(grey[:, 3, 5])
    gradient = tf.reduce_sum(tape.gradient(loss, image), axis=-1).numpy()[0]
    assert gradient[3, 5] == pytest.approx(1.0, abs=1e-2)
    gradient[3, 5] = 0
    assert np.abs(gradient).max() < 1e-2
