"""Trains a face-swap autoencoder, the GAN simulator of FakeTagger (arXiv:2009.09869).

    python -m trainers.faceswap --flagfile=configs/demo_faceswap.cfg

Each identity's faces are warped at random and restored by that identity's decoder; the
encoder is shared (the classic "deepfakes" recipe). With `--groups`, people are gathered
into composite identities, so that no decoder depicts a real person. With
`--adversarial`, a judge of patches that is trained beside it makes faces sharp.
"""

from __future__ import annotations

import dataclasses
import pathlib

import tensorflow as tf

from faketagger_tf import losses
from faketagger_tf.data import paired_faces_dataset
from faketagger_tf.data.load import load_identities
from faketagger_tf.manipulations import StatelessSeed, random_warp
from faketagger_tf.models import (
    FaceswapConfig,
    build_discriminator,
    build_faceswap,
    judged_as,
    render,
)
from faketagger_tf.options import Checked, flagfile, nested, option, run_command
from faketagger_tf.presets import FACESWAP_CONFIG, load_weights, save_faceswap
from trainers import loop


@dataclasses.dataclass(frozen=True)
class FaceswapOptions(Checked):
    """What the face-swap trainer can be told; defaults are the classic model's."""

    run: loop.LoopOptions = nested(
        loop.LoopOptions(steps=1500, batch_size=32, learning_rate=5e-4),
        exclude=("eval_every",),  # Composite identities have no held-out people.
    )
    model: FaceswapConfig = nested(FaceswapConfig(), exclude=("identities",))
    groups: int = option(
        0,
        "Gather people into this many composite identities; 0 takes the data's own.",
        low=0,
    )
    people_per_group: int = option(0, "People in a group; 0 divides all.", low=0)
    group_seed: int = option(0, "Seed of the grouping of people.")
    warp: float = option(
        0.05, "Random warp of the inputs, as a fraction of the face crop.", low=0.0
    )
    adversarial: float = option(
        0.0,
        "Weight of looking like photos to a judge of patches, beside the mean absolute "
        "error; about 0.02 makes faces sharp. 0 trains without a judge.",
        low=0.0,
    )
    judge_width: int = option(32, "Channels of the judge's first layer.", low=4)
    judge_learning_rate: float = option(
        2e-4, "The judge's peak learning rate; it decays as the model's.", low=0.0
    )


