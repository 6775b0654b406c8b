"""Module 2: the image encoder, a U-Net that hides a message in a face photo.

FakeTagger (arXiv:2009.09869), section 3. What differs from the paper: the U-Net works
on space-to-depth features, a linear path adds one learned pattern per bit, and the
residual can be scaled to an exact PSNR instead of being held down by an image loss.
"""

from __future__ import annotations

import functools

import keras
from keras import layers, ops

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.banded_encoder import build_banded_encoder
from faketagger_tf.models.layers import DepthToSpace, SpaceToDepth, convolution_block

PATTERN_SIZE = 16  # Side of the coarse grid on which each bit's pattern is learned.


@keras.saving.register_keras_serializable("faketagger_tf")
class ScaleToPSNR(layers.Layer):
    """Scales a residual so that its PSNR is exact (before rounding to uint8).

    Inputs: residual `[batch, height, width, 3]`, PSNR in dB `[batch, 1]`.
    Output: residual with `mean(residual**2) == 10**(-psnr / 10)` in every image.
    """

    def call(self, inputs):
        residual, psnr = inputs
        residual = ops.cast(residual, "float32")
        power = ops.mean(ops.square(residual), axis=(1, 2, 3), keepdims=True)
        target = ops.power(10.0, -ops.reshape(psnr, (-1, 1, 1, 1)) / 20.0)
        return residual * ops.rsqrt(power + 1e-12) * target

    def compute_output_shape(self, shapes):
        return shapes[0]


@keras.saving.register_keras_serializable("faketagger_tf")
class TextureMask(layers.Layer):
    """Weakens a residual where the cover is flat and the eye would see it.

    The gain follows the standard deviation of luma in a 9x9 window, the simplest form
    of contrast masking.

    Inputs: residual and cover, both `[batch, height, width, 3]`, cover in [0, 1].
    Output: the weighted residual.
    """

    FLAT, TEXTURED = 0.25, 2.0  # Limits of the gain.
    CONTRAST = 0.06  # Standard deviation of luma at which the gain is 1.

    def __init__(self, amount: float, **kwargs):
        super().__init__(**kwargs)
        self.amount = amount

    def call(self, inputs):
        residual, cover = inputs
        luma = ops.sum(
            cover * ops.array([0.299, 0.587, 0.114], "float32"), axis=-1, keepdims=True
        )

        def local_mean(x):
            return ops.average_pool(x, 9, strides=1, padding="same")

        variance = local_mean(ops.square(luma)) - ops.square(local_mean(luma))
        deviation = ops.sqrt(ops.maximum(variance, 1e-8))
        gain = ops.clip(local_mean(deviation) / self.CONTRAST, self.FLAT, self.TEXTURED)
        return residual * (1.0 - self.amount + self.amount * gain)

    def compute_output_shape(self, shapes):
        return shapes[0]

    def get_config(self):
        return {**super().get_config(), "amount": self.amount}


def encoder_inputs(
    config: TaggerConfig, cover, message, strength=None, scale=1.0
) -> dict:
    """Gathers what `build_encoder`'s model takes.

    Args:
        config: its kind of strength decides whether there is an input for it.
        cover: `[batch, S, S, 3]` float32 in [0, 1].
        message: `[batch, L]` of 0 and 1.
        strength: in the unit of the configuration's kind (dB for "scheduled"), a
            number, a scalar or `[batch]`; None takes the configuration's.
        scale: photo pixels per canvas pixel, a number, a scalar or `[batch]`; only the
            kind "visibility" looks at it.
    """
    cover, message = ops.convert_to_tensor(cover), ops.convert_to_tensor(message)
    inputs = {"cover": cover, "message": message}
    if name := config.strength_input:
        value = getattr(config, name) if strength is None else strength
        inputs[name] = _column(value, cover)
    if "scale" in config.encoder_inputs:
        inputs["scale"] = _column(scale, cover)
    return inputs


def _column(value, cover):
    """A number, a scalar or `[batch]` as float32 `[batch, 1]`."""
    value = ops.reshape(ops.cast(value, "float32"), (-1, 1))
    return ops.broadcast_to(value, (ops.shape(cover)[0], 1))


