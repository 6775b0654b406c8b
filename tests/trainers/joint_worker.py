"""One of several processes that train together, for test_multi_worker.

TF_CONFIG=... python joint_worker.py OUTPUT STEPS PAUSE
"""

import sys
import time

import support
from absl import logging

from faketagger_tf.data import canvas_dataset
from trainers import joint, loop

SIZE, BITS, BATCH = 32, 8, 8
# Random ones among them: replicas of one process and of two draw the same.
CHAINS = ("jpeg(75)", "resize(0.5..1)")


def make_trainer(strategy, options: joint.JointOptions) -> joint.JointTrainer:
    """A small trainer whose photos and weights are the same in every process."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 4, 4, 3)).astype(np.uint8)
    canvases = np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8))

    def dataset(start, shard_count=1, shard_index=0):
        return canvas_dataset(
            canvases,
            SIZE,
            BATCH // shard_count,
            training=True,
            seed=5,
            message_bits=BITS,
            skip_batches=start,
            shard_count=shard_count,
            shard_index=shard_index,
        )

    return joint.JointTrainer(options, strategy, dataset)


def make_options(strategy: str, steps: int) -> joint.JointOptions:
    """The options that all processes share."""
    run = loop.LoopOptions(
        steps=steps,
        batch_size=BATCH,
        log_every=3,
        save_every=3,
        panel_every=1000,
        output="unused",
        strategy=strategy,
    )
    return joint.JointOptions(
        run=run, tagger=support.TINY, psnr_start=15.0, manipulation=CHAINS, ema=0.9
    )


def main(argv: list[str]) -> int:
    import pathlib

    output, steps, pause = argv[1], int(argv[2]), float(argv[3])
    logging.set_verbosity(logging.INFO)
    options = make_options(loop.MULTI_WORKER, steps)
    strategy = loop.make_strategy(0, loop.MULTI_WORKER)
    with loop.in_step(strategy):
        trainer = make_trainer(strategy, options)
        step = trainer.train_step

        def slow_step(iterator):
            time.sleep(pause)
            return step(iterator)

        trainer.train_step = slow_step
        return loop.run(trainer, pathlib.Path(output))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
