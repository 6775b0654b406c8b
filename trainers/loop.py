"""The loop that both trainers share.

A trainer has three methods, as in Orbit: `train_loop_begin`, `train_step(iterator)`,
which calls `strategy.run` itself and returns the step's terms, and `train_loop_end`,
which returns the window's metrics. `run` drives it: progress with an ETA, TensorBoard,
checkpoints, exact resume, clean exit on SIGINT and SIGTERM.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import signal
import time

import keras
import tensorflow as tf
from absl import flags, logging

from faketagger_tf.metrics import to_uint8
from faketagger_tf.photos import write_image
from faketagger_tf.presets import write_atomic

FLAGS = flags.FLAGS


def define_flags(steps: int, batch_size: int, learning_rate: float) -> None:
    """Defines the flags that both trainers have, with a trainer's own defaults."""
    flags.DEFINE_string(
        "data",
        "drawn",
        "Photos to train on: 'drawn' for the embedded drawn faces, a folder of photos "
        "(with a CSV, with one sub-folder per identity, or mixed), or a glob of "
        "TFRecord files written by faketagger_tf.data.tfrecord.",
    )
    flags.DEFINE_string(
        "output", None, "Folder that receives checkpoints, logs and weights."
    )
    flags.DEFINE_integer("steps", steps, "Training steps in all.", lower_bound=1)
    flags.DEFINE_integer(
        "batch_size", batch_size, "Images a step, over all replicas.", lower_bound=1
    )
    flags.DEFINE_float(
        "learning_rate", learning_rate, "Adam's peak learning rate.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "warmup_steps", 0, "Steps of linear learning-rate warm-up.", lower_bound=0
    )
    flags.DEFINE_float(
        "final_learning_rate",
        0.02,
        "End of the cosine decay, as a fraction of the peak; 1 keeps it constant.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_float(
        "clip_norm",
        1.0,
        "Global norm to which the gradient, averaged over all replicas, is clipped.",
        lower_bound=0.0,
    )
    flags.DEFINE_integer("seed", 1, "Seed of weights, data order and manipulations.")
    flags.DEFINE_integer(
        "replicas",
        0,
        "Devices to train on; 0 takes every GPU, or one CPU device if there is none.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Keras dtype policy; the mixed ones are for GPUs.",
    )
    flags.DEFINE_bool(
        "jit_compile",
        False,
        "Compile the forward and backward pass with XLA; needs exactly one replica.",
    )
    flags.DEFINE_integer(
        "log_every", 50, "Steps between two progress lines.", lower_bound=1
    )
    flags.DEFINE_integer(
        "save_every", 200, "Steps between two checkpoints.", lower_bound=1
    )
    flags.DEFINE_integer(
        "panel_every", 500, "Steps between two image panels.", lower_bound=1
    )
    flags.DEFINE_string(
        "warm_start",
        "",
        "Folder of a finished run whose weights this run starts from, with a fresh "
        "optimiser and schedule.",
    )


