"""Losses of the joint training. `keras.ops` only; one value per image."""

from __future__ import annotations

from keras import ops


def message_loss(message, logits):
    """Binary cross-entropy between message bits and logits.

    Args:
        message: `[batch, L]` of 0 and 1.
        logits: `[batch, L]`, positive for a 1.

    Returns:
        `[batch]` float32; 0.693 (the logarithm of 2) is chance.
    """
    message, logits = ops.cast(message, "float32"), ops.cast(logits, "float32")
    loss = ops.softplus(logits) - message * logits
    return ops.mean(loss, axis=-1)


def image_loss(residual):
    """Mean squared error between cover and tagged photo.

    Args:
        residual: `[batch, height, width, 3]`, tagged minus cover, in [0, 1] units.

    Returns:
        `[batch]` float32.
    """
    return ops.mean(ops.square(ops.cast(residual, "float32")), axis=(1, 2, 3))


def clipping_loss(tagged):
    """Mean squared excess over [0, 1], which rounding to uint8 would cut off.

    Args:
        tagged: `[batch, height, width, 3]` before clipping.

    Returns:
        `[batch]` float32.
    """
    excess = ops.relu(tagged - 1.0) + ops.relu(-tagged)
    return ops.mean(ops.square(ops.cast(excess, "float32")), axis=(1, 2, 3))


def face_loss(target, rendered):
    """Mean absolute error of a rendered face, the face-swap autoencoder's loss.

    Args:
        target: `[batch, F, F, 3]` in [0, 1].
        rendered: same shape and range.

    Returns:
        `[batch]` float32.
    """
    return ops.mean(
        ops.abs(ops.cast(target, "float32") - ops.cast(rendered, "float32")),
        axis=(1, 2, 3),
    )
