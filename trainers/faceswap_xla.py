"""Trains a face-swap autoencoder on one GPU, as one program of XLA.

    python -m faketagger_tf.data.covers --data=photos --groups=2 --image_size=143 \
        --output=faces.npz
    python -m trainers.faceswap_xla --faces=faces.npz --face_size=96 \
        --face_region=0.67 --width=32 --latent=512 --skips --adversarial=0.02 \
        --minutes=5 --output=runs/swap

The networks, the loss and the judge are those of `trainers.faceswap`, the reference,
which trains on any hardware and resumes. This one exists for its speed, as
`trainers.joint_xla` does, and as that one it ends by the clock: ten steps with crops,
warps, gradients and Adam are one program. What is saved is the moving average of the
weights, at the end and after each third of the run. It needs no TensorFlow.

It has run on CPUs alone; a GPU's first minute should check the time that it compiles.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time

from trainers import xla

if __name__ == "__main__":
    xla.use_jax("trainers.faceswap_xla")  # Before Keras is imported.

import keras
import numpy as np
from absl import logging
from keras import ops

from faketagger_tf import losses
from faketagger_tf.data.covers import read_faces
from faketagger_tf.manipulations import StatelessSeed, random_warp
from faketagger_tf.manipulations.geometry import separable
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.models import (
    FaceswapConfig,
    build_discriminator,
    build_faceswap,
    judged_as,
    render,
)
from faketagger_tf.options import nested, option, run_command
from faketagger_tf.presets import load_faceswap, save_faceswap
from trainers.xla import State, update


@dataclasses.dataclass(frozen=True)
class XlaOptions(xla.RunOptions):
    """What the trainer can be told; the model's defaults are the classic one's."""

    faces: str = option(
        "",
        "File of canvases by identity, .npz, as faketagger_tf.data.covers --groups "
        "writes it.",
        required=True,
    )
    model: FaceswapConfig = nested(FaceswapConfig(), exclude=("identities",))
    warm_start: str = option(
        "", "Swap model, or its folder, of the same sizes that the weights start from."
    )
    batch_size: int = option(64, "Faces of each identity a step.", low=1)
    minutes: float = option(5.0, "Length of the run, compiling included.", low=0.01)
    warmup_steps: int = option(100, "Steps of linear warm-up.", low=1)
    learning_rate: float = option(5e-4, "Adam's peak learning rate.", low=0.0)
    warp: float = option(
        0.05, "Random warp of the inputs, as a fraction of the face crop.", low=0.0
    )
    adversarial: float = option(
        0.0, "Weight of looking like photos to a judge of patches.", low=0.0
    )
    judge_width: int = option(32, "Channels of the judge's first layer.", low=4)
    judge_learning_rate: float = option(2e-4, "The judge's peak rate.", low=0.0)


def crop_faces(canvases, seed, batch: int, config: FaceswapConfig):
    """Draws faces as `data.pipeline.paired_faces_dataset` does.

    Args:
        canvases: uint8 `[N, S, S, 3]` of one identity.
        seed: StatelessSeed.
        batch: number of faces.
        config: their size and region.

    Returns:
        float32 `[batch, F, F, 3]` in [0, 1]: the middle, with a random zoom and shift
        of up to 5% and left-right flip.
    """
    count, side = canvases.shape[0], canvases.shape[1]
    chosen = ops.cast(uniform(seed, [batch], 0.0, float(count)), "int32")
    chosen = ops.minimum(chosen, count - 1)
    images = ops.cast(ops.take(canvases, chosen, axis=0), "float32") / 255.0
    region = config.face_region * side
    length = region * uniform(seed, [batch], 0.95, 1.05)
    down, right = (uniform(seed, [batch], -0.05, 0.05) * region for _ in range(2))
    flipped = uniform(seed, [batch], 0.0, 1.0) < 0.5

    def resampling(shift, flip):
        """Bilinear, float32 [batch, F, S]."""
        place = (np.arange(config.face_size, dtype=np.float32) + 0.5) / config.face_size
        place = ops.where(flip[:, None], 1.0 - place, place)
        start = ((side - length) / 2 + shift)[:, None]
        place = ops.clip(start + place * length[:, None] - 0.5, 0.0, side - 1.0)
        away = ops.abs(place[..., None] - np.arange(side, dtype=np.float32))
        return ops.maximum(1.0 - away, 0.0)

    return separable(
        images,
        resampling(down, ops.zeros_like(flipped)),
        resampling(right, flipped),
    )


class XlaTrainer:
    """The networks, and the compiled program that trains them.

    Args:
        options: see `XlaOptions`.
        identities: names, in the order of the file of faces.
    """

    def __init__(self, options: XlaOptions, identities: tuple[str, ...]):
        self.options = options
        keras.utils.set_random_seed(options.seed)
        keras.config.set_dtype_policy(options.precision)
        self.config = dataclasses.replace(options.model, identities=identities)
        if options.warm_start:
            config, self.model = load_faceswap(options.warm_start)
            if config != self.config:
                raise ValueError(
                    "--warm_start must be a swap model of the same sizes and "
                    f"identities. Received: {config}. Accepted: {self.config}."
                )
        else:
            self.model = build_faceswap(self.config)
        self.judge = build_discriminator(
            self.config.face_size, len(identities), options.judge_width
        )
        self.variables = self.model.trainable_variables
        self.judging = self.judge.trainable_variables

    def start(self) -> tuple[State, State]:
        """Returns the states, the model's and the judge's, before the first step."""
        return xla.start(self.variables), xla.start(self.judging)

    def _scope(self, weights, judging):
        pairs = zip([*self.variables, *self.judging], [*weights, *judging], strict=True)
        return keras.StatelessScope(state_mapping=list(pairs))

    def forward(self, weights, judging, faces, warped):
        """Returns the model's loss, and (its terms, what it restored)."""
        terms, restored = {}, {}
        with self._scope(weights, judging):
            for name in self.config.identities:
                restored[name] = render(self.model, name, warped[name], training=True)
                loss = losses.face_loss(faces[name], restored[name])
                terms[f"loss_{name}"] = ops.mean(loss)
            loss = sum(terms.values())
            if self.options.adversarial:
                terms["fooled"] = self._judged(restored, True)
                loss += self.options.adversarial * terms["fooled"]
        return loss, (terms, restored)

    def judge_faces(self, judging, weights, faces, restored):
        """Returns the judge's loss."""
        with self._scope(weights, judging):
            return self._judged(faces, True) + self._judged(restored, False)

    def _judged(self, faces: dict, real: bool):
        judged = [
            ops.mean(judged_as(self.judge(faces[name], training=True), number, real))
            for number, name in enumerate(self.config.identities)
        ]
        return sum(judged) / len(judged)

    def compiled(self):
        """Returns (states, canvases, rates) -> (states, terms by step), compiled."""
        import jax
        import jax.numpy as jnp

        options = self.options
        gradient = jax.grad(self.forward, has_aux=True)
        judging_gradient = jax.value_and_grad(self.judge_faces)

        @functools.partial(jax.jit, donate_argnums=0)
        def steps(states, canvases, rates):
            def step(states, _):
                model, judge = states
                key = [jnp.uint32(options.seed), model.step.astype("uint32")]
                seed = StatelessSeed(jnp.stack(key))
                faces, warped = {}, {}
                for name in self.config.identities:
                    faces[name] = crop_faces(
                        canvases[name], seed, options.batch_size, self.config
                    )
                    warped[name] = random_warp(faces[name], seed, options.warp)
                gradients, (terms, restored) = gradient(
                    model.weights, judge.weights, faces, warped
                )
                now = update(model, gradients, [], rates[0], jnp)
                if options.adversarial:
                    terms["judge"], gradients = judging_gradient(
                        judge.weights, model.weights, faces, restored
                    )
                    judge = update(judge, gradients, [], rates[1], jnp)
                return (now, judge), terms

            return jax.lax.scan(step, states, length=options.steps_a_call)

        return steps

    def save(self, folder: pathlib.Path, state: State) -> None:
        """Writes the averaged weights as `presets.save_faceswap` does."""
        for variable, value in zip(self.variables, state.average, strict=True):
            variable.assign(value)
        save_faceswap(folder, self.config, self.model)