def build_encoder(
    config: TaggerConfig, name: str = "encoder", synchronized: bool = True
) -> keras.Model:
    """Builds the image encoder.

    Args:
        config: sizes and strength; see `TaggerConfig`.
        name: name of the model.
        synchronized: take batch statistics over all replicas; XLA cannot.

    Returns:
        A functional model. Inputs, by name: `cover` `[batch, S, S, 3]` float32 in
        [0, 1]; `message` `[batch, L]` of 0 and 1; and, for a scheduled strength,
        `psnr` `[batch, 1]` in dB. Output: the residual `[batch, S, S, 3]`, to be
        added to the cover, float32. For the strength "visibility" the model is
        `models.banded_encoder.build_banded_encoder`'s.

    Example:
        >>> config = TaggerConfig(image_size=64, message_bits=16, payload_bits=8)
        >>> encoder = build_encoder(config)
        >>> cover, message = keras.ops.zeros((1, 64, 64, 3)), keras.ops.ones((1, 16))
        >>> residual = encoder(encoder_inputs(config, cover, message, strength=41))
        >>> tuple(residual.shape)
        (1, 64, 64, 3)
    """
    if config.strength == "visibility":
        return build_banded_encoder(config, name, synchronized)
    block = functools.partial(convolution_block, synchronized=synchronized)
    size, width = config.image_size, config.encoder_width
    cover = keras.Input((size, size, 3), name="cover")
    message = keras.Input((config.message_bits,), name="message")
    inputs = {"cover": cover, "message": message}

    signs = layers.Rescaling(2.0, offset=-1.0, name="signs")(message)
    bottom = size // 16
    plane = layers.Dense(bottom * bottom * width, name="message_plane")(signs)
    plane = layers.Reshape((bottom, bottom, width), name="message_map")(plane)

    x = layers.Rescaling(2.0, offset=-1.0, name="centre")(cover)
    x = SpaceToDepth(4, name="patches")(x)
    x = block(x, width, "down1_a")
    skip1 = block(x, width, "down1_b")
    x = layers.AveragePooling2D(2, name="down1_pool")(skip1)
    x = block(x, 2 * width, "down2_a")
    skip2 = block(x, 2 * width, "down2_b")
    x = layers.AveragePooling2D(2, name="down2_pool")(skip2)
    x = block(x, 4 * width, "bottom_a")
    x = layers.Concatenate(name="bottom_message")([x, plane])
    x = block(x, 4 * width, "bottom_b")

    x = layers.UpSampling2D(2, interpolation="bilinear", name="up2")(x)
    plane = layers.UpSampling2D(2, interpolation="bilinear", name="up2_plane")(plane)
    x = layers.Concatenate(name="up2_message")([x, skip2, plane])
    x = block(x, 2 * width, "up2_a")
    x = block(x, 2 * width, "up2_b")
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up1")(x)
    plane = layers.UpSampling2D(2, interpolation="bilinear", name="up1_plane")(plane)
    x = layers.Concatenate(name="up1_message")([x, skip1, plane])
    x = block(x, width, "up1_a")
    x = block(x, width, "up1_b")
    x = layers.Conv2D(48, 3, padding="same", dtype="float32", name="head")(x)
    x = DepthToSpace(4, dtype="float32", name="residual_pixels")(x)

    residual = x
    if config.linear_path:
        # One pattern per bit, independent of the cover: without this path 64 bits need
        # several times as many steps to leave chance.
        grid = PATTERN_SIZE
        pattern = layers.Dense(
            grid * grid * 3, use_bias=False, dtype="float32", name="pattern"
        )(signs)
        pattern = layers.Reshape((grid, grid, 3), name="pattern_grid")(pattern)
        pattern = layers.UpSampling2D(
            size // grid,
            interpolation="bilinear",
            dtype="float32",
            name="pattern_pixels",
        )(pattern)
        residual = layers.Add(dtype="float32", name="residual")([x, pattern])

    if config.texture_mask:
        residual = TextureMask(
            config.texture_mask, dtype="float32", name="texture_mask"
        )([residual, cover])
    if config.strength == "scheduled":
        psnr = keras.Input((1,), name="psnr")
        inputs["psnr"] = psnr
        residual = ScaleToPSNR(dtype="float32", name="scale_to_psnr")([residual, psnr])
    return keras.Model(inputs, residual, name=name)
