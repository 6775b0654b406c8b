"""Ours against outputs that tensorflow-addons 0.23 wrote (`make tfa-parity`)."""

import pathlib

import numpy as np
import pytest

from benchmarks import tfa_parity

REFERENCE = pathlib.Path(__file__).with_name("tfa_reference.npz")


@pytest.fixture(scope="module")
def differences():
    return tfa_parity.compare(str(REFERENCE))


def test_every_operation_equals_tensorflow_addons(differences):
    assert len(differences) == 12
    assert max(differences.values()) <= tfa_parity.TOLERANCE, differences


def test_reference_inputs_are_those_of_the_writer():
    with np.load(REFERENCE) as stored:
        for name, value in tfa_parity.inputs().items():
            np.testing.assert_array_equal(stored[name], value)
        # The operations did something: no output equals its input.
        for name in set(stored.files) - {"images", "flow", "flow_gradient"}:
            assert np.abs(stored[name] - stored["images"]).max() > 0.1, name
