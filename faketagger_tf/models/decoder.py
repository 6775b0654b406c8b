"""Module 4: the image decoder, seven convolutions and a Dense layer of logits.

FakeTagger (arXiv:2009.09869), section 3. What differs from the paper: space-to-depth
features, an optional block of self-attention, with which distant parts of a moved or
cropped canvas find one another, and logits rather than probabilities at the output,
because the soft message decoder needs them unclipped.
"""

from __future__ import annotations

import functools

import keras
from keras import layers

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.layers import (
    SelfAttention,
    SpaceToDepth,
    convolution_block,
)


def build_decoder(
    config: TaggerConfig, name: str = "decoder", synchronized: bool = True
) -> keras.Model:
    """Builds the image decoder.

    Args:
        config: sizes; see `TaggerConfig`.
        name: name of the model.
        synchronized: take batch statistics over all replicas; XLA cannot.

    Returns:
        A functional model. Input `image` `[batch, S, S, 3]` float32 in [0, 1]; output
        logits `[batch, L]` float32, positive for a 1. Apply a sigmoid for
        probabilities.

    Example:
        >>> canvases = keras.ops.zeros((2, 128, 128, 3))
        >>> tuple(build_decoder(TaggerConfig())(canvases).shape)
        (2, 64)
    """
    block = functools.partial(convolution_block, synchronized=synchronized)
    size, width = config.image_size, config.decoder_width
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1.0, name="centre")(image)
    x = SpaceToDepth(4, name="patches")(x)
    x = block(x, width, "level1_a")
    x = block(x, width, "level1_b")
    x = layers.AveragePooling2D(2, name="level1_pool")(x)
    x = block(x, width * 5 // 4, "level2_a")
    x = block(x, width * 5 // 4, "level2_b")
    if config.attention:
        x = SelfAttention(name="attention")(x)
    x = layers.AveragePooling2D(2, name="level2_pool")(x)
    x = block(x, width * 7 // 4, "level3_a")
    x = block(x, width * 7 // 4, "level3_b")
    x = block(x, width // 2, "level3_c")
    # Flattened, not averaged: where a bit lies in the canvas is part of the message.
    x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(config.message_bits, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
