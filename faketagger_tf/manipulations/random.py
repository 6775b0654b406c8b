"""Randomness that is a pure function of a seed, for exactly resumable training."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

# Odd constant of the golden ratio: consecutive draws get far-apart keys.
_STRIDE = 0x9E3779B9


class StatelessSeed(keras.random.SeedGenerator):
    """A `keras.random.SeedGenerator` without a variable.

    The n-th call of `next` returns a key made of (seed, n), n being counted in Python.
    A train step that builds one from its step number therefore draws the same numbers
    whether or not the run was interrupted, and needs no state in the checkpoint. Build
    it *inside* the traced function: one that is built outside is frozen into the graph.

    Args:
        seed: an integer, or an integer tensor of shape [] or [2] (for instance the
            run's seed and the step).

    Raises:
        ValueError: the seed is no integer, or has another shape.
    """

    def __init__(self, seed):
        # The parent's constructor would create the state variable; its type is what
        # keras.random asks for.
        self.name = "stateless_seed"
        if isinstance(seed, (int, np.integer)):
            seed = np.array([int(seed) % 2**64], ">u8").view(">u4").astype(np.uint32)
        # XLA and GPU kernels of TensorFlow take int32 seeds; JAX's keys are uint32.
        tensorflow = keras.backend.backend() == "tensorflow"
        self._dtype = "int32" if tensorflow else "uint32"
        dtype = str(getattr(seed, "dtype", type(seed).__name__))
        shape = tuple(getattr(seed, "shape", (None,)))
        if "int" not in dtype or shape not in ((), (2,)):
            raise ValueError(
                "The seed must be an integer or an integer tensor of shape [] or [2]. "
                f"Received: {dtype} of shape {list(shape)}."
            )
        key = ops.cast(seed, self._dtype)
        self._key = ops.stack([ops.zeros_like(key), key]) if shape == () else key
        self._draws = 0

    def next(self, ordered=True):
        """Returns the next key: an integer tensor of shape [2]."""
        offset = np.array([self._draws * _STRIDE % 2**32, 0], np.uint32)
        if self._dtype == "int32":
            offset = offset.view(np.int32)
        self._draws += 1
        return self._key + ops.convert_to_tensor(offset, dtype=self._dtype)


def uniform(seed, shape, low, high):
    """Returns float32 [*shape] drawn uniformly from [low, high); bounds broadcast."""
    return low + (high - low) * keras.random.uniform(shape, seed=seed)


def any_of(seed, branches, *operands):
    """Runs one of several functions, drawn once, on the operands."""
    if len(branches) == 1:
        return branches[0](*operands)
    index = ops.floor(uniform(seed, (), 0.0, float(len(branches))))
    index = ops.cast(ops.minimum(index, len(branches) - 1.0), "int32")
    return ops.switch(index, branches, *operands)
