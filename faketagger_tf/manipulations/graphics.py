"""Deepfakes by graphics on canvases: graphics swap, reenactment, attribute editing.

A canvas is anchored on its face, whose landmarks are therefore taken to lie at the
template's. On whole photos `faketagger_tf.deepfake` does each by the detected ones.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from keras import ops

from faketagger_tf.manipulations import attributes, blend, donors, mesh, reenactment
from faketagger_tf.manipulations.face import (
    match_colour,
    regenerate,
    regenerate_real,
)
from faketagger_tf.manipulations.geometry import bilinear_warp
from faketagger_tf.manipulations.photometric import to_uint8
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.photos.canvas import LANDMARKS


@functools.cache
def _fitted(names: tuple[str, ...], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Donors on a canvas, uint8 [N, side, side, 3], and the mask they share."""
    landmarks = mesh.to_canvas(LANDMARKS, side)
    fitted = [
        donors.fit_donor(donors.load_donor(name), landmarks, side, side)
        for name in names
    ]
    return np.stack([pixels for pixels, _ in fitted]), fitted[0][1]


def _weights(mask: np.ndarray) -> np.ndarray:
    return (mask > 0).astype(np.float32)[..., None]


def graphicswap(images, seed, context, donor):
    batch, side = images.shape[:2]
    fitted, mask = _fitted(donors.donor_names(donor), side)
    index = ops.floor(uniform(seed, [batch], 0.0, float(len(fitted))))
    index = ops.cast(ops.minimum(index, len(fitted) - 1.0), "int32")
    pixels = ops.take(fitted.astype(np.float32) / 255, index, axis=0)
    pixels = match_colour(ops, pixels, images, _weights(mask))
    return ops.clip(blend.poisson_blend(images, pixels, mask), 0.0, 1.0)


def graphicswap_real(images, rng, context, donor):
    side = images.shape[1]
    fitted, mask = _fitted(donors.donor_names(donor), side)
    pixels = fitted[rng.integers(0, len(fitted), len(images))]
    pixels = (p.astype(np.float32) / 255 for p in (pixels, images))
    pixels = to_uint8(255 * match_colour(np, *pixels, _weights(mask)))
    changed = []
    for image, donor_pixels in zip(images, pixels, strict=True):
        clone = blend.poisson_clone(image, donor_pixels, mask)
        changed.append(image if clone is None else clone)
    return np.stack(changed)


def _amounts(xp, expression, batch: int):
    ones = np.ones(batch, np.float32)
    return xp.stack([ones * expression[n] for n in reenactment.EXPRESSION], axis=-1)


def reenact(images, seed, context, **expression):
    batch, side = images.shape[:2]
    amounts = ops.cast(_amounts(ops, expression, batch), "float32")
    field = reenactment.canvas_field(side)
    moves = ops.matmul(field.reshape(-1, field.shape[-1]), ops.transpose(amounts))
    moves = ops.reshape(ops.transpose(moves), [batch, side, side, 2])
    row, column = np.mgrid[:side, :side].astype(np.float32)
    warped = bilinear_warp(images, row - moves[..., 1], column - moves[..., 0])
    _, mask = _fitted(donors.donor_names("drawn1"), side)
    brightness = ops.mean(ops.sum(images * _weights(mask), axis=(1, 2)), axis=-1)
    brightness = brightness / _weights(mask).sum()
    places = reenactment.canvas_places(side)
    colours, weights = reenactment.paint_mouth(ops, places, amounts, brightness)
    colours = ops.reshape(colours, images.shape)
    weights = ops.reshape(weights, [batch, side, side, 1])
    return warped + weights * (colours - warped)


def reenact_real(images, rng, context, **expression):
    batch, side = images.shape[:2]
    amounts = _amounts(np, expression, batch).astype(np.float32)
    field = reenactment.canvas_field(side)
    places = reenactment.canvas_places(side)
    row, column = np.mgrid[:side, :side].astype(np.float32)
    _, mask = _fitted(donors.donor_names("drawn1"), side)
    changed = []
    for image, amount in zip(images, amounts, strict=True):
        moves = (field @ amount).reshape(side, side, 2)
        warped = cv2.remap(
            image,
            column - moves[..., 0],
            row - moves[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        brightness = image[mask > 0].mean() / 255
        colours, weights = reenactment.paint_mouth(
            np, places, amount[None], np.array([brightness], np.float32)
        )
        colours, weights = (part.reshape(side, side, -1) for part in (colours, weights))
        changed.append(to_uint8(warped + weights * (255 * colours - warped)))
    return np.stack(changed)


def edit(images, seed, context, attribute, amount, region, model):
    """Differentiable; `*` draws one attribute for the whole batch."""
    layout = attributes.canvas_layout(images.shape[1])
    edited, where = attributes.edit_attribute(images, attribute, amount, layout, seed)
    drawn = ops.clip(regenerate(edited, seed, context, model, 0.0), 0.0, 1.0)
    return images + attributes.redrawn(region, where, layout) * (drawn - images)


def edit_real(images, rng, context, attribute, amount, region, model):
    """On uint8; `*` draws one attribute for every image."""
    layout = attributes.canvas_layout(images.shape[1])
    names = attributes.attribute_names(attribute)
    edited, weights = [], []
    for image, share in zip(images, amount, strict=True):
        picture, where = attributes.edit_attribute(
            image[None].astype(np.float32) / 255,
            names[rng.integers(len(names))],
            share,
            layout,
        )
        edited.append(to_uint8(255 * ops.convert_to_numpy(picture[0])))
        weight = attributes.redrawn(region, where, layout)
        weights.append(ops.convert_to_numpy(weight)[0])
    drawn = regenerate_real(
        np.stack(edited), rng, context, model, np.zeros(len(images))
    )
    return to_uint8(images + np.stack(weights) * (drawn - images.astype(np.float32)))
