"""Module 2 with a visibility budget: a U-Net that is told how large the photo is.

FakeTagger (arXiv:2009.09869), section 3. What differs from the paper, and from
`models.encoder`: the residual is built from bilinearly enlarged features, since a head
that fills patches of pixels leaves their grating on plain walls; it is scaled to a
*visibility* (`faketagger_tf.visibility`) instead of a PSNR; and the photo's pixels per
canvas pixel are an input, because what survives and what shows depends on them: on a
canvas of 120 photo pixels a codec leaves only coarse detail, on one of 500 it leaves
everything while coarse detail is what the eye sees.
"""

from __future__ import annotations

import functools

import keras
from keras import layers, ops

from faketagger_tf import visibility
from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.layers import SpaceToDepth, convolution_block

SMOOTHNESS = 0.6  # Blur of the residual in canvas pixels: nothing lies at Nyquist.
_FLOAT = {"dtype": "float32"}  # Whatever the policy: residuals are a level or two.


@keras.saving.register_keras_serializable("faketagger_tf")
class Nearness(layers.Layer):
    """`visibility.nearness` of the photo pixels per canvas pixel, `[batch, 1]`."""

    def call(self, scale):
        return visibility.nearness(scale)


@keras.saving.register_keras_serializable("faketagger_tf")
class ScaleToVisibility(layers.Layer):
    """Moves a residual to where the cover hides it and scales it to a visibility.

    Inputs: residual and cover `[batch, S, S, 3]`; level in dB `[batch, 1]`; nearness
    `[batch, 1]`.
    Output: a residual whose `visibility.visibility` is `10**(-level / 20)`, smooth, and
    zero outside of the photo.
    """

    def call(self, inputs):
        residual, cover, level, near = inputs
        residual = visibility.blur(residual, SMOOTHNESS) * visibility.inside(cover)
        factors = visibility.masks(cover)
        residual = residual * visibility.room(factors)
        wanted = ops.power(10.0, -ops.reshape(level, (-1,)) / 20.0)
        return visibility.scale_to(residual, wanted, factors, near)

    def compute_output_shape(self, shapes):
        return shapes[0]


def _small(name: str):
    """Initial weights of a head: at first the linear patterns carry the message."""
    return {"kernel_initializer": keras.initializers.RandomNormal(0.01), "name": name}


