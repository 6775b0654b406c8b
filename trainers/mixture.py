"""What a batch of `trainers.joint_xla` goes through: a table, and how it is run.

Chains alone would do; but each would bring a warp and a codec of its own into the one
program that XLA compiles. So a group's chain does what is its own, and misplacement,
JPEG and a tight view run on the batch as a whole, with limits image by image.
`keras.ops` only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from faketagger_tf.manipulations import Context, StatelessSeed, parse_chain
from faketagger_tf.manipulations.codecs import gridjpeg, resampled
from faketagger_tf.manipulations.geometry import affine
from faketagger_tf.manipulations.photometric import round_to_uint8
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.visibility import OUTSIDE

CANVAS = 128  # Side of the canvas that the pixels of the tables below are about.
# Photo pixels per canvas pixel, from a small face to a large one.
SCALES = (0.9, 4.2)
MILD, FIRM = (1.0, 0.012, 0.9), (2.8, 0.04, 2.6)  # Degrees, scale, shift in pixels.
TINY = (0.8, 0.008, 0.6)


@dataclasses.dataclass(frozen=True)
class Group:
    """A share of every batch, and what its tagged photos go through.

    Attributes:
        name: of the group in progress lines.
        units: its share, in units of `XlaOptions.images`.
        chain: what happens first.
        jitter: how far a canvas is then misplaced: degrees, scale, shift in pixels.
        quality: of the JPEG that follows; None for none.
        grids: photo pixels a side of the canvas at which JPEG is coded, image by image
            in turn; none for the canvas's own.
        scales: photo pixels per canvas pixel; None goes by the grids, those of a photo
            that was shared at 0.5 to 1.05 of its size.
        side: pixels a side at which the chain runs; 0 for the canvas's own.
        tight: whether only the middle of the canvas is left to read at last.
    """

    name: str
    units: int
    chain: str = "identity"
    jitter: tuple[float, float, float] = MILD
    quality: tuple[int, int] | None = None
    grids: tuple[int, ...] = ()
    scales: tuple[float, float] | None = SCALES
    side: int = 0
    tight: bool = False


def _swap(name: str) -> Group:
    chain = f"faceswap({name},mask=large)|edge(0.15,12)"
    return Group(f"swap {name}", 1, chain, FIRM, (60, 92), scales=(0.9, 3.5))


SMALL = (64, 80, 96, 80)
GROUPS = (
    Group("cut", 1, "edge(0.3,12)", (2, 0.02, 2), (60, 95), scales=(0.9, 2.5)),
    Group("jpeg", 1, quality=(28, 75), scales=(0.9, 1.8)),
    Group("webp", 2, "webp(35..80)", TINY, scales=(0.9, 1.6)),
    Group("small", 3, "identity", MILD, (55, 85), (56, 64, 80, 64, 80, 96), None),
    Group("small hard", 1, "identity", MILD, (28, 60), SMALL, None),
    Group("small grey", 1, "grey", MILD, (50, 85), SMALL, None),
    Group("twice", 3, "jpeg(50..75)", MILD, (55, 80), SMALL, None, side=76),
    Group("path", 1, "identity", MILD, (30, 85), (128, 192, 96, 192), None),
    Group("path grey", 1, "grey", MILD, (55, 90), (80, 192, 128, 192), None),
    *map(_swap, ("one:A>B", "two:A>B", "two:A>C", "three:A>B")),
    Group("paste", 3, "facepaste(large)|edge(0.2,12)", FIRM, (60, 95), scales=(0.9, 4)),
    Group("filter", 1, "filter(1.2)", MILD, (55, 90)),
    Group(
        "sharp", 1, "sharpen(0.3..1.3)|gamma(0.52..1.9)", (1.5, 0.015, 1.5), (70, 95)
    ),
    Group("cut turned", 3, "edge(0.4,12)", (2.5, 0.03, 2.5), (70, 95)),
    Group("tight", 2, "edge(0.2,12)", (2, 0.025, 2), (60, 92), tight=True),
    Group("denoised", 2, "denoise(3..8)", TINY, scales=(0.9, 3)),
    Group("denoised large", 1, "denoise(3..8)", TINY, scales=(0.9, 3), side=192),
    Group("redrawn", 1, "regenerate(one,0..0.12)", MILD, (75, 95), scales=(0.9, 3)),
)
# With which chance a cover meets a chain before it is tagged, each on its own.
COVERS = (
    (0.5, "mirror"),
    (0.3, "facepaste(large)"),
    (0.2, "downup(72)"),
    (0.6, "color(0.6)|gamma(0.55..1.8)"),
    (0.45, "noise(0..0.03)"),
    (0.33, "jpeg(40..94)"),
    (0.25, "edge(0.4,12)"),
)


class Mixture:
    """The groups of a batch, as arrays of one value an image.

    Args:
        groups: what the batch is made of, in order.
        images: images a unit.
        side: the canvas's, in pixels.
        context: the swaps and the latent models that the chains name.
    """

    def __init__(
        self, groups: Sequence[Group], images: int, side: int, context: Context
    ):
        self.groups, self.side, self.context = groups, side, context
        self.chains = [parse_chain(group.chain) for group in groups]
        counts = [group.units * images for group in groups]
        self.cuts = np.cumsum(counts)[:-1].tolist()
        rows = [
            (group, group.grids[i % len(group.grids)] if group.grids else CANVAS)
            for group, count in zip(groups, counts, strict=True)
            for i in range(count)
        ]
        self.batch = len(rows)
        self.grids = np.array([self._pixels(grid) for _, grid in rows])
        self.coded = np.array([group.quality is not None for group, _ in rows])
        self.tight = np.array([group.tight for group, _ in rows])
        self.free = np.array([group.scales is not None for group, _ in rows])

        def column(values):
            return np.array(values, np.float32).T

        self.quality = column([group.quality or (100, 100) for group, _ in rows])
        self.jitter = column([group.jitter for group, _ in rows])
        self.scales = column([group.scales or SCALES for group, _ in rows])

    def _pixels(self, pixels: int) -> int:
        """Pixels of a canvas of `CANVAS` in one of this side."""
        return round(pixels * self.side / CANVAS)

    def draw_scales(self, seed: StatelessSeed):
        """Draws the photo pixels per canvas pixel that the encoder is told: [B]."""
        share = uniform(seed, [self.batch], 0.0, 1.0)
        low, high = np.log(self.scales)
        shared = self.grids / np.float32(self.side) / (0.5 + 0.55 * share)
        return ops.where(
            self.free, ops.exp(low + share * (high - low)), ops.clip(shared, *SCALES)
        )

    def manipulate(self, tagged, cover, seed: StatelessSeed):
        """What becomes of tagged photos; faces pasted in are the covers', moved on.

        Jitter and codecs run on the batch as a whole, grid by grid, because a program
        with a warp and a codec for every group takes XLA many times as long.
        """
        parts = []
        pairs = (ops.split(x, self.cuts) for x in (tagged, ops.roll(cover, 1, axis=0)))
        for group, chain, part, donors in zip(
            self.groups, self.chains, *pairs, strict=True
        ):
            pixels = self._pixels(group.side) or self.side
            part, donors = (resampled(x, pixels) for x in (part, donors))
            context = dataclasses.replace(self.context, donors=donors)
            part = resampled(chain.apply(part, seed, context), self.side)
            parts.append(ops.cast(part, "float32"))
        images = affine(ops.concatenate(parts), seed, self.context, *self.jitter)
        images = self.code(images, self.draw_qualities(seed))
        side = uniform(seed, [self.batch, 1, 1, 1], 0.58, 0.75)
        side = ops.where(self.tight[:, None, None, None], side, 2.0)
        place = np.abs((np.arange(self.side, dtype=np.float32) + 0.5) / self.side - 0.5)
        far = np.maximum(place[:, None], place)[:, :, None]
        return images * ops.cast(far < side / 2, "float32")

    def draw_qualities(self, seed: StatelessSeed):
        """Draws the quality of each image's JPEG: whole numbers, float32 [B]."""
        low, high = self.quality
        quality = ops.floor(uniform(seed, [self.batch], low, high + 1))
        return ops.minimum(quality, high)

    def code(self, images, quality):
        """JPEG of each image on its own grid and of its own quality, if it has any."""
        grids = np.where(self.coded, self.grids, 0)
        order, done = [], []
        for grid in np.unique(grids):
            where = np.flatnonzero(grids == grid)
            part = ops.take(images, where, axis=0)
            if grid:
                each = ops.take(quality, where)
                done.append(gridjpeg(part, None, self.context, grid, each))
            else:
                done.append(round_to_uint8(part))
            order.append(where)
        order = np.argsort(np.concatenate(order))
        return ops.take(ops.concatenate(done), order, axis=0)


def vary_covers(cover, seed: StatelessSeed, chains: Sequence = COVERS):
    """Covers in other light, colours and surroundings; black outside stays black.

    Args:
        cover: float32 [B, S, S, 3] in [0, 1].
        seed: draws the changes.
        chains: pairs of a chance and a chain.

    Returns:
        float32 [B, S, S, 3], multiples of 1/255.
    """

    def lit(images):
        return ops.max(images, axis=-1, keepdims=True) > OUTSIDE

    for chance, spec in chains:
        chain = parse_chain(spec)
        changed = chain.apply(cover, seed)
        if not {"mirror", "facepaste", "edge"} & {step.name for step in chain.steps}:
            # A photo's own pixel must not turn black either, and so seem outside.
            changed = ops.where(lit(cover), ops.maximum(changed, 2 / 255), 0.0)
        drawn = uniform(seed, [cover.shape[0], 1, 1, 1], 0.0, 1.0) < chance
        cover = ops.where(drawn, changed, cover)
    return ops.stop_gradient(round_to_uint8(cover))
