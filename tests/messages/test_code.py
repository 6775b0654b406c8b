import subprocess
import sys
from math import comb
from statistics import NormalDist

import numpy as np
import pytest

from faketagger_tf.messages import MessageCode, payload_to_bits
from faketagger_tf.messages.osd import most_reliable_basis, ordered_statistics_decode

SIZES = [
    (1, 1, 0),
    (1, 2, 0),
    (8, 16, 3),
    (11, 31, 0),
    (16, 32, 4),
    (32, 63, 4),
    (32, 64, 4),
    (32, 70, 4),
    (32, 36, 4),
    (56, 100, 8),
    (64, 127, 0),
    (90, 128, 32),
    (300, 400, 16),
    (2, 1100, 1),
]


def noisy(words, bit_error, rng):
    """Logits whose sign is wrong with probability `bit_error`."""
    sigma = -1 / NormalDist().inv_cdf(bit_error)
    return 2.0 * words - 1 + sigma * rng.standard_normal(words.shape)


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size):
    code = MessageCode(*size)
    rng = np.random.default_rng(0)
    bits = code.random_payloads(20, rng)
    words = code.encode(bits)
    assert words.shape == (20, code.message_bits) and words.dtype == np.uint8
    assert np.array_equal(words[:, : code.payload_bits], bits)
    logits = (2.0 * words - 1) * rng.uniform(0.1, 3, words.shape)
    for decoded in (
        code.decode(logits),
        code.decode_hard(logits),
        code.decode_hard(words),
    ):
        assert np.array_equal(decoded.payload_bits, bits)
        assert np.array_equal(decoded.code_bits, words)
        assert np.array_equal(code.encode(decoded.payloads), words)
        assert decoded.crc_ok.all()
        assert not decoded.corrected_bits.any()


@pytest.mark.parametrize("size", SIZES)
def test_hard_decoding_corrects_t_errors_anywhere(size):
    code = MessageCode(*size)
    rng = np.random.default_rng(1)
    words = code.encode(code.random_payloads(100, rng))
    received = words.copy()
    at = rng.random(words.shape).argsort(axis=1)[:, : code.t]
    np.put_along_axis(received, at, 1 - np.take_along_axis(words, at, axis=1), axis=1)
    decoded = code.decode_hard(received)
    assert decoded.ok.all()
    assert np.array_equal(decoded.code_bits, words)
    assert (decoded.corrected_bits == code.t).all()


def test_hard_decoding_flags_one_error_too_many():
    code = MessageCode()  # Of distance 12: t + 1 = 6 errors are always seen.
    rng = np.random.default_rng(2)
    words = code.encode(code.random_payloads(500, rng))
    at = rng.random(words.shape).argsort(axis=1)[:, : code.t + 1]
    np.put_along_axis(words, at, 1 - np.take_along_axis(words, at, axis=1), axis=1)
    decoded = code.decode_hard(words)
    assert not decoded.ok.any()
    # The payload is then what was received.
    assert np.mean(decoded.payload_bits == words[:, :32]) > 0.99


@pytest.mark.parametrize(("size", "t"), [((16, 31, 0), 3), ((7, 15, 0), 2)])
def test_hard_word_error_is_the_binomial_tail(size, t):
    code, bit_error, count = MessageCode(*size), 0.1, 4000
    n = code.message_bits
    rng = np.random.default_rng(11)
    words = code.encode(code.random_payloads(count, rng))
    decoded = code.decode_hard(noisy(words, bit_error, rng))
    wrong = ~decoded.ok | (decoded.code_bits != words).any(axis=1)
    expected = 1 - sum(
        comb(n, i) * bit_error**i * (1 - bit_error) ** (n - i) for i in range(t + 1)
    )
    deviation = (expected * (1 - expected) / count) ** 0.5
    assert abs(wrong.mean() - expected) < 4 * deviation


def test_repeated_bits_vote():
    code = MessageCode(1, 1100, 0)  # BCH(1023,1) extended, 76 bits repeated.
    words = code.encode([1])
    logits = 2.0 * words - 1
    logits[0, :500] = -1
    assert code.decode_hard(logits).payloads == [1]
    code = MessageCode(4, 15, 0)
    assert "repeated" not in code.name
    code = MessageCode(2, 9, 0)  # A code of length 3, three times.
    assert code.layout.core == 3
    words = code.encode([2, 1])
    words[:, :3] ^= 1
    decoded = code.decode_hard(words)
    assert decoded.payloads == [2, 1] and decoded.ok.all()


