"""Trains the image encoder and decoder on one GPU, as one program of XLA.

    python -m faketagger_tf.data.covers --data=photos --output=covers.npz
    python -m trainers.joint_xla --covers=covers.npz --output=runs/tagger --minutes=7

The losses, the networks and the manipulations are those of `trainers.joint`, the
reference, which trains on any hardware, from nothing, and resumes. This one exists for
its speed: Keras runs on JAX, ten steps with covers, manipulations, gradients and Adam
are compiled into one program, and nothing leaves the GPU between them. The learning
rate follows the clock, so that a run ends when it should. It starts from a tagger of
the strength 'visibility', and needs no TensorFlow (requirements-jax.txt; on a GPU
`pip install "jax[cuda12]"`).

Cost: on one H200 GPU with --images=6 the program that the newest weights of `face128`
come from compiled in 85 s and took 29.8 ms a step of 192 canvases; 7 minutes were
11,440 steps. Score: the bits read right after the batch's manipulations, while
training, went from 0.913 to 0.952. This is that program with the package's
manipulations in the place of its own. JPEG and WebP are as they were; what comes back
from a small grid is enlarged bicubically, as canvases are cut; non-local means takes
the values for linear light, as OpenCV does; covers, filters and sharpening vary within
the package's ranges, which are close to the former ones. In this form it has not run
on a GPU yet.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Sequence

from trainers import xla

if __name__ == "__main__":
    xla.use_jax("trainers.joint_xla")  # Before Keras is imported.

import keras
import numpy as np
from absl import logging
from keras import ops

from faketagger_tf import losses
from faketagger_tf.config import TaggerConfig
from faketagger_tf.data.covers import read_covers
from faketagger_tf.manipulations import Context, StatelessSeed, Swap, parse_chain
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.models import encoder_inputs, regenerate, swap_function
from faketagger_tf.options import option, run_command
from faketagger_tf.presets import (
    load_config,
    load_faceswap,
    load_latent,
    load_tagger,
    save_tagger,
)
from trainers.mixture import GROUPS, Group, Mixture, vary_covers
from trainers.xla import State, update


@dataclasses.dataclass(frozen=True)
class XlaOptions(xla.RunOptions):
    """What the trainer can be told; sizes and networks are the warm start's."""

    covers: str = option(
        "",
        "File of canvases, .npz or .npy, as faketagger_tf.data.covers writes it.",
        required=True,
    )
    warm_start: str = option(
        "face128", "Preset, or folder of a tagger, that the weights start from."
    )
    images: int = option(6, "Images a unit; a batch has 32 units.", low=1)
    level_low: float = option(42.0, "Least level in dB that is drawn.")
    level_high: float = option(49.0, "Largest level in dB that is drawn.")

    def __post_init__(self):
        super().__post_init__()
        if self.level_low > self.level_high:
            raise ValueError(
                "--level_low must not exceed --level_high. "
                f"Received: {self.level_low} and {self.level_high}."
            )


