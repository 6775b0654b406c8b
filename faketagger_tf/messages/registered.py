"""Is it one of ours? Logits against the code words of all issued payloads. NumPy only.

    code = MessageCode()
    words = WordIndex(pack_words(code, payloads), code.message_bits)
    match = words.search(logits)            # [places, message_bits]
    match.score, match.row, match.p_value(Presence())

A blind reading pays for all 2^k words of the code (`messages.presence`). Whoever keeps
a registry asks about the N words that were issued, and pays for those: by the argument
of that module, logits of an untagged image that point in a random direction of the
n-dimensional space lie, at any of m places, as near to any of the N words as the
cosine s says with a probability of at most N m cap(s), whatever the words are. The
*registered surprise* is

    x = -ln(N m cap(s)),

without a checksum, which selects no word here. An ideal untagged image has
P(x >= t) <= exp(-t), so that `Presence()` is the ideal model: the places are counted in
x, not in its rate. Where untagged faces were measured, their tail is fitted as for
blind readings and kept in `registered.json` beside the weights, in the same format.

The search is exact. With T the sum of logits times signs that a word must reach, and
the logits cut into blocks b of 16 of length |l_b|, a word that reaches T reaches
T |l_b| / sum |l_b| in at least one block. `WordIndex` keeps the words sorted by each
block's 16 bits; the block's values that reach their share are found from two tables of
256, and only words with such a value are looked at. Of these, a word that differs from
the logits' signs in d bits cannot exceed sum |l| - 2 (the d smallest |l|), which one
population count decides for most. What is left is added up from tables. T rises with
the best word found, and starts where x is `floor`: words further away are not told
apart, and their p-value is 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from faketagger_tf.messages.code import MessageCode
from faketagger_tf.messages.keys import KeyedCode
from faketagger_tf.messages.payload import parse_payload
from faketagger_tf.messages.presence import Presence, surprise

FLOOR = 2.3  # Surprises below this, a p-value of 0.1, count as none.
BLOCK = 16  # Bits by which words are sorted.
_CHUNK = 1 << 16  # Words that are looked at at once: bounds the memory.
_VALUES = 1 << BLOCK
_FEW = 1 << 13  # Words up to which looking at each is cheaper than the tables.
# Float32 sums of at most a few thousand logits are good to this share of sum |l|.
_ROUNDING = 1e-5


def pack_words(
    code: MessageCode, payloads, keyed: KeyedCode | None = None
) -> np.ndarray:
    """Encodes issued payloads.

    Args:
        code: the tagger's code.
        payloads: N payloads, an integer array or a sequence as `parse_payload` takes.
        keyed: for tags written with a key; each payload is enciphered first, which
            takes some 0.05 ms. The logits are to be unscrambled, the words are not.

    Returns:
        Code words, uint8 [N, ceil(message_bits / 8)], the first bit highest.

    Raises:
        ValueError: a payload does not fit.
    """
    values = payloads
    bits = code.payload_bits
    if keyed is not None:
        values = [keyed.encipher(parse_payload(v, bits)) for v in map(_plain, payloads)]
    words = np.empty([len(values), -(-code.message_bits // 8)], np.uint8)
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        if isinstance(chunk, np.ndarray) and chunk.dtype.kind in "iu" and bits <= 64:
            if len(chunk) and (chunk.min() < 0 or int(chunk.max()) >> bits):
                parse_payload(int(chunk[chunk.argmin()]), bits)
                parse_payload(int(chunk[chunk.argmax()]), bits)
            octets = chunk.astype(">u8").view(np.uint8).reshape(-1, 8)
            chunk = np.unpackbits(octets, axis=1)[:, 64 - bits :]
        words[start : start + _CHUNK] = np.packbits(code.encode(chunk), axis=1)
    return words


def _plain(payload):
    return payload.item() if isinstance(payload, np.integer) else payload


@dataclasses.dataclass(frozen=True)
class Match:
    """The issued word nearest to a face's logits.

    Attributes:
        row: its row among the words; -1 where no word is nearer than the floor.
        place: row of the logits that it was found in; -1 likewise.
        score: cosine of the angle between the two; 0 likewise.
        surprise: x, the score on the scale of this module; 0 likewise.
        words: N, the number of words compared.
        places: m, the number of places that x counts.
    """

    row: int
    place: int
    score: float
    surprise: float
    words: int
    places: int

    def p_value(self, presence: Presence | None = None) -> float:
        """Probability that an untagged face lies as near to any issued word.

        Args:
            presence: calibration of registered surprises; None takes the ideal model.
                Below its threshold, where no tail was fitted, the value is 1.
        """
        presence = presence or Presence()
        if self.row < 0 or self.surprise < presence.threshold:
            return 1.0
        return presence.p_value(self.surprise)


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The issued payload nearest to a face's logits.

    Attributes:
        payload: as an integer; None where none is nearer than the floor.
        p_value: probability that an untagged face lies as near to any of them.
        place: row of the logits that it was found in; -1 for none.
        differing: bits in which its word differs from the signs of those logits.
    """

    payload: int | None
    p_value: float
    place: int = -1
    differing: int = 0


