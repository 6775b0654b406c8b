"""Prints the seconds that one joint training step takes on this machine.

    python -m benchmarks.training_step

The sizes and the mixture of `configs/face128.cfg` (canvas 128, 64 bits, batch 42), on
noise images, with an untrained face-swap model, in float32.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from faketagger_tf.command import run_main
from faketagger_tf.data import canvas_dataset
from faketagger_tf.manipulations import Context, StatelessSeed, parse_chain
from faketagger_tf.models import FaceswapConfig, build_faceswap
from faketagger_tf.options import define_flags, from_flags
from faketagger_tf.presets import save_faceswap
from trainers import joint, loop

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "face128.cfg"


def best_of(function, repeats: int = 5) -> float:
    """Returns the fastest of several runs in seconds, after one to trace."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    # The flags of the shipped configuration, with one small swap model for all.
    values = flags.FlagValues()
    define_flags(joint.JointOptions(), values)
    values(["benchmark", f"--flagfile={CONFIG}", "--output=none"])
    options = from_flags(joint.JointOptions(), values)
    config, batch_size = options.tagger, options.run.batch_size
    rng = np.random.default_rng(0)
    canvases = rng.integers(0, 256, (96, config.image_size, config.image_size, 3))

    def dataset(start):
        return canvas_dataset(
            canvases.astype(np.uint8),
            config.image_size,
            batch_size,
            training=True,
            message_bits=config.message_bits,
            skip_batches=start,
        )

    with tempfile.TemporaryDirectory() as folder:
        swap_config = FaceswapConfig(width=16, latent=256)
        save_faceswap(folder, swap_config, build_faceswap(swap_config))
        trainer = joint.JointTrainer(
            dataclasses.replace(options, swap_model=(folder,)),
            loop.make_strategy(1),
            dataset,
        )
    iterator = iter(trainer.strategy.experimental_distribute_dataset(dataset(0)))
    batch = next(iterator)
    cover, message = batch["cover"], batch["message"]
    affine = parse_chain("affine(5,0.05,4)")

    @tf.function
    def encoder():
        with tf.GradientTape() as tape:
            residual = trainer.residual(cover, message, 30.0, training=False)
            loss = tf.reduce_mean(tf.abs(residual))
        return tape.gradient(loss, trainer.encoder.trainable_variables)

    @tf.function
    def decoder():
        with tf.GradientTape() as tape:
            tape.watch(cover)
            loss = tf.reduce_mean(tf.abs(trainer.decoder(cover, training=False)))
        return tape.gradient(loss, [cover, *trainer.decoder.trainable_variables])

    @tf.function
    def warp():
        return affine.apply(cover, StatelessSeed(1), Context())

    trainer.train_loop_begin()
    rows = [
        ("whole step", best_of(lambda: trainer.train_step(iterator))),
        ("encoder, forward and backward", best_of(encoder)),
        ("decoder, forward and backward", best_of(decoder)),
        ("affine warp, forward", best_of(warp)),
    ]
    print(f"Batch {batch_size}, canvas {config.image_size}, Keras", end=" ")
    print(f"{keras.__version__}, TensorFlow {tf.__version__}\n")
    print("| part | seconds |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} |")
    return 0


if __name__ == "__main__":
    run_main(main)
