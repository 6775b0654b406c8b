"""What happens to the face alone: swaps, pastes, warps, blurs, tight crops.

The face region is the square in the middle of the canvas. Each manipulation changes
that square and blends the change back with a mask:

- `feather`: the ellipse inscribed in the square, with a soft edge;
- `large`: a fixed ellipse from hairline to chin and from ear to ear;
- `none`: the whole square, with a hard edge.

Blending adds `mask * (changed - face)`, so pixels where the mask is zero are untouched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from keras import ops

from faketagger_tf.manipulations import geometry, photometric
from faketagger_tf.manipulations.names import named
from faketagger_tf.manipulations.random import StatelessSeed, any_of

# The `large` mask, in fractions of the canvas's side: the canvas is 1.9 face boxes
# wide, so this ellipse is 1.14 boxes wide and 1.44 high, and its middle sits a little
# above the canvas's, since hair rises higher above the box than the chin hangs below.
LARGE_HALF_WIDTH = 0.30
LARGE_HALF_HEIGHT = 0.38
LARGE_MIDDLE = 0.48
LARGE_REGION = 0.82  # the least region that holds the `large` ellipse with no cut
FEATHER = 0.3  # share of an ellipse's radius over which its mask falls from 1 to 0
OUTSIDE = {"grey": 0.5, "black": 0.0}  # what a tight crop leaves out is painted
MASKS = ("feather", "large", "none")
LATENT_DOWN = 8  # Side of an image over the side of its latent map.
# A flat swapped face must not be stretched to the target's contrast beyond this.
MAX_COLOUR_GAIN = 2.0


@dataclasses.dataclass(frozen=True)
class Swap:
    """A face-swap model's one direction.

    Attributes:
        function: differentiable, float32 [B, size, size, 3] in [0, 1] -> the same.
        size: side of the faces it takes, in pixels.
        region: side of the face region it was trained on, as a fraction of the
            canvas; None leaves it to the context.
    """

    function: Callable
    size: int = 64
    region: float | None = None

    def __call__(self, faces):
        return self.function(faces)


@dataclasses.dataclass(frozen=True)
class Context:
    """What a chain needs beside the images.

    Attributes:
        swaps: name such as "A>B" or "model1:A>B" -> `Swap`, or any callable with an
            integer attribute `size`.
        face_region: side of the face region as a fraction of the canvas.
        donors: faces for `facepaste`, of the images' shape and type; by default the
            batch itself, moved on by one.
        latents: name -> differentiable function (images float32 [B, S, S, 3] in [0, 1],
            noise as a number or [B], seed) -> images, as `presets.load_latents` gives
            them.
        real_codecs: whether WebP's values are the real codec's in training as well;
            needs TensorFlow, and XLA cannot.
    """

    swaps: Mapping[str, Swap] = dataclasses.field(default_factory=dict)
    face_region: float = 0.5
    donors: object = None
    latents: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    real_codecs: bool = False

    def __post_init__(self):
        if not 0 < self.face_region <= 1:
            raise ValueError(
                f"face_region must be in (0, 1]. Received: {self.face_region!r}."
            )
        for name, swap in self.swaps.items():
            if not callable(swap) or not isinstance(getattr(swap, "size", None), int):
                raise ValueError(
                    "A swap must be a Swap(function, size). "
                    f"Received: {name!r} -> {type(swap).__name__}."
                )


def _square(side: int, fraction: float) -> tuple[int, int]:
    """Start and length of the middle square, of the canvas's parity, at least 2."""
    length = min(side, max(2, 2 * round(fraction * side / 2) + side % 2))
    return (side - length) // 2, length


def region_square(side: int, context: Context, mask: str, region) -> tuple[int, int]:
    """Start and length in pixels of the face region; `region` None is the default."""
    if region is None:
        least = LARGE_REGION if mask == "large" else 0.0
        region = max(context.face_region, least)
    return _square(side, region)