def make_strategy(replicas: int = 0) -> tf.distribute.MirroredStrategy:
    """Returns a MirroredStrategy over GPUs, or over logical CPU devices without any.

    Raises:
        ValueError: more replicas are asked for than there are devices.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = replicas or (len(gpus) if gpus else 1)
    if wanted > len(devices):
        raise ValueError(
            f"--replicas must be at most the number of devices, {len(devices)}. "
            f"Received: {wanted}."
        )
    return tf.distribute.MirroredStrategy([d.name for d in devices[:wanted]])


def check_flags(replicas: int) -> None:
    """Stops on flags that contradict each other or the number of replicas."""
    if FLAGS.batch_size % replicas:
        raise ValueError(
            "--batch_size must be a multiple of the number of replicas, "
            f"{replicas}. Received: {FLAGS.batch_size}."
        )
    if FLAGS.jit_compile and replicas > 1:
        raise ValueError(
            "--jit_compile needs one replica, because batch statistics are exchanged "
            f"between replicas outside XLA. Received: {replicas} replicas."
        )
    if FLAGS.warmup_steps >= FLAGS.steps:
        raise ValueError(
            "--warmup_steps must be less than --steps. "
            f"Received: {FLAGS.warmup_steps} and {FLAGS.steps}."
        )


def maybe_jit(function):
    """Compiles a function with XLA if --jit_compile is set.

    Only the forward and backward pass is compiled: XLA refuses the whole distributed
    step. Without XLA the function stays plain, because a nested tf.function may not
    hold the exchange of batch statistics.
    """
    if FLAGS.jit_compile:
        return tf.function(function, jit_compile=True)
    return function


def make_optimizer(*, ema: float = 0.0) -> keras.optimizers.Optimizer:
    """Adam with the flags' warm-up and cosine decay.

    Clipping is left out on purpose: Keras clips on each replica before the reduce,
    which makes two replicas differ from one. `apply_gradients` clips after it.
    """
    peak = FLAGS.learning_rate
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if FLAGS.warmup_steps else peak,
        max(FLAGS.steps - FLAGS.warmup_steps, 1),
        alpha=FLAGS.final_learning_rate,
        warmup_target=peak if FLAGS.warmup_steps else None,
        warmup_steps=FLAGS.warmup_steps,
    )
    optimizer = keras.optimizers.Adam(
        rate, use_ema=ema > 0, ema_momentum=ema or 0.99, epsilon=1e-7
    )
    if FLAGS.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def apply_gradients(optimizer, gradients, variables, clip_norm: float) -> None:
    """Sums gradients over the replicas, clips, applies. Call in a replica context.

    Args:
        optimizer: a built Keras optimizer.
        gradients: of the loss averaged over the *global* batch, scaled by
            `optimizer.scale_loss`.
        variables: the same order as `gradients`.
        clip_norm: global norm of the unscaled gradient to clip at; 0 for none.
    """
    context = tf.distribute.get_replica_context()
    gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    if clip_norm:
        # A loss-scaling optimizer unscales later; a non-finite norm spoils every
        # gradient, which is what makes it skip the step and lower its scale.
        scale = tf.convert_to_tensor(getattr(optimizer, "dynamic_scale", 1.0))
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm * scale)
    # Keras sums over the replicas once more when it applies.
    replicas = context.num_replicas_in_sync
    optimizer.apply([g / replicas for g in gradients], variables)


@dataclasses.dataclass
class Interruption:
    """Remembers a SIGINT or SIGTERM until the step in progress is over."""

    received: int = 0

    def __enter__(self) -> Interruption:
        def remember(number, frame):
            self.received = number

        self._old = {s: signal.signal(s, remember) for s in self._signals()}
        return self

    def __exit__(self, *_):
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @staticmethod
    def _signals():
        return signal.SIGINT, signal.SIGTERM


def check_output(output: str, config: str, name: str) -> pathlib.Path:
    """Creates a run's folder; refuses one that holds a run with another configuration.

    Args:
        output: the folder.
        config: the configuration's JSON text.
        name: the configuration's file name.
    """
    folder = pathlib.Path(output)
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_text() != config:
            raise ValueError(
                f"{str(folder)!r} holds a run with another {name}. Accepted: the same "
                "flags, to resume it, or another --output."
            )
        write_atomic(path, config)
        write_atomic(folder / "flags.cfg", FLAGS.flags_into_string())
    except OSError as error:
        raise ValueError(
            f"Cannot write to --output {output!r}: {error.strerror or error}."
        ) from None
    return folder


def restore(checkpoint: tf.train.Checkpoint, folder: pathlib.Path):
    """Makes the checkpoint manager of a run and restores the latest checkpoint.

    Returns:
        The manager; `checkpoint.step` tells where the run stands.

    Raises:
        ValueError: the latest checkpoint is damaged or belongs to another model.
    """
    manager = tf.train.CheckpointManager(
        checkpoint, str(folder / "checkpoints"), max_to_keep=2
    )
    if manager.latest_checkpoint:
        try:
            checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            reason = str(error).strip().splitlines()[0] if str(error) else "unreadable"
            raise ValueError(
                f"The checkpoint {manager.latest_checkpoint!r} is damaged or belongs "
                f"to another configuration: {reason[:200]}. Delete it to start from "
                "the one before it."
            ) from None
        logging.info("Resuming %s at step %d.", folder, int(checkpoint.step.numpy()))
    return manager


def run(trainer, checkpoint: tf.train.Checkpoint, folder: pathlib.Path) -> int:
    """Trains from the checkpoint's step to the last one.

    Args:
        trainer: has `strategy`, `dataset(start_step)`, `train_loop_begin()`,
            `train_step(iterator)`, `train_loop_end()`, `panel()` and `save(folder)`.
        checkpoint: its `step` variable counts the finished steps.
        folder: the run's folder.

    Returns:
        The process's exit code: 0, or 128 + the signal's number if interrupted.

    Raises:
        ValueError: a loss term is not finite.
    """
    manager = restore(checkpoint, folder)
    step, last = int(checkpoint.step.numpy()), FLAGS.steps
    if step >= last:
        logging.info("%s is already at step %d of %d.", folder, step, last)
        trainer.save(folder)
        return 0
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    dataset = trainer.dataset(step)
    iterator = iter(trainer.strategy.experimental_distribute_dataset(dataset))
    started, first = time.monotonic(), step
    with Interruption() as interruption:
        trainer.train_loop_begin()
        while step < last and not interruption.received:
            terms = {k: float(v) for k, v in trainer.train_step(iterator).items()}
            bad = [f"{k}={v}" for k, v in terms.items() if not math.isfinite(v)]
            if bad:
                raise ValueError(
                    f"Step {step + 1} gave a value that is not finite: "
                    f"{', '.join(bad)}. The checkpoint of step "
                    f"{_saved_step(manager)} is kept; try a lower --learning_rate."
                )
            step += 1
            checkpoint.step.assign(step)
            if step % FLAGS.log_every == 0 or step == last:
                metrics = trainer.train_loop_end()
                _report(metrics, writer, step, last, started, first)
                trainer.train_loop_begin()
            if step % FLAGS.panel_every == 0 or step == last:
                with writer.as_default(step=step):
                    image = trainer.panel()
                    tf.summary.image("panel", image[None])
                    write_image(folder / "panel.png", to_uint8(image))
            if step % FLAGS.save_every == 0 and step < last:
                manager.save(step)
                trainer.save(folder)
    manager.save(step)
    trainer.save(folder)
    writer.close()
    if interruption.received:
        name = signal.Signals(interruption.received).name
        logging.info("%s: saved step %d; the same command resumes it.", name, step)
        return 128 + interruption.received
    logging.info("Finished %s in %s.", folder, _clock(time.monotonic() - started))
    return 0


def window_means(window: list[dict]) -> dict[str, float]:
    """Averages the terms of the steps since `train_loop_begin`."""
    return {
        name: sum(float(terms[name]) for terms in window) / len(window)
        for name in window[0]
    }


def _saved_step(manager: tf.train.CheckpointManager) -> str:
    latest = manager.latest_checkpoint
    return latest.rsplit("-", 1)[-1] if latest else "0 (none yet)"


def _report(metrics, writer, step, last, started, first) -> None:
    elapsed = time.monotonic() - started
    left = elapsed / (step - first) * (last - step)
    line = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    logging.info(
        "step %d/%d  %s  %.2f s/step  ETA %s",
        step,
        last,
        line,
        elapsed / (step - first),
        _clock(left),
    )
    with writer.as_default(step=step):
        for name, value in metrics.items():
            tf.summary.scalar(name, value)
    writer.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
