"""The plot of p-values: where its points lie is what they say."""

import numpy as np
import pytest

from faketagger_tf.evaluation.quantiles import (
    SIDE,
    draw_quantiles,
    expected_quantiles,
)

FACES = 400


def drawn(p_values) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the first series, as decades right and decades up, within the plot."""
    picture = draw_quantiles({"p": p_values}, FACES).astype(int)
    low, high = 80, 60
    square = picture[high : high + SIDE, low : low + SIDE]
    red, green, blue = np.moveaxis(square, -1, 0)
    y, x = np.nonzero((blue > red + 100) & (blue > green + 40))
    legend = (y < 30) & (x < 40)  # Where the name stands.
    decades = 3  # 400 values, the least expected one being 1/800.
    return x[~legend] / SIDE * decades, (SIDE - y[~legend]) / SIDE * decades


def test_p_values_that_hold_lie_on_the_diagonal():
    p = (np.arange(FACES) + 0.5) / FACES
    right, up = drawn(p)
    assert len(right) > SIDE / 2
    assert np.abs(right - up).max() < 0.05


@pytest.mark.parametrize(("factor", "decades"), [(0.1, 1.0), (0.01, 2.0)])
def test_p_values_that_are_too_small_lie_above_it(factor, decades):
    p = (np.arange(FACES) + 0.5) / FACES * factor
    right, up = drawn(p)
    inside = right < 3 - decades - 0.1  # Further on they leave the plot.
    assert np.median((up - right)[inside]) == pytest.approx(decades, abs=0.03)


def test_what_is_expected():
    expected, observed = expected_quantiles(np.array([[0.3, 0.1], [1.0, 0.2]]))
    assert observed.tolist() == [0.1, 0.2, 0.3, 1.0]
    assert expected.tolist() == [0.125, 0.375, 0.625, 0.875]


def test_p_values_of_zero_and_one_have_a_place():
    picture = draw_quantiles({"none": np.ones(9), "all": np.zeros(9)}, 9)
    assert picture.shape[2] == 3 and picture.dtype == np.uint8


def test_mistakes():
    for series in ({}, {str(n): np.ones(3) for n in range(5)}):
        with pytest.raises(ValueError, match="1 to 4 series"):
            draw_quantiles(series, 3)