def face_mask(kind: str, side: int, start: int, length: int) -> np.ndarray:
    """Blending weights inside the face region.

    Args:
        kind: "feather", "large" or "none".
        side: the canvas's side in pixels.
        start, length: the region's, in pixels.

    Returns:
        float32 [length, length, 1] in [0, 1].
    """
    if kind == "none":
        return np.ones([length, length, 1], np.float32)
    row, column = np.mgrid[:length, :length] + start + 0.5
    middle, half_height, half_width = side / 2, length / 2, length / 2
    if kind == "large":
        middle = LARGE_MIDDLE * side
        half_height, half_width = LARGE_HALF_HEIGHT * side, LARGE_HALF_WIDTH * side
    radius = np.hypot((row - middle) / half_height, (column - side / 2) / half_width)
    ramp = np.clip((1 - radius) / FEATHER, 0, 1)
    return (ramp**2 * (3 - 2 * ramp))[..., None].astype(np.float32)


def match_colour(xp, faces, targets, mask):
    """Gives `faces` the mean and deviation, per channel, that `targets` have.

    The result is clipped to [0, 1].

    Args:
        xp: numpy or keras.ops.
        faces, targets: float [B, F, F, 3].
        mask: float [F, F, 1], the weights of the statistics.
    """
    weights = mask / mask.sum()

    def statistics(images):
        mean = xp.sum(weights * images, axis=(1, 2), keepdims=True)
        squares = xp.sum(weights * xp.square(images - mean), axis=(1, 2), keepdims=True)
        return mean, xp.sqrt(squares + 1e-6)

    (mean, deviation), (goal, spread) = statistics(faces), statistics(targets)
    gain = xp.minimum(spread / deviation, MAX_COLOUR_GAIN)
    return xp.clip(goal + (faces - mean) * gain, 0.0, 1.0)


def _crop(images, start: int, length: int):
    return images[:, start : start + length, start : start + length]


def _change(function, images, context, mask, region):
    """Blends `function(face, mask, start, length)` into the face region."""
    side = images.shape[1]
    start, length = region_square(side, context, mask, region)
    weights = face_mask(mask, side, start, length)
    face = _crop(images, start, length)
    change = weights * (function(face, weights, start, length) - face)
    after = side - start - length
    margins = [[0, 0], [start, after], [start, after], [0, 0]]
    return images + ops.pad(change, margins)


def _change_real(function, images, context, mask, region):
    """`_change` of uint8 images; `function` may return uint8 or float [0, 255]."""
    side = images.shape[1]
    start, length = region_square(side, context, mask, region)
    weights = face_mask(mask, side, start, length)
    face = _crop(images, start, length)
    changed = np.asarray(function(face, weights, start, length), np.float32)
    images = images.copy()
    blended = photometric.to_uint8(face + weights * (changed - face))
    images[:, start : start + length, start : start + length] = blended
    return images


def _swaps(context: Context, name: str):
    every = context.swaps
    return [every[chosen] for chosen in named("face swap", name, tuple(every))]


def _own_context(context: Context, swap) -> Context:
    """The context with the face region that the swap was trained on."""
    region = getattr(swap, "region", None) or context.face_region
    return dataclasses.replace(context, face_region=region)


def faceswap(images, seed, context, swap, mask, region, colour):
    """Differentiable; `*` draws one of the swaps for the whole batch.

    One branch of the graph runs per step, so that a pool of many swaps costs no more
    time than one.
    """

    def branch(swap):
        def function(face, weights, start, length):
            swapped = swap(geometry.resize_to(face, swap.size))
            swapped = geometry.resize_to(swapped, length)
            return match_colour(ops, swapped, face, weights) if colour else swapped

        own = _own_context(context, swap)
        return lambda images: _change(function, images, own, mask, region)

    branches = [branch(swap) for swap in _swaps(context, swap)]
    return any_of(seed, branches, images)


def faceswap_real(images, rng, context, swap, mask, region, colour):
    """On uint8; `*` gives image i swap i modulo their number."""
    swaps = _swaps(context, swap)
    changed = np.empty_like(images)
    for first, swap in enumerate(swaps[: len(images)]):

        def function(face, weights, start, length, swap=swap):
            small = geometry.resize_to_real(face, swap.size).astype(np.float32) / 255
            swapped = ops.convert_to_numpy(swap(small)).astype(np.float32)
            swapped = geometry.resize_to_real(swapped, length)
            if colour:
                swapped = match_colour(np, swapped, face / np.float32(255), weights)
            return 255 * swapped

        every = slice(first, None, len(swaps))
        changed[every] = _change_real(
            function, images[every], _own_context(context, swap), mask, region
        )
    return changed


def autoencode(images, seed, context, swap):
    return faceswap(images, seed, context, swap, "none", 1.0, 0)


