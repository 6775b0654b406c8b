"""Refines the encoder's residual for one photo, by descent through the decoder.

FakeTagger (arXiv:2009.09869) embeds in one pass of the image encoder, which cannot
weigh every photo's own content. A few steps down the gradient of the message loss,
through manipulations and decoder as in training, can. It is informed embedding (Cox,
Miller, Bloom: "Digital Watermarking", chapter 5) with a network for a detector, as in
Fernandez et al. (arXiv:2112.09581). What differs: the residual keeps its power, is
masked by texture and stays smooth, so that it becomes harder to remove but not easier
to see.

Refining differentiates through decoder and manipulations, so that a `Refiner` needs
TensorFlow; importing this module does not.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING

from faketagger_tf.config import TaggerConfig

if TYPE_CHECKING:
    import keras

    from faketagger_tf.manipulations import Chain, Context

# What a tag has to live through: codecs, geometry, colour, a face that is replaced, and
# one that is cut out. No face-swap model is needed: a pasted face takes away as much.
CHAINS = (
    "jpeg(25..45)",
    "affine(6,0.06,5)|color(0.2)",
    "facepaste(large)|jpeg(60..95)",
    "webp(40..60)",
    "jpeg(25..60)",
    "affine(6,0.06,5)",
    "facecrop(0.625)|jpeg(60..95)",
    "facepaste|jpeg(50..95)",
)
# The same for a tag of a set visibility: its anchor wanders less, and grey copies keep
# it, see `TaggerConfig.strength`.
VISIBILITY_CHAINS = (
    "jpeg(25..45)",
    "affine(2.5,0.03,2.5)",
    "facepaste(large)|jpeg(60..95)",
    "grey|gridjpeg(96,55..85)",
    "identity",
    "webp(40..60)",
    "grey|affine(2,0.02,2)|jpeg(60..95)",
    "facecrop(0.625)|jpeg(60..95)",
)
STEPS = 40  # Where the gain levels off.
GROUP = 4  # Chains that one step looks at; the next step takes the next ones.
RATE = 0.1  # First step's length over the residual's; falls linearly to 0.
MOMENTUM = 0.8
# Blur of the gradient in pixels. Without one the steps end in single-pixel noise, which
# shows on flat skin and which JPEG removes.
SMOOTHNESS = 1.3


def check_steps(steps: int) -> None:
    """Raises a ValueError unless `steps` is a whole number from 0 on."""
    if not isinstance(steps, numbers.Integral) or steps < 0:
        raise ValueError(
            f"refine must be a whole number of steps, 0 or more. Received: {steps!r}."
        )


class Refiner:
    """Refines residuals against a decoder. Safe to use from many threads.

    Args:
        config: the tagger's configuration.
        decoder: as `models.build_decoder` builds it.
        chains: manipulations that the tag is to survive; unless given, `CHAINS`, or
            `VISIBILITY_CHAINS` for a tagger of that strength.
        context: face-swap models that the chains name.
        seed: of the manipulations; one seed and one batch give one result.
    """

    def __init__(
        self,
        config: TaggerConfig,
        decoder: keras.Model,
        chains: Sequence[Chain] | None = None,
        context: Context | None = None,
        seed: int = 0,
    ):
        import tensorflow as tf

        from faketagger_tf.manipulations import Context, parse_chains
        from faketagger_tf.models.encoder import TextureMask

        self._visible = config.strength == "visibility"
        if chains is None:
            chains = parse_chains(VISIBILITY_CHAINS if self._visible else CHAINS)
        chains = list(chains)
        if not chains:
            raise ValueError("At least one manipulation is needed. Received: none.")
        self._decoder, self._seed = decoder, seed
        context = context or Context(face_region=config.face_region)
        self._context = dataclasses.replace(context, real_codecs=True)
        self._mask = TextureMask(config.texture_mask)
        make = self._make_slope if self._visible else self._make_step
        self._steps = [
            tf.function(make(chains[start : start + GROUP]))
            for start in range(0, len(chains), GROUP)
        ]

    def __call__(self, cover, message, residual, steps: int = STEPS, scale=None):
        """Returns a residual of the same power, or visibility, that survives more.

        Args:
            cover: float32 `[batch, S, S, 3]` in [0, 1].
            message: code bits `[batch, L]` of 0 and 1.
            residual: float32 `[batch, S, S, 3]`, what the encoder proposes.
            steps: number of steps; 0 returns the residual as it is.
            scale: `[batch]`, photo pixels per canvas pixel, where the tagger's strength
                is visibility; 1 unless given.

        Raises:
            ValueError: steps is no whole number from 0 on.
        """
        import tensorflow as tf

        check_steps(steps)
        cover, message, residual = (
            tf.convert_to_tensor(x, tf.float32) for x in (cover, message, residual)
        )
        if not steps:
            return residual
        if self._visible:
            return self._at_one_visibility(cover, message, residual, steps, scale)
        gain = self._mask([tf.ones_like(cover), cover])
        power = tf.reduce_mean(tf.square(residual), axis=(1, 2, 3), keepdims=True)
        # Steps are taken before the mask: flat places then change little.
        pattern = _normalised(residual / gain)
        momentum = tf.zeros_like(pattern)
        for number in range(steps):
            pattern, momentum = self._steps[number % len(self._steps)](
                cover,
                message,
                gain,
                tf.sqrt(power),
                pattern,
                momentum,
                tf.constant([self._seed, number], tf.int64),
                tf.constant(RATE * (1 - number / steps)),
            )
        return _normalised(pattern * gain) * tf.sqrt(power)

    def _at_one_visibility(self, cover, message, residual, steps, scale):
        """As `models.informed` takes its steps, through manipulations."""
        import tensorflow as tf

        from faketagger_tf import visibility
        from faketagger_tf.models import informed

        ones = tf.ones([tf.shape(cover)[0], 1])
        scale = (
            ones if scale is None else tf.reshape(tf.cast(scale, tf.float32), [-1, 1])
        )
        near = visibility.nearness(scale)
        factors, lit = visibility.masks(cover), visibility.inside(cover)
        wanted = visibility.visibility(residual, factors, near)

        def slope_of(residual, number):
            seed = tf.constant([self._seed, number], tf.int64)
            step = self._steps[number % len(self._steps)]
            return step(cover, message, residual, seed)

        return informed.descend(
            residual, slope_of, factors, near, lit, wanted, steps, MOMENTUM
        )

    def _make_slope(self, chains: list[Chain]):
        import tensorflow as tf

        def slope(cover, message, residual, seed):
            with tf.GradientTape() as tape:
                tape.watch(residual)
                loss = self._loss(cover, message, cover + residual, seed, chains)
            return tape.gradient(loss, residual)

        return slope

    def _make_step(self, chains: list[Chain]):
        import tensorflow as tf

        from faketagger_tf.manipulations.photometric import gaussian_blur

        def step(cover, message, gain, scale, pattern, momentum, seed, rate):
            with tf.GradientTape() as tape:
                tape.watch(pattern)
                tagged = cover + _normalised(pattern * gain) * scale
                loss = self._loss(cover, message, tagged, seed, chains)
            slope = gaussian_blur(tape.gradient(loss, pattern), SMOOTHNESS)
            momentum = MOMENTUM * momentum + _normalised(slope)
            return _normalised(pattern - rate * _normalised(momentum)), momentum

        return step

    def _loss(self, cover, message, tagged, seed, chains):
        """The message loss after manipulations, summed."""
        import tensorflow as tf

        from faketagger_tf import losses
        from faketagger_tf.manipulations import StatelessSeed

        seed = StatelessSeed(seed)
        # A pasted face shows the same person without a tag, mirrored: a photo's result
        # does not depend on the others in its batch.
        context = dataclasses.replace(self._context, donors=cover[:, :, ::-1])
        received = [chain.apply(tagged, seed, context) for chain in chains]
        logits = self._decoder(tf.concat(received, 0), training=False)
        target = tf.tile(message, [len(chains), 1])
        return tf.reduce_sum(losses.message_loss(target, logits))


def _normalised(x):
    """Scales every image to a mean square of 1."""
    import tensorflow as tf

    power = tf.reduce_mean(tf.square(x), axis=(1, 2, 3), keepdims=True)
    return x * tf.math.rsqrt(power + 1e-20)
