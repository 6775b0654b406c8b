"""Runs TFLite files with LiteRT, from many threads at once and without TensorFlow."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator

import numpy as np


class LiteModel:
    """A TFLite file with one signature, as a function of arrays.

    An interpreter serves one call at a time. So each of the calls that run at once has
    one of its own, and no more are made than there are processors; further calls wait.

    Args:
        path: the .tflite file.
        threads: threads that one call may use.

    Attributes:
        signature: its name, such as "decode".
        inputs: name -> shape without the batch.
        outputs: the same of what it returns.

    Raises:
        ValueError: there is no such file, or no TFLite model with one signature in it.

    Example:
        >>> from faketagger_tf.presets import tagger_folder
        >>> model = LiteModel(tagger_folder("face128") / "decoder.tflite")
        >>> model({"image": np.zeros((3, 128, 128, 3), np.float32)})["logits"].shape
        (3, 64)
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        self._path, self._threads = os.fspath(path), threads
        self._free = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._idle: list = []
        with self._runner() as (self.signature, runner):
            self.inputs = _shapes(runner.get_input_details())
            self.outputs = _shapes(runner.get_output_details())

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the model, row by row: memory does not grow with the batch.

        LiteRT gains nothing from a batch on one thread: 52 canvases in one call take
        52 times as long as one.

        Args:
            inputs: name -> float32 `[N, ...]`, as many rows each.

        Returns:
            name -> float32 `[N, ...]`.

        Raises:
            ValueError: an input is missing, or its rows have another shape.
        """
        arrays = {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in inputs.items()
        }
        received = {name: array.shape[1:] for name, array in arrays.items()}
        if received != self.inputs:
            raise ValueError(
                f"The rows of the inputs must have the shapes {self.inputs}. "
                f"Received: {received}."
            )
        count = len(next(iter(arrays.values())))
        results = {
            name: np.empty([count, *shape], np.float32)
            for name, shape in self.outputs.items()
        }
        with self._runner() as (_, runner):
            for row in range(count):
                made = runner(**{n: a[row : row + 1] for n, a in arrays.items()})
                for name, value in made.items():
                    results[name][row] = value[0]
        return results

    @contextlib.contextmanager
    def _runner(self) -> Iterator:
        with self._free:
            try:
                runner = self._idle.pop()
            except IndexError:
                runner = _open(self._path, self._threads)
            try:
                yield runner
            finally:
                self._idle.append(runner)


def _shapes(details: dict) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(map(int, about["shape"][1:])) for name, about in details.items()
    }


def _open(path: str, threads: int):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ValueError(
            "Running a TFLite file needs ai-edge-litert: "
            "python -m pip install ai-edge-litert."
        ) from None
    if not pathlib.Path(path).is_file():
        raise ValueError(f"There is no TFLite file {path!r}.")
    try:
        interpreter = Interpreter(model_path=path, num_threads=threads)
        names = list(interpreter.get_signature_list())
        if len(names) == 1:
            return names[0], interpreter.get_signature_runner(names[0])
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path!r} is no TFLite file: {error}") from None
    raise ValueError(
        f"{path!r} must have one signature, as export.tflite writes it. "
        f"Received: {names}."
    )
