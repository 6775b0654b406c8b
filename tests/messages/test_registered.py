import math

import numpy as np
import pytest

from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.keys import KeyedCode
from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.messages.registered import (
    Match,
    PayloadIndex,
    WordIndex,
    pack_words,
)


def every_cosine(code: MessageCode, payloads, logits: np.ndarray) -> np.ndarray:
    """[places, N] by a plain matrix product: the reference."""
    signs = 2.0 * code.encode([int(p) for p in payloads]) - 1
    norm = np.linalg.norm(logits, axis=1, keepdims=True) * math.sqrt(signs.shape[1])
    return logits @ signs.T / norm


@pytest.mark.parametrize(
    ("payload_bits", "message_bits", "crc_bits"),
    [(32, 64, 4), (8, 16, 3), (7, 15, 0), (40, 100, 8), (64, 128, 4)],
)
def test_the_search_finds_what_a_full_comparison_finds(
    payload_bits, message_bits, crc_bits
):
    code = MessageCode(payload_bits, message_bits, crc_bits)
    rng = np.random.default_rng(message_bits)
    count = min(20_000, 1 << payload_bits >> 1)
    payloads = rng.integers(0, 1 << min(payload_bits, 63), count, dtype=np.uint64)
    index = WordIndex(pack_words(code, payloads), message_bits)
    assert len(index) == count
    for kind in range(6):
        logits = rng.normal(size=(7, message_bits))
        if kind == 1:  # Most of the length in a few logits.
            logits **= 5
        elif kind == 2:  # One length, as a sure decoder's.
            logits = np.sign(logits)
        elif kind == 3:  # A tag, weak at one place.
            word = code.encode([int(payloads[17])])[0]
            logits[4] += 1.5 * (2.0 * word - 1)
        elif kind == 4:  # Whole blocks say nothing.
            logits[:, 16:] = 0
        elif kind == 5:
            logits[2] = 0
            logits *= 1e6
        scores = every_cosine(code, payloads, np.where(logits, logits, 1e-12))
        scores[~logits.any(axis=1)] = 0
        match = index.search(logits, floor=0)
        x = float(surprise(scores.max(), message_bits, math.log2(count * 7)))
        if x < 1e-3:
            assert match.surprise < 1e-2
            continue
        assert match.score == pytest.approx(scores.max(), abs=1e-6)
        assert match.surprise == pytest.approx(x, abs=1e-3)
        assert scores[match.place, match.row] == pytest.approx(match.score, abs=1e-6)


def test_a_weak_tag_is_found_among_issued_words_only():
    code = MessageCode()
    rng = np.random.default_rng(3)
    payloads = rng.integers(0, 1 << 32, 50_000, dtype=np.uint64)
    index = WordIndex(pack_words(code, payloads), 64)
    sent = 2.0 * code.encode([int(payloads[123])])[0] - 1
    # Raw bit errors of one in eight: the blind decoder has 2^36 words to fear.
    found = 0
    for _ in range(40):
        logits = 1.15 * sent + rng.normal(size=(1, 64))
        match = index.search(logits)
        found += match.row == 123 and match.p_value() <= 1e-6
    blind = Presence.ideal(1)
    decoded = code.decode(1.15 * sent + rng.normal(size=(40, 64)))
    x = surprise(decoded.score, 64, code.k)
    assert found >= 20 + sum(blind.p_value(value, 4) <= 1e-6 for value in x)
    other = WordIndex(pack_words(code, payloads[1000:]), 64)
    assert other.search(1.15 * sent[None]).row == -1 or (
        other.search(1.15 * sent[None]).p_value() > 1e-6
    )


def test_noise_is_as_rare_as_the_p_value_says():
    # 3,000 untagged faces: 300 and 30 expected at 0.1 and 0.01 by the union bound,
    # which is above the truth (0.095 at 0.1). The limits are four deviations away.
    code = MessageCode()
    rng = np.random.default_rng(11)
    payloads = rng.integers(0, 1 << 32, 200, dtype=np.uint64)
    index = WordIndex(pack_words(code, payloads), 64)
    p = [index.search(rng.normal(size=(2, 64))).p_value() for _ in range(3000)]
    p = np.array(p)
    assert 220 < np.sum(p <= 0.1) < 365
    assert 9 < np.sum(p <= 0.01) < 52
    assert np.sum(p <= 0.001) <= 12


def test_places_that_agree_only_lower_the_number_of_false_alarms():
    code = MessageCode()
    rng = np.random.default_rng(12)
    payloads = rng.integers(0, 1 << 32, 200, dtype=np.uint64)
    index = WordIndex(pack_words(code, payloads), 64)
    p = []
    for _ in range(1000):
        middle = rng.normal(size=(1, 64))
        p.append(index.search(middle + 0.3 * rng.normal(size=(8, 64))).p_value())
    assert np.mean(np.array(p) <= 0.1) < 0.1


