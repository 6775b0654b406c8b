import itertools

import numpy as np
import pytest

from faketagger_tf.messages import bch

# Lin & Costello, "Error Control Coding": (n, k, t) of table 6.1 with the generator
# polynomials of appendix C in octal.
TEXTBOOK = [
    (7, 4, 1, "13"),
    (15, 11, 1, "23"),
    (15, 7, 2, "721"),
    (15, 5, 3, "2467"),
    (31, 26, 1, "45"),
    (31, 21, 2, "3551"),
    (31, 16, 3, "107657"),
    (31, 11, 5, "5423325"),
    (31, 6, 7, "313365047"),
    (63, 57, 1, "103"),
    (63, 51, 2, "12471"),
    (63, 45, 3, "1701317"),
    (63, 39, 4, "166623567"),
    (63, 36, 5, "1033500423"),
    (63, 30, 6, "157464165547"),
    (127, 120, 1, "211"),
    (127, 113, 2, "41567"),
    (127, 106, 3, "11554743"),
    (127, 99, 4, "3447023271"),
    (127, 92, 5, "624730022327"),
    (127, 85, 6, "130704476322273"),
    (127, 78, 7, "26230002166130115"),
    (127, 71, 9, "6255010713253127753"),
    (127, 64, 10, "1206534025570773100045"),
    (255, 247, 1, "435"),
    (255, 239, 2, "267543"),
    (255, 231, 3, "156720665"),
]


@pytest.mark.parametrize(("n", "k", "t", "octal"), TEXTBOOK)
def test_parameters_and_generators_are_the_textbook_s(n, k, t, octal):
    codes = {code_k: (code_t, g) for code_k, code_t, g in bch.bch_codes(n.bit_length())}
    assert codes[k] == (t, int(octal, 8))


def weights(matrix):
    k = len(matrix)
    messages = np.arange(1, 1 << k)[:, np.newaxis] >> np.arange(k) & 1
    return (messages @ matrix & 1).sum(axis=1)


@pytest.mark.parametrize(
    ("k", "message_bits", "distance", "name"),
    [
        (4, 7, 3, "BCH(7,4)"),
        (7, 15, 5, "BCH(15,7)"),
        (5, 15, 7, "BCH(15,5)"),
        (11, 31, 11, "BCH(31,11)"),
        (16, 31, 7, "BCH(31,16)"),
        (11, 16, 4, "BCH(15,11) extended to 16"),
        (6, 32, 16, "BCH(31,6) extended to 32"),
        (1, 15, 15, "BCH(15,1)"),
        (9, 29, 11, "BCH(31,11) shortened to (29,9)"),
        (3, 4, 2, "uncoded(3) extended to 4"),
        (4, 4, 1, "uncoded(4)"),
        (4, 16, 8, "BCH(7,4) extended to 8, repeated to 16"),
    ],
)
def test_minimum_distance_by_enumeration(k, message_bits, distance, name):
    layout = bch.choose_layout(k, message_bits)
    matrix = layout.generator_matrix()
    assert matrix.shape == (k, message_bits)
    assert np.array_equal(matrix[:, :k], np.eye(k))
    assert layout.name == name
    assert layout.min_distance == distance
    assert weights(matrix).min() >= distance
    if message_bits % layout.core == 0:
        assert weights(matrix).min() == distance


@pytest.mark.parametrize(
    ("k", "message_bits", "t", "distance", "name"),
    [
        (36, 63, 5, 11, "BCH(63,36)"),
        (36, 64, 5, 12, "BCH(63,36) extended to 64"),
        (64, 127, 10, 21, "BCH(127,64)"),
        (64, 100, 5, 12, "BCH(127,92) shortened to (99,64), extended to 100"),
        (36, 67, 5, 12, "BCH(63,36) extended to 64, repeated to 67"),
    ],
)
def test_choice_for_longer_messages(k, message_bits, t, distance, name):
    layout = bch.choose_layout(k, message_bits)
    assert (layout.t, layout.min_distance, layout.name) == (t, distance, name)


def test_every_length_has_a_layout_no_worse_than_a_shorter_one():
    for k in (1, 8, 19, 36):
        distances = [bch.choose_layout(k, n).min_distance for n in range(k, 160)]
        assert distances == sorted(distances)


@pytest.mark.parametrize(("k", "n"), [(7, 15), (5, 15), (5, 13), (16, 31)])
def test_every_pattern_up_to_t_is_corrected(k, n):
    layout = bch.choose_layout(k, n)
    assert layout.core == layout.length == n
    rng = np.random.default_rng(n)
    patterns = [
        pattern
        for weight in range(layout.t + 1)
        for pattern in itertools.combinations(range(n), weight)
    ]
    errors = np.zeros((len(patterns), n), np.uint8)
    for row, pattern in zip(errors, patterns, strict=True):
        row[list(pattern)] = 1
    messages = rng.integers(0, 2, (len(patterns), k), dtype=np.uint8)
    words = messages @ layout.generator_matrix() & 1
    corrected, ok = bch.correct_errors(words ^ errors, layout.m, layout.t)
    assert ok.all()
    assert np.array_equal(corrected, words)


def random_errors(rng, count, n, weight):
    errors = np.zeros((count, n), np.uint8)
    np.put_along_axis(
        errors, rng.random((count, n)).argsort(axis=1)[:, :weight], 1, axis=1
    )
    return errors


@pytest.mark.parametrize(("k", "n"), [(36, 63), (64, 127), (64, 99), (131, 255)])
def test_random_patterns_up_to_t_are_corrected_and_more_are_flagged(k, n):
    layout = bch.choose_layout(k, n)
    rng = np.random.default_rng(n)
    messages = rng.integers(0, 2, (200, k), dtype=np.uint8)
    words = messages @ layout.generator_matrix() & 1
    for weight in (1, layout.t - 1, layout.t):
        received = words ^ random_errors(rng, 200, n, weight)
        corrected, ok = bch.correct_errors(received, layout.m, layout.t)
        assert ok.all()
        assert np.array_equal(corrected, words)
    received = words ^ random_errors(rng, 200, n, layout.t + 1)
    corrected, ok = bch.correct_errors(received, layout.m, layout.t)
    assert np.array_equal(corrected[~ok], received[~ok])
    assert (~ok).mean() > 0.9
    # What it does accept is a code word within t of what it received.
    again = corrected[ok, :k] @ layout.generator_matrix() & 1
    assert np.array_equal(again, corrected[ok])
    assert ((corrected[ok] != received[ok]).sum(axis=1) <= layout.t).all()
