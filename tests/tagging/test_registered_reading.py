"""`Tagger.read` and `Tagger.examine` with the payloads that were issued."""

import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.messages.presence import Presence
from faketagger_tf.tagging.search import PLACES

PAYLOAD = 0x1F2E3D4C


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])


@pytest.fixture(scope="module")
def issued():
    drawn = np.random.default_rng(5).integers(0, 1 << 32, 999, dtype=np.uint64)
    return [PAYLOAD, *drawn.tolist()]


def add_noise(photo, deviation, seed):
    noise = np.random.default_rng(seed).normal(0, deviation, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def test_both_p_values_are_told(tagger, photo, issued):
    tagged = tagger.embed(photo, PAYLOAD)
    (reading,) = tagger.read(tagged, payloads=issued)
    (blind,) = tagger.read(tagged)
    assert reading.p_value == blind.p_value and reading.payload == PAYLOAD
    assert reading.registered_payload == PAYLOAD
    assert reading.registered_payloads == 1000
    assert reading.registered_p_value < blind.p_value
    assert blind.registered_p_value is None and blind.registered_payload is None
    # Fewer payloads, less to fear: by their number, and the tail's scale is 1 here.
    (alone,) = tagger.read(tagged, payloads=tagger.index([PAYLOAD]))
    assert reading.registered_p_value / alone.registered_p_value == pytest.approx(1000)


def test_found_is_what_either_p_value_says(tagger, photo, issued):
    index = tagger.index(issued)
    tagged, kinds = tagger.embed(photo, PAYLOAD), set()
    for seed, deviation in enumerate(np.repeat([40, 55, 70, 85, 200], 3)):
        (reading,) = tagger.examine(add_noise(tagged, deviation, seed), 1e-4, index)[:1]
        blind = reading.crc_ok and reading.p_value <= 1e-4
        registered = reading.registered_p_value <= 1e-4
        assert reading.found == (blind or registered)
        if registered:
            assert reading.payload == PAYLOAD == reading.registered_payload
            assert 0 <= reading.bit_error_estimate < 0.5
        kinds.add((bool(blind), bool(registered)))
    # Read both ways, by the registry alone, and not at all.
    assert {(True, True), (False, True), (False, False)} <= kinds


def test_issued_payloads_are_looked_for_at_every_place(tagger, photo, issued):
    """Mirrored, and with a canvas whose landmarks have moved."""
    tagged = tagger.embed(photo, PAYLOAD)
    mirrored = np.ascontiguousarray(tagged[:, ::-1])
    (reading,) = tagger.read(mirrored, payloads=issued)
    assert reading.mirrored and reading.registered_p_value < 1e-9
    # At such a rate nothing is found, and no place is left out.
    noisy = add_noise(tagged, 60, 1)
    searched = tagger.examine(noisy, 1e-99, issued)[0]
    nearest = tagger.index(issued).search(tagger.logits(noisy)[0], PLACES)
    assert not searched.found and nearest.p_value < 0.01
    p_value = nearest.p_value * searched.canvas.directions
    assert searched.registered_p_value == pytest.approx(p_value, rel=1e-3)


def test_no_payload_is_near_an_untagged_photo(tagger, photo, issued):
    (reading,) = tagger.examine(photo, payloads=issued)
    assert not reading.found and reading.registered_p_value > 1e-3
    (reading,) = tagger.examine(photo, payloads=[])
    assert not reading.found and reading.registered_p_value == 1.0
    assert reading.registered_payloads == 0


def test_keyed_payloads(photo, issued):
    tagger = support.correlation_tagger(key=b"k" * 32)
    tagged = tagger.embed(photo, PAYLOAD)
    (reading,) = tagger.read(tagged, payloads=issued[:20])
    assert reading.payload == reading.registered_payload == PAYLOAD
    assert reading.registered_p_value < 1e-9


def test_four_directions_have_four_times_the_registered_p_value(photo, issued):
    """No face stands upright beyond doubt where none is found."""
    tagger = support.correlation_tagger(detect=lambda _: [])
    tagged = tagger.embed(photo, PAYLOAD)
    (reading,) = tagger.read(tagged, payloads=issued)
    logits = tagger.logits(tagged)[0]
    place = tagger.index(issued).search(logits[:1], PLACES)
    assert reading.canvas.directions == 4
    assert reading.registered_p_value == pytest.approx(4 * place.p_value)


def test_the_calibration_is_that_of_registered_readings(photo, issued):
    strict = Presence(threshold=1.0, rate=0.1, scale=3.0)
    tagged = support.correlation_tagger().embed(photo, PAYLOAD)
    ideal, calibrated = (
        support.correlation_tagger(registered=presence).read(tagged, payloads=issued)[0]
        for presence in (None, strict)
    )
    x = -np.log(ideal.registered_p_value)
    assert calibrated.registered_p_value == pytest.approx(strict.p_value(x))
    assert calibrated.p_value == ideal.p_value


def test_bad_payloads(tagger, photo):
    for payloads in ([1 << 32], ["xyz"], np.array([-1])):
        with pytest.raises(ValueError, match="payload"):
            tagger.read(photo, payloads=payloads)
