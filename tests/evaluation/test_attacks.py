"""Attacks on a spread-spectrum tagger, for which their outcome is known."""

import dataclasses

import numpy as np
import pytest
import support

from faketagger_tf.evaluation import attacks
from faketagger_tf.evaluation import canvases as evaluation


@pytest.fixture(scope="module")
def report():
    # Flat covers, to which the carrier is orthogonal: reading is exact.
    levels = np.random.default_rng(0).integers(80, 176, (24, 1, 1, 3))
    covers = np.broadcast_to(levels, (24, 64, 64, 3)).astype(np.uint8)
    encoder, decoder = support.spread_spectrum()
    decode = evaluation.keras_decode(decoder)
    return attacks.measure_attacks(support.SPREAD, encoder, decode, covers)


def row(report, *words):
    (found,) = [r for name, r in report.items() if all(w in name for w in words)]
    return found


def test_a_second_tag_of_equal_strength_draws(report):
    first, second = row(report, "first payload"), row(report, "second payload")
    # Bits on which the two agree, about half, are right in both; the others cancel.
    for payload in (first, second):
        assert 0.6 < payload["bit_accuracy"] < 0.9
    assert first["bit_accuracy"] + second["bit_accuracy"] == pytest.approx(1.5, abs=0.1)


def test_averaging_many_payloads_leaves_the_tag(report):
    assert row(report, "12 payloads", "subtracted")["bit_accuracy"] > 0.98


def test_averaging_one_payload_removes_and_forges_a_fixed_residual(report):
    assert row(report, "victim's payload", "subtracted")["bit_accuracy"] < 0.9
    assert row(report, "copied onto others")["bit_accuracy"] == 1.0


def test_too_few_covers():
    covers = np.zeros((3, 64, 64, 3), np.uint8)
    encoder, _ = support.spread_spectrum()
    with pytest.raises(ValueError, match=r"At least 4 covers.*Received: 3"):
        attacks.measure_attacks(support.SPREAD, encoder, None, covers)


@dataclasses.dataclass
class Reading:
    p_value: float
    crc_ok: bool


def test_false_positives_need_p_and_checksum():
    readings = {1: [Reading(1e-7, True), Reading(1e-7, False)], 2: [Reading(0.5, True)]}
    counts = attacks.count_false_positives(readings.get, [1, 2])
    assert counts["faces"] == 3
    assert counts["smallest_p_value"] == 1e-7
    assert counts["found"] == {"1e-03": 1, "1e-06": 1}
    assert counts["below_p"]["1e-03"] == 2
    text = attacks.markdown_attacks({}, {"photos": counts})
    assert "| photos | 3 | 1.0e-07 | 2 | 1 | 1 |" in text
