"""Module 3 and the channel: what can happen to a tagged photo.

Every manipulation exists twice: differentiable, batched and written with keras.ops for
training, and real (OpenCV, actual codecs) on uint8 for evaluation.
"""

from faketagger_tf.manipulations.chain import (
    MANIPULATIONS,
    Chain,
    Manipulation,
    Parameter,
    Range,
    Step,
    describe_manipulations,
    parse_chain,
    parse_chains,
)
from faketagger_tf.manipulations.face import Context, Swap
from faketagger_tf.manipulations.geometry import random_warp
from faketagger_tf.manipulations.random import StatelessSeed

__all__ = [
    "MANIPULATIONS",
    "Chain",
    "Context",
    "Manipulation",
    "Parameter",
    "Range",
    "StatelessSeed",
    "Step",
    "Swap",
    "describe_manipulations",
    "parse_chain",
    "parse_chains",
    "random_warp",
]
