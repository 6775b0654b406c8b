"""Module 3's heart: face-swap autoencoders, one shared encoder, one decoder a face.

The classic "deepfakes" architecture that FakeTagger (arXiv:2009.09869) uses as its GAN
simulator: 5x5 stride-2 convolutions down to 4x4, two fully connected layers, and per
identity a decoder of pixel-shuffle upscaling blocks. Identity A's face is swapped for
B's by decoding A's code with B's decoder.
"""

from __future__ import annotations

import dataclasses
import re

import keras
from keras import layers

from faketagger_tf.config import read_json_dataclass, write_json_dataclass
from faketagger_tf.models.layers import DepthToSpace

SLOPE = 0.1  # Negative slope of the leaky ReLUs, as in the classic implementation.
# Keeps the variance through ReLUs; with Glorot the signal fades over the many layers.
INIT = "he_normal"


@dataclasses.dataclass(frozen=True)
class FaceswapConfig:
    """Sizes of one face-swap autoencoder.

    Attributes:
        identities: names of the identities, one decoder each; at least two.
        face_size: side of the square face crop in pixels; a multiple of 16.
        face_region: side of the crop as a fraction of the canvas it is cut from.
        canvas_scale: side of that canvas as a multiple of the face box's side.
        width: channels of the first convolution; 128 gives the classic
            128-256-512-1024, 16 gives a model that trains in minutes on two CPU cores.
        latent: units of the fully connected bottleneck (classic: 1024).
        skips: whether decoders also see the shared encoder's 16x16 features, a
            different architecture kept for testing on swaps nobody trained against.
    """

    identities: tuple[str, ...] = ("A", "B")
    face_size: int = 64
    face_region: float = 0.5
    canvas_scale: float = 1.9
    width: int = 128
    latent: int = 1024
    skips: bool = False

    def __post_init__(self):
        object.__setattr__(self, "identities", tuple(self.identities))
        if len(self.identities) < 2 or len(set(self.identities)) < len(self.identities):
            raise ValueError(
                "A face swap needs at least two different identities. Received: "
                f"{', '.join(map(str, self.identities)) or 'none'}."
            )
        for identity in self.identities:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(identity)):
                raise ValueError(
                    "An identity's name may hold letters, digits, '_', '.' and '-'. "
                    f"Received: {identity!r}."
                )
        if self.face_size % 16 or not 32 <= self.face_size <= 512:
            raise ValueError(
                "face_size must be a multiple of 16 from 32 to 512. "
                f"Received: {self.face_size!r}."
            )
        if self.width < 4 or self.width % 4:
            raise ValueError(
                f"width must be a multiple of 4, at least 4. Received: {self.width!r}."
            )
        if self.latent < 1:
            raise ValueError(f"latent must be positive. Received: {self.latent!r}.")
        if not 0 < self.face_region <= 1:
            raise ValueError(
                f"face_region must be in (0, 1]. Received: {self.face_region!r}."
            )

    to_json = write_json_dataclass

    @classmethod
    def load(cls, path) -> FaceswapConfig:
        """Reads a configuration file written by `to_json`."""
        return read_json_dataclass(cls, path)


def _down(x, filters: int, name: str):
    x = layers.Conv2D(
        filters, 5, strides=2, padding="same", kernel_initializer=INIT, name=name
    )(x)
    return layers.LeakyReLU(SLOPE, name=f"{name}_activation")(x)


def _up(x, filters: int, name: str):
    x = layers.Conv2D(
        filters * 4, 3, padding="same", kernel_initializer=INIT, name=name
    )(x)
    x = layers.LeakyReLU(SLOPE, name=f"{name}_activation")(x)
    return DepthToSpace(2, name=f"{name}_shuffle")(x)


def _build_shared_encoder(config: FaceswapConfig) -> keras.Model:
    size, width = config.face_size, config.width
    face = keras.Input((size, size, 3), name="face")
    x, features = face, {}
    for level in range(4):
        x = _down(x, width * 2**level, f"down{level + 1}")
        features[level] = x
    bottom = size // 16
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(config.latent, name="code")(x)
    x = layers.Dense(bottom * bottom * 8 * width, name="expand")(x)
    x = layers.Reshape((bottom, bottom, 8 * width), name="expand_map")(x)
    x = _up(x, 4 * width, "up1")
    outputs = [x, features[1]] if config.skips else [x]
    return keras.Model(face, outputs, name="shared_encoder")


def _build_identity_decoder(config: FaceswapConfig, identity: str) -> keras.Model:
    width, grid = config.width, config.face_size // 8
    code = keras.Input((grid, grid, 4 * width), name="code")
    inputs = [code]
    x = _up(code, 2 * width, "up1")
    if config.skips:
        skip = keras.Input((2 * grid, 2 * grid, 2 * width), name="skip")
        inputs.append(skip)
        x = layers.Concatenate(name="skip_concatenate")([x, skip])
    x = _up(x, width, "up2")
    x = _up(x, width // 2, "up3")
    face = layers.Conv2D(
        3, 5, padding="same", activation="sigmoid", dtype="float32", name="face"
    )(x)
    return keras.Model(inputs, face, name=f"decoder_{identity}")


def build_faceswap(config: FaceswapConfig, name: str = "faceswap") -> keras.Model:
    """Builds a face-swap autoencoder.

    Args:
        config: sizes and identities; see `FaceswapConfig`.
        name: name of the model.

    Returns:
        A functional model. Input: faces `[batch, F, F, 3]` float32 in [0, 1]. Output:
        a dict from identity to that identity's rendering, same shape and range. Its
        parts are the layers `shared_encoder` and `decoder_<identity>`; use
        `swap_function` to run one identity's decoder alone.

    Example:
        >>> model = build_faceswap(FaceswapConfig(width=16, latent=256))
        >>> as_b = model(keras.ops.zeros((1, 64, 64, 3)))["B"]
        >>> tuple(as_b.shape)
        (1, 64, 64, 3)
    """
    face = keras.Input((config.face_size, config.face_size, 3), name="face")
    code = _build_shared_encoder(config)(face)
    outputs = {
        identity: _build_identity_decoder(config, identity)(code)
        for identity in config.identities
    }
    return keras.Model(face, outputs, name=name)


def render(model: keras.Model, identity: str, faces, training: bool = False):
    """Renders faces `[batch, F, F, 3]` through one identity's decoder."""
    code = model.get_layer("shared_encoder")(faces, training=training)
    return model.get_layer(f"decoder_{identity}")(code, training=training)


def swap_function(model: keras.Model, identity: str):
    """Returns the differentiable function faces -> faces that swaps to `identity`."""

    def swap(faces):
        return render(model, identity, faces)

    return swap