def maximum_likelihood(code, logits):
    """The best code word and its lead over the next, from all of them."""
    words = code.encode(range(1 << code.payload_bits))
    likelihood = logits @ words.T
    second, first = np.sort(likelihood, axis=1)[:, -2:].T
    return words[likelihood.argmax(axis=1)], first - second


@pytest.mark.parametrize(
    ("size", "order"),
    [((3, 7, 0), 3), ((4, 8, 0), 3), ((7, 15, 0), 3), ((5, 15, 0), 3), ((8, 24, 0), 3)],
)
@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_soft_decoding_is_maximum_likelihood(size, order, signal):
    code = MessageCode(*size)
    rng = np.random.default_rng(3)
    words = code.encode(code.random_payloads(1000, rng))
    logits = signal * (2.0 * words - 1) + rng.standard_normal(words.shape)
    decoded = code.decode(logits, order=order)
    best, lead = maximum_likelihood(code, logits)
    assert np.array_equal(decoded.code_bits, best)
    np.testing.assert_allclose(decoded.margin, lead, atol=1e-4)


def test_soft_decoding_of_a_longer_code_is_maximum_likelihood_but_rarely():
    code = MessageCode(16, 31, 0)
    rng = np.random.default_rng(4)
    words = code.encode(code.random_payloads(300, rng))
    logits = noisy(words, 0.1, rng)
    best, _ = maximum_likelihood(code, logits)
    agrees = (code.decode(logits).code_bits == best).all(axis=1)
    assert agrees.mean() > 0.995


def test_soft_decoding_beats_hard_decoding():
    code = MessageCode()
    rng = np.random.default_rng(5)
    payloads = code.random_payloads(500, rng)
    logits = noisy(code.encode(payloads), 0.08, rng)
    wrong = [
        (decoded.payload_bits != payloads).any(axis=1).mean()
        for decoded in (code.decode(logits), code.decode_hard(logits))
    ]
    # About 0.015 against 0.39.
    assert wrong[0] < 0.05 < 0.3 < wrong[1]


def test_higher_order_finds_no_less_likely_words():
    code = MessageCode()
    rng = np.random.default_rng(6)
    logits = noisy(code.encode(code.random_payloads(300, rng)), 0.15, rng)
    scores = [code.decode(logits, order=order).score for order in (1, 2, 3)]
    assert (scores[1] >= scores[0] - 1e-6).all() and scores[1].sum() > scores[0].sum()
    assert (scores[2] >= scores[1] - 1e-6).all() and scores[2].sum() > scores[1].sum()


@pytest.mark.parametrize("n", [31, 64, 100])
def test_most_reliable_basis_is_the_greedy_one(n):
    code = MessageCode(11, n, 0)
    generator = code.encode(1 << np.arange(10, -1, -1))
    rng = np.random.default_rng(7)
    ranking = rng.random((5, n)).argsort(axis=1)
    rows, pivots = most_reliable_basis(generator, ranking)
    for row, pivot, ranked in zip(rows, pivots, ranking, strict=True):
        assert np.array_equal(row[:, pivot], np.eye(11))
        # The same code: each row is what encoding its systematic bits gives.
        assert np.array_equal(row[:, :11] @ generator & 1, row)
        # Greedy: a column left out depends on the basis columns ranked before it.
        rank = np.argsort(ranked)
        for column in set(range(n)) - set(pivot):
            before = rank[pivot] < rank[column]
            assert not row[~before, column].any()


def test_scores_separate_a_tag_from_none():
    code = MessageCode()
    rng = np.random.default_rng(8)
    words = code.encode(code.random_payloads(400, rng))
    tagged = code.decode(noisy(words, 0.05, rng))
    blank = code.decode(rng.standard_normal(words.shape))
    assert tagged.score.min() > blank.score.max()
    assert np.median(tagged.margin) > 10 * np.median(blank.margin)
    # The checksum is no part of the search: noise passes 1 time in 16.
    deviation = (15 / 16**2 / len(words)) ** 0.5
    assert abs(blank.crc_ok.mean() - 1 / 16) < 4 * deviation


