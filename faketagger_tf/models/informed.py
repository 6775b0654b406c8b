"""Fits a residual to its cover: steps down the decoder's own slope, while tagging.

FakeTagger (arXiv:2009.09869), section 3, embeds in one pass of the image encoder. The
encoder never learns all that a decoder takes for a message in the cover itself, so that
some photos cannot be read even untouched. This is *informed embedding* (Cox, Miller,
Bloom: "Digital Watermarking", chapter 5): whoever tags knows the cover and the decoder,
and moves the residual until the logits are right.

Steps look in turn at the tagged canvas without its face's share of the tag, which a
deepfake takes, at a grey and soft copy, and at the canvas's middle alone, which is what
a crop leaves: what reads there reads untouched.

A step must not be seen. `visibility` pools its bands with an exponent of 4, and the
direction that gains most at a given 4-norm has, in every band, the cube root of the
slope's size (its dual norm has the exponent 4/3). Steps along the plain gradient
pile up in a few places: they made the tag weaker, not stronger.

It needs the TensorFlow backend while it is built or exported; the exported graph holds
built-in TFLite operations alone. Neither ReLU nor pooling has a gradient there, which
is why the decoder's are replaced by products and means.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from faketagger_tf import visibility
from faketagger_tf.config import TaggerConfig
from faketagger_tf.manipulations.face import face_mask
from faketagger_tf.models.banded_encoder import Nearness
from faketagger_tf.photos.canvas import middle_mask

# Length of the first step over the residual's visibility; the steps shrink to 0.
RATE = 0.35
SOFTNESS = 0.6  # Blur of the grey view in canvas pixels.


@keras.saving.register_keras_serializable("faketagger_tf")
class _Gate(layers.Layer):
    """ReLU as a product with what is constant to the gradient."""

    def call(self, features):
        passed = ops.cast(features > 0, features.dtype)
        return features * ops.stop_gradient(passed)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("faketagger_tf")
class _Halve(layers.Layer):
    """Average pooling of 2x2 as a reshape and a mean."""

    def call(self, features):
        _, height, width, channels = features.shape
        shape = (-1, height // 2, 2, width // 2, 2, channels)
        return ops.mean(ops.reshape(features, shape), axis=(2, 4))

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        return batch, height // 2, width // 2, channels


def _plain(decoder: keras.Model) -> keras.Model:
    """The decoder, its weights shared, of operations whose gradients are built in."""

    def replace(layer):
        if isinstance(layer, layers.ReLU):
            return _Gate(name=layer.name)
        if isinstance(layer, layers.AveragePooling2D):
            return _Halve(name=layer.name)
        return layer

    return keras.models.clone_model(decoder, clone_function=replace)


@keras.saving.register_keras_serializable("faketagger_tf")
class InformedSteps(layers.Layer):
    """Steps of a residual towards logits that say the message.

    Inputs: residual and cover `[batch, S, S, 3]`, message `[batch, L]` of 0 and 1,
    level in dB and nearness `[batch, 1]`.
    Output: a residual of the same visibility.

    Args:
        decoder: the image decoder.
        steps: their number, at least 1.
    """

    def __init__(self, decoder: keras.Model, steps: int, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps
        self.decoder = _plain(decoder)

    def call(self, inputs):
        residual, cover, message, level, near = inputs
        views = (self._without_face, self._grey, self._middle)

        def slope_of(residual, number):
            return views[number % len(views)](cover, residual, message)

        return descend(
            residual,
            slope_of,
            visibility.masks(cover),
            near,
            visibility.inside(cover),
            ops.power(10.0, -ops.reshape(level, (-1,)) / 20.0),
            self.steps,
        )

    def _without_face(self, cover, residual, message):
        """Slope by the residual where the face's tag is lost."""
        side = cover.shape[1]
        kept = 1.0 - face_mask("large", side, 0, side)
        return kept * self._slope(cover + kept * residual, message)

    def _grey(self, cover, residual, message):
        """Slope by the residual of a grey, slightly soft copy."""
        # TFLite has no gradient of a blur; a symmetric one is its own, but for borders.
        grey = np.outer([0.299, 0.587, 0.114], np.ones(3)).astype(np.float32)
        soft = visibility.blur(ops.matmul(cover + residual, grey), SOFTNESS)
        slope = visibility.blur(self._slope(soft, message), SOFTNESS)
        return ops.matmul(slope, grey.T)

    def _middle(self, cover, residual, message):
        """Slope by the residual where a crop leaves the middle, and black around it."""
        kept = middle_mask(cover.shape[1])
        return kept * self._slope(kept * (cover + residual), message)

    def _slope(self, tagged, message):
        """Gradient of the message loss by a canvas as the decoder is given it."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tagged)
            logits = self.decoder(tagged, training=False)
            # Softplus by exp and log alone.
            wrong = -(2.0 * message - 1.0) * logits
            loss = tf.reduce_sum(
                tf.maximum(wrong, 0.0) + tf.math.log(1.0 + tf.exp(-tf.abs(wrong)))
            )
        return tape.gradient(loss, tagged)

    def compute_output_shape(self, shapes):
        return shapes[0]


def descend(
    residual,
    slope_of: Callable,
    factors: list,
    near,
    lit,
    wanted,
    steps: int,
    momentum: float = 0.0,
):
    """Takes steps down a slope at one visibility.

    Args:
        residual: `[batch, S, S, 3]` to start from.
        slope_of: residual and the step's number -> gradient of the loss by the
            residual.
        factors: the cover's `visibility.masks`.
        near: `[batch, 1]` from `visibility.nearness`.
        lit: the cover's `visibility.inside`.
        wanted: `[batch]`, the visibility that is kept.
        steps: their number.
        momentum: share of the earlier steps in each.
    """
    past = 0.0
    for number in range(steps):
        way = visibility.steepest(slope_of(residual, number), factors, near) * lit
        if momentum:
            way = visibility.scale_to(way, 1.0, factors, near)
            past = way = momentum * past + way
        length = wanted * (RATE * (1 - number / (steps + 1)))
        residual = residual - visibility.scale_to(way, length, factors, near)
        residual = visibility.scale_to(residual, wanted, factors, near)
    return residual


def build_informed_encoder(
    config: TaggerConfig, encoder: keras.Model, decoder: keras.Model
) -> keras.Model:
    """Returns the encoder that a tagger tags with: with the steps, if it has any.

    Args:
        config: `informed_steps` says how many; with 0 the encoder is returned.
        encoder: from `models.build_encoder`, of the strength "visibility".
        decoder: from `models.build_decoder`; its weights are shared.

    Raises:
        ValueError: the backend is not TensorFlow.

    Example:
        >>> from faketagger_tf.models import build_decoder, build_encoder
        >>> config = TaggerConfig(
        ...     image_size=64, strength="visibility", informed_steps=2
        ... )
        >>> encoder, decoder = build_encoder(config), build_decoder(config)
        >>> sorted(build_informed_encoder(config, encoder, decoder).input)
        ['cover', 'level', 'message', 'scale']
    """
    if not config.informed_steps:
        return encoder
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Informed steps need the TensorFlow backend. "
            f"Received: {keras.backend.backend()}."
        )
    inputs = {
        name: keras.Input(tensor.shape[1:], name=name)
        for name, tensor in encoder.input.items()
    }
    residual = encoder(inputs)
    near = Nearness(name="nearness")(inputs["scale"])
    residual = InformedSteps(decoder, config.informed_steps, name="informed_steps")(
        [residual, inputs["cover"], inputs["message"], inputs["level"], near]
    )
    return keras.Model(inputs, residual, name="informed_encoder")
