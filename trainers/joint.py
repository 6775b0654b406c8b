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

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf
from absl import flags, logging

from faketagger_tf import losses
from faketagger_tf.command import require_flag, run_main
from faketagger_tf.config import STRENGTHS, TaggerConfig
from faketagger_tf.data.load import load_dataset
from faketagger_tf.manipulations import Chain, Context, StatelessSeed, parse_chains
from faketagger_tf.models import build_decoder, build_encoder
from faketagger_tf.presets import CONFIG, load_swaps, load_weights, save_tagger
from trainers import loop

FLAGS = flags.FLAGS

CHANCE = 0.6  # Bit accuracy below which the bits have not left chance.


def define_flags() -> None:
    """Defines the command's flags; sizes default to the 128-pixel preset's."""
    loop.define_flags(steps=2000, batch_size=48, learning_rate=1e-3)
    flags.adopt_module_key_flags(loop)  # So that --help lists them.
    defaults = TaggerConfig()
    flags.DEFINE_integer("image_size", defaults.image_size, "Canvas side in pixels.")
    flags.DEFINE_float(
        "canvas_scale", defaults.canvas_scale, "Canvas side over face box side."
    )
    flags.DEFINE_float(
        "face_region", defaults.face_region, "Swapped square over canvas side."
    )
    flags.DEFINE_integer("message_bits", defaults.message_bits, "Code word length.")
    flags.DEFINE_integer("payload_bits", defaults.payload_bits, "Payload length.")
    flags.DEFINE_integer("crc_bits", defaults.crc_bits, "Checksum length.")
    flags.DEFINE_integer("encoder_width", defaults.encoder_width, "Encoder channels.")
    flags.DEFINE_integer("decoder_width", defaults.decoder_width, "Decoder channels.")
    flags.DEFINE_float(
        "texture_mask", defaults.texture_mask, "Texture masking, from 0 to 1."
    )
    flags.DEFINE_enum(
        "strength",
        defaults.strength,
        STRENGTHS,
        "'scheduled' sets the PSNR; 'learned' lets lambda and alpha decide it.",
    )
    flags.DEFINE_float("psnr", defaults.psnr, "Final PSNR in dB of 'scheduled'.")
    flags.DEFINE_float("psnr_start", 18.0, "First PSNR in dB of 'scheduled'.")
    flags.DEFINE_integer(
        "psnr_ramp",
        1000,
        "Steps of the linear ramp from --psnr_start to --psnr. It begins when the bits "
        "are learned (--ramp_accuracy).",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "ramp_accuracy",
        0.95,
        "Bit accuracy, averaged over the manipulations and some 20 steps, at which the "
        "PSNR ramp begins.",
    )
    flags.DEFINE_float("lambda_message", 1.0, "Weight of the message loss (lambda).")
    flags.DEFINE_float("alpha_image", 0.0, "Weight of the image loss (alpha).")
    flags.DEFINE_float(
        "clipping_weight", 1.0, "Weight of the loss on pixels outside [0, 1]."
    )
    flags.DEFINE_float(
        "ssim_weight",
        0.0,
        "Weight of the SSIM loss, which moves a residual to where it shows less.",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "start_decode", 0, "Steps before the message loss joins.", lower_bound=0
    )
    flags.DEFINE_multi_string(
        "manipulation",
        ["identity", "jpeg(35..90)"],
        "A chain that every batch meets on its share of the images; repeat the flag "
        "for more, and repeat a chain to enlarge its share.",
    )
    flags.DEFINE_multi_string(
        "cover_manipulation",
        [],
        "A chain that its share of the covers goes through before it is tagged, for "
        "other light, colours and surroundings than the photos'; 'identity' leaves a "
        "share as it is.",
    )
    flags.DEFINE_multi_string(
        "swap_model",
        [],
        "Face-swap model that 'faceswap(...)' may name: 'folder', whose swaps are "
        "called A>B, or 'name=folder', whose swaps are called name:A>B.",
    )
    flags.DEFINE_float(
        "margin", 0.0, "Border around the canvas to shift within, as a fraction."
    )
    flags.DEFINE_float(
        "ema",
        0.0,
        "Momentum of the moving average of the weights that is saved; 0 for none.",
        lower_bound=0.0,
        upper_bound=0.99999,
    )
    flags.DEFINE_integer(
        "bootstrap_steps",
        400,
        "Steps (after --start_decode) by which the bits must have left chance.",
    )