def test_score_and_margin_are_as_documented():
    code = MessageCode(7, 15, 0)
    word = code.encode([0x5A])
    logits = 3.0 * (2.0 * word - 1)
    decoded = code.decode(logits)
    assert decoded.score == pytest.approx([1.0])
    assert decoded.margin == pytest.approx([5 * 3.0])  # Distance 5, 3 nats a bit.
    logits[0, [2, 9]] *= -1 / 3
    decoded = code.decode(logits)
    assert decoded.payloads == [0x5A]
    assert decoded.corrected_bits.tolist() == [2]
    assert decoded.score == pytest.approx(
        [(13 * 3 - 2) / (15 * (13 * 9 + 2)) ** 0.5], rel=1e-9
    )


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_scale_of_the_logits_changes_nothing_but_the_margin(scale):
    code = MessageCode()
    rng = np.random.default_rng(9)
    logits = noisy(code.encode(code.random_payloads(50, rng)), 0.1, rng)
    plain, scaled = code.decode(logits), code.decode(logits * scale)
    assert np.array_equal(plain.code_bits, scaled.code_bits)
    np.testing.assert_allclose(plain.score, scaled.score, rtol=1e-9)
    np.testing.assert_allclose(plain.margin * scale, scaled.margin, rtol=1e-3)


def test_logits_of_zero_are_decoded_with_score_zero():
    decoded = MessageCode().decode(np.zeros((2, 64)))
    assert decoded.score.tolist() == [0, 0]
    assert decoded.margin.tolist() == [0, 0]


def test_no_words():
    code = MessageCode()
    assert code.encode([]).shape == (0, 64)
    decoded = code.decode(np.zeros((0, 64)))
    assert decoded.payloads == [] and decoded.score.shape == (0,)
    assert code.decode_hard(np.zeros((0, 64), np.uint8)).ok.shape == (0,)


def test_encode_accepts_ints_hex_bytes_and_bits():
    code = MessageCode()
    word = code.encode([0x1F2E3D4C])
    for payloads in (
        ["1F2E3D4C"],
        [b"\x1f\x2e\x3d\x4c"],
        np.array([0x1F2E3D4C]),
        payload_to_bits(0x1F2E3D4C, 32)[np.newaxis],
    ):
        assert np.array_equal(code.encode(payloads), word)


def test_codes_compare_by_their_lengths():
    assert MessageCode(32, 64, 4) == MessageCode()
    assert len({MessageCode(), MessageCode(32, 64, 4), MessageCode(32, 64, 3)}) == 2
    code = MessageCode()
    assert (code.k, code.t, code.min_distance) == (36, 5, 12)
    assert code.name == "BCH(63,36) extended to 64"


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((61, 64, 4), r"Received: 61 \+ 4 > 64\."),
        ((0, 64, 4), r"payload_bits must be an integer >= 1\. Received: 0\."),
        ((32, 64.0, 4), r"message_bits .* Received: 64\.0\."),
        ((32, 128, 33), r"crc_bits must be an integer from 0 to 32\. Received: 33\."),
    ],
)
def test_bad_lengths(size, message):
    with pytest.raises(ValueError, match=message):
        MessageCode(*size)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((2, 63)), r"shape \[N, 64\]\. Received: shape \(2, 63\)"),
        (np.zeros(64), r"Received: shape \(64,\)"),
        (np.full((2, 64), "1"), "Logits must be numbers"),
        (np.full((1, 64), np.nan), r"finite\. Received: 64 NaN"),
        (np.full((1, 64), np.inf), "finite"),
    ],
)
def test_bad_logits(logits, message):
    with pytest.raises(ValueError, match=message):
        MessageCode().decode(logits)


def test_other_bad_arguments():
    code = MessageCode()
    with pytest.raises(ValueError, match=r"order must be 1, 2 or 3\. Received: 4\."):
        code.decode(np.zeros((1, 64)), order=4)
    with pytest.raises(ValueError, match="zeros and ones"):
        code.decode_hard(np.full((1, 64), 2))
    with pytest.raises(ValueError, match="finite"):
        code.decode_hard(np.full((1, 64), np.nan))
    with pytest.raises(ValueError, match=r"shape \[N, 32\]"):
        code.encode(np.zeros((2, 31), np.uint8))
    with pytest.raises(ValueError, match="0xFFFFFFFF"):
        code.encode([1 << 32])
    for payloads in ("1F2E3D4C", b"1234", 7):
        with pytest.raises(ValueError, match="sequence of payloads"):
            code.encode(payloads)


def test_osd_without_parity_reads_the_signs():
    logits = np.random.default_rng(10).standard_normal((20, 6))
    words, margin = ordered_statistics_decode(logits, np.eye(6, dtype=np.uint8), 3)
    assert np.array_equal(words, logits > 0)
    np.testing.assert_allclose(margin, np.abs(logits).min(axis=1), rtol=1e-4)


def test_messages_load_without_tensorflow():
    program = (
        "import sys; import faketagger_tf.messages; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
