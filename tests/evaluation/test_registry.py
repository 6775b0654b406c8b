import numpy as np
import pytest

from faketagger_tf.evaluation.registry import (
    fit_presence,
    measure_surprises,
    report_p_values,
)
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence
from faketagger_tf.messages.registered import FLOOR


def shares(lines: list[str]) -> dict[float, tuple[float, ...]]:
    rows = [[float(cell) for cell in line.strip("| ").split("|")] for line in lines]
    return {row[0]: tuple(row[1:]) for row in rows}


@pytest.fixture(scope="module")
def surprises():
    rng = np.random.default_rng(4)
    faces = [rng.normal(size=(3, 64)) for _ in range(150)]
    return measure_surprises(MessageCode(), faces, 500, 8, seed=1)


def test_ideal_faces_have_uniform_p_values_or_larger(surprises):
    assert surprises.shape == (8, 150)
    found = shares(report_p_values(surprises, Presence()))
    # 1,200 draws, 120 expected at 0.1 by the union bound: four deviations.
    assert 0.06 < found[0.1][0] < 0.135
    assert found[0.01][0] < 0.022
    assert found[1e-6][0] == 0


def test_a_fit_claims_no_more_than_the_ideal_model(surprises):
    presence = fit_presence(surprises)
    assert presence.faces == 150
    assert abs(presence.threshold - FLOOR) < 0.5 and 1 <= presence.scale < 1.5
    found = shares(report_p_values(surprises, presence))
    assert found[0.2][1] <= 0.11  # Nothing is claimed below the tail.
    assert found[0.01][1] <= found[0.01][0] + 0.004