def config_from_flags() -> TaggerConfig:
    """Builds the tagger's configuration from the flags."""
    return TaggerConfig(
        image_size=FLAGS.image_size,
        canvas_scale=FLAGS.canvas_scale,
        face_region=FLAGS.face_region,
        message_bits=FLAGS.message_bits,
        payload_bits=FLAGS.payload_bits,
        crc_bits=FLAGS.crc_bits,
        encoder_width=FLAGS.encoder_width,
        decoder_width=FLAGS.decoder_width,
        texture_mask=FLAGS.texture_mask,
        strength=FLAGS.strength,
        psnr=FLAGS.psnr,
    )


def split_sizes(batch: int, groups: int) -> list[int]:
    """Shares a batch out among manipulations as evenly as whole images allow."""
    edges = [batch * i // groups for i in range(groups + 1)]
    return [b - a for a, b in itertools.pairwise(edges)]


class JointTrainer:
    """One step tags `batch_size` covers, manipulates them, and reads them back."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        config: TaggerConfig,
        chains: list[Chain],
        swap_models: list[str],
        dataset,
        cover_chains: Sequence[Chain] = (),
    ):
        self.strategy, self.config = strategy, config
        self.chains, self.cover_chains = chains, list(cover_chains)
        self.dataset = dataset
        self.per_replica = FLAGS.batch_size // strategy.num_replicas_in_sync
        most = max(len(chains), len(cover_chains))
        if self.per_replica < most:
            raise ValueError(
                "--batch_size must give every manipulation an image on every replica. "
                f"Received: {self.per_replica} images a replica for {most} "
                "manipulations."
            )
        with strategy.scope():
            # XLA compiles no exchange between replicas; with --jit_compile there is
            # one replica alone.
            self.encoder = build_encoder(config, synchronized=not FLAGS.jit_compile)
            self.decoder = build_decoder(config, synchronized=not FLAGS.jit_compile)
            self.context = Context(
                swaps=load_swaps(swap_models),
                face_region=config.face_region,
                real_codecs=not FLAGS.jit_compile,
            )
            self.variables = (
                self.encoder.trainable_variables + self.decoder.trainable_variables
            )
            self.optimizer = loop.make_optimizer(ema=FLAGS.ema)
            self.optimizer.build(self.variables)
            self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
            # Step at which the PSNR ramp began, -1 before, and the running accuracy
            # that starts it: part of the state that a resumed run needs.
            self.ramp_start = tf.Variable(-1, dtype=tf.int64, trainable=False)
            self.accuracy = tf.Variable(0.5, dtype=tf.float64, trainable=False)
        if FLAGS.warm_start:
            warm = pathlib.Path(FLAGS.warm_start)
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
        self._forward = loop.maybe_jit(self._loss_and_gradients)
        self._warned = False

    def train_loop_begin(self) -> None:
        """Starts a window of metrics."""
        self._window: list[dict] = []

    def train_step(self, iterator) -> dict:
        """Runs one step on all replicas and returns its terms."""
        step = int(self.step.numpy())
        psnr = self.scheduled_psnr(step)
        weight = FLAGS.lambda_message if step >= FLAGS.start_decode else 0.0
        terms = self._distributed_step(
            next(iterator),
            tf.constant(step, tf.int64),
            tf.constant(psnr, tf.float32),
            tf.constant(weight, tf.float32),
        )
        terms = {name: float(value) for name, value in terms.items()}
        bits = [terms[f"bits {chain}"] for chain in self.chains]
        self._follow_accuracy(step, sum(bits) / len(bits))
        self._window.append(terms)
        return terms

    def train_loop_end(self) -> dict[str, float]:
        """Returns the window's mean terms, and reports a failed bootstrap."""
        metrics = loop.window_means(self._window)
        metrics["psnr"] = self._psnr(metrics.pop("image_mse"))
        step = int(self.step.numpy())
        late = step >= FLAGS.start_decode + FLAGS.bootstrap_steps
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

    def scheduled_psnr(self, step: int) -> float:
        """Returns the PSNR in dB at a step: held until learned, then ramped."""
        begun = int(self.ramp_start.numpy())
        if begun < 0:
            return FLAGS.psnr_start
        done = min((step - begun) / FLAGS.psnr_ramp, 1.0)
        return FLAGS.psnr_start + done * (self.config.psnr - FLAGS.psnr_start)

    def _follow_accuracy(self, step: int, accuracy: float) -> None:
        self.accuracy.assign(0.9 * self.accuracy + 0.1 * accuracy)
        if self.ramp_start.numpy() < 0 and self.accuracy.numpy() >= FLAGS.ramp_accuracy:
            self.ramp_start.assign(step + 1)
            if self.config.strength == "scheduled":
                logging.info("Bits learned at step %d; the ramp begins.", step + 1)

    @staticmethod
    def _psnr(mse: float) -> float:
        return float(-10.0 * tf.math.log(mse + 1e-12) / tf.math.log(10.0))

    @tf.function
    def _distributed_step(self, batch, step, psnr, weight):
        terms = self.strategy.run(self._replica_step, args=(batch, step, psnr, weight))
        return {
            name: self.strategy.reduce("SUM", value, axis=None)
            for name, value in terms.items()
        }

    def _replica_step(self, batch, step, psnr, weight):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        terms, gradients = self._forward(
            batch["cover"],
            batch["message"],
            tf.stack([step + 1_000_003 * FLAGS.seed, tf.cast(replica, tf.int64)]),
            psnr,
            weight,
        )
        loop.apply_gradients(self.optimizer, gradients, self.variables, FLAGS.clip_norm)
        return terms

    def residual(self, cover, message, psnr, training: bool):
        """Runs the encoder; `psnr` (dB, scalar) matters for 'scheduled' alone."""
        inputs = {"cover": cover, "message": message}
        if self.config.strength == "scheduled":
            inputs["psnr"] = tf.fill([tf.shape(cover)[0], 1], psnr)
        return self.encoder(inputs, training=training)

    def vary(self, cover, seed: StatelessSeed, step):
        """Applies each cover chain to its share of a replica's batch."""
        if not self.cover_chains:
            return cover
        cover = self.manipulate(cover, cover, seed, self.cover_chains)
        # Turned on, so that every manipulation meets every kind of cover.
        return tf.roll(cover, tf.cast(step % self.per_replica, tf.int32), axis=0)

    def manipulate(self, cover, tagged, seed: StatelessSeed, chains: list[Chain]):
        """Applies each chain to its share of a replica's batch."""
        sizes = split_sizes(self.per_replica, len(chains))
        # A face that is pasted in comes from a photo without a tag.
        donors = tf.roll(cover, 1, axis=0)
        parts = zip(
            chains, tf.split(tagged, sizes), tf.split(donors, sizes), strict=True
        )
        return tf.concat(
            [
                chain.apply(part, seed, dataclasses.replace(self.context, donors=faces))
                for chain, part, faces in parts
            ],
            axis=0,
        )

    def _loss_and_gradients(self, cover, message, seed, psnr, weight):
        def mean(values):
            return tf.nn.compute_average_loss(
                values, global_batch_size=FLAGS.batch_size
            )

        stream = StatelessSeed(seed)
        cover = self.vary(cover, stream, seed[0])
        with tf.GradientTape() as tape:
            residual = self.residual(cover, message, psnr, training=True)
            tagged = cover + residual
            received = self.manipulate(cover, tagged, stream, self.chains)
            logits = self.decoder(received, training=True)
            image = losses.image_loss(residual)
            terms = {
                "message_loss": mean(losses.message_loss(message, logits)),
                "image_mse": mean(image),
                "clipping_loss": mean(losses.clipping_loss(tagged)),
            }
            if FLAGS.ssim_weight:
                terms["ssim_loss"] = mean(losses.ssim_loss(cover, tagged))
            terms["loss"] = (
                weight * terms["message_loss"]
                + FLAGS.ssim_weight * terms.get("ssim_loss", 0.0)
                + FLAGS.alpha_image * terms["image_mse"]
                + FLAGS.clipping_weight * terms["clipping_loss"]
            )
            scaled = self.optimizer.scale_loss(terms["loss"])
        gradients = tape.gradient(
            scaled, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        right = tf.reduce_mean(
            tf.cast((logits > 0) == (message > 0.5), tf.float32), axis=-1
        )
        sizes = split_sizes(self.per_replica, len(self.chains))
        replicas = self.strategy.num_replicas_in_sync
        for i, part in enumerate(tf.split(right, sizes)):
            # A chain that is named twice is reported by its last share.
            terms[f"bits {self.chains[i]}"] = tf.reduce_mean(part) / replicas
        return terms, gradients

    def panel(self) -> tf.Tensor:
        """Returns a picture: cover | tagged | residual x10 | each manipulation."""
        batch = next(iter(self.dataset(0)))
        cover, message = batch["cover"][:4], batch["message"][:4]
        psnr = self.scheduled_psnr(int(self.step.numpy()))
        residual = self.residual(cover, message, psnr, training=False)
        tagged = cover + residual
        columns = [cover, tagged, 0.5 + 10.0 * residual]
        columns += [
            c.apply(tagged, StatelessSeed(0), self.context) for c in self.chains
        ]
        grid = tf.concat([tf.cast(c, tf.float32) for c in columns], axis=2)
        return tf.concat(tf.unstack(tf.clip_by_value(grid, 0.0, 1.0)), axis=0)

    def save(self, folder: pathlib.Path) -> None:
        """Writes configuration and weights (their moving average, if there is one)."""
        if FLAGS.ema:
            raw = [variable.numpy() for variable in self.variables]
            inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
            inner.finalize_variable_values(self.variables)
        save_tagger(folder, self.config, self.encoder, self.decoder)
        if FLAGS.ema:
            for variable, value in zip(self.variables, raw, strict=True):
                variable.assign(value)


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    output = require_flag("output")
    strategy = loop.make_strategy(FLAGS.replicas)
    loop.check_flags(strategy.num_replicas_in_sync)
    if FLAGS.strength == "scheduled" and FLAGS.psnr_start > FLAGS.psnr:
        raise ValueError(
            "--psnr_start must not exceed --psnr, because the ramp weakens the "
            f"residual. Received: {FLAGS.psnr_start} and {FLAGS.psnr}."
        )
    keras.mixed_precision.set_global_policy(FLAGS.precision)
    keras.utils.set_random_seed(FLAGS.seed)
    config = config_from_flags()
    chains = parse_chains(FLAGS.manipulation)
    cover_chains = parse_chains(FLAGS.cover_manipulation)
    folder = loop.check_output(output, config.to_json(), CONFIG)
    dataset = load_dataset(
        FLAGS.data,
        split="train",
        image_size=config.image_size,
        canvas_scale=config.canvas_scale,
        margin=FLAGS.margin,
        message_bits=config.message_bits,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
    )
    trainer = JointTrainer(
        strategy, config, chains, FLAGS.swap_model, dataset, cover_chains
    )
    return loop.run(trainer, trainer.checkpoint, folder)


if __name__ == "__main__":
    define_flags()
    run_main(main)
