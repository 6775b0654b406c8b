"""The loop that both trainers share.

A trainer has Orbit's three methods: `train_loop_begin`, `train_step(iterator)`, which
calls `strategy.run` itself and returns the step's terms, and `train_loop_end`, which
returns the window's metrics. `run` drives it: progress with an ETA, TensorBoard,
checkpoints, validation with the best weights kept, exact resume, clean exit on SIGINT
and SIGTERM. With `--strategy=multi_worker` several processes run it in step, on one
machine or many, and the first one writes; docs/cluster.md tells how.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import keras
import tensorflow as tf
from absl import logging
from keras import ops

from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.files import write_atomic
from faketagger_tf.metrics import to_uint8
from faketagger_tf.options import Checked, option
from faketagger_tf.photos import write_image

MIRRORED, MULTI_WORKER = "mirrored", "multi_worker"
AUTO = "auto"
MEASURED = ("float32", "mixed_bfloat16")  # What --precision=auto chooses from.
SPEED_UP = 1.05  # By which the mixed one must be faster, so that noise does not decide.


@dataclasses.dataclass(frozen=True)
class LoopOptions(Checked):
    """What both trainers' loops can be told."""

    data: str = option(
        "drawn",
        "Photos to train on: 'drawn' for the embedded drawn faces, a folder of photos "
        "(with a CSV, with one sub-folder per identity, or mixed), or a glob of "
        "TFRecord files written by faketagger_tf.data.tfrecord.",
    )
    output: str = option(
        "", "Folder that receives checkpoints, logs and weights.", required=True
    )
    steps: int = option(2000, "Training steps in all.", low=1)
    batch_size: int = option(48, "Images a step, over all replicas.", low=1)
    learning_rate: float = option(1e-3, "Adam's peak learning rate.", low=0.0)
    warmup_steps: int = option(0, "Steps of linear learning-rate warm-up.", low=0)
    final_learning_rate: float = option(
        0.02,
        "End of the cosine decay, as a fraction of the peak; 1 keeps it constant.",
        low=0.0,
        high=1.0,
    )
    clip_norm: float = option(
        1.0,
        "Global norm to which the gradient, averaged over all replicas, is clipped.",
        low=0.0,
    )
    seed: int = option(1, "Seed of weights, data order and manipulations.")
    replicas: int = option(
        0,
        "Devices to train on; 0 takes every GPU, or one CPU device if there is none.",
        low=0,
    )
    strategy: str = option(
        MIRRORED,
        "'mirrored' trains on this machine's devices; 'multi_worker' on those of all "
        "the workers that the environment variable TF_CONFIG names.",
        choices=(MIRRORED, MULTI_WORKER),
    )
    precision: str = option(
        "float32",
        "Keras dtype policy; the mixed ones are for GPUs, and mixed_bfloat16 for CPUs "
        "that have instructions for it. 'auto' measures for two seconds whether "
        "mixed_bfloat16 is faster than float32 here.",
        choices=(AUTO, "float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool = option(
        False,
        "Compile the forward and backward pass with XLA; needs exactly one replica.",
    )
    log_every: int = option(50, "Steps between two progress lines.", low=1)
    save_every: int = option(200, "Steps between two checkpoints.", low=1)
    panel_every: int = option(500, "Steps between two image panels.", low=1)
    eval_every: int = option(
        0,
        "Steps between two validations, after which the best weights are kept in the "
        "sub-folder 'best'; 0 for none.",
        low=0,
    )
    warm_start: str = option(
        "",
        "Folder of a finished run whose weights this run starts from, with a fresh "
        "optimiser and schedule.",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.warmup_steps >= self.steps:
            raise ValueError(
                "--warmup_steps must be less than --steps. "
                f"Received: {self.warmup_steps} and {self.steps}."
            )
        if self.strategy == MULTI_WORKER:
            if self.precision == AUTO:
                raise ValueError(
                    "--precision=auto measures one machine, and all workers need the "
                    "same. Accepted: a --precision by name."
                )
            if self.replicas:
                raise ValueError(
                    "--replicas is for --strategy=mirrored; a worker takes all of its "
                    f"GPUs, or one CPU device. Received: {self.replicas}."
                )

    def check_replicas(self, replicas: int) -> None:
        """Stops on options that contradict the number of replicas."""
        if self.batch_size % replicas:
            raise ValueError(
                "--batch_size must be a multiple of the number of replicas, "
                f"{replicas}. Received: {self.batch_size}."
            )
        if self.jit_compile and replicas > 1:
            raise ValueError(
                "--jit_compile needs one replica, because batch statistics are "
                f"exchanged between replicas outside XLA. Received: {replicas} "
                "replicas."
            )


class Trainer(Protocol):
    """What `run` drives; the first three methods are Orbit's."""

    options: LoopOptions
    strategy: tf.distribute.Strategy
    checkpoint: tf.train.Checkpoint  # Its `step` counts the finished steps.

    def train_loop_begin(self) -> None:
        """Starts a window of metrics."""

    def train_step(self, iterator) -> dict:
        """Runs one step on all replicas and returns its terms."""

    def train_loop_end(self) -> dict[str, float]:
        """Returns the window's metrics."""

    def dataset(
        self, start_step: int, shard_count: int = 1, shard_index: int = 0
    ) -> tf.data.Dataset:
        """Returns the batches from a step on, or a worker's part of each."""

    def panel(self) -> tf.Tensor:
        """Returns a picture, float32 `[height, width, 3]` in [0, 1]."""

    def save(self, folder: pathlib.Path) -> None:
        """Writes configuration and weights."""

    def validate(self, best: float, folder: pathlib.Path) -> dict[str, float]:
        """Measures held-out photos; called with `eval_every` alone.

        Returns:
            Title -> value for the table. "score" is what the best weights have the
            highest of; those that beat `best` are written to `folder`.
        """


def make_strategy(
    replicas: int = 0, strategy: str = MIRRORED
) -> tf.distribute.Strategy:
    """Returns a strategy over GPUs, or over logical CPU devices without any.

    Args:
        replicas: devices of this machine; 0 for all GPUs, or one CPU device.
        strategy: "mirrored", or "multi_worker" for the workers that TF_CONFIG names;
            that one has to be made before anything is computed, and waits for them.

    Raises:
        ValueError: more replicas are asked for than there are devices, or TF_CONFIG
            names no workers.
    """
    if strategy == MULTI_WORKER:
        _check_cluster(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = replicas or (len(gpus) if gpus else 1)
    if wanted > len(devices):
        raise ValueError(
            f"--replicas must be at most the number of devices, {len(devices)}. "
            f"Received: {wanted}."
        )
    return tf.distribute.MirroredStrategy([d.name for d in devices[:wanted]])


def _check_cluster(text: str) -> None:
    """Raises a ValueError where TF_CONFIG does not name workers and this one."""
    try:
        about = json.loads(text)
        workers = about["cluster"]["worker"]
        task = about["task"]
        sound = list(about["cluster"]) == ["worker"] and task["type"] == "worker"
        sound = sound and 0 <= task["index"] < len(workers)
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise ValueError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG. "
            f"Received: {text!r}. Accepted: "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
            '"index": 0}}, with another index for each worker.'
        )


def shard_of(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """How many processes train together, and which one this is; the first one writes.

    Example:
        >>> shard_of(tf.distribute.get_strategy())
        (1, 0)
    """
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1, 0
    return len(resolver.cluster_spec().as_dict()["worker"]), resolver.task_id


def open_run(
    options: LoopOptions,
    strategy: tf.distribute.Strategy,
    config: str,
    name: str,
    flagfile: str,
) -> tuple[pathlib.Path, LoopOptions]:
    """Opens a run's folder, chooses the precision and sets the seed.

    Args:
        options: the run's.
        strategy: from `make_strategy`.
        config, name, flagfile: as for `check_output`.

    Returns:
        The folder, and the options with the precision that was chosen.

    Raises:
        ValueError: as `check_output`.
    """
    first = shard_of(strategy)[1] == 0
    folder = check_output(options.output, config, name, flagfile, first)
    options = with_precision(options, folder)
    keras.utils.set_random_seed(options.seed)
    return folder, options


def with_precision(options: LoopOptions, folder: pathlib.Path) -> LoopOptions:
    """Replaces --precision=auto by what is faster here, and sets Keras' policy.

    What was chosen is kept in the run's folder, so that a resumed run goes on with it.
    """
    if options.precision == AUTO:
        path = folder / "precision.txt"
        chosen = path.read_text().strip() if path.is_file() else ""
        if chosen not in MEASURED:
            chosen = fastest_precision()
            write_atomic(path, chosen + "\n")
        options = dataclasses.replace(options, precision=chosen)
    keras.mixed_precision.set_global_policy(options.precision)
    return options


def fastest_precision(seconds: float = 2.0) -> str:
    """Times a few layers, forward and back, in float32 and in mixed_bfloat16.

    The layers are those that a training step spends its time in, 3x3 convolutions of
    32 channels with batch normalisation, on 64 x 64 pixels. Prints what it found.

    Args:
        seconds: for both together, without building them.

    Returns:
        One of `MEASURED`: float32 unless the other is faster by `SPEED_UP`.
    """
    steps = {policy: _timed_step(policy) for policy in MEASURED}
    best = dict.fromkeys(MEASURED, math.inf)
    end = time.monotonic() + seconds
    while time.monotonic() < end or math.inf in best.values():
        # In turn, and the best of each: what else runs here disturbs both alike.
        for policy, step in steps.items():
            start = time.perf_counter()
            step()
            best[policy] = min(best[policy], time.perf_counter() - start)
    plain, mixed = (best[policy] for policy in MEASURED)
    chosen = MEASURED[mixed * SPEED_UP < plain]
    logging.info(
        "--precision=auto: %s, because the measured layers take %.1f ms in float32 and "
        "%.1f ms in mixed_bfloat16.",
        chosen,
        1000 * plain,
        1000 * mixed,
    )
    return chosen


def _timed_step(policy: str) -> Callable[[], None]:
    """A step of `fastest_precision`, traced already."""
    # Named, so that the layers that are trained have the names they always have.
    images = keras.Input((64, 64, 32), name="measured")
    x = images
    for number in range(3):
        names = {"dtype": policy, "name": f"measured_{number}"}
        x = keras.layers.Conv2D(32, 3, padding="same", **names)(x)
        names["name"] += "_norm"
        x = keras.layers.BatchNormalization(**names)(x)
        x = ops.relu(x)
    model = keras.Model(images, x, name="measured_model")
    images = tf.random.stateless_uniform([8, 64, 64, 32], seed=[1, 2])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(model(images, training=True), tf.float32))
        return tape.gradient(loss, model.trainable_variables)

    def run() -> None:
        for gradient in step():
            gradient.numpy()  # A GPU has finished only then.

    run()
    return run


def maybe_jit(function, jit_compile: bool):
    """Compiles a function with XLA if that is asked for.

    Only the forward and backward pass is compiled: XLA refuses the whole distributed
    step. Without XLA the function stays plain, because a nested tf.function may not
    hold the exchange of batch statistics.
    """
    if jit_compile:
        return tf.function(function, jit_compile=True)
    return function


def make_optimizer(
    options: LoopOptions, *, ema: float = 0.0
) -> keras.optimizers.Optimizer:
    """Adam with the options' warm-up and cosine decay.

    Clipping is left out on purpose: Keras clips on each replica before the reduce,
    which makes two replicas differ from one. `apply_gradients` clips after it.
    """
    peak = options.learning_rate
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if options.warmup_steps else peak,
        max(options.steps - options.warmup_steps, 1),
        alpha=options.final_learning_rate,
        warmup_target=peak if options.warmup_steps else None,
        warmup_steps=options.warmup_steps,
    )
    optimizer = keras.optimizers.Adam(
        rate, use_ema=ema > 0, ema_momentum=ema or 0.99, epsilon=1e-7
    )
    if options.precision == "mixed_float16":
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


def check_output(
    output: str, config: str, name: str, flagfile: str = "", first: bool = True
) -> pathlib.Path:
    """Creates a run's folder; refuses one that holds a run with another configuration.

    Args:
        first: this is the process that writes, see `shard_of`.
        output: the folder.
        config: the configuration's JSON text.
        name: the configuration's file name.
        flagfile: the command's flags, to be kept as flags.cfg.
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
        if first:
            write_atomic(path, config)
            write_atomic(folder / "flags.cfg", flagfile)
    except OSError as error:
        raise ValueError(
            f"Cannot write to --output {output!r}: {error.strerror or error}."
        ) from None
    return folder


def restore(
    checkpoint: tf.train.Checkpoint,
    folder: pathlib.Path,
    own: pathlib.Path | None = None,
):
    """Makes the checkpoint manager of a run and restores the latest checkpoint.

    Args:
        checkpoint: what is saved.
        folder: the run's, whose checkpoint is restored.
        own: where this process saves; None for `folder`.

    Returns:
        The manager; `checkpoint.step` tells where the run stands.

    Raises:
        ValueError: the latest checkpoint is damaged or belongs to another model.
    """
    manager = tf.train.CheckpointManager(
        checkpoint, str((own or folder) / "checkpoints"), max_to_keep=2
    )
    latest = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    if latest:
        try:
            checkpoint.restore(latest).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            reason = str(error).strip().splitlines()[0] if str(error) else "unreadable"
            raise ValueError(
                f"The checkpoint {latest!r} is damaged or belongs "
                f"to another configuration: {reason[:200]}. Delete it to start from "
                "the one before it."
            ) from None
        logging.info("Resuming %s at step %d.", folder, int(checkpoint.step.numpy()))
    return manager


def run(trainer: Trainer, folder: pathlib.Path) -> int:
    """Trains from the checkpoint's step to the last one.

    Args:
        trainer: see `Trainer`.
        folder: the run's folder.

    Returns:
        The process's exit code: 0, or 128 + the signal's number if interrupted.

    Raises:
        ValueError: a loss term is not finite.
    """
    with _own_folder(trainer.strategy, folder) as own:
        return _run(trainer, folder, own)


@contextlib.contextmanager
def in_step(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turns what is raised where another worker has gone into one sentence.

    A worker notices within some ten seconds, by TensorFlow's heartbeats.

    Raises:
        ValueError: another worker has stopped or cannot be reached.

    Example:
        with loop.in_step(strategy):
            return loop.run(JointTrainer(options, strategy, dataset), folder)
    """
    try:
        yield
    except _GONE as error:
        if shard_of(strategy)[0] == 1:
            raise
        logging.debug("%r", error)
        raise ValueError(
            "Another worker has stopped or cannot be reached. Accepted: the same "
            "command for every worker, which goes on from the latest checkpoint."
        ) from None


# What TensorFlow raises then; which one depends on what was being exchanged.
_GONE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@contextlib.contextmanager
def _own_folder(
    strategy: tf.distribute.Strategy, folder: pathlib.Path
) -> Iterator[pathlib.Path]:
    """Where a process writes: all save, in step, and what the first one saves is kept.

    Variables are read from all workers to be saved, so that the others may not leave
    it to the first.
    """
    if shard_of(strategy)[1] == 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield pathlib.Path(scratch)


def _iterator(trainer: Trainer, step: int):
    """Each replica's part of the batches from a step on."""
    strategy = trainer.strategy
    workers, worker = shard_of(strategy)
    if workers == 1:
        data = strategy.experimental_distribute_dataset(trainer.dataset(step))
    else:
        each = trainer.options.batch_size // strategy.num_replicas_in_sync
        data = strategy.distribute_datasets_from_function(
            lambda _: trainer.dataset(step, workers, worker).rebatch(each, True)
        )
    return iter(data)


def _make_agreement(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """Returns what asks all workers whether one of them is to stop."""
    if shard_of(strategy)[0] == 1:
        return bool

    @tf.function
    def total(flag):
        votes = strategy.run(tf.identity, args=(flag,))
        return strategy.reduce("SUM", votes, axis=None)

    return lambda flag: float(total(tf.constant(float(flag)))) > 0


def _run(trainer: Trainer, folder: pathlib.Path, own: pathlib.Path) -> int:
    """`run`, with the folder that this process writes to."""
    options, checkpoint = trainer.options, trainer.checkpoint
    manager = restore(checkpoint, folder, own)
    step, last = int(checkpoint.step.numpy()), options.steps
    if step >= last:
        logging.info("%s is already at step %d of %d.", folder, step, last)
        trainer.save(own)
        return 0
    writer = tf.summary.create_file_writer(str(own / "logs"))
    validation = Validation.resume(folder, step, own)
    iterator = _iterator(trainer, step)
    stop = _make_agreement(trainer.strategy)
    started, first = time.monotonic(), step

    def due(every: int) -> bool:
        return bool(every) and (step % every == 0 or step == last)

    with Interruption() as interruption:
        trainer.train_loop_begin()
        while step < last and not stop(bool(interruption.received)):
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
            if due(options.log_every):
                metrics = trainer.train_loop_end()
                _report(metrics, writer, step, last, started, first)
                trainer.train_loop_begin()
            if due(options.panel_every):
                with writer.as_default(step=step):
                    image = trainer.panel()
                    tf.summary.image("panel", image[None])
                    write_image(own / "panel.png", to_uint8(image))
            if due(options.eval_every):
                validation.add(trainer, step, writer)
            if due(options.save_every) and step < last:
                manager.save(step)
                trainer.save(own)
    manager.save(step)
    trainer.save(own)
    writer.close()
    if interruption.received or step < last:
        # Another worker's signal stops this one, too.
        received = interruption.received or signal.SIGTERM
        name = signal.Signals(received).name
        logging.info("%s: saved step %d; the same command resumes it.", name, step)
        return 128 + received
    logging.info("Finished %s in %s.", folder, _clock(time.monotonic() - started))
    return 0


@dataclasses.dataclass
class Validation:
    """The table of a run's validations: validation.json and validation.md.

    Attributes:
        folder: where it is written.
        rows: {"step": ..., "score": ..., title: value}, oldest first.
    """

    folder: pathlib.Path
    rows: list[dict]

    @classmethod
    def resume(cls, folder: pathlib.Path, step: int, own: pathlib.Path) -> Validation:
        """Reads the table as it stood at a step: what came later is measured again."""
        path = folder / "validation.json"
        rows = json.loads(path.read_text()) if path.is_file() else []
        return cls(own, [row for row in rows if row["step"] <= step])

    def add(self, trainer: Trainer, step: int, writer) -> None:
        """Validates, keeps the best weights, logs and writes the row."""
        best = max((row["score"] for row in self.rows), default=-math.inf)
        measured = trainer.validate(best, self.folder / "best")
        self.rows.append({"step": step, **measured})
        line = "  ".join(f"{name} {value:.4f}" for name, value in measured.items())
        kept = "  (the best so far)" if measured["score"] > best else ""
        logging.info("validation at step %d  %s%s", step, line, kept)
        with writer.as_default(step=step):
            for name, value in measured.items():
                tf.summary.scalar(f"validation/{name}", value)
        write_report(self.folder / "validation", self.rows, self.table())

    def table(self) -> str:
        """Returns the rows as Markdown."""
        titles = list(self.rows[-1])
        rows = [
            [row["step"], *(row.get(title, "-") for title in titles[1:])]
            for row in self.rows
        ]
        return markdown_table(titles, rows)


def run_and_sum(strategy: tf.distribute.Strategy, step, *args) -> dict[str, tf.Tensor]:
    """Runs a step on every replica; sums each of the terms that it returns by name."""
    terms = strategy.run(step, args=args)
    return {
        name: strategy.reduce("SUM", value, axis=None) for name, value in terms.items()
    }


def window_means(window: list[dict]) -> dict[str, float]:
    """Averages the terms of the steps since `train_loop_begin`."""
    return {
        name: sum(float(terms[name]) for terms in window) / len(window)
        for name in window[0]
    }


class SummedSteps:
    """A trainer's first three methods, where all that a step gives is a sum of terms.

    What inherits has `strategy`, the variable `step`, and `_replica_step(batch, step)`,
    which returns a replica's terms by name.
    """

    def train_loop_begin(self) -> None:
        """Starts a window of metrics."""
        self._window: list[dict] = []

    @tf.function
    def _distributed_step(self, batch, step):
        return run_and_sum(self.strategy, self._replica_step, batch, step)

    def train_step(self, iterator) -> dict:
        """Runs one step on all replicas and returns its terms."""
        terms = self._distributed_step(next(iterator), self.step)
        self._window.append(terms)
        return terms

    def train_loop_end(self) -> dict[str, float]:
        """Returns the window's mean terms."""
        return window_means(self._window)


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
