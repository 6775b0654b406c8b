"""Trains the image encoder and decoder jointly, through the GAN simulator.

    python -m trainers.joint --flagfile=configs/demo.cfg

FakeTagger (arXiv:2009.09869), section 3: cover and message go through the encoder, the
tagged photo through a manipulation, the result through the decoder; the message loss
(weight `--lambda_message`) and the image loss (weight `--alpha_image`) are minimised
together. What differs: every step meets every manipulation, each on its share of the
batch, and with the scheduled strength the PSNR is set rather than learned. The
face-swap models are frozen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from faketagger_tf import joint, losses
from faketagger_tf.config import TaggerConfig
from faketagger_tf.data.load import is_tfrecord, load_dataset, load_split
from faketagger_tf.evaluation import canvases as evaluation
from faketagger_tf.manipulations import Context, StatelessSeed, parse_chains
from faketagger_tf.manipulations.random import uniform
from faketagger_tf.models import build_decoder, build_encoder, encoder_inputs
from faketagger_tf.options import Checked, flagfile, nested, option, run_command
from faketagger_tf.presets import (
    CONFIG,
    load_latents,
    load_swaps,
    load_weights,
    save_tagger,
)
from trainers import loop

CHANCE = 0.6  # Bit accuracy below which the bits have not left chance.
STATISTICS_BATCHES = 4  # From which published batch statistics are estimated.


@dataclasses.dataclass(frozen=True)
class JointOptions(Checked):
    """What the joint trainer can be told; sizes default to the 128-pixel preset's."""

    run: loop.LoopOptions = nested(loop.LoopOptions())
    tagger: TaggerConfig = nested(TaggerConfig(), exclude=("preset",))
    psnr_start: float = option(18.0, "First PSNR in dB of 'scheduled'.")
    level_start: float = option(13.0, "First level in dB of 'visibility'.")
    level_jitter: float = option(
        0.0,
        "Levels are drawn up to this many dB above and below, so that one encoder "
        "serves many strengths; 'visibility' only.",
        low=0.0,
    )
    psnr_ramp: int = option(
        1000,
        "Steps of the linear ramp from --psnr_start to --psnr, or from --level_start "
        "to --level. It begins when the bits are learned (--ramp_accuracy).",
        low=1,
    )
    ramp_accuracy: float = option(
        0.95,
        "Bit accuracy, averaged over the manipulations and some 20 steps, at which the "
        "ramp begins.",
    )
    lambda_message: float = option(1.0, "Weight of the message loss (lambda).")
    alpha_image: float = option(0.0, "Weight of the image loss (alpha).")
    clipping_weight: float = option(1.0, "Weight of the loss on pixels outside [0, 1].")
    ssim_weight: float = option(
        0.0,
        "Weight of the SSIM loss, which moves a residual to where it shows less.",
        low=0.0,
    )
    start_decode: int = option(0, "Steps before the message loss joins.", low=0)
    manipulation: tuple[str, ...] = option(
        ("identity", "jpeg(35..90)"),
        "A chain that every batch meets on its share of the images; repeat the flag "
        "for more, and repeat a chain to enlarge its share. '@low..high' behind it "
        "are the photo pixels per canvas pixel that a 'visibility' encoder is told.",
    )
    cover_manipulation: tuple[str, ...] = option(
        (),
        "A chain that its share of the covers goes through before it is tagged, for "
        "other light, colours and surroundings than the photos'; 'identity' leaves a "
        "share as it is.",
    )
    swap_model: tuple[str, ...] = option(
        (),
        "Face-swap model that 'faceswap(...)' may name: 'folder', whose swaps are "
        "called A>B, or 'name=folder', whose swaps are called name:A>B.",
    )
    latent_model: tuple[str, ...] = option(
        (),
        "Latent model that 'edit(...)' and 'regenerate(...)' may name: a shipped one, "
        "'folder' or 'name=folder'.",
    )
    margin: float = option(
        0.0, "Border around the canvas to shift within, as a fraction."
    )
    ema: float = option(
        0.0,
        "Momentum of the moving average of the weights that is saved; 0 for none.",
        low=0.0,
        high=0.99999,
    )
    bootstrap_steps: int = option(
        400, "Steps (after --start_decode) by which the bits must have left chance."
    )
    eval_manipulation: tuple[str, ...] = option(
        (
            "identity",
            "jpeg(50)",
            "jpeg(30)",
            "webp(50)",
            "resize(0.5)",
            "affine(5,0.05,4)",
            "facepaste(large)|jpeg(75)",
            "facecrop(0.625)",
        ),
        "A chain, with real codecs, that --eval_every reads the validation split "
        "after; repeat the flag for more.",
    )
    eval_photos: int = option(128, "Validation photos at most; 0 for all.", low=0)

    def __post_init__(self):
        super().__post_init__()
        if self.tagger.strength == "scheduled" and self.psnr_start > self.tagger.psnr:
            raise ValueError(
                "--psnr_start must not exceed --psnr, because the ramp weakens the "
                f"residual. Received: {self.psnr_start} and {self.tagger.psnr}."
            )
        if (
            self.tagger.strength == "visibility"
            and self.level_start > self.tagger.level
        ):
            raise ValueError(
                "--level_start must not exceed --level, because the ramp weakens the "
                f"residual. Received: {self.level_start} and {self.tagger.level}."
            )
        if self.run.eval_every and is_tfrecord(self.run.data):
            raise ValueError(
                "--eval_every needs a validation split: --data=drawn or a folder of "
                f"photos. Received: --data={self.run.data}."
            )