class FaceswapTrainer(loop.SummedSteps):
    """One step restores `batch_size` faces of every identity."""

    def __init__(
        self,
        options: FaceswapOptions,
        strategy: tf.distribute.Strategy,
        config: FaceswapConfig,
        faces: dict,
    ):
        self.options, self.swap = options.run, options
        self.strategy, self.config, self.faces = strategy, config, faces
        self.judge, judging = None, {}
        with strategy.scope():
            self.model = build_faceswap(config)
            self.optimizer = loop.make_optimizer(self.options)
            self.optimizer.build(self.model.trainable_variables)
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
            if options.adversarial:
                self.judge = build_discriminator(
                    config.face_size, len(config.identities), options.judge_width
                )
                self.judge_optimizer = loop.make_optimizer(
                    dataclasses.replace(
                        self.options, learning_rate=options.judge_learning_rate
                    )
                )
                self.judge_optimizer.build(self.judge.trainable_variables)
                judging = {
                    "judge": self.judge,
                    "judge_optimizer": self.judge_optimizer,
                }
        if self.options.warm_start:
            path = pathlib.Path(self.options.warm_start) / "faceswap.weights.h5"
            load_weights(self.model, path)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, step=self.step, **judging
        )
        self._forward = loop.maybe_jit(
            self._loss_and_gradients, self.options.jit_compile
        )

    def dataset(
        self, start_step: int, shard_count: int = 1, shard_index: int = 0
    ) -> tf.data.Dataset:
        """Returns faces `[batch, F, F, 3]` by identity, or a worker's part of them."""
        return paired_faces_dataset(
            self.faces,
            face_region=self.config.face_region,
            face_size=self.config.face_size,
            batch_size=self.options.batch_size // shard_count,
            seed=self.options.seed,
            skip_batches=start_step,
            shard_count=shard_count,
            shard_index=shard_index,
        )

    def _mean(self, per_image):
        """What a replica adds to the mean over the global batch."""
        return tf.nn.compute_average_loss(
            per_image, global_batch_size=self.options.batch_size
        )

    def _loss_and_gradients(self, batch, step, replica):
        seed = StatelessSeed(tf.stack([step + 1_000_003 * self.options.seed, replica]))
        identities = self.config.identities
        terms, restored = {}, {}
        with tf.GradientTape() as tape:
            for identity in identities:
                warped = random_warp(batch[identity], seed, self.swap.warp)
                restored[identity] = render(self.model, identity, warped, training=True)
                per_image = losses.face_loss(batch[identity], restored[identity])
                terms[f"loss_{identity}"] = self._mean(per_image)
            loss = tf.add_n(list(terms.values()))
            if self.judge is not None:
                terms["fooled"] = self._judged(restored, True)
                loss += self.swap.adversarial * terms["fooled"]
            loss = self.optimizer.scale_loss(loss)
        gradients = [tape.gradient(loss, self.model.trainable_variables)]
        if self.judge is not None:
            with tf.GradientTape() as tape:
                terms["judge"] = self._judged(batch, True) + self._judged(
                    restored, False
                )
                loss = self.judge_optimizer.scale_loss(terms["judge"])
            gradients.append(tape.gradient(loss, self.judge.trainable_variables))
        return terms, gradients

    def _judged(self, faces: dict, real: bool):
        """How far the judge is from calling every identity's faces `real`.

        Swapped faces are not judged: nothing else tells them what to look like, and
        what fools the judge there is not a face.
        """
        judged = [
            judged_as(self.judge(faces[identity], training=True), number, real)
            for number, identity in enumerate(self.config.identities)
        ]
        return self._mean(tf.add_n(judged) / len(judged))

    def _replica_step(self, batch, step):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        terms, gradients = self._forward(batch, step, tf.cast(replica, tf.int64))
        clip = self.options.clip_norm
        model = self.model.trainable_variables
        loop.apply_gradients(self.optimizer, gradients[0], model, clip)
        if self.judge is not None:
            judge = self.judge.trainable_variables
            loop.apply_gradients(self.judge_optimizer, gradients[1], judge, clip)
        return terms

    def panel(self) -> tf.Tensor:
        """Returns a picture: each row a face, itself restored, and every swap."""
        rows = []
        batch = next(iter(self.dataset(0)))
        for identity in self.config.identities:
            faces = batch[identity][:4]
            outputs = self.model(faces, training=False)
            row = [faces] + [outputs[name] for name in self.config.identities]
            rows.append(tf.concat([tf.cast(x, tf.float32) for x in row], axis=2))
        grid = tf.concat(rows, axis=0)
        picture = tf.concat(tf.unstack(grid), axis=0)
        return tf.clip_by_value(picture, 0.0, 1.0)

    def save(self, folder: pathlib.Path) -> None:
        """Writes the configuration and weights."""
        save_faceswap(folder, self.config, self.model)


def _check_judge(options: FaceswapOptions) -> None:
    """Refuses to resume a run with a judge without it, or the other way round."""
    path = pathlib.Path(options.run.output) / "flags.cfg"
    if not path.is_file():
        return
    kept = dict(line[2:].partition("=")[::2] for line in path.read_text().split())
    was = float(kept.get("adversarial", 0)) > 0
    if was != (options.adversarial > 0):
        received = f"{options.adversarial:g} after {kept.get('adversarial', 0)}"
    elif was and kept.get("judge_width") != str(options.judge_width):
        received = f"--judge_width={options.judge_width} after {kept['judge_width']}"
    else:
        return
    raise ValueError(
        "A run is resumed with the judge that it was begun with. Received: "
        f"{received}. Accepted: the same flags, or another --output with "
        f"--warm_start={options.run.output}."
    )


def train(options: FaceswapOptions) -> int:
    """Trains a face-swap model as the command does; returns the exit code.

    Args:
        options: what the flags say; the identities are those of the data.

    Raises:
        ValueError: an option that does not fit the data, the devices or the folder.
    """
    run, model = options.run, options.model
    strategy = loop.make_strategy(run.replicas, run.strategy)
    run.check_replicas(strategy.num_replicas_in_sync)
    faces = load_identities(
        run.data,
        split="train",
        # A little more than the crop itself, to shift and zoom within.
        image_size=round(model.face_size / model.face_region),
        canvas_scale=model.canvas_scale,
        groups=options.groups,
        people_per_group=options.people_per_group,
        group_seed=options.group_seed,
    )
    config = dataclasses.replace(model, identities=tuple(faces))
    _check_judge(options)
    folder, run = loop.open_run(
        run, strategy, config.to_json(), FACESWAP_CONFIG, flagfile(options)
    )
    options = dataclasses.replace(options, run=run)
    with loop.in_step(strategy):
        return loop.run(FaceswapTrainer(options, strategy, config, faces), folder)


if __name__ == "__main__":
    run_command(FaceswapOptions(), train)
