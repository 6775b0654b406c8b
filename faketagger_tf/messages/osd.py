"""Soft-decision decoding of binary linear codes by ordered statistics.

Fossorier & Lin, "Soft-decision decoding of linear block codes based on ordered
statistics", IEEE Trans. Inf. Theory 41(5), 1995.
"""

from __future__ import annotations

import numpy as np


def most_reliable_basis(
    generator: np.ndarray, ranking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row-reduces the generator, for each word on its own most reliable columns.

    Args:
        generator: uint8 [k, n] of rank k.
        ranking: int [N, n], each word's columns, most reliable first.

    Returns:
        (rows, pivots): uint8 [N, k, n], an equivalent generator for each word, and
        int64 [N, k], the column of which row i alone has a one.
    """
    k, n = generator.shape
    count = len(ranking)
    words = -(-n // 64)
    packed = np.packbits(
        np.pad(generator, ((0, 0), (0, 64 * words - n))), axis=1, bitorder="little"
    )
    packed = np.ascontiguousarray(packed).view("<u8")
    rows = np.repeat(packed[np.newaxis], count, axis=0)
    free = np.ones((count, k), bool)
    pivots = np.zeros((count, k), np.int64)
    index = np.arange(count)
    for column in ranking.T:
        word = rows[:, :, 0] if words == 1 else rows[index, :, column // 64]
        ones = (word >> (column % 64).astype(np.uint64)[:, np.newaxis] & 1) != 0
        candidates = ones & free
        pivot = candidates.argmax(axis=1)
        found = candidates[index, pivot]
        pivot_row = rows[index, pivot] * found[:, np.newaxis]
        ones[index, pivot] = False
        rows ^= ones[:, :, np.newaxis] * pivot_row[:, np.newaxis]
        free[index, pivot] &= ~found
        pivots[index, pivot] = np.where(found, column, pivots[index, pivot])
        if not free.any():
            break
    bits = np.unpackbits(rows.view(np.uint8), axis=2, bitorder="little")
    return bits[:, :, :n], pivots


class _BestTwo:
    """Each word's best candidate so far, its flips, and the runner-up's value."""

    def __init__(self, value: np.ndarray):
        self.index = np.arange(len(value))
        self.best = value.copy()
        self.second = np.full_like(value, -np.inf)
        self.flips = np.full((len(value), 3), -1)

    def offer(self, values: np.ndarray, columns: int, first: int | None = None):
        """Takes candidates [N, M]; entry row * columns + column flips those two."""
        at = values.argmax(axis=1)
        top = values[self.index, at]
        values[self.index, at] = -np.inf
        self.second = np.maximum(
            np.maximum(self.second, values.max(axis=1)), np.minimum(self.best, top)
        )
        better = top > self.best
        self.best = np.where(better, top, self.best)
        flips = np.full((len(at), 3), -1)
        flips[:, 0] = at % columns
        if columns < values.shape[1]:
            flips[:, 1] = at // columns
        if first is not None:
            flips[:, 2] = first
        self.flips[better] = flips[better]


def ordered_statistics_decode(
    logits: np.ndarray, generator: np.ndarray, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes each word to the most likely of the code words near its best bits.

    The hard decisions on the most reliable k independent bits are re-encoded with
    every pattern of up to `order` of them flipped. With signs s = (-1)**bit, the
    correlation of flipping rows i and j is the bilinear form sum_c w_c s_ic s_jc, so
    that all pairs are one small matrix product per word, and all triples k of them.

    Args:
        logits: float [N, n], finite; positive means bit 1.
        generator: uint8 [k, n] of rank k.
        order: most flips tried, 1 to 3.

    Returns:
        (words, margin): uint8 [N, n], the best code words, and float64 [N], half the
        difference of correlation to the best other candidate, >= 0: the gap in
        log-likelihood, in nats, where the logits are true log-likelihood ratios.
    """
    k, n = generator.shape
    count = len(logits)
    # A scale per word changes no ranking and keeps float32 from overflowing.
    scale = np.abs(logits).max(axis=1, keepdims=True)
    scale = np.where(scale > 0, scale, 1.0)
    hard = (logits > 0).astype(np.uint8)
    reliability = (np.abs(logits) / scale).astype(np.float32)
    ranking = np.argsort(-reliability, axis=1, kind="stable")
    rows, pivots = most_reliable_basis(generator, ranking)

    is_pivot = np.zeros((count, n), bool)
    np.put_along_axis(is_pivot, pivots, True, axis=1)
    parity = np.argsort(is_pivot, axis=1, kind="stable")[:, : n - k]
    signs = np.float32(1) - 2 * np.take_along_axis(rows, parity[:, np.newaxis], axis=2)
    chosen = np.take_along_axis(hard, pivots, axis=1)
    ones = np.matmul(chosen[:, np.newaxis].astype(np.float32), rows.astype(np.float32))[
        :, 0
    ]
    base = ones.astype(np.int64).astype(np.uint8) & 1
    differs = np.take_along_axis(base ^ hard, parity, axis=1)
    weight = np.take_along_axis(reliability, parity, axis=1) * (
        np.float32(1) - 2 * differs
    )
    cost = 2 * np.take_along_axis(reliability, pivots, axis=1)
    pivot_sum = cost.sum(axis=1) / 2

    best = _BestTwo(pivot_sum + weight.sum(axis=1))
    singles = np.matmul(signs, weight[:, :, np.newaxis])[:, :, 0]
    best.offer(singles + pivot_sum[:, np.newaxis] - cost, columns=k)

    def offer_pairs(rows_below: int, weight: np.ndarray, constant, first=None):
        low = signs[:, :rows_below]
        values = np.matmul(low * weight[:, np.newaxis], low.swapaxes(1, 2))
        values += (constant[:, np.newaxis] - cost[:, :rows_below])[:, :, np.newaxis]
        values -= cost[:, np.newaxis, :rows_below]
        values += upper[:rows_below, :rows_below]
        best.offer(values.reshape(count, -1), rows_below, first)

    upper = np.where(np.tri(k, k=-1, dtype=bool), 0, -np.inf).astype(np.float32)
    if order >= 2 and k >= 2:
        offer_pairs(k, weight, pivot_sum)
    if order >= 3:
        for i in range(2, k):
            offer_pairs(i, weight * signs[:, i], pivot_sum - cost[:, i], first=i)

    word = base
    for flip in best.flips.T:
        word = word ^ rows[best.index, flip] * (flip >= 0)[:, np.newaxis].astype(
            np.uint8
        )
    margin = (best.best - best.second).astype(np.float64) / 2 * scale[:, 0]
    return word, margin
