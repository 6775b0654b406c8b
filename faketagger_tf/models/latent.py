"""Entire synthesis: a latent autoencoder, as a diffusion editor runs a photo through.

An image becomes a map of 1/8 of its side with 16 to 32 channels of unit variance, to
which an editor adds noise, and an image again (Rombach et al., CVPR 2022, section 3.1,
without its adversary). Every layer is a convolution, so that one model takes images of
any size that is a multiple of 8.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from faketagger_tf.config import read_json_dataclass, write_json_dataclass
from faketagger_tf.manipulations.face import LATENT_DOWN as DOWN

HALO = 128  # Pixels around a tile that it depends on, through both networks.


@dataclasses.dataclass(frozen=True)
class LatentConfig:
    """Sizes of one latent autoencoder.

    Attributes:
        channels: of the latent map; 16 to 32 give about 30 dB on faces at 128 pixels.
        width: channels of the layers at a quarter of the side; twice as many at an
            eighth.
        blocks: residual blocks at an eighth of the side, each way.
    """

    channels: int = 16
    width: int = 48
    blocks: int = 2

    def __post_init__(self):
        for name, low in (("channels", 1), ("width", 4), ("blocks", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(
                    f"{name} must be a whole number of at least {low}. "
                    f"Received: {value!r}."
                )

    to_json = write_json_dataclass

    @classmethod
    def load(cls, path) -> LatentConfig:
        """Reads a configuration file written by `to_json`."""
        return read_json_dataclass(cls, path)


def _convolution(x, filters: int, name: str):
    return layers.Conv2D(
        filters, 3, padding="same", kernel_initializer="he_normal", name=name
    )(x)


def _block(x, name: str):
    """Two convolutions that are added to their input; they start as nothing."""
    filters = x.shape[-1]
    inner = layers.Activation("gelu", name=f"{name}_in")(x)
    inner = _convolution(inner, filters, f"{name}_first")
    inner = layers.Activation("gelu", name=f"{name}_middle")(inner)
    inner = layers.Conv2D(
        filters, 3, padding="same", kernel_initializer="zeros", name=f"{name}_second"
    )(inner)
    return layers.Add(name=name)([x, inner])


def _build_encoder(config: LatentConfig) -> keras.Model:
    width = config.width
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1.0, name="centred")(image)
    # Patches by one matrix: bits of a picture pass a linear path from the first step.
    straight = layers.Conv2D(
        config.channels, DOWN, strides=DOWN, use_bias=False, name="straight"
    )(x)
    x = layers.Conv2D(width, 4, strides=4, name="patches")(x)
    x = _block(x, "quarter")
    x = layers.Conv2D(2 * width, 2, strides=2, name="halve")(x)
    for number in range(config.blocks):
        x = _block(x, f"eighth{number + 1}")
    # Nothing at first, as the other end's `detail`: training starts from the straight
    # path alone, which `start_from_patches` sets to the best linear one.
    x = layers.Conv2D(
        config.channels, 3, padding="same", kernel_initializer="zeros", name="code"
    )(layers.Activation("gelu", name="last")(x))
    x = layers.Add(name="sum")([x, straight])
    # Unit variance, so that noise means the same in every channel and model. By fixed
    # statistics, of the principal components that training starts from: those of a
    # batch say little of brightness, of which an image has but one.
    latent = layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-5, trainable=False, name="latent"
    )(x)
    return keras.Model(image, latent, name="latent_encoder")


def _build_decoder(config: LatentConfig) -> keras.Model:
    width = config.width
    latent = keras.Input((None, None, config.channels), name="latent")
    straight = layers.Conv2DTranspose(3, DOWN, strides=DOWN, name="straight")(latent)
    x = _convolution(latent, 2 * width, "open")
    for number in range(config.blocks):
        x = _block(x, f"eighth{number + 1}")
    x = layers.Conv2DTranspose(width, 2, strides=2, name="double")(x)
    x = _block(x, "quarter")
    x = layers.Activation("gelu", name="quarter_out")(x)
    x = layers.Conv2DTranspose(16, 4, strides=4, name="patches")(x)
    x = layers.Concatenate(name="join")([x, straight])
    x = layers.Conv2D(3, 3, padding="same", kernel_initializer="zeros", name="detail")(
        layers.Activation("gelu", name="join_out")(x)
    )
    x = layers.Add(name="sum")([x, straight])
    image = layers.Rescaling(0.5, offset=0.5, dtype="float32", name="image")(x)
    return keras.Model(latent, image, name="latent_decoder")


def build_latent(config: LatentConfig, name: str = "latent") -> keras.Model:
    """Builds a latent autoencoder.

    Args:
        config: its sizes.
        name: name of the model.

    Returns:
        A functional model, images `[batch, height, width, 3]` float32 in [0, 1] ->
        about the same images; sides are multiples of 8. Its parts are the layers
        `latent_encoder` and `latent_decoder`.

    Example:
        >>> model = build_latent(LatentConfig(channels=4, width=8, blocks=1))
        >>> encode = model.get_layer("latent_encoder")
        >>> tuple(encode(keras.ops.zeros((1, 32, 48, 3))).shape)
        (1, 4, 6, 4)
    """
    image = keras.Input((None, None, 3), name="image")
    decoded = _build_decoder(config)(_build_encoder(config)(image))
    return keras.Model(image, decoded, name=name)


def start_from_patches(model: keras.Model, patches: np.ndarray) -> None:
    """Sets a new model to the principal components of patches, its best linear start.

    Args:
        model: of `build_latent`, not trained yet.
        patches: float32 `[N, 8, 8, 3]` in [0, 1], many times as many as 192.
    """
    encoder = model.get_layer("latent_encoder")
    decoder = model.get_layer("latent_decoder")
    flat = 2 * patches.reshape(len(patches), -1).astype(np.float64) - 1
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T))
    order = np.argsort(values)[::-1][: encoder.output.shape[-1]]
    values, vectors = values[order], vectors[:, order]
    kernel = vectors.reshape(DOWN, DOWN, 3, -1)
    encoder.get_layer("straight").set_weights([kernel])
    encoder.get_layer("latent").set_weights([mean @ vectors, values])
    # The mean patch is about flat: its mean colour serves for it.
    bias = mean.reshape(DOWN * DOWN, 3).mean(0)
    spread = vectors * np.sqrt(values)
    decoder.get_layer("straight").set_weights([spread.reshape(DOWN, DOWN, 3, -1), bias])


def regenerate(model: keras.Model, images, noise=0.0, seed=None):
    """Runs images through the latent map, with normal noise added to it.

    Args:
        model: of `build_latent`.
        images: float32 `[batch, height, width, 3]` in [0, 1], sides multiples of 8.
        noise: deviation of the noise, that of the latents being 1; a number or
            `[batch]`.
        seed: `StatelessSeed` that draws the noise; None adds none.

    Returns:
        float32, the images' shape, about [0, 1].
    """
    latent = model.get_layer("latent_encoder")(images)
    if seed is not None:
        deviation = ops.reshape(ops.cast(noise, latent.dtype), [-1, 1, 1, 1])
        drawn = keras.random.normal(latent.shape, dtype=latent.dtype, seed=seed)
        latent = latent + deviation * drawn
    return model.get_layer("latent_decoder")(latent)


def regenerate_photo(
    model: keras.Model,
    photo: np.ndarray,
    noise: float,
    rng: np.random.Generator,
    tile: int = 512,
) -> np.ndarray:
    """Regenerates a whole photo, tile by tile where it is large.

    Args:
        model: of `build_latent`.
        photo: uint8 `[height, width, 3]` RGB.
        noise: as for `regenerate`.
        rng: draws the noise, one map for the whole photo.
        tile: side in pixels of what is decoded at once, a multiple of 8.

    Returns:
        uint8 `[height, width, 3]`. Tiles overlap by more than the networks see, so
        that no seam shows.
    """
    height, width = photo.shape[:2]
    margins = (0, -height % DOWN), (0, -width % DOWN), (0, 0)
    padded = np.pad(photo, margins, mode="edge")
    result = np.empty_like(padded)
    rows, columns = (side // DOWN for side in padded.shape[:2])
    channels = model.get_layer("latent_encoder").output.shape[-1]
    drawn = np.zeros([rows, columns, channels], np.float32)
    if noise:
        drawn = rng.normal(0.0, noise, drawn.shape).astype(np.float32)
    encode, decode = (model.get_layer(f"latent_{n}") for n in ("encoder", "decoder"))
    for top in range(0, padded.shape[0], tile):
        for left in range(0, padded.shape[1], tile):
            first = max(top - HALO, 0), max(left - HALO, 0)
            last = top + tile + HALO, left + tile + HALO
            piece = padded[first[0] : last[0], first[1] : last[1]]
            latent = encode(piece[None].astype(np.float32) / 255)
            latent = ops.convert_to_numpy(latent)[0]
            start = first[0] // DOWN, first[1] // DOWN
            stop = start[0] + latent.shape[0], start[1] + latent.shape[1]
            latent = latent + drawn[start[0] : stop[0], start[1] : stop[1]]
            image = ops.convert_to_numpy(decode(latent[None]))[0]
            image = np.clip(np.round(255 * image), 0, 255).astype(np.uint8)
            inner = image[top - first[0] :, left - first[1] :][:tile, :tile]
            result[top : top + tile, left : left + tile] = inner
    return result[:height, :width].copy()