class PayloadIndex:
    """Issued payloads, of which the one nearest to some logits is found quickly.

    Safe to use from many threads.

    Args:
        code: the tagger's code.
        payloads: N payloads as `pack_words` takes them; must have been drawn at random
            for the p-values to hold.
        keyed: for tags written with a key.

    Raises:
        ValueError: a payload does not fit.

    Example:
        >>> code = MessageCode()
        >>> issued = PayloadIndex(code, [0x1F2E3D4C, 7])
        >>> nearest = issued.search(code.encode([7]) - 0.5)
        >>> nearest.payload, nearest.p_value < 1e-15, len(issued)
        (7, True, 2)
    """

    def __init__(self, code: MessageCode, payloads, keyed: KeyedCode | None = None):
        self.code, self._keyed = code, keyed
        self._parts = [self._encode(payloads)]

    def __len__(self) -> int:
        return sum(len(part.payloads) for part in self._parts)

    def extended(self, payloads) -> PayloadIndex:
        """Returns an index that holds more payloads.

        Only new ones are encoded. They are searched beside the others while they are
        few, so that a million need not be sorted anew for each.
        """
        more = self._encode(payloads, self._parts)
        if not len(more.payloads):
            return self
        first, *rest = self._parts
        tail = _join([*rest, more], self.code)
        other = PayloadIndex.__new__(PayloadIndex)
        other.code, other._keyed = self.code, self._keyed
        few = len(tail.payloads) <= _FEW
        other._parts = [first, tail] if few else [_join([first, tail], self.code)]
        return other

    def _encode(self, payloads, known: Sequence[_Part] = ()) -> _Part:
        """Payloads that are not known, sorted, with their words."""
        values = np.unique(_as_array(payloads, self.code.payload_bits))
        for part in known:
            at = np.searchsorted(part.payloads, values)
            there = at < len(part.payloads)
            there[there] = part.payloads[at[there]] == values[there]
            values = values[~there]
        words = pack_words(self.code, values, self._keyed)
        return _Part(values, words, WordIndex(words, self.code.message_bits))

    def search(
        self,
        logits: np.ndarray,
        places: int | None = None,
        presence: Presence | None = None,
    ) -> Nearest:
        """Finds the payload nearest to any row of the logits.

        Args:
            logits, places: as for `WordIndex.search`.
            presence: as for `Match.p_value`.
        """
        places = len(logits) if places is None else places
        found = None
        for part in self._parts:
            if not len(part.payloads):
                continue
            # Each part's words are counted by its search, the others' here.
            counted = places * len(self) / len(part.payloads)
            match = part.index.search(logits, counted)
            if match.row >= 0 and (found is None or match.surprise > found[1].surprise):
                found = part, match
        if found is None:
            return Nearest(None, 1.0)
        part, match = found
        word = np.unpackbits(part.words[match.row])[: self.code.message_bits]
        differing = int(((np.asarray(logits)[match.place] > 0) != word).sum())
        payload = int(part.payloads[match.row])
        return Nearest(payload, match.p_value(presence), match.place, differing)


@dataclasses.dataclass(frozen=True)
class _Part:
    """Payloads [N], ascending, their words, and an index of these."""

    payloads: np.ndarray
    words: np.ndarray
    index: WordIndex


def _join(parts: Sequence[_Part], code: MessageCode) -> _Part:
    if len(parts) == 1:
        return parts[0]
    payloads = np.concatenate([part.payloads for part in parts])
    order = np.argsort(payloads, kind="stable")
    words = np.concatenate([part.words for part in parts])[order]
    return _Part(payloads[order], words, WordIndex(words, code.message_bits))


