"""The joint step of FakeTagger (arXiv:2009.09869, section 3) as pure functions.

Cover and message go through the encoder, the tagged photo through a manipulation, the
result through the decoder; what comes out are the terms of the loss, image by image.
`keras.ops` only, on any backend: gradients, replicas and optimizers are the caller's
(`trainers.joint` on TensorFlow; tests/test_joint.py takes a step on JAX).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import keras
from keras import ops

from faketagger_tf import losses
from faketagger_tf.manipulations import Chain, Context, StatelessSeed, parse_chain
from faketagger_tf.manipulations.random import uniform


@dataclasses.dataclass(frozen=True)
class Share:
    """A chain that its share of every batch meets, and the size of those photos.

    Attributes:
        chain: the manipulations.
        low, high: photo pixels per canvas pixel, drawn with a uniform logarithm; what
            the encoder is told where its strength is a visibility.
    """

    chain: Chain
    low: float = 1.0
    high: float = 1.0

    def __str__(self):
        sizes = "" if self.low == self.high == 1 else f"@{self.low:g}..{self.high:g}"
        return f"{self.chain}{sizes}"


def parse_share(spec: str) -> Share:
    """Reads a spec string that may end in "@low..high", the photos' scale.

    Raises:
        ValueError: the chain is not accepted, or the scales are not two numbers from
            0.25 to 16, the lower one first.

    Example:
        >>> str(parse_share("gridjpeg(96,50..85)@0.9..1.5"))
        'gridjpeg(96,quality=50..85)@0.9..1.5'
    """
    text, at, sizes = spec.partition("@")
    chain = parse_chain(text)
    if not at:
        return Share(chain)
    try:
        low, high = (float(size) for size in (sizes.split("..") * 2)[:2])
    except ValueError:
        low = high = math.nan
    if not 0.25 <= low <= high <= 16 or len(sizes.split("..")) > 2:
        raise ValueError(
            "The photo's scale after @ must be a number or a range low..high from "
            f"0.25 to 16. Received: {sizes!r} in {spec!r}."
        )
    return Share(chain, low, high)


def draw_scales(shares: Sequence[Share], batch: int, seed: StatelessSeed):
    """Draws the photo pixels per canvas pixel of a batch: float32 `[batch]`."""
    parts = [
        uniform(seed, [size], math.log(share.low), math.log(share.high))
        for share, size in zip(shares, split_sizes(batch, len(shares)), strict=True)
    ]
    return ops.exp(ops.concatenate(parts))


def split_sizes(batch: int, groups: int) -> list[int]:
    """Shares a batch out among manipulations as evenly as whole images allow.

    Example:
        >>> split_sizes(8, 3)
        [2, 3, 3]
    """
    edges = [batch * i // groups for i in range(groups + 1)]
    return [b - a for a, b in itertools.pairwise(edges)]


def split_batch(values, groups: int) -> list:
    """Cuts `[batch, ...]` of static size into parts of `split_sizes`."""
    sizes = split_sizes(values.shape[0], groups)
    edges = itertools.accumulate(sizes, initial=0)
    return [values[start:stop] for start, stop in itertools.pairwise(edges)]


def manipulate(
    chains: Sequence[Chain],
    images,
    seed: StatelessSeed,
    context: Context,
    donors=None,
):
    """Applies each chain to its share of a batch, in order.

    Args:
        chains: at most as many as there are images.
        images: float32 `[batch, S, S, 3]`, about [0, 1], of static shape.
        seed: draws the manipulations' random numbers.
        context: the face swaps that the chains name.
        donors: same shape; a face that is pasted in comes from the image one before.
            None takes `images`.

    Returns:
        float32 `[batch, S, S, 3]`.
    """
    donors = ops.roll(images if donors is None else donors, 1, axis=0)
    parts = zip(
        chains,
        split_batch(images, len(chains)),
        split_batch(donors, len(chains)),
        strict=True,
    )
    return ops.concatenate(
        [
            chain.apply(part, seed, dataclasses.replace(context, donors=faces))
            for chain, part, faces in parts
        ],
        axis=0,
    )


def vary_covers(chains: Sequence[Chain], cover, seed: StatelessSeed, context, step):
    """Applies each cover chain to its share of a batch before it is tagged.

    Args:
        chains: as in `manipulate`; none leaves the covers as they are.
        cover: float32 `[batch, S, S, 3]`.
        seed, context: as in `manipulate`.
        step: integer scalar by which the batch is then turned on, so that every
            manipulation meets every kind of cover.
    """
    if not chains:
        return cover
    varied = manipulate(chains, cover, seed, context)
    batch = varied.shape[0]
    turned = ops.mod(ops.arange(batch) - ops.cast(step % batch, "int32"), batch)
    return ops.take(varied, turned, axis=0)


def forward(
    encode: Callable,
    decode: Callable,
    cover,
    message,
    seed: StatelessSeed,
    chains: Sequence[Chain],
    context: Context,
    weights: losses.Weights,
) -> dict:
    """Runs one step's forward pass.

    Args:
        encode: (cover, message) -> residual float32 `[batch, S, S, 3]`. How strong it
            is, in whatever measure, is the encoder's and the caller's.
        decode: images `[batch, S, S, 3]` -> logits `[batch, L]`.
        cover: float32 `[batch, S, S, 3]` in [0, 1], of static shape.
        message: float32 `[batch, L]` of 0 and 1.
        seed, chains, context: as in `manipulate`.
        weights: of the loss's terms.

    Returns:
        `losses.joint_terms`, each `[batch]`.
    """
    residual = encode(cover, message)
    received = manipulate(chains, cover + residual, seed, context, donors=cover)
    return losses.joint_terms(cover, message, residual, decode(received), weights)


def reestimate_statistics(
    models: Iterable[keras.Model], run: Callable, batches: Iterable
) -> None:
    """Sets the statistics of batch normalisation to their mean over some batches.

    Averaged weights never met the moving statistics of the raw ones, which also lag
    behind while the strength is ramped: with them a tagger validates too low.

    Args:
        models: whose BatchNormalization layers are set.
        run: batch -> anything; runs the models eagerly with `training=True`.
        batches: at least one.
    """
    norms = [
        layer
        for model in models
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in norms]
    try:
        for count, batch in enumerate(batches):
            for layer in norms:  # Makes the moving average a plain one.
                layer.momentum = count / (count + 1)
            run(batch)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