def describe(terms: list[dict]) -> str:
    """The mean of each term."""
    means = {
        name: np.mean([np.mean(each[name]) for each in terms]) for name in terms[0]
    }
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def train(options: XlaOptions) -> int:
    """Trains as the command does; returns the process's exit code.

    Raises:
        ValueError: faces or a warm start that do not fit, or Keras is not on JAX.
    """
    began = time.monotonic()
    model = options.model
    side = round(model.face_size / model.face_region)
    faces = read_faces(options.faces, side, model.canvas_scale)
    xla.check_backend("trainers.faceswap_xla")
    import jax

    xla.make_output(options.output)
    trainer = XlaTrainer(options, tuple(faces))
    states, program = trainer.start(), trainer.compiled()
    faces = jax.device_put(faces)
    logging.info(
        "%s faces on %s; compiling takes a minute.",
        " and ".join(f"{len(part)} {name}" for name, part in faces.items()),
        jax.devices()[0],
    )

    def advance(share: float) -> dict:
        nonlocal states
        rates = options.learning_rate * share, options.judge_learning_rate * share
        states, terms = program(states, faces, np.float32(rates))
        return terms

    step = xla.run(
        options,
        began,
        advance,
        describe,
        lambda folder: trainer.save(folder, states[0]),
    )
    logging.info("%d steps; the swap model is in %s.", step, options.output)
    return 0


if __name__ == "__main__":
    run_command(XlaOptions(), train)