class XlaTrainer:
    """The networks, and the compiled program that trains them.

    Args:
        options: see `XlaOptions`.
        groups: what a batch is made of.
    """

    def __init__(self, options: XlaOptions, groups: Sequence[Group] = GROUPS):
        self.options = options
        keras.config.set_dtype_policy(options.precision)
        config, self.encoder, self.decoder = load_tagger(options.warm_start)
        self.config: TaggerConfig = dataclasses.replace(config, preset="")
        models = self.encoder, self.decoder
        self.trained = [v for model in models for v in model.trainable_variables]
        self.others = [v for model in models for v in model.non_trainable_variables]
        context, self.frozen = self._load_fakers(groups)
        self.mixture = Mixture(groups, options.images, config.image_size, context)

    def _load_fakers(self, groups) -> tuple[Context, list]:
        """What the chains name, and those models' variables, which would be megabytes
        of constants in the program unless it is given them."""
        swaps, latents, frozen = {}, {}, []
        chains = [parse_chain(group.chain) for group in groups]
        for name in dict.fromkeys(n for chain in chains for n in chain.latent_names()):
            _, model = load_latent(name)
            latents[name] = functools.partial(regenerate, model)
            frozen += model.variables
        names = dict.fromkeys(n for chain in chains for n in chain.swap_names())
        folders = dict.fromkeys(name.split(":")[0] for name in names)
        models = {folder: load_faceswap(folder) for folder in folders}
        for name in names:
            config, model = models[name.split(":")[0]]
            function = swap_function(model, name.split(">")[1])
            swaps[name] = Swap(function, config.face_size, config.face_region)
        frozen += [v for _, model in models.values() for v in model.variables]
        region = self.config.face_region
        return Context(swaps=swaps, latents=latents, face_region=region), frozen

    def start(self) -> State:
        """Returns the state before the first step."""
        return xla.start(self.trained, self.others)

    def forward(self, weights, others, frozen, covers, seed: StatelessSeed):
        """Returns the loss, and (the batch statistics, the terms of the loss).

        The first three are values of the variables; `covers` are all there are, uint8
        [N, S, S, 3]; `seed` draws everything.
        """
        batch, options = self.mixture.batch, self.options
        chosen = uniform(seed, [batch], 0.0, float(covers.shape[0]))
        chosen = ops.minimum(ops.cast(chosen, "int32"), covers.shape[0] - 1)
        cover = ops.cast(ops.take(covers, chosen, axis=0), "float32") / 255.0
        bits = uniform(seed, [batch, self.config.message_bits], 0.0, 1.0)
        message = ops.cast(bits < 0.5, "float32")
        level = uniform(seed, [batch], options.level_low, options.level_high)
        scale = self.mixture.draw_scales(seed)
        mapping = zip(
            [*self.trained, *self.others, *self.frozen],
            [*weights, *others, *frozen],
            strict=True,
        )
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            cover = vary_covers(cover, seed)
            inputs = encoder_inputs(self.config, cover, message, level, scale)
            residual = self.encoder(inputs, training=True)
            received = self.mixture.manipulate(cover + residual, cover, seed)
            logits = self.decoder(received, training=True)
            found = [scope.get_current_value(v) for v in self.others]
        others = [b if a is None else a for a, b in zip(found, others, strict=True)]
        terms = losses.joint_terms(cover, message, residual, logits, losses.Weights())
        return ops.mean(terms["loss"]), (others, terms)

    def compiled(self):
        """Returns (state, covers, frozen, rate) -> (state, terms by step), compiled."""
        import jax
        import jax.numpy as jnp

        gradient = jax.grad(self.forward, has_aux=True)

        @functools.partial(jax.jit, donate_argnums=0)
        def steps(state, covers, frozen, rate):
            def step(state, _):
                key = [jnp.uint32(self.options.seed), state.step.astype("uint32")]
                seed = StatelessSeed(jnp.stack(key))
                gradients, (others, terms) = gradient(
                    state.weights, state.others, frozen, covers, seed
                )
                return update(state, gradients, others, rate, jnp), terms

            return jax.lax.scan(step, state, length=self.options.steps_a_call)

        return steps

    def save(self, folder: pathlib.Path, state: State) -> None:
        """Writes the averaged weights as `presets.save_tagger` does."""
        variables = [*self.trained, *self.others]
        values = [*state.average, *state.others]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        save_tagger(folder, self.config, self.encoder, self.decoder)


def describe(terms: list[dict], mixture: Mixture) -> str:
    """The loss, the PSNR and the bits read right, over all and by group."""
    means = {k: np.concatenate([np.asarray(t[k]) for t in terms]) for k in terms[0]}
    bits = np.split(means["bits"].mean(0), mixture.cuts)
    groups = ", ".join(
        f"{group.name} {part.mean():.3f}"
        for group, part in zip(mixture.groups, bits, strict=True)
    )
    psnr = -10 * np.log10(means["image_mse"].mean() + 1e-12)
    return (
        f"message loss {means['message_loss'].mean():.4f}, PSNR {psnr:.1f} dB, "
        f"bits {means['bits'].mean():.4f} ({groups})"
    )


def train(options: XlaOptions, groups: Sequence[Group] = GROUPS) -> int:
    """Trains as the command does; returns the process's exit code.

    Raises:
        ValueError: covers or a warm start that do not fit, or Keras is not on JAX.
    """
    began = time.monotonic()
    config = load_config(options.warm_start)
    if config.strength != "visibility":
        raise ValueError(
            "--warm_start must be a tagger of the strength 'visibility'. "
            f"Received: {options.warm_start!r}, of the strength {config.strength!r}."
        )
    covers = read_covers(options.covers, config.image_size)
    xla.check_backend("trainers.joint_xla")
    import jax

    # Residuals are a level or two: TensorFloat-32 would lose them.
    jax.config.update("jax_default_matmul_precision", "highest")
    xla.make_output(options.output)
    trainer = XlaTrainer(options, groups)
    covers, frozen = jax.device_put(covers), [v.value for v in trainer.frozen]
    state, program = trainer.start(), trainer.compiled()
    logging.info(
        "%d covers, %d a step, on %s; compiling takes minutes.",
        len(covers),
        trainer.mixture.batch,
        jax.devices()[0],
    )

    def advance(share: float) -> dict:
        nonlocal state
        rate = np.float32(options.learning_rate * share)
        state, terms = program(state, covers, frozen, rate)
        return terms

    step = xla.run(
        options,
        began,
        advance,
        lambda terms: describe(terms, trainer.mixture),
        lambda folder: trainer.save(folder, state),
    )
    logging.info("%d steps; the tagger is in %s.", step, options.output)
    return 0


if __name__ == "__main__":
    run_command(XlaOptions(), train)