def _as_array(payloads, bits: int) -> np.ndarray:
    """Payloads as an array [N] of one type: uint64, or objects where that is short."""
    if isinstance(payloads, np.ndarray) and payloads.dtype.kind in "iu" and bits <= 64:
        if len(payloads) and payloads.min() < 0:
            parse_payload(int(payloads.min()), bits)
        return payloads.astype(np.uint64)
    values = [parse_payload(_plain(payload), bits) for payload in payloads]
    return np.array(values, np.uint64 if bits <= 64 else object)


class WordIndex:
    """Issued code words, sorted so that the nearest to some logits is found quickly.

    Beyond the words it takes 4 bytes a word and 16 message bits: 16 MB for a million
    words of 64 bits. Safe to use from many threads.

    Args:
        words: uint8 [N, ceil(length / 8)] from `pack_words`, N < 2^32.
        length: message bits.

    Raises:
        ValueError: the words have another shape.
    """

    def __init__(self, words: np.ndarray, length: int):
        octets = -(-length // 8)
        words = np.asarray(words)
        if words.dtype != np.uint8 or words.shape[1:] != (octets,):
            raise ValueError(
                f"Words of {length} bits must be uint8 [N, {octets}]. "
                f"Received: {words.dtype} of shape {words.shape}."
            )
        self.length = length
        self._blocks = -(-length // BLOCK)
        padding = -octets % 8
        self._words = np.pad(words, ((0, 0), (0, padding))).view(np.uint64)
        pieces = self._words.view("<u2")
        self._order = np.empty([self._blocks, len(words)], np.uint32)
        self._start = np.zeros([self._blocks, _VALUES + 1], np.int64)
        for block in range(self._blocks):
            values = np.ascontiguousarray(pieces[:, block])
            self._order[block] = np.argsort(values, kind="stable")
            np.cumsum(
                np.bincount(values, minlength=_VALUES), out=self._start[block, 1:]
            )

    def __len__(self) -> int:
        return len(self._words)

    def search(self, logits, places: int | None = None, floor: float = FLOOR) -> Match:
        """Finds the word with the largest cosine to any row of the logits.

        Args:
            logits: float [m, length], finite; of keyed tags unscrambled. Only ratios
                within a row matter.
            places: what x counts, at least m; None takes m. A photo of several faces
                counts the places of all of them.
            floor: surprise below which words are not told apart, at least 0; 0 for a
                calibration. Lower is slower.

        Raises:
            ValueError: the logits have another shape or are not finite, places is less
                than m, or floor is negative.
        """
        logits = np.asarray(logits)
        if logits.ndim != 2 or logits.shape[1] != self.length:
            raise ValueError(
                f"Logits must have the shape [places, {self.length}]. "
                f"Received: shape {logits.shape}."
            )
        if not np.isfinite(logits).all():
            raise ValueError(
                "Logits must be finite. Received: "
                f"{(~np.isfinite(logits)).sum()} NaN or infinite values."
            )
        places = len(logits) if places is None else places
        if places < len(logits):
            raise ValueError(
                "places must count every row of the logits. "
                f"Received: {places} for {len(logits)} rows."
            )
        if not floor >= 0:
            raise ValueError(f"floor must be at least 0. Received: {floor!r}.")
        none = Match(-1, -1, 0.0, 0.0, len(self), places)
        if not len(self) or not len(logits):
            return none
        counted = math.log2(len(self)) + math.log2(places)
        best, row, place = _score(floor, self.length, counted), -1, -1
        unit = logits / np.maximum(np.abs(logits).max(axis=1, keepdims=True), 1e-300)
        faces = _Places(unit, self._blocks, self._words.shape[1])
        # The surest first, so that the others need not be looked into.
        for index in np.argsort(-faces.total / faces.norm, kind="stable"):
            found = self._search_place(faces, index, best)
            if found is not None:
                best, row, place = *found, int(index)
        if row < 0:
            return none
        x = float(surprise(best, self.length, counted))
        return Match(row, place, best, x, len(self), places)

    def _search_place(
        self, faces: _Places, index: int, best: float
    ) -> tuple[float, int] | None:
        """The best word nearer than `best` at one place: its cosine and row."""
        total, norm = faces.total[index], faces.norm[index]
        slack = _ROUNDING * total
        if best * norm > total:
            return None
        found = None
        for rows in self._candidates(faces, index, best * norm - slack):
            target = best * norm - slack
            words = self._words.take(rows, axis=0)
            differ = np.bitwise_count(words ^ faces.signs[index])
            # uint8 counts of one word of 64 bits need no sum.
            differ = differ[:, 0] if differ.shape[1] == 1 else differ.sum(axis=1)
            lost = faces.smallest[index]
            limit = np.searchsorted(lost, (total - target) / 2, side="right")
            kept = np.flatnonzero(differ <= limit)
            if not len(kept):
                continue
            octets = words[kept].view(np.uint8)
            tables = faces.tables[index]
            sums = tables[0].take(octets[:, 0])
            for position in range(1, len(tables)):
                sums += tables[position].take(octets[:, position])
            top = int(sums.argmax())
            score = self._exact(faces, index, words[kept[top]])
            if score > best:
                best, found = score, (score, int(rows[kept[top]]))
        return found

    def _exact(self, faces: _Places, index: int, word: np.ndarray) -> float:
        bits = np.unpackbits(word.view(np.uint8))[: self.length]
        row = faces.logits[index]
        return float(np.where(bits, row, -row).sum() / faces.norm[index])

    def _candidates(self, faces: _Places, index: int, target: float):
        """Yields rows, some `_CHUNK` at once, among which are all words at `target`."""
        if len(self) <= _FEW:
            yield np.arange(len(self))
            return
        share = target * faces.lengths[index] / faces.lengths[index].sum()
        runs = []
        for block in range(self._blocks):
            low, high = faces.tables[index, 2 * block : 2 * block + 2]
            # The part of the 256 x 256 values in which any can reach the share.
            rows = np.flatnonzero(high >= share[block] - low.max())
            columns = np.flatnonzero(low >= share[block] - high.max())
            if not len(rows) or not len(columns):
                continue
            hits = low[columns] >= (share[block] - high[rows])[:, None]
            row, column = np.divmod(np.flatnonzero(hits), len(columns))
            values = rows[row] * 256 + columns[column]
            start = self._start[block].take(values)
            count = self._start[block].take(values + 1) - start
            filled = count > 0
            runs.append((block * len(self) + start[filled], count[filled]))
        if not runs:
            return
        start, count = (np.concatenate(part) for part in zip(*runs, strict=True))
        end = np.cumsum(count)
        if not len(end):
            return
        if end[-1] >= len(self):
            # Every word once costs less than so many candidates.
            for first in range(0, len(self), _CHUNK):
                yield np.arange(first, min(first + _CHUNK, len(self)))
            return
        order = self._order.ravel()
        cuts = np.searchsorted(end, np.arange(_CHUNK, end[-1], _CHUNK))
        for part in np.split(np.arange(len(end)), np.unique(cuts)):
            if len(part):
                before = end[part[0]] - count[part[0]]
                at = np.repeat(start[part] - (end[part] - count[part]), count[part])
                at += np.arange(before, end[part[-1]])
                yield order.take(at)


class _Places:
    """What a search needs to know of each row of the logits."""

    def __init__(self, logits: np.ndarray, blocks: int, columns: int):
        count, length = logits.shape
        self.logits = logits
        magnitude = np.abs(logits)
        self.total = magnitude.sum(axis=1)
        squares = np.square(logits)
        # All-zero logits have no direction: any cosine is 0.
        self.norm = np.sqrt(length * squares.sum(axis=1))
        self.norm[self.norm == 0] = np.inf
        padded = np.zeros([count, blocks * BLOCK])
        padded[:, :length] = logits
        self.lengths = np.linalg.norm(padded.reshape(count, blocks, BLOCK), axis=2)
        self.smallest = np.cumsum(np.sort(magnitude, axis=1), axis=1)
        octets = np.zeros([count, columns * 8], np.uint8)
        signs = np.packbits(logits > 0, axis=1)
        octets[:, : signs.shape[1]] = signs
        self.signs = octets.view(np.uint64)
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        flips = 2 * bits.T.astype(np.float32) - 1
        self.tables = padded.reshape(count, -1, 8).astype(np.float32) @ flips


def _score(x: float, length: int, words_log2: float) -> float:
    """The cosine whose surprise is x, by bisection; at least 0."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if surprise(middle, length, words_log2) < x:
            low = middle
        else:
            high = middle
    return low
