"""Binary BCH codes: construction, choice by length, bounded-distance decoding.

Primitive, narrow-sense codes over GF(2**m) as in Lin & Costello, "Error Control
Coding", chapter 6. A polynomial over GF(2) is an int whose bit i is the coefficient
of x**i.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

# Primitive polynomials of Lin & Costello, table 2.7, by m.
PRIMITIVE = {
    2: 0o7,
    3: 0o13,
    4: 0o23,
    5: 0o45,
    6: 0o103,
    7: 0o211,
    8: 0o435,
    9: 0o1021,
    10: 0o2011,
}


@functools.cache
def field_tables(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (exp, log) of GF(2**m), int64.

    `exp` has 2 * (2**m - 1) entries, so that a sum of two logarithms indexes it;
    `log[0]` is 0 and means nothing.
    """
    order = (1 << m) - 1
    exp = np.zeros(2 * order, np.int64)
    log = np.zeros(order + 1, np.int64)
    value = 1
    for i in range(order):
        exp[i] = exp[i + order] = value
        log[value] = i
        value <<= 1
        if value >> m:
            value ^= PRIMITIVE[m]
    return exp, log


def _multiply(a: np.ndarray, b: np.ndarray, m: int) -> np.ndarray:
    exp, log = field_tables(m)
    return np.where((a == 0) | (b == 0), 0, exp[log[a] + log[b]])


def _coset(j: int, m: int) -> list[int]:
    order = (1 << m) - 1
    coset, i = [], j
    while True:
        coset.append(i)
        i = 2 * i % order
        if i == j:
            return coset


def _minimal_polynomial(j: int, m: int) -> int:
    """The polynomial over GF(2) whose roots are alpha**i, i in the coset of j."""
    exp, _ = field_tables(m)
    coefficients = np.ones(1, np.int64)  # Lowest degree first.
    for i in _coset(j, m):
        shifted = np.concatenate([[0], coefficients])
        scaled = _multiply(coefficients, exp[i], m)
        coefficients = shifted ^ np.concatenate([scaled, [0]])
    return sum(int(c) << i for i, c in enumerate(coefficients))