def test_keyed_words():
    code, keyed = MessageCode(), KeyedCode(b"k" * 16, 32, 64)
    payloads = np.random.default_rng(5).integers(0, 1 << 32, 300, dtype=np.uint64)
    written = keyed.scramble(code.encode([keyed.encipher(int(payloads[7]))]))
    logits = keyed.unscramble(2.0 * written - 1)
    index = WordIndex(pack_words(code, payloads, keyed), 64)
    assert index.search(logits).row == 7
    assert index.search(logits).score == pytest.approx(1)
    opened = WordIndex(pack_words(code, payloads), 64)
    assert opened.search(2.0 * written - 1).row == -1


def test_counting_more_places_raises_the_p_value_in_proportion():
    code = MessageCode()
    index = WordIndex(pack_words(code, ["1F2E3D4C", "0x1"]), 64)
    noise = np.random.default_rng(1).normal(size=(1, 64))
    logits = 2.0 * code.encode([1]) - 1 + 0.8 * noise
    one, ten = index.search(logits), index.search(logits, places=10)
    assert one.row == ten.row == 1 and ten.places == 10
    assert ten.p_value() == pytest.approx(10 * one.p_value(), rel=1e-6)


def test_nothing_is_claimed_below_the_calibrated_tail():
    match = Match(3, 0, 0.7, 4.0, 100, 53)
    assert match.p_value() == pytest.approx(math.exp(-4))
    assert match.p_value(Presence(threshold=5.0, rate=0.1, scale=1.5)) == 1.0
    assert match.p_value(Presence(3.0, 0.1, 1.0)) == pytest.approx(0.1 * math.exp(-1))


def test_an_empty_registry_and_no_logits():
    index = WordIndex(pack_words(MessageCode(), []), 64)
    assert index.search(np.ones((2, 64))).p_value() == 1.0
    index = WordIndex(pack_words(MessageCode(), [1]), 64)
    assert index.search(np.ones((0, 64))).row == -1
    assert index.search(np.zeros((3, 64))).row == -1


def test_errors():
    code = MessageCode()
    index = WordIndex(pack_words(code, [1, 2]), 64)
    with pytest.raises(ValueError, match="shape"):
        index.search(np.zeros(64))
    with pytest.raises(ValueError, match="finite"):
        index.search(np.full((1, 64), np.nan))
    with pytest.raises(ValueError, match="count every row"):
        index.search(np.ones((3, 64)), places=2)
    with pytest.raises(ValueError, match="floor"):
        index.search(np.ones((3, 64)), floor=-1)
    with pytest.raises(ValueError, match="uint8"):
        WordIndex(np.zeros((3, 4), np.uint8), 64)
    with pytest.raises(ValueError, match="from 0 to"):
        pack_words(code, np.array([1 << 32]))
    with pytest.raises(ValueError, match="from 0 to"):
        pack_words(code, np.array([-1]))


@pytest.mark.parametrize(
    ("payload_bits", "message_bits", "keyed"),
    [(32, 64, False), (32, 64, True), (80, 128, False)],
)
def test_an_index_that_grows_is_the_index_of_all(
    payload_bits, message_bits, keyed, monkeypatch
):
    code = MessageCode(payload_bits, message_bits, 4)
    cipher = KeyedCode(b"k" * 16, payload_bits, message_bits) if keyed else None
    rng = np.random.default_rng(payload_bits)
    payloads = [int(rng.integers(1 << 31)) << payload_bits - 31 for _ in range(200)]
    whole = PayloadIndex(code, payloads, cipher)
    grown = PayloadIndex(code, payloads[:50], cipher).extended(payloads[40:150])
    grown = grown.extended(payloads[:10]).extended(payloads[140:])
    # Beyond a few, those that came later are sorted among the others.
    monkeypatch.setattr("faketagger_tf.messages.registered._FEW", 20)
    merged = PayloadIndex(code, payloads[:50], cipher).extended(payloads[50:])
    assert len(whole) == len(grown) == len(merged) == 200
    logits = rng.normal(size=(3, message_bits))
    word = payloads[123] if cipher is None else cipher.encipher(payloads[123])
    logits[1] = 2.0 * code.encode([word])[0] - 1
    logits[1, :3] *= -0.1
    for index in (whole, grown, merged):
        nearest = index.search(logits, 50)
        assert nearest.p_value == pytest.approx(whole.search(logits, 50).p_value)
        assert nearest.payload == payloads[123]
        assert (nearest.place, nearest.differing) == (1, 3)
        assert nearest.p_value < 1e-9
    assert PayloadIndex(code, []).search(logits).payload is None
