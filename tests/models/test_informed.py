"""Informed steps: better bits at the same visibility, in Keras and in TFLite."""

import numpy as np
import pytest

from export.tflite import convert_encoder
from faketagger_tf import visibility
from faketagger_tf.config import TaggerConfig
from faketagger_tf.litert import LiteModel
from faketagger_tf.models import (
    build_decoder,
    build_encoder,
    build_informed_encoder,
)
from faketagger_tf.models.informed import middle_mask
from faketagger_tf.tagging.search import tight_view

CONFIG = TaggerConfig(
    image_size=64,
    message_bits=16,
    payload_bits=8,
    encoder_width=8,
    decoder_width=16,
    strength="visibility",
    outside="black",
    attention=True,
    informed_steps=3,
)
COUNT = 6


@pytest.fixture(scope="module")
def models():
    import keras

    # Untrained: what a decoder happens to see is as good a test of a descent.
    keras.utils.set_random_seed(4)
    encoder, decoder = build_encoder(CONFIG), build_decoder(CONFIG)
    return encoder, decoder, build_informed_encoder(CONFIG, encoder, decoder)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(2)
    cover = rng.uniform(0.2, 0.8, (COUNT, 8, 8, 3)).repeat(8, 1).repeat(8, 2)
    cover[:, :, :16] = 0  # Beyond the photo's border.
    return {
        "cover": cover.astype(np.float32),
        "message": rng.integers(0, 2, (COUNT, 16)).astype(np.float32),
        "level": np.linspace(34, 44, COUNT, dtype=np.float32)[:, None],
        "scale": np.linspace(0.5, 4, COUNT, dtype=np.float32)[:, None],
    }


def loss_of(decoder, inputs, residual):
    logits = np.asarray(decoder(inputs["cover"] + residual, training=False))
    signs = 2 * inputs["message"] - 1
    return np.logaddexp(0, -signs * logits).sum(1)


def test_the_message_is_said_better_at_the_same_visibility(models, inputs):
    encoder, decoder, informed = models
    before, after = (np.asarray(e(inputs, training=False)) for e in (encoder, informed))
    assert (loss_of(decoder, inputs, after) < loss_of(decoder, inputs, before)).all()
    seen = visibility.visibility(
        after, visibility.masks(inputs["cover"]), visibility.nearness(inputs["scale"])
    )
    # Scaled to it in float32, up to the 1e-9 that keeps the division from zero.
    wanted = 10 ** (-inputs["level"][:, 0] / 20)
    np.testing.assert_allclose(np.asarray(seen), wanted, rtol=1e-3)
    assert np.abs(after[:, :, :13]).max() == 0


def test_steps_gain_more_than_those_down_the_plain_slope(models, inputs):
    """What the cube root is for: as many steps, as long, at one visibility."""
    import tensorflow as tf

    encoder, decoder, informed = models
    cover = inputs["cover"]
    factors = visibility.masks(cover)
    near = visibility.nearness(inputs["scale"])
    lit = np.asarray(visibility.inside(cover))

    def scaled(residual, wanted):
        seen = np.asarray(visibility.visibility(residual, factors, near))
        return residual * (wanted / seen)[:, None, None, None]

    residual = np.asarray(encoder(inputs, training=False))
    wanted = 10 ** (-inputs["level"][:, 0] / 20)
    signs = 2 * inputs["message"] - 1
    for number in range(3):
        with tf.GradientTape() as tape:
            tagged = tf.constant(cover + residual)
            tape.watch(tagged)
            logits = decoder(tagged, training=False)
            loss = tf.reduce_sum(tf.nn.softplus(-signs * logits))
        way = tape.gradient(loss, tagged).numpy() * lit
        step = scaled(way, wanted * 0.3 * (1 - number / 4))
        residual = scaled(residual - step, wanted)
    plain = loss_of(decoder, inputs, residual).mean()
    ours = np.asarray(informed(inputs, training=False))
    assert loss_of(decoder, inputs, ours).mean() < plain


@pytest.mark.slow
def test_tflite_says_the_message_as_well(models, inputs, tmp_path):
    """Built-in operations alone: `convert_encoder` allows no others.

    The cube root has no slope at zero, so that rounding moves single pixels; what is
    compared is what the decoder reads.
    """
    encoder, decoder, informed = models
    path = tmp_path / "encoder.tflite"
    path.write_bytes(convert_encoder(CONFIG, informed, "float16"))
    ours = LiteModel(path)(inputs)["residual"]
    theirs = np.asarray(informed(inputs, training=False))
    before = loss_of(decoder, inputs, np.asarray(encoder(inputs, training=False)))
    gained = before - loss_of(decoder, inputs, theirs)
    np.testing.assert_allclose(
        before - loss_of(decoder, inputs, ours), gained, rtol=0.2, atol=0.02
    )


@pytest.mark.parametrize("size", [64, 128])
def test_the_middle_is_what_a_tight_reading_looks_at(size):
    canvas = np.random.default_rng(1).random((1, size, size, 3), np.float32)
    seen = tight_view(canvas, "black")
    np.testing.assert_array_equal(canvas * middle_mask(size), seen)


def test_without_steps_it_is_the_encoder(models):
    encoder, decoder, _ = models
    assert build_informed_encoder(TaggerConfig(), encoder, decoder) is encoder


def test_configurations_that_are_refused():
    with pytest.raises(ValueError, match=r"informed_steps must be .* from 0 to 0"):
        TaggerConfig(informed_steps=1)
    with pytest.raises(ValueError, match="from 0 to 16"):
        TaggerConfig(strength="visibility", informed_steps=17)
