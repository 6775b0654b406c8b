"""What is laid over a photo that is passed on: captions, stickers, letterbox bars.

The pictures are drawn by OpenCV, the same for training and evaluation; where they lie
is drawn anew for every image.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from keras import ops

from faketagger_tf.manipulations.geometry import (
    down_up_matrix,
    downup_real,
    separable,
)
from faketagger_tf.manipulations.photometric import to_uint8
from faketagger_tf.manipulations.random import uniform

TEXT = "LOOK WHO IS HERE"
# Base lines and widths of the captions that one is drawn from, in canvases.
CAPTION_LINES = (0.12, 0.2, 0.8, 0.88, 0.95)
CAPTION_WIDTHS = (0.7, 0.95)


def draw_caption(
    photo: np.ndarray, line: float = 0.93, width: float = 0.92, left: float = 0.04
) -> np.ndarray:
    """Writes large white letters with a black edge across a photo.

    Args:
        photo: uint8 [H, W, 3].
        line: of the letters' feet, as a share of the height.
        width, left: of the text, as shares of the width.

    Returns:
        A new uint8 photo.
    """
    height, across = photo.shape[:2]
    font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(across / 140))
    size = 1.0
    for _ in range(3):  # The width is not quite proportional to the size.
        (wide, _), _ = cv2.getTextSize(TEXT, font, size, weight)
        size *= width * across / wide
    place = round(left * across), round(line * height)
    letters = np.zeros([height, across], np.uint8)
    cv2.putText(letters, TEXT, place, font, size, 255, weight, cv2.LINE_AA)
    # Not a second, thicker text: fonts space its letters differently.
    edge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, [2 * weight + 1] * 2)
    shade = cv2.dilate(letters, edge)[..., None] / np.float32(255)
    letters = letters[..., None] / np.float32(255)
    return to_uint8(photo * (1 - shade) * (1 - letters) + 255 * letters)


@functools.cache
def _captions(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Captions as values and weights: float32 [N, side, side, 1] each, in [0, 1]."""
    values, weights = [], []
    for line in CAPTION_LINES:
        for width in CAPTION_WIDTHS:
            on_black, on_white = (
                draw_caption(np.full([side, side, 3], v, np.uint8), line, width, 0.03)[
                    ..., :1
                ].astype(np.float32)
                / 255
                for v in (0, 255)
            )
            # A picture over black and over white tells how much of it is seen.
            weight = 1 - (on_white - on_black)
            weights.append(weight)
            values.append(on_black / np.maximum(weight, 1e-3))
    return np.stack(values), np.stack(weights)


def caption(images, seed, context):
    values, weights = _captions(images.shape[1])
    index = uniform(seed, [images.shape[0]], 0.0, float(len(values)))
    index = ops.cast(ops.minimum(ops.floor(index), len(values) - 1.0), "int32")
    values, weights = (ops.take(part, index, axis=0) for part in (values, weights))
    return images + weights * (values - images)


def caption_real(images, rng, context):
    values, weights = _captions(images.shape[1])
    index = rng.integers(0, len(values), len(images))
    images = images.astype(np.float32)
    return to_uint8(images + weights[index] * (255 * values[index] - images))


@functools.cache
def sticker_picture(side: int) -> np.ndarray:
    """A round, smiling sticker: float32 [side, side, 4], RGB and weight in [0, 1]."""
    large = np.zeros([8 * side, 8 * side, 4], np.float32)
    unit, middle = 8 * side / 2, (4 * side, 4 * side)
    cv2.circle(large, middle, round(0.97 * unit), (0.1, 0.1, 0.1, 1), -1)
    cv2.circle(large, middle, round(0.88 * unit), (1.0, 0.82, 0.15, 1), -1)
    for right in (-1, 1):
        eye = round(middle[0] + 0.33 * right * unit), round(middle[1] - 0.25 * unit)
        cv2.circle(large, eye, round(0.12 * unit), (0.1, 0.1, 0.1, 1), -1)
    axes, weight = (round(0.5 * unit), round(0.45 * unit)), max(1, round(0.12 * unit))
    cv2.ellipse(large, middle, axes, 0, 20, 160, (0.1, 0.1, 0.1, 1), weight)
    small = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.concatenate([np.clip(colour, 0, 1), small[..., 3:]], -1)


def _sticker_layer(xp, picture, rows, columns):
    """Moves a picture to places by one matrix an axis: [B, side, side, 4]."""
    moved = xp.einsum("brp,pqc->brqc", rows, picture)
    return xp.einsum("bsq,brqc->brsc", columns, moved)


def _placed(xp, starts, side: int, length: int):
    """Matrices [B, side, length] that lay `length` pixels from `starts` on."""
    pixel = np.arange(side, dtype=np.float32)[:, None]
    wanted = pixel - xp.reshape(starts, [-1, 1, 1])
    own = np.arange(length, dtype=np.float32)
    return xp.maximum(1.0 - xp.abs(wanted - own), 0.0)


def _sticker(xp, images, units, size: float):
    """Lays a sticker on images in [0, 1]; `units` [2, B] in [0, 1) are its place."""
    side = images.shape[1]
    length = max(2, round(size * side))
    starts = xp.floor(units * (side - length + 1))
    rows, columns = (_placed(xp, starts[i], side, length) for i in (0, 1))
    # Weight times colour is moved, so that the border fades to nothing.
    picture = sticker_picture(length)
    picture = np.concatenate(
        [picture[..., :3] * picture[..., 3:], picture[..., 3:]], -1
    )
    layer = _sticker_layer(xp, picture, rows, columns)
    return images * (1 - layer[..., 3:]) + layer[..., :3]


def sticker(images, seed, context, size):
    return _sticker(ops, images, uniform(seed, [2, images.shape[0]], 0.0, 1.0), size)


def sticker_real(images, rng, context, size):
    units = rng.uniform(0.0, 1.0, [2, len(images)]).astype(np.float32)
    return to_uint8(255 * _sticker(np, images / np.float32(255), units, size))


def _bars(xp, side: int, fraction, upright):
    """1 between two bars, 0 on them: [B, side, side, 1]."""
    place = np.abs((np.arange(side, dtype=np.float32) + 0.5) / side - 0.5)
    kept = 0.5 - xp.reshape(fraction, [-1, 1, 1])
    upright = xp.reshape(upright, [-1, 1, 1])
    place = upright * place[None, None] + (1 - upright) * place[None, :, None]
    return xp.where(place < kept, 1.0, 0.0)[..., None]


def letterbox(images, seed, context, fraction, scale):
    batch, side = images.shape[:2]
    upright = ops.cast(uniform(seed, [batch], 0.0, 1.0) < 0.5, "float32")
    ones = np.ones(batch, np.float32)
    sizes = ops.maximum(ops.round(ops.cast(scale, "float32") * side), 1.0)
    images = separable(images, down_up_matrix(sizes, side))
    return images * _bars(ops, side, ops.cast(fraction, "float32") * ones, upright)


def letterbox_real(images, rng, context, fraction, scale):
    batch, side = images.shape[:2]
    upright = (rng.uniform(0.0, 1.0, batch) < 0.5).astype(np.float32)
    sizes = np.maximum(np.round(scale * side), 1)
    images = downup_real(images, rng, context, sizes)
    bars = _bars(np, side, fraction.astype(np.float32), upright)
    return images * bars.astype(np.uint8)