def _polynomial_product(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
    return product


@functools.cache
def bch_codes(m: int) -> tuple[tuple[int, int, int], ...]:
    """Lists the BCH codes of length n = 2**m - 1 with at least one message bit.

    Returns:
        Tuples (k, t, generator): message bits, errors corrected by the Bose distance
        2t + 1, and the generator polynomial of degree n - k; largest k first.
    """
    order = (1 << m) - 1
    codes, generator, roots = [], 1, set()
    j = 1
    while j < order:
        generator = _polynomial_product(generator, _minimal_polynomial(j, m))
        roots.update(_coset(j, m))
        # Distance beyond the designed one comes free where the next odd power of
        # alpha is a root already.
        while j in roots:
            j += 2
        codes.append((order - len(roots), (j - 1) // 2, generator))
    return tuple(codes)


def systematic_generator(k: int, generator: int) -> np.ndarray:
    """Returns [I | P], uint8 [k, k + deg], of the (shortened) cyclic code.

    Column i is the coefficient of x**(k + deg - 1 - i): the message comes first.
    """
    degree = generator.bit_length() - 1
    rows = np.zeros((k, k + degree), np.uint8)
    rows[:, :k] = np.eye(k, dtype=np.uint8)
    remainder = 1
    for power in range(degree + k):
        if power >= degree:
            row = rows[k - 1 - (power - degree)]
            row[k:] = [remainder >> i & 1 for i in reversed(range(degree))]
        remainder <<= 1
        if remainder >> degree & 1:
            remainder ^= generator
    return rows


@dataclasses.dataclass(frozen=True)
class Layout:
    """How `message_bits` are filled from k bits.

    The first `length` bits are a BCH code word, shortened by leaving out leading
    zeros; one overall parity bit follows where `extended`; what is left repeats the
    word from its first bit on.

    Attributes:
        k: message bits of the code.
        message_bits: length of the code word.
        m: the field is GF(2**m); 0 for no BCH code.
        t: errors that bounded-distance decoding corrects; 0 for no BCH code.
        length: k plus the BCH code's parity bits.
        extended: whether an overall parity bit follows.
        generator: the generator polynomial; 1 for no BCH code.
    """

    k: int
    message_bits: int
    m: int
    t: int
    length: int
    extended: bool
    generator: int

    @property
    def core(self) -> int:
        """Bits before the repetition begins."""
        return self.length + self.extended

    @property
    def min_distance(self) -> int:
        """Lower bound on the minimum distance of the whole word."""
        distance = 2 * self.t + 1 + self.extended
        return self.message_bits // self.core * distance

    @property
    def name(self) -> str:
        """The code in words, for example "BCH(63,36) extended to 64"."""
        if self.m:
            n = (1 << self.m) - 1
            shortened = n - self.length
            name = f"BCH({n},{self.k + shortened})"
            if shortened:
                name += f" shortened to ({self.length},{self.k})"
        else:
            name = f"uncoded({self.k})"
        if self.extended:
            name += f"{',' if ' ' in name else ''} extended to {self.core}"
        if self.message_bits > self.core:
            name += f"{',' if ' ' in name else ''} repeated to {self.message_bits}"
        return name

    def generator_matrix(self) -> np.ndarray:
        """Returns the whole word's generator, uint8 [k, message_bits], systematic."""
        matrix = systematic_generator(self.k, self.generator)
        if self.extended:
            parity = matrix.sum(axis=1, keepdims=True, dtype=np.uint8) & 1
            matrix = np.concatenate([matrix, parity], axis=1)
        return matrix[:, np.arange(self.message_bits) % self.core]


@functools.cache
def choose_layout(k: int, message_bits: int) -> Layout:
    """Chooses the layout of the largest minimum distance (bound) that fits.

    Where no BCH code fits, the k bits go uncoded (t = 0), still followed by an
    overall parity bit and repeated bits while there is room. Of equal bounds the
    smaller field wins: it leaves more bits to repeat.
    """
    fitting = [(0, 0, 1)]  # No field, no errors corrected, generator 1: uncoded.
    for m in PRIMITIVE:
        fitting += [(m, t, g) for full_k, t, g in bch_codes(m) if full_k >= k]
    layouts = []
    for m, t, generator in fitting:
        length = k + generator.bit_length() - 1
        if length <= message_bits:
            extended = length < message_bits
            layouts.append(Layout(k, message_bits, m, t, length, extended, generator))
    return max(layouts, key=lambda layout: layout.min_distance)


def correct_errors(bits: np.ndarray, m: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Corrects up to t errors in each (shortened) BCH code word.

    Berlekamp-Massey for the error locator, Chien search for its roots (Lin &
    Costello, sections 6.2 to 6.4), over all words at once.

    Args:
        bits: uint8 [N, n] in {0, 1}; column i is the coefficient of x**(n - 1 - i).
        m: the code's field is GF(2**m).
        t: errors that the code corrects.

    Returns:
        (corrected, ok): uint8 [N, n] and bool [N]. A word that is farther than t from
        every code word comes back as it was, with ok False.
    """
    exp, log = field_tables(m)
    order = (1 << m) - 1
    count, n = bits.shape
    powers = np.arange(n - 1, -1, -1)
    syndromes = np.zeros((count, 2 * t), np.int64)
    received = bits.astype(bool)
    for j in range(2 * t):
        terms = np.where(received, exp[powers * (j + 1) % order], 0)
        syndromes[:, j] = np.bitwise_xor.reduce(terms, axis=1)

    locator = np.zeros((count, 2 * t + 1), np.int64)
    locator[:, 0] = 1
    previous = locator.copy()
    previous_discrepancy = np.ones(count, np.int64)
    degree = np.zeros(count, np.int64)
    for step in range(2 * t):
        products = _multiply(
            locator[:, : step + 1], syndromes[:, step::-1][:, : step + 1], m
        )
        discrepancy = np.bitwise_xor.reduce(products, axis=1)
        shifted = np.pad(previous, ((0, 0), (1, 0)))[:, :-1]
        ratio = np.where(
            discrepancy == 0,
            0,
            exp[(log[discrepancy] - log[previous_discrepancy]) % order],
        )
        updated = locator ^ _multiply(ratio[:, np.newaxis], shifted, m)
        longer = (discrepancy != 0) & (2 * degree <= step)
        previous = np.where(longer[:, np.newaxis], locator, shifted)
        previous_discrepancy = np.where(longer, discrepancy, previous_discrepancy)
        degree = np.where(longer, step + 1 - degree, degree)
        locator = updated

    values = np.zeros((count, n), np.int64)
    for j in range(t + 1):
        root_powers = exp[-powers * j % order]
        values ^= _multiply(locator[:, j : j + 1], root_powers, m)
    errors = values == 0
    ok = (degree <= t) & (errors.sum(axis=1) == degree)
    return bits ^ (errors & ok[:, np.newaxis]), ok
