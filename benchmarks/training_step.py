"""Prints the seconds that one joint training step takes on this machine.

    python -m benchmarks.training_step

The sizes of `portrait128` (canvas 128, 64 bits, batch 48, the mixture of
configs/portrait128.cfg on noise images, an untrained face-swap model), beside the
prototype's figures: encoder 0.7 s, decoder 0.26 s, affine warp 0.19 s, 1 to 2 s a step
on two busy cores.
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
from faketagger_tf.manipulations import (
    Context,
    StatelessSeed,
    parse_chain,
    parse_chains,
)
from faketagger_tf.models import FaceswapConfig, build_faceswap
from faketagger_tf.options import define_flags, from_flags
from faketagger_tf.presets import save_faceswap
from trainers import joint, loop

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "portrait128.cfg"


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
    values(["benchmark", f"--flagfile={CONFIG}", "--batch_size=48", "--output=none"])
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
        names = {
            name.rpartition(":")[0]
            for chain in parse_chains(options.manipulation)
            for name in chain.swap_names()
        } - {""}
        models = [f"{name}={folder}" for name in sorted(names)] or [folder]
        trainer = joint.JointTrainer(
            dataclasses.replace(options, swap_model=tuple(models)),
            loop.make_strategy(1),
            dataset,
        )
    iterator = iter(trainer.strategy.experimental_distribute_dataset(dataset(0)))
    batch = next(iterator)
    cover, message = batch["cover"], batch["message"]
    psnr = tf.fill([batch_size, 1], 30.0)
    affine = parse_chain("affine(5,0.05,4)")

    @tf.function
    def encoder():
        with tf.GradientTape() as tape:
            residual = trainer.encoder(
                {"cover": cover, "message": message, "psnr": psnr}, training=False
            )
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
        ("whole step", best_of(lambda: trainer.train_step(iterator)), "1 to 2"),
        ("encoder, forward and backward", best_of(encoder), "0.7"),
        ("decoder, forward and backward", best_of(decoder), "0.26"),
        ("affine warp, forward", best_of(warp), "0.19"),
    ]
    print(f"Batch {batch_size}, canvas {config.image_size}, Keras", end=" ")
    print(f"{keras.__version__}, TensorFlow {tf.__version__}\n")
    print("| part | seconds here | prototype |\n|---|---|---|")
    for name, seconds, prototype in rows:
        print(f"| {name} | {seconds:.2f} | {prototype} |")
    return 0


if __name__ == "__main__":
    run_main(main)
