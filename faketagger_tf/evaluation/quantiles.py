"""Draws whether p-values are what they say: expected against observed quantiles.

    write_image("quantiles.png", draw_quantiles({"10,000 payloads": p_values}, 300))

Of p-values that hold, a share of q is at most q: the points lie on the diagonal. Above
it they are too small, and promise too much; below it they err on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

SIDE = 520  # Pixels of the plotted square.
_MARGIN = (80, 60)  # Left and below, and above and to the right of it.
_COLOURS = ((0, 90, 181), (220, 50, 32), (0, 130, 90), (150, 90, 0))
_GREY, _BAND = (150, 150, 150), (232, 232, 232)
_SAMPLES = 2000  # Of uniform p-values, from which the band is drawn.
_FINE = 4  # Binary digits of a pixel that points are drawn at.


def expected_quantiles(p_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns p-values in ascending order, and what uniform ones would be there.

    Args:
        p_values: any shape, 0 to 1.

    Returns:
        (expected, observed), float64 [n] each.

    Example:
        >>> expected_quantiles(np.array([0.5, 0.1]))[0].tolist()
        [0.25, 0.75]
    """
    observed = np.sort(np.ravel(p_values))
    return (np.arange(len(observed)) + 0.5) / len(observed), observed


def draw_quantiles(series: Mapping[str, np.ndarray], faces: int) -> np.ndarray:
    """Draws the quantiles of p-values against those of uniform ones, on log scales.

    Args:
        series: p-values by what they are called, at most four.
        faces: how many of the values are independent. The grey band holds 95% of the
            quantiles of so many uniform values.

    Returns:
        A picture, uint8 RGB.

    Raises:
        ValueError: there is nothing to draw, or more than four series.
    """
    if not 1 <= len(series) <= len(_COLOURS) or faces < 1:
        raise ValueError(
            f"A plot must have 1 to {len(_COLOURS)} series and a face. "
            f"Received: {len(series)} series, {faces} faces."
        )
    points = {name: expected_quantiles(values) for name, values in series.items()}
    least = min(1 / (2 * faces), *(expected[0] for expected, _ in points.values()))
    decades = int(np.ceil(-np.log10(least)))
    low, high = _MARGIN
    picture = np.full((SIDE + low + high, SIDE + low + high, 3), 255, np.uint8)

    def place(expected, observed) -> np.ndarray:
        """Fixed-point positions [n, 2] of points."""
        smallest = 10.0**-decades
        x, y = (
            -np.log10(np.maximum(values, smallest)) / decades * SIDE
            for values in (expected, observed)
        )
        at = np.stack([low + x, high + SIDE - y], axis=1)
        return np.rint(at * (1 << _FINE)).astype(np.int32)

    uniform = np.sort(np.random.default_rng(0).random([_SAMPLES, faces]), axis=1)
    expected = expected_quantiles(uniform[0])[0]
    edges = [place(expected, np.quantile(uniform, q, axis=0)) for q in (0.025, 0.975)]
    band = np.concatenate([edges[0], edges[1][::-1]])
    cv2.fillPoly(picture, [band], _BAND, cv2.LINE_AA, _FINE)
    for decade in range(decades + 1):
        level = 10.0**-decade
        ((x, y),) = place([level], [level]) >> _FINE
        cv2.line(picture, (x, high), (x, high + SIDE), _GREY, 1)
        cv2.line(picture, (low, y), (low + SIDE, y), _GREY, 1)
        label = "1" if not decade else f"1e-{decade}"
        _write(picture, label, (x - 14, high + SIDE + 18))
        _write(picture, label, (low - 48, y + 4))
    ends = place([1, 10.0**-decades], [1, 10.0**-decades])
    cv2.polylines(picture, [ends], False, (0, 0, 0), 1, cv2.LINE_AA, _FINE)
    for number, (name, (expected, observed)) in enumerate(points.items()):
        colour = _COLOURS[number]
        path = place(expected, observed)
        cv2.polylines(picture, [path], False, colour, 2, cv2.LINE_AA, _FINE)
        _write(picture, name, (low + 8, high + 20 + 20 * number), colour)
    _write(picture, "expected (share of faces without a tag)", (low, high + SIDE + 42))
    _write(picture, "observed p-value", (low, high - 12))
    return picture


def _write(picture: np.ndarray, text: str, place, colour=(0, 0, 0)) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    place = tuple(map(int, place))
    cv2.putText(picture, text, place, font, 0.45, colour, 1, cv2.LINE_AA)
