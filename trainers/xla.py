"""What trainers that are one program of XLA share: JAX, Adam, a loop by the clock."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from faketagger_tf.options import Checked, option


def use_jax(command: str) -> None:
    """Makes Keras run on JAX; to be called before Keras is imported.

    Exits with 2, after one sentence, where there is no JAX.
    """
    if importlib.util.find_spec("jax") is None:
        print(
            f"Error: {command} needs JAX. Received: no module 'jax'. "
            "Accepted: an environment of its own with requirements-jax.txt (BUILD.md).",
            file=sys.stderr,
        )
        sys.exit(2)
    os.environ["KERAS_BACKEND"] = "jax"
    # XLA compiles for many minutes where it tries out every algorithm (level 4), and
    # chooses convolutions that are 30 times slower where it tries none (level 0).
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_gpu_autotune_level=1 --xla_gpu_enable_triton_gemm=false"
    )


@dataclasses.dataclass(frozen=True)
class RunOptions(Checked):
    """What every trainer here can be told about its run."""

    output: str = option("", "Folder that receives the weights.", required=True)
    minutes: float = option(7.0, "Length of the run, compiling included.", low=0.01)
    steps: int = option(0, "Steps at most; 0 for as many as the minutes allow.", low=0)
    learning_rate: float = option(1e-3, "Adam's peak learning rate.", low=0.0)
    warmup_steps: int = option(200, "Steps of linear warm-up.", low=1)
    precision: str = option(
        "mixed_bfloat16",
        "Keras dtype policy.",
        choices=("float32", "mixed_bfloat16"),
    )
    steps_a_call: int = option(10, "Steps that are compiled into one program.", low=1)
    log_every: int = option(100, "Steps between two progress lines.", low=1)
    seed: int = option(1, "Of whatever is drawn at random.", low=0)


class State(NamedTuple):
    """What a step changes: lists of arrays, in the order of the variables.

    Attributes:
        weights: trainable ones; others: the batch statistics.
        mean, square: Adam's moments; average: moving average of the weights.
        step: steps done, an integer scalar.
    """

    weights: list
    others: list
    mean: list
    square: list
    average: list
    step: object


def check_backend(command: str) -> None:
    """Raises a ValueError where Keras does not run on JAX."""
    import keras  # Not before `use_jax`.

    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            f"{command} needs Keras on JAX. Received: KERAS_BACKEND={backend}. "
            "Accepted: KERAS_BACKEND=jax."
        )


def start(variables: list, others: Sequence = ()) -> State:
    """Returns the state before the first step.

    Args:
        variables: the trainable ones.
        others: those of the batch statistics.
    """
    import jax.numpy as jnp

    def copied(variables):
        # Copies throughout, because the program overwrites what it is given.
        return [jnp.array(v.value, "float32") for v in variables]

    def zeros():
        return [jnp.zeros(v.shape) for v in variables]

    trained, average = copied(variables), copied(variables)
    return State(trained, copied(others), zeros(), zeros(), average, jnp.int32(0))


def update(state: State, gradients: list, others: list, rate, xp=np) -> State:
    """One step of Adam on gradients clipped to a global norm of 1.

    Gradients that are not finite count as zero. The average forgets with 0.999, and
    at first sooner.

    Args:
        xp: numpy, or jax.numpy in a compiled program.
    """
    norm = xp.sqrt(sum(xp.sum(xp.square(g)) for g in gradients))
    good = xp.isfinite(norm)
    factor = xp.where(good, 1.0 / xp.maximum(norm, 1.0), 0.0)
    gradients = [xp.where(good, g, 0.0) * factor for g in gradients]
    step = state.step + 1
    mean = [0.9 * m + 0.1 * g for m, g in zip(state.mean, gradients, strict=True)]
    square = [
        0.999 * s + 0.001 * g * g for s, g in zip(state.square, gradients, strict=True)
    ]
    first, second = 1 - 0.9**step, 1 - 0.999**step
    weights = [
        w - rate * (m / first) / (xp.sqrt(s / second) + 1e-7)
        for w, m, s in zip(state.weights, mean, square, strict=True)
    ]
    kept = xp.minimum(0.999, 1 - 1 / (step / 5 + 2))
    average = [
        kept * a + (1 - kept) * w for a, w in zip(state.average, weights, strict=True)
    ]
    return State(weights, others, mean, square, average, step)


def rate_share(warmup_steps: int, step: int, done: float) -> float:
    """The share of a peak learning rate at a step: linear warm-up, then a cosine.

    Args:
        warmup_steps: of the warm-up.
        step: counted from 1.
        done: share of the run that is done.
    """
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return min(1.0, step / warmup_steps) * cosine


def make_output(output: str) -> None:
    """Creates a run's folder.

    Raises:
        ValueError: it cannot be created.
    """
    try:
        pathlib.Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Cannot write to --output {output!r}: {error.strerror or error}."
        ) from None


def run(
    options: RunOptions,
    began: float,
    advance: Callable[[float], dict],
    describe: Callable[[list[dict]], str],
    save: Callable[[pathlib.Path], None],
) -> int:
    """Calls a compiled program until the run's time is over; logs and saves.

    Args:
        options: see `RunOptions`.
        began: `time.monotonic()` when the command began: compiling counts.
        advance: takes `steps_a_call` steps at a share of the peak learning rate;
            returns their terms by name, an array over the steps each.
        describe: the terms of the calls since the last line -> what the line says.
        save: writes the weights to a folder; to `third1` and `third2` in the run's at
            each third, and to the run's at the end.

    Returns:
        The number of steps.

    Raises:
        ValueError: a term is not finite in any of the last steps.
    """
    folder = pathlib.Path(options.output)
    step, saved, done, window, compiled = 0, 0, 0.0, [], 0.0
    while done < 1.0:
        step += options.steps_a_call
        window.append(advance(rate_share(options.warmup_steps, step, done)))
        if not compiled:
            np.asarray(next(iter(window[0].values())))  # Waits for the program.
            compiled = time.monotonic()
            logging.info("Compiled in %.0f s.", compiled - began)
        if step % options.log_every < options.steps_a_call:
            _check_finite(window, step)
            text, window = describe(window), []
            now = time.monotonic()
            each = 1000 * (now - compiled) / max(step - options.steps_a_call, 1)
            left = max(options.minutes - (now - began) / 60, 0)
            logging.info(
                f"Step {step}, {text}, {each:.1f} ms a step, {left:.1f} minutes left."
            )
        done = (time.monotonic() - began) / (60 * options.minutes)
        if options.steps:
            done = max(done, step / options.steps)
        if (saved + 1) / 3 <= done < 1:
            saved += 1
            save(folder / f"third{saved}")
    save(folder)
    return step


def _check_finite(window: list[dict], step: int) -> None:
    # A step alone may overflow: `update` leaves it out.
    for name in window[-1]:
        if not np.isfinite(np.asarray(window[-1][name], np.float32)).any():
            raise ValueError(
                f"Step {step} gave a value that is not finite: {name}. Accepted: a "
                "lower --learning_rate."
            )
