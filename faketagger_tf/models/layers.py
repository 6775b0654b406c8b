"""Building blocks that the three models share. `keras.ops` and Keras layers only."""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("faketagger_tf")
class SpaceToDepth(layers.Layer):
    """Moves each `block` x `block` patch of pixels into channels.

    Stride-free, so that its gradient is a transpose rather than a strided
    convolution's input gradient, which is slow on CPUs.

    Input: `[batch, height, width, channels]`, height and width multiples of `block`.
    Output: `[batch, height / block, width / block, channels * block**2]`.
    """

    def __init__(self, block: int, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, images):
        _, height, width, channels = images.shape
        b = self.block
        x = ops.reshape(images, (-1, height // b, b, width // b, b * channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, height // b, width // b, b * b * channels))

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        b = self.block
        return (batch, height // b, width // b, channels * b * b)

    def get_config(self):
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable("faketagger_tf")
class DepthToSpace(layers.Layer):
    """The inverse of `SpaceToDepth`, also known as pixel shuffle.

    Input: `[batch, height, width, channels * block**2]`.
    Output: `[batch, height * block, width * block, channels]`.
    """

    def __init__(self, block: int, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, features):
        _, height, width, depth = features.shape
        b = self.block
        channels = depth // (b * b)
        x = ops.reshape(features, (-1, height, width, b, b * channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, height * b, width * b, channels))

    def compute_output_shape(self, shape):
        batch, height, width, depth = shape
        b = self.block
        return (batch, height * b, width * b, depth // (b * b))

    def get_config(self):
        return {**super().get_config(), "block": self.block}


def convolution_block(x, filters: int, name: str, synchronized: bool = True):
    """3x3 convolution, batch normalisation, ReLU.

    Args:
        x: features `[batch, height, width, channels]`.
        filters: output channels.
        name: prefix of the layers' names.
        synchronized: whether batch statistics are taken over all replicas.
    """
    x = layers.Conv2D(
        filters, 3, padding="same", use_bias=False, name=f"{name}_convolution"
    )(x)
    # Statistics of one replica would drift apart and only replica 0's are saved. The
    # option exists on the TensorFlow backend alone.
    synchronized = synchronized and keras.backend.backend() == "tensorflow"
    x = layers.BatchNormalization(
        momentum=0.98, synchronized=synchronized, name=f"{name}_normalization"
    )(x)
    return layers.ReLU(name=f"{name}_activation")(x)


@keras.saving.register_keras_serializable("faketagger_tf")
class SelfAttention(layers.Layer):
    """One head of self-attention over the places of a feature map, added to the map.

    Vaswani et al. 2017, with a learned code for each place; it starts as the identity.

    Input and output: `[batch, height, width, channels]`.
    """

    def build(self, shape):
        _, height, width, channels = shape
        self.places, self.channels = height * width, channels
        self.place_codes = self.add_weight(
            shape=(1, self.places, channels),
            initializer=keras.initializers.RandomNormal(0.02),
            name="place_codes",
        )
        self.projections = self.add_weight(
            shape=(channels, 3 * channels), initializer="glorot_uniform", name="qkv"
        )
        self.output_projection = self.add_weight(
            shape=(channels, channels), initializer="zeros", name="output"
        )

    def call(self, features):
        kind = features.dtype
        x = ops.reshape(features, (-1, self.places, self.channels))
        x = x + ops.cast(self.place_codes, kind)
        x = ops.matmul(x, ops.cast(self.projections, kind))
        query, key, value = ops.split(x, 3, axis=-1)
        alike = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        weights = ops.softmax(ops.cast(alike, "float32") / self.channels**0.5, axis=-1)
        x = ops.matmul(ops.cast(weights, kind), value)
        x = ops.matmul(x, ops.cast(self.output_projection, kind))
        _, height, width, channels = features.shape
        return features + ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, shape):
        return shape