def autoencode_real(images, rng, context, swap):
    return faceswap_real(images, rng, context, swap, "none", 1.0, 0)


def _latents(context: Context, name: str) -> list[Callable]:
    every = context.latents
    return [every[chosen] for chosen in named("latent model", name, tuple(every))]


def _check_latent_side(side: int) -> None:
    if side % LATENT_DOWN:
        raise ValueError(
            f"A latent model needs images whose side is a multiple of {LATENT_DOWN}. "
            f"Received: {side}."
        )


def regenerate(images, seed, context, model, noise):
    """Differentiable; `*` draws one of the models for the whole batch."""
    models = _latents(context, model)
    _check_latent_side(images.shape[1])
    branches = [lambda images, m=m: m(images, noise, seed) for m in models]
    return any_of(seed, branches, images)


def regenerate_real(images, rng, context, model, noise):
    """On uint8; `*` gives image i model i modulo their number."""
    models = _latents(context, model)
    _check_latent_side(images.shape[1])
    changed = np.empty_like(images)
    for first, regenerator in enumerate(models[: len(images)]):
        every = slice(first, None, len(models))
        seed = StatelessSeed(int(rng.integers(2**31)))
        made = regenerator(
            images[every].astype(np.float32) / 255,
            noise[every].astype(np.float32),
            seed,
        )
        changed[every] = photometric.to_uint8(255 * ops.convert_to_numpy(made))
    return changed


def _donors(images, context: Context, xp):
    if context.donors is None:
        if images.shape[0] < 2:
            raise ValueError(
                "facepaste needs a batch of two or more images, or the context's "
                "donors. Received: a batch of one."
            )
        return xp.roll(images, 1, axis=0)
    if tuple(context.donors.shape) != tuple(images.shape):
        raise ValueError(
            f"The context's donors must have the images' shape {list(images.shape)}. "
            f"Received: {list(context.donors.shape)}."
        )
    return context.donors


def facepaste(images, seed, context, mask, region, colour):
    donors = _donors(images, context, ops)

    def function(face, weights, start, length):
        donor = _crop(donors, start, length)
        return match_colour(ops, donor, face, weights) if colour else donor

    return _change(function, images, context, mask, region)


def facepaste_real(images, rng, context, mask, region, colour):
    donors = _donors(images, context, np)

    def function(face, weights, start, length):
        donor = _crop(donors, start, length).astype(np.float32)
        if colour:
            donor = 255 * match_colour(np, donor / 255, face / np.float32(255), weights)
        return donor

    return _change_real(function, images, context, mask, region)


def facewarp(images, seed, context, strength, mask, region):
    def function(face, weights, start, length):
        return geometry.random_warp(face, seed, strength)

    return _change(function, images, context, mask, region)


def facewarp_real(images, rng, context, strength, mask, region):
    def function(face, weights, start, length):
        return geometry.random_warp_real(face, rng, strength)

    return _change_real(function, images, context, mask, region)


def faceblur(images, seed, context, sigma, mask, region):
    def function(face, weights, start, length):
        return photometric.gaussian_blur(face, sigma)

    return _change(function, images, context, mask, region)


def faceblur_real(images, rng, context, sigma, mask, region):
    def function(face, weights, start, length):
        return photometric.blur_real(face, rng, context, sigma)

    return _change_real(function, images, context, mask, region)


def facedown(images, seed, context, pixels, mask, region):
    def function(face, weights, start, length):
        return geometry.downup(face, seed, context, pixels)

    return _change(function, images, context, mask, region)


def facedown_real(images, rng, context, pixels, mask, region):
    def function(face, weights, start, length):
        return geometry.downup_real(face, rng, context, pixels)

    return _change_real(function, images, context, mask, region)


def _inside(side: int, fraction: float) -> np.ndarray:
    start, length = _square(side, fraction)
    inside = np.zeros([side, side, 1], np.float32)
    inside[start : start + length, start : start + length] = 1
    return inside


def facecrop(images, seed, context, fraction, outside="grey"):
    inside = _inside(images.shape[1], fraction)
    return inside * images + (1 - inside) * OUTSIDE[outside]


def facecrop_real(images, rng, context, fraction, outside="grey"):
    inside = _inside(images.shape[1], fraction) > 0
    level = photometric.to_uint8(np.float32(255 * OUTSIDE[outside]))
    return np.where(inside, images, level)
