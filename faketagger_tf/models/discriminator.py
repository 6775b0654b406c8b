"""A judge of patches, for training face-swap autoencoders whose faces are sharp.

Means of absolute errors are least for the middle of all that a face could look like,
which is a blur. A judge that tells rendered patches from photographed ones (the
patches of Isola et al., CVPR 2017, section 3.2.2, by the least squares of Mao et al.,
ICCV 2017) makes a decoder choose one look. It is needed in training alone.
"""

from __future__ import annotations

import keras
from keras import layers, ops

SLOPE = 0.2
LEVELS = 3  # Halvings of the side; a judgement sees 46 x 46 pixels.


def build_discriminator(
    face_size: int, identities: int, width: int = 32, name: str = "discriminator"
) -> keras.Model:
    """Builds a judge of faces.

    Args:
        face_size: side of the faces in pixels, a multiple of 8.
        identities: how many there are; each has judgements of its own.
        width: channels of the first convolution.
        name: name of the model.

    Returns:
        A functional model. Input: faces `[batch, F, F, 3]` in [0, 1]. Output: float32
        `[batch, F / 8, F / 8, identities]`, near 1 where a patch looks like a photo of
        that identity and near 0 where it looks rendered.

    Raises:
        ValueError: a size that cannot be built.

    Example:
        >>> model = build_discriminator(64, identities=2, width=8)
        >>> tuple(model(keras.ops.zeros((1, 64, 64, 3))).shape)
        (1, 8, 8, 2)
    """
    if face_size % 2**LEVELS or face_size < 32:
        raise ValueError(
            f"face_size must be a multiple of {2**LEVELS} and at least 32. "
            f"Received: {face_size!r}."
        )
    if identities < 1 or width < 1:
        raise ValueError(
            "identities and width must be positive. "
            f"Received: {identities!r} and {width!r}."
        )
    face = keras.Input((face_size, face_size, 3), name="face")
    x = layers.Rescaling(2.0, offset=-1.0, name="centred")(face)
    for level in range(LEVELS):
        x = layers.Conv2D(
            width * 2**level,
            4,
            strides=2,
            padding="same",
            kernel_initializer="he_normal",
            name=f"down{level + 1}",
        )(x)
        if level:
            # Over one picture alone, so that replicas need not exchange anything.
            x = layers.GroupNormalization(groups=-1, name=f"down{level + 1}_norm")(x)
        x = layers.LeakyReLU(SLOPE, name=f"down{level + 1}_activation")(x)
    judged = layers.Conv2D(
        identities, 4, padding="same", dtype="float32", name="judged"
    )(x)
    return keras.Model(face, judged, name=name)


def judged_as(judged, identity: int, real: bool):
    """How far judgements are from what they should be: least squares.

    Args:
        judged: `[batch, height, width, identities]` of `build_discriminator`.
        identity: whose judgements count.
        real: whether they should say that the faces are photos.

    Returns:
        `[batch]` float32.
    """
    return ops.mean(ops.square(judged[..., identity] - float(real)), axis=(1, 2))
