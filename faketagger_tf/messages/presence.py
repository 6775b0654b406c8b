"""Is there a tag at all? From the decoder's score to a p-value.

The score is the cosine s between the logits and the decoded code word
(`messages.Decoded.score`). Logits of an image without a tag that point in a random
direction of the n-dimensional space lie within that angle of one given code word with
the probability of a spherical cap,

    cap(s) = I(1 - s^2; (n - 1) / 2, 1 / 2) / 2,

and of any of the 2^k code words with at most 2^k cap(s). The *surprise*
x = -ln(2^k cap(s)) of an ideal untagged image therefore has a Gumbel distribution with
scale 1, whose upper tail is exponential, and searching m places of an image shifts it
by at most ln m. Real logits are not ideal, so that the tail is measured: the surprises
of untagged faces above their 90% quantile u are fitted by an exponential (peaks over a
threshold, Pickands 1975, with shape 0):

    p(x) = min(1, rate * exp(-(x - u) / scale)).

`scale` is the mean excess plus 1.64 standard errors, and never below the ideal 1, so
that extrapolation errs on the side of missing a tag. `trainers.calibrate` does so and
writes `presence.json`; without one beside the weights the ideal model is used: u = 0,
rate = m, scale = 1.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

QUANTILE = 0.9
MIN_FACES = 100
_STEPS = 4096


@functools.cache
def _cap_table(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles, ascending, and the log share of the sphere within them of one point."""
    angle = np.linspace(0, np.pi, _STEPS + 1)
    middle = (angle[1:] + angle[:-1]) / 2
    # The area of a thin ring at an angle is sin(angle)^(n - 2).
    log_ring = (dimensions - 2) * np.log(np.sin(middle))
    log_area = np.logaddexp.accumulate(log_ring)
    return angle[1:], log_area - log_area[-1]


def surprise(score, dimensions: int, words_log2: float) -> np.ndarray:
    """Returns x = -ln(2^k cap(s)).

    Args:
        score: cosines, any shape; at least 0.
        dimensions: n, the length of the code word, at least 3.
        words_log2: k, the number of free bits.

    Returns:
        float64 of the scores' shape; negative where such a score is no surprise.
    """
    angles, log_share = _cap_table(dimensions)
    angle = np.arccos(np.clip(np.asarray(score, np.float64), 0.0, 1.0))
    # The table's first angle: a cosine that float32 cannot tell from 1.
    value = np.interp(angle, angles, log_share)
    return -(words_log2 * math.log(2) + value)


@dataclasses.dataclass(frozen=True)
class Presence:
    """The tail of untagged faces' surprises, as stored in `presence.json`.

    Attributes:
        threshold: u, where the exponential tail starts.
        rate: share of untagged faces above it.
        scale: mean of the tail's excess.
        faces: number of untagged faces it was fitted to; 0 for the ideal model.
        largest: the largest surprise seen among them.
    """

    threshold: float = 0.0
    rate: float = 1.0
    scale: float = 1.0
    faces: int = 0
    largest: float = 0.0

    def __post_init__(self):
        values = (self.threshold, self.rate, self.scale)
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise ValueError(
                "A presence calibration must hold finite numbers. "
                f"Received: threshold, rate, scale = {values}."
            )
        if self.rate <= 0 or self.scale <= 0:
            raise ValueError(
                "rate and scale must be positive. "
                f"Received: {self.rate!r} and {self.scale!r}."
            )

    @classmethod
    def ideal(cls, places: int) -> Presence:
        """The model without a calibration, for a search of `places` canvases."""
        return cls(rate=float(places))

    @classmethod
    def fit(cls, surprises) -> Presence:
        """Fits the tail to the surprises `[faces]` of untagged faces.

        Raises:
            ValueError: there are too few of them.
        """
        surprises = np.sort(np.asarray(surprises, np.float64))
        if len(surprises) < MIN_FACES:
            raise ValueError(
                f"A calibration needs at least {MIN_FACES} untagged faces. "
                f"Received: {len(surprises)}."
            )
        threshold = float(np.quantile(surprises, QUANTILE))
        excess = surprises[surprises > threshold] - threshold
        if not len(excess):
            excess = np.zeros(1)
        scale = float(excess.mean()) * (1 + 1.64 / math.sqrt(len(excess)))
        return cls(
            threshold=threshold,
            rate=len(excess) / len(surprises),
            scale=max(scale, 1.0),
            faces=len(surprises),
            largest=float(surprises[-1]),
        )

    def p_value(self, x: float, agreeing_bits: int = 0) -> float:
        """Probability that an untagged face reads like this.

        Args:
            x: its surprise.
            agreeing_bits: bits of the checksum that agree. The search for the code
                word ignores the checksum, so that each bit halves the probability.
        """
        exponent = math.log(self.rate) - (x - self.threshold) / self.scale
        return math.exp(min(exponent, 0.0)) / 2.0**agreeing_bits
