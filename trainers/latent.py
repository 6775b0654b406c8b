"""Trains a latent autoencoder, which `regenerate` runs a canvas or a photo through.

    python -m trainers.latent --flagfile=configs/latent_one.cfg --data=photos

Random crops of canvases are restored from their latents, to which noise of a random
deviation is added, by the mean squared error. The models are those that the tagger is
trained and tested against; they depict nobody.
"""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

from faketagger_tf import metrics
from faketagger_tf.data.load import is_tfrecord, load_dataset, load_split
from faketagger_tf.manipulations import StatelessSeed
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.models import (
    LatentConfig,
    build_latent,
    regenerate,
    start_from_patches,
)
from faketagger_tf.models.latent import DOWN
from faketagger_tf.options import Checked, flagfile, nested, option, run_command
from faketagger_tf.presets import LATENT_CONFIG, load_weights, save_latent
from trainers import loop

PATCH_BATCHES = 50  # From which the principal components of patches are taken.


@dataclasses.dataclass(frozen=True)
class LatentOptions(Checked):
    """What the latent trainer can be told; defaults are the first shipped model's."""

    run: loop.LoopOptions = nested(
        loop.LoopOptions(steps=6000, batch_size=16, learning_rate=2e-3)
    )
    model: LatentConfig = nested(LatentConfig())
    image_size: int = option(128, "Side of the canvases in pixels.", low=16)
    canvas_scale: float = option(1.9, "Side of the canvas over the face box's.")
    crop: int = option(
        64, "Side of the crops that are trained on, a multiple of 8.", low=16
    )
    noise: float = option(
        0.1, "Largest deviation of the noise added to the latents.", low=0.0
    )
    validation: str = option(
        "",
        "Folder whose validation split --eval_every measures; by default --data.",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.crop % 8 or self.crop > self.image_size:
            raise ValueError(
                "--crop must be a multiple of 8 and at most --image_size, "
                f"{self.image_size}. Received: {self.crop}."
            )
        if self.run.eval_every and is_tfrecord(self.validation or self.run.data):
            raise ValueError(
                "--eval_every needs photos or drawn faces to measure: give "
                "--validation=folder. Received: TFRecords."
            )


def measure(model: keras.Model, canvases: np.ndarray, noise: float = 0.0) -> float:
    """Mean PSNR in dB of regenerated canvases, as uint8.

    Args:
        model: a latent autoencoder.
        canvases: uint8 `[N, S, S, 3]`, S a multiple of 8.
        noise: as for `models.regenerate`.
    """
    found = []
    for number, part in enumerate(np.array_split(canvases, -(-len(canvases) // 16))):
        images = regenerate(model, part / np.float32(255), noise, StatelessSeed(number))
        images = metrics.to_uint8(keras.ops.convert_to_numpy(images))
        found.append(metrics.psnr(part, images))
    return float(np.mean(np.concatenate(found)))


def _patches(batches: tf.data.Dataset) -> np.ndarray:
    """The patches of some batches: float32 `[N, 8, 8, 3]`."""
    images = [batch["cover"].numpy() for batch in batches.take(PATCH_BATCHES)]
    images = np.concatenate(images)
    side = images.shape[1] // DOWN
    images = images.reshape(-1, side, DOWN, side, DOWN, 3).swapaxes(2, 3)
    return images.reshape(-1, DOWN, DOWN, 3)


class LatentTrainer(loop.SummedSteps):
    """One step restores `batch_size` crops from their latents."""

    def __init__(
        self,
        options: LatentOptions,
        strategy: tf.distribute.Strategy,
        dataset,
        validation: np.ndarray | None = None,
    ):
        self.options, self.latent = options.run, options
        self.strategy, self.dataset, self.validation = strategy, dataset, validation
        with strategy.scope():
            self.model = build_latent(options.model)
            self.optimizer = loop.make_optimizer(self.options)
            self.optimizer.build(self.model.trainable_variables)
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        if self.options.warm_start:
            path = pathlib.Path(self.options.warm_start) / "latent.weights.h5"
            load_weights(self.model, path)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, step=self.step
        )
        if not self.options.warm_start:
            start_from_patches(self.model, _patches(dataset(0)))
        self._forward = loop.maybe_jit(
            self._loss_and_gradients, self.options.jit_compile
        )

    def train_loop_end(self) -> dict[str, float]:
        """Returns the window's mean terms, and the PSNR in dB that they amount to."""
        means = super().train_loop_end()
        return {**means, "psnr": float(-10 * np.log10(max(means["mse"], 1e-10)))}

    def _loss_and_gradients(self, images, step, replica):
        seed = StatelessSeed(tf.stack([step + 1_000_003 * self.options.seed, replica]))
        noise = uniform(seed, [images.shape[0]], 0.0, self.latent.noise)
        with tf.GradientTape() as tape:
            restored = regenerate(self.model, images, noise, seed)
            errors = tf.reduce_mean(tf.square(restored - images), axis=[1, 2, 3])
            loss = tf.nn.compute_average_loss(
                errors, global_batch_size=self.options.batch_size
            )
            scaled = self.optimizer.scale_loss(loss)
        return {"mse": loss}, tape.gradient(scaled, self.model.trainable_variables)

    def _replica_step(self, batch, step):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        terms, gradients = self._forward(
            batch["cover"], step, tf.cast(replica, tf.int64)
        )
        loop.apply_gradients(
            self.optimizer,
            gradients,
            self.model.trainable_variables,
            self.options.clip_norm,
        )
        return terms

    def panel(self) -> tf.Tensor:
        """Returns a picture: each row a crop, itself restored, and so with noise."""
        images = next(iter(self.dataset(0)))["cover"][:4]
        columns = [
            images,
            *(regenerate(self.model, images, n, StatelessSeed(0)) for n in (0.0, 0.1)),
        ]
        grid = tf.concat([tf.cast(x, tf.float32) for x in columns], axis=2)
        return tf.clip_by_value(tf.concat(tf.unstack(grid), axis=0), 0.0, 1.0)

    def validate(self, best: float, folder: pathlib.Path) -> dict[str, float]:
        """Measures whole held-out canvases, without noise and with."""
        found = {
            "score": measure(self.model, self.validation),
            "with noise 0.1": measure(self.model, self.validation, 0.1),
        }
        if found["score"] > best:
            self.save(folder)
        return found

    def save(self, folder: pathlib.Path) -> None:
        """Writes the configuration and weights."""
        save_latent(folder, self.latent.model, self.model)


def train(options: LatentOptions) -> int:
    """Trains a latent autoencoder as the command does; returns the exit code.

    Args:
        options: what the flags say.

    Raises:
        ValueError: an option that does not fit the data, the devices or the folder.
    """
    run = options.run
    strategy = loop.make_strategy(run.replicas, run.strategy)
    run.check_replicas(strategy.num_replicas_in_sync)
    folder, run = loop.open_run(
        run, strategy, options.model.to_json(), LATENT_CONFIG, flagfile(options)
    )
    options = dataclasses.replace(options, run=run)
    dataset = load_dataset(
        run.data,
        split="train",
        # Crops are what the pipeline cuts out of a canvas with a margin.
        image_size=options.crop,
        canvas_scale=options.canvas_scale * options.crop / options.image_size,
        margin=options.image_size / options.crop - 1,
        message_bits=0,
        batch_size=run.batch_size,
        seed=run.seed,
    )
    validation = None
    if run.eval_every:
        validation, _ = load_split(
            options.validation or run.data,
            "validation",
            image_size=options.image_size,
            canvas_scale=options.canvas_scale,
        )
    with loop.in_step(strategy):
        trainer = LatentTrainer(options, strategy, dataset, validation)
        return loop.run(trainer, folder)


if __name__ == "__main__":
    run_command(LatentOptions(), train)
