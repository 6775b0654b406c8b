"""A `Tagger` without training: each bit adds or subtracts a fixed pattern.

The decoder correlates the picture's fine detail with the patterns. It reads real
photos after mild changes, which is what tests of everything around it need.
"""

import keras
import numpy as np
from keras import layers, ops

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.encoder import ScaleToPSNR
from faketagger_tf.tagging.networks import keras_networks
from faketagger_tf.tagging.tagger import Tagger

CONFIG = TaggerConfig(psnr=32.0)


def patterns(config: TaggerConfig, seed: int = 1) -> np.ndarray:
    """Smoothed noise of unit length, [message_bits, S * S * 3]."""
    size = config.image_size
    noise = np.random.default_rng(seed).normal(
        size=(config.message_bits, size + 2, size + 2, 3)
    )
    noise = sum(
        noise[:, i : i + size, j : j + size] for i in range(3) for j in range(3)
    ).reshape(config.message_bits, -1)
    return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def build(config: TaggerConfig = CONFIG, **arguments) -> Tagger:
    """Returns a tagger that needs no weights; `arguments` are those of `Tagger`."""
    size, weights = config.image_size, patterns(config)
    cover = keras.Input((size, size, 3), name="cover")
    message = keras.Input((config.message_bits,), name="message")
    psnr = keras.Input((1,), name="psnr")
    signs = layers.Rescaling(2.0, offset=-1.0)(message)
    residual = layers.Dense(size * size * 3, use_bias=False, name="patterns")(signs)
    residual = layers.Reshape((size, size, 3))(residual)
    residual = ScaleToPSNR()([residual, psnr])
    inputs = {"cover": cover, "message": message, "psnr": psnr}
    encoder = keras.Model(inputs, residual)
    encoder.get_layer("patterns").set_weights([weights])

    image = keras.Input((size, size, 3), name="image")
    smooth = layers.AveragePooling2D(7, strides=1, padding="same")(image)
    detail = layers.Subtract()([image, smooth])
    # Limited, so that a strong edge does not outweigh the patterns.
    detail = layers.Lambda(lambda x: ops.tanh(30 * x))(detail)
    detail = layers.Flatten()(detail)
    logits = layers.Dense(config.message_bits, use_bias=False, name="correlate")(detail)
    decoder = keras.Model(image, logits)
    decoder.get_layer("correlate").set_weights([weights.T])
    return Tagger(config, keras_networks(config, encoder, decoder), **arguments)