class JointTrainer:
    """One step tags `batch_size` covers, manipulates them, and reads them back.

    Args:
        options: see `JointOptions`.
        strategy: see `loop.make_strategy`.
        dataset: (step, shard_count, shard_index) -> the endless dataset of covers and
            messages from there on, or a worker's part of it; see `load_dataset`.
        validation: covers uint8 `[N, S, S, 3]` of other people, and their identities;
            None where `eval_every` is 0.
    """

    def __init__(
        self,
        options: JointOptions,
        strategy: tf.distribute.Strategy,
        dataset,
        validation: tuple[np.ndarray, Sequence[str]] | None = None,
    ):
        self.joint_options, self.options = options, options.run
        self.strategy, self.config = strategy, options.tagger
        self.shares = [joint.parse_share(spec) for spec in options.manipulation]
        self.chains = [share.chain for share in self.shares]
        self.cover_chains = parse_chains(options.cover_manipulation)
        self.eval_chains = parse_chains(options.eval_manipulation)
        self.dataset, self.validation = dataset, validation
        jit = self.options.jit_compile
        per_replica = self.options.batch_size // strategy.num_replicas_in_sync
        most = max(len(self.chains), len(self.cover_chains))
        if per_replica < most:
            raise ValueError(
                "--batch_size must give every manipulation an image on every replica. "
                f"Received: {per_replica} images a replica for {most} manipulations."
            )
        with strategy.scope():
            # XLA compiles no exchange between replicas; with --jit_compile there is
            # one replica alone.
            self.encoder = build_encoder(self.config, synchronized=not jit)
            self.decoder = build_decoder(self.config, synchronized=not jit)
            self.context = Context(
                swaps=load_swaps(list(options.swap_model)),
                latents=load_latents(list(options.latent_model)),
                face_region=self.config.face_region,
                real_codecs=not jit,
            )
            self.variables = (
                self.encoder.trainable_variables + self.decoder.trainable_variables
            )
            self.optimizer = loop.make_optimizer(self.options, ema=options.ema)
            self.optimizer.build(self.variables)
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
            # Step at which the PSNR ramp began, -1 before, and the running accuracy
            # that starts it: part of the state that a resumed run needs.
            self.ramp_start = tf.Variable(-1, dtype=tf.int64, trainable=False)
            self.accuracy = tf.Variable(0.5, dtype=tf.float64, trainable=False)
        if self.options.warm_start:
            warm = pathlib.Path(self.options.warm_start)
            load_weights(self.encoder, warm / "encoder.weights.h5")
            load_weights(self.decoder, warm / "decoder.weights.h5")
        self.checkpoint = tf.train.Checkpoint(
            encoder=self.encoder,
            decoder=self.decoder,
            optimizer=self.optimizer,
            step=self.step,
            ramp_start=self.ramp_start,
            accuracy=self.accuracy,
        )
        self._forward = loop.maybe_jit(self._loss_and_gradients, jit)
        self._warned = False

    def train_loop_begin(self) -> None:
        """Starts a window of metrics."""
        self._window: list[dict] = []

    def train_step(self, iterator) -> dict:
        """Runs one step on all replicas and returns its terms."""
        step = int(self.step.numpy())
        begun = step >= self.joint_options.start_decode
        terms = self._distributed_step(
            next(iterator),
            tf.constant(step, tf.int64),
            tf.constant(self.scheduled_strength(step), tf.float32),
            tf.constant(self.joint_options.lambda_message * begun, tf.float32),
        )
        terms = {name: float(value) for name, value in terms.items()}
        bits = [terms[f"bits {chain}"] for chain in self.chains]
        self._follow_accuracy(step, sum(bits) / len(bits))
        self._window.append(terms)
        return terms

    def train_loop_end(self) -> dict[str, float]:
        """Returns the window's mean terms, and reports a failed bootstrap."""
        metrics = loop.window_means(self._window)
        metrics["psnr"] = -10.0 * math.log10(metrics.pop("image_mse") + 1e-12)
        step = int(self.step.numpy())
        options = self.joint_options
        late = step >= options.start_decode + options.bootstrap_steps
        if late and not self._warned and float(self.accuracy.numpy()) < CHANCE:
            self._warned = True
            logging.error(
                "Failed bootstrap: after %d steps the message loss is %.3f (chance is "
                "0.693) and the bits are at %.3f. Try another --seed, a lower "
                "--psnr_start, fewer --manipulation chains at first, or a shorter "
                "--message_bits.",
                step,
                metrics["message_loss"],
                float(self.accuracy.numpy()),
            )
        return metrics

    def scheduled_strength(self, step: int) -> float:
        """Returns the strength in dB at a step: held until learned, then ramped.

        An encoder with a learned strength takes none and ignores it.
        """
        first, last = self.joint_options.psnr_start, self.final_strength()
        if self.config.strength == "visibility":
            first = self.joint_options.level_start
        begun = int(self.ramp_start.numpy())
        if begun < 0:
            return first
        return first + min((step - begun) / self.joint_options.psnr_ramp, 1.0) * (
            last - first
        )

    def final_strength(self) -> float:
        """Returns the strength in dB that the configuration states."""
        return getattr(self.config, self.config.strength_input or "psnr")

    def _follow_accuracy(self, step: int, accuracy: float) -> None:
        self.accuracy.assign(0.9 * self.accuracy + 0.1 * accuracy)
        threshold = self.joint_options.ramp_accuracy
        if self.ramp_start.numpy() < 0 and self.accuracy.numpy() >= threshold:
            self.ramp_start.assign(step + 1)
            if self.config.strength != "learned":
                logging.info("Bits learned at step %d; the ramp begins.", step + 1)

    @tf.function
    def _distributed_step(self, batch, step, strength, weight):
        return loop.run_and_sum(
            self.strategy, self._replica_step, batch, step, strength, weight
        )

    def _replica_step(self, batch, step, strength, weight):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = [step + 1_000_003 * self.options.seed, tf.cast(replica, tf.int64)]
        terms, gradients = self._forward(
            batch["cover"], batch["message"], tf.stack(seed), strength, weight
        )
        loop.apply_gradients(
            self.optimizer, gradients, self.variables, self.options.clip_norm
        )
        return terms

    def residual(self, cover, message, strength, training: bool, scale=1.0):
        """Runs the encoder; strength and scale as in `models.encoder_inputs`."""
        inputs = encoder_inputs(self.config, cover, message, strength, scale)
        return self.encoder(inputs, training=training)

    def forward(self, cover, message, seed, strength, weight=1.0) -> dict:
        """Runs a training step's forward pass; see `joint.forward`."""
        stream, options = StatelessSeed(seed), self.joint_options
        cover = joint.vary_covers(
            self.cover_chains, cover, stream, self.context, seed[0]
        )
        scale = 1.0
        if self.config.strength == "visibility":
            batch, jitter = cover.shape[0], options.level_jitter
            scale = joint.draw_scales(self.shares, batch, stream)
            strength = strength + uniform(stream, [batch], -jitter, jitter)
        return joint.forward(
            lambda cover, message: self.residual(cover, message, strength, True, scale),
            lambda images: self.decoder(images, training=True),
            cover,
            message,
            stream,
            self.chains,
            self.context,
            losses.Weights(
                weight,
                options.alpha_image,
                options.clipping_weight,
                options.ssim_weight,
            ),
        )

    def _loss_and_gradients(self, cover, message, seed, strength, weight):
        with tf.GradientTape() as tape:
            terms = self.forward(cover, message, seed, strength, weight)
            bits = terms.pop("bits")
            terms = {
                name: tf.nn.compute_average_loss(
                    values, global_batch_size=self.options.batch_size
                )
                for name, values in terms.items()
            }
            scaled = self.optimizer.scale_loss(terms["loss"])
        gradients = tape.gradient(
            scaled, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        replicas = self.strategy.num_replicas_in_sync
        parts = joint.split_batch(bits, len(self.chains))
        for chain, part in zip(self.chains, parts, strict=True):
            # A chain that is named twice is reported by its last share.
            terms[f"bits {chain}"] = tf.reduce_mean(part) / replicas
        return terms, gradients

    def panel(self) -> tf.Tensor:
        """Returns a picture: cover | tagged | residual x10 | each manipulation."""
        batch = next(iter(self.dataset(0)))
        cover, message = batch["cover"][:4], batch["message"][:4]
        strength = self.scheduled_strength(int(self.step.numpy()))
        residual = self.residual(cover, message, strength, training=False)
        tagged = cover + residual
        columns = [cover, tagged, 0.5 + 10.0 * residual]
        columns += [
            c.apply(tagged, StatelessSeed(0), self.context) for c in self.chains
        ]
        grid = tf.concat([tf.cast(c, tf.float32) for c in columns], axis=2)
        return tf.concat(tf.unstack(tf.clip_by_value(grid, 0.0, 1.0)), axis=0)

    @contextlib.contextmanager
    def published(self) -> Iterator[None]:
        """Holds the weights that are saved: averaged, with statistics of their own.

        The moving average of the weights takes the raw weights' place, if there is
        one, and the batch statistics are estimated anew at full strength. Afterwards
        everything is as it was.
        """
        weights = self.encoder.weights + self.decoder.weights
        raw = [variable.numpy() for variable in weights]
        if self.joint_options.ema:
            inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
            inner.finalize_variable_values(self.variables)
        try:
            # Within the scope, so that mirrored statistics change on every replica.
            with self.strategy.scope():
                joint.reestimate_statistics(
                    [self.encoder, self.decoder],
                    lambda batch: self.forward(
                        batch["cover"],
                        batch["message"],
                        np.array([0, 0], np.int64),
                        self.final_strength(),
                    ),
                    self.dataset(0).take(STATISTICS_BATCHES),
                )
            yield
        finally:
            for variable, value in zip(weights, raw, strict=True):
                variable.assign(value)

    def validate(self, best: float, folder: pathlib.Path) -> dict[str, float]:
        """Reads the validation photos through real codecs at full strength.

        Returns:
            "score": bit accuracy, the mean over the chains; "psnr", "ssim"; and the
            bit accuracy after each chain.
        """
        covers, identities = self.validation
        with self.published():
            report, _ = evaluation.evaluate(
                self.config,
                self.encoder,
                {"keras": evaluation.keras_decode(self.decoder)},
                covers,
                self.eval_chains,
                dataclasses.replace(self.context, donors=None),
                identities=identities,
                samples=0,
            )
            rows = report["manipulations"]
            bits = {spec: row["bit_accuracy"] for spec, row in rows.items()}
            score = sum(bits.values()) / len(bits)
            if score > best:
                save_tagger(folder, self.config, self.encoder, self.decoder)
        return {"score": score, "psnr": report["psnr"], "ssim": report["ssim"], **bits}

    def save(self, folder: pathlib.Path) -> None:
        """Writes configuration and weights (their moving average, if there is one)."""
        averaged = self.joint_options.ema > 0
        with self.published() if averaged else contextlib.nullcontext():
            save_tagger(folder, self.config, self.encoder, self.decoder)


def train(options: JointOptions) -> int:
    """Trains a tagger as the command does; returns the process's exit code.

    Args:
        options: what the flags say.

    Raises:
        ValueError: an option that does not fit the data, the devices or the folder.
    """
    run, config = options.run, options.tagger
    strategy = loop.make_strategy(run.replicas, run.strategy)
    run.check_replicas(strategy.num_replicas_in_sync)
    parse_chains(options.cover_manipulation)
    for spec in options.manipulation:
        joint.parse_share(spec)
    folder, run = loop.open_run(
        run, strategy, config.to_json(), CONFIG, flagfile(options)
    )
    options = dataclasses.replace(options, run=run)
    geometry = {
        "image_size": config.image_size,
        "canvas_scale": config.canvas_scale,
        "outside": config.outside,
    }
    dataset = load_dataset(
        run.data,
        split="train",
        margin=options.margin,
        message_bits=config.message_bits,
        batch_size=run.batch_size,
        seed=run.seed,
        **geometry,
    )
    validation = None
    if run.eval_every:
        covers, identities = load_split(run.data, "validation", **geometry)
        kept = slice(options.eval_photos or None)
        validation = covers[kept], identities[kept]
    with loop.in_step(strategy):
        trainer = JointTrainer(options, strategy, dataset, validation)
        return loop.run(trainer, folder)


if __name__ == "__main__":
    run_command(JointOptions(), train)