def build_banded_encoder(
    config: TaggerConfig, name: str = "encoder", synchronized: bool = True
) -> keras.Model:
    """Builds the image encoder of `strength="visibility"`.

    Args:
        config: sizes; see `TaggerConfig`.
        name: name of the model.
        synchronized: take batch statistics over all replicas; XLA cannot.

    Returns:
        A functional model. Inputs, by name: `cover` `[batch, S, S, 3]` float32 in
        [0, 1], black outside of the photo; `message` `[batch, L]` of 0 and 1; `level`
        `[batch, 1]` in dB, 44 being hardly visible; `scale` `[batch, 1]`, photo pixels
        per canvas pixel. Output: the residual `[batch, S, S, 3]`, float32.

    Example:
        >>> config = TaggerConfig(image_size=64, strength="visibility")
        >>> encoder = build_banded_encoder(config)
        >>> one = keras.ops.ones((1, 1))
        >>> inputs = {"cover": keras.ops.zeros((1, 64, 64, 3)), "level": 44 * one,
        ...           "message": keras.ops.ones((1, 64)), "scale": one}
        >>> tuple(encoder(inputs).shape)
        (1, 64, 64, 3)
    """
    block = functools.partial(convolution_block, synchronized=synchronized)
    size, width, bits = config.image_size, config.encoder_width, config.message_bits
    quarter, half, bottom = size // 4, size // 2, size // 16
    cover = keras.Input((size, size, 3), name="cover")
    message = keras.Input((bits,), name="message")
    level = keras.Input((1,), name="level")
    scale = keras.Input((1,), name="scale")

    near = Nearness(name="nearness", **_FLOAT)(scale)
    signs = layers.Rescaling(2.0, offset=-1.0, name="signs")(message)

    def message_map(side: int, channels: int, name: str, **options):
        x = layers.Dense(side * side * channels, name=name, **options)(signs)
        kept = {key: value for key, value in options.items() if key == "dtype"}
        return layers.Reshape((side, side, channels), name=f"{name}_map", **kept)(x)

    def twice(x, name: str, **options):
        return layers.UpSampling2D(2, interpolation="bilinear", name=name, **options)(x)

    near_map = layers.RepeatVector(quarter * quarter, name="near_repeat")(near)
    near_map = layers.Reshape((quarter, quarter, 1), name="near_map")(near_map)
    plane = message_map(bottom, width, "message_plane")

    centre = layers.Rescaling(2.0, offset=-1.0, name="centre")(cover)
    x = SpaceToDepth(4, name="patches")(centre)
    x = layers.Concatenate(name="patches_near")([x, near_map])
    x = block(x, width, "down1_a")
    skip1 = block(x, width, "down1_b")
    x = layers.AveragePooling2D(2, name="down1_pool")(skip1)
    x = block(x, 2 * width, "down2_a")
    skip2 = block(x, 2 * width, "down2_b")
    x = layers.AveragePooling2D(2, name="down2_pool")(skip2)
    x = block(x, 4 * width, "bottom_a")
    x = layers.Concatenate(name="bottom_message")([x, plane])
    x = block(x, 4 * width, "bottom_b")

    x, plane = twice(x, "up2"), twice(plane, "up2_plane")
    x = layers.Concatenate(name="up2_message")([x, skip2, plane])
    x = block(x, 2 * width, "up2_a")
    x = block(x, 2 * width, "up2_b")
    grid = message_map(quarter, 6, "message_grid", use_bias=False)
    x = layers.Concatenate(name="up1_message")([twice(x, "up1"), skip1, grid, near_map])
    x = block(x, width, "up1_a")
    x = block(x, width, "up1_b")
    seen = layers.AveragePooling2D(2, name="half")(centre)
    seen = layers.Conv2D(
        12, 3, padding="same", activation="relu", name="half_features"
    )(seen)
    x = layers.Concatenate(name="up0_cover")([twice(x, "up0"), seen])
    x = block(x, width, "up0_a")

    # One pattern per bit, independent of the cover: without this path 64 bits need
    # several times as many steps to leave chance. The second one is for large faces.
    coarse = layers.Conv2D(3, 3, padding="same", **_small("coarse"), **_FLOAT)(x)
    loud = keras.initializers.RandomNormal(0.1)
    options = {"use_bias": False, **_FLOAT}
    pattern = message_map(quarter, 3, "pattern", kernel_initializer=loud, **options)
    pattern = twice(pattern, "pattern_half", **_FLOAT)
    finer = message_map(half, 3, "near_pattern", **options)
    gain = layers.Reshape((1, 1, 1), name="near_gain", **_FLOAT)(near)
    finer = layers.Multiply(name="near_pattern_gain", **_FLOAT)([finer, gain])
    coarse = layers.Add(name="half_residual", **_FLOAT)([coarse, pattern, finer])
    coarse = twice(coarse, "coarse_pixels", **_FLOAT)

    x = layers.Conv2D(12, 3, padding="same", use_bias=False, name="fine_features")(x)
    seen = layers.Conv2D(4, 3, padding="same", activation="relu", name="full_features")(
        centre
    )
    x = layers.Concatenate(name="fine_cover")([twice(x, "fine_up"), seen])
    x = block(x, 12, "fine_a")
    fine = layers.Conv2D(3, 3, padding="same", **_small("fine"), **_FLOAT)(x)
    residual = layers.Add(name="residual", **_FLOAT)([coarse, fine])
    residual = ScaleToVisibility(name="scale_to_visibility", **_FLOAT)(
        [residual, cover, level, near]
    )
    inputs = {"cover": cover, "message": message, "level": level, "scale": scale}
    return keras.Model(inputs, residual, name=name)
