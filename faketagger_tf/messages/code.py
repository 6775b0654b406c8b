"""The channel code: payload bits to code bits and back (modules 1 and 5)."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from faketagger_tf.messages import bch, crc, osd
from faketagger_tf.messages import payload as payload_lib

# Words decoded at once: what the triples of one word's basis take stays in cache.
_CHUNK = 128


@dataclasses.dataclass(frozen=True)
class HardDecoded:
    """What hard-decision decoding read from N words.

    Attributes:
        payload_bits: uint8 [N, payload_bits].
        payloads: the same as N integers.
        crc_ok: bool [N], whether the checksum agrees; always True with crc_bits = 0.
        code_bits: uint8 [N, message_bits], the payload encoded again.
        corrected_bits: int64 [N], received bits that differ from `code_bits`.
        ok: bool [N], whether the word is within the code's t errors of a code word;
            where False the payload is the systematic bits as received.
    """

    payload_bits: np.ndarray
    payloads: list[int]
    crc_ok: np.ndarray
    code_bits: np.ndarray
    corrected_bits: np.ndarray
    ok: np.ndarray


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What soft-decision decoding read from N words.

    Attributes:
        payload_bits: uint8 [N, payload_bits].
        payloads: the same as N integers.
        crc_ok: bool [N], whether the checksum agrees; always True with crc_bits = 0.
            The search ignores the checksum, so that noise passes it with probability
            2**-crc_bits and no more often.
        code_bits: uint8 [N, message_bits], the decoded code word.
        corrected_bits: int64 [N], signs of the logits that differ from `code_bits`.
        score: float64 [N], the presence statistic: the cosine of the angle between
            the logits and the +-1 code word x, sum(l * x) / sqrt(n * sum(l**2)); 1 for
            logits of one size and no error, 0 for logits that are all zero. It is
            monotonic in the generalised likelihood ratio of "code word plus Gaussian
            noise" against "noise alone", gain and noise level both unknown. It has to
            be calibrated on images without a tag.
        margin: float64 [N], log-likelihood in nats by which the decoded word leads
            the best other candidate, the logits read as log-likelihood ratios.
    """

    payload_bits: np.ndarray
    payloads: list[int]
    crc_ok: np.ndarray
    code_bits: np.ndarray
    corrected_bits: np.ndarray
    score: np.ndarray
    margin: np.ndarray


@dataclasses.dataclass(frozen=True)
class MessageCode:
    """Payload + CRC -> BCH code word of exactly `message_bits` bits.

    The code is the binary BCH code with the largest minimum distance that fits,
    shortened to the payload's length, extended by an overall parity bit and filled
    with repeated bits where there is room; see `bch.choose_layout`. Where none fits
    the bits go uncoded. Encoding is systematic: payload, CRC, parity.

    Attributes:
        payload_bits: length of the payload, at least 1.
        message_bits: length of the code word.
        crc_bits: length of the checksum, 0 to 32.
        k: payload_bits + crc_bits.
        t: errors that hard decoding corrects.
        min_distance: lower bound on the code's minimum distance.
        name: for example "BCH(63,36) extended to 64".

    Raises:
        ValueError: a length is out of range, or the payload and the checksum do not
            fit in `message_bits`.
    """

    payload_bits: int = 32
    message_bits: int = 64
    crc_bits: int = 4

    def __post_init__(self):
        for name, low, high in (
            ("payload_bits", 1, None),
            ("message_bits", 1, None),
            ("crc_bits", 0, 32),
        ):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int)
                or value < low
                or (high is not None and value > high)
            ):
                accepted = f"from {low} to {high}" if high is not None else f">= {low}"
                raise ValueError(
                    f"{name} must be an integer {accepted}. Received: {value!r}."
                )
        if self.k > self.message_bits:
            raise ValueError(
                "payload_bits + crc_bits must not exceed message_bits. Received: "
                f"{self.payload_bits} + {self.crc_bits} > {self.message_bits}."
            )

    @property
    def k(self) -> int:
        return self.payload_bits + self.crc_bits

    @property
    def layout(self) -> bch.Layout:
        """How the code word is laid out."""
        return bch.choose_layout(self.k, self.message_bits)

    @property
    def t(self) -> int:
        return self.layout.t

    @property
    def min_distance(self) -> int:
        return self.layout.min_distance

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def crc_polynomial(self) -> int:
        """Generator polynomial of the checksum without its leading term; 0 for none."""
        return crc.POLYNOMIALS.get(self.crc_bits, 0)

    def encode(self, payloads) -> np.ndarray:
        """Encodes payloads.

        Args:
            payloads: a sequence of N payloads as `parse_payload` accepts them (int,
                hex string, bytes), or bits as an array [N, payload_bits] in {0, 1}.

        Returns:
            Code words, uint8 [N, message_bits] in {0, 1}.

        Raises:
            ValueError: a payload does not fit, or an array is not such bits.
        """
        if isinstance(payloads, np.ndarray) and payloads.ndim != 1:
            bits = self._check_bits(payloads, "Payload bits", self.payload_bits)
        elif isinstance(payloads, str | bytes | bytearray) or not hasattr(
            payloads, "__iter__"
        ):
            raise ValueError(
                "Payloads must be a sequence of payloads or an array of bits "
                f"[N, {self.payload_bits}]. Received: {payloads!r}."
            )
        else:
            bits = payload_lib.payloads_to_bits(payloads, self.payload_bits)
        return _product(bits, _payload_generator(self))

    def random_payloads(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws n payloads, uint8 [n, payload_bits], every bit even and independent."""
        return rng.integers(0, 2, (n, self.payload_bits), dtype=np.uint8)

    def decode(self, logits, order: int | None = None) -> Decoded:
        """Decodes softly, by ordered statistics.

        Args:
            logits: float [N, message_bits], finite; positive means bit 1. Only ratios
                within a word matter, except to `margin`.
            order: flips tried in the most reliable bits, 1 to 3. By default 3 for up
                to 72 message bits (k), 2 up to 256, then 1.

        Raises:
            ValueError: the logits have another shape or are not finite, or the order
                is out of range.
        """
        logits = self._check_logits(logits)
        if order is None:
            order = 3 if self.k <= 72 else 2 if self.k <= 256 else 1
        elif order not in (1, 2, 3):
            raise ValueError(f"order must be 1, 2 or 3. Received: {order!r}.")
        code_bits = np.zeros(logits.shape, np.uint8)
        margin = np.zeros(len(logits))
        generator = _generator(self.layout)
        for start in range(0, len(logits), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            code_bits[chunk], margin[chunk] = osd.ordered_statistics_decode(
                logits[chunk], generator, order
            )
        peak = np.abs(logits).max(axis=1, keepdims=True, initial=0)
        scaled = logits / np.where(peak > 0, peak, 1.0)
        norm = np.sqrt(self.message_bits * np.square(scaled).sum(axis=1))
        correlation = np.where(code_bits, scaled, -scaled).sum(axis=1)
        return Decoded(
            **self._reading(code_bits[:, : self.k]),
            code_bits=code_bits,
            corrected_bits=((logits > 0) != code_bits).sum(axis=1),
            score=correlation / np.where(norm > 0, norm, 1.0),
            margin=margin,
        )

    def decode_hard(self, bits_or_logits) -> HardDecoded:
        """Decodes the hard decisions up to the code's t errors.

        Repeated bits are outvoted first; the first copy decides a draw.

        Args:
            bits_or_logits: bool or integer bits in {0, 1}, or float logits of which
                only the sign is used (positive means 1); [N, message_bits].

        Raises:
            ValueError: another shape, integers other than 0 and 1, or logits that are
                not finite.
        """
        received = np.asarray(bits_or_logits)
        if received.dtype.kind == "f":
            received = (self._check_logits(received) > 0).astype(np.uint8)
        else:
            received = self._check_bits(received, "Code bits", self.message_bits)
        layout = self.layout
        core = received[:, : layout.core]
        votes = np.zeros(core.shape, np.int64)
        for start in range(0, self.message_bits, layout.core):
            copy = received[:, start : start + layout.core]
            votes[:, : copy.shape[1]] += 2 * copy.astype(np.int64) - 1
        core = np.where(votes == 0, core, votes > 0).astype(np.uint8)
        word = core[:, : layout.length]
        if layout.t:
            word, _ = bch.correct_errors(word, layout.m, layout.t)
        message = word[:, : self.k]
        code_bits = _product(message, _generator(layout))
        # The parity bit belongs to the word: its error is one of the t.
        distance = (code_bits[:, : layout.core] != core).sum(axis=1)
        return HardDecoded(
            **self._reading(message),
            code_bits=code_bits,
            corrected_bits=(code_bits != received).sum(axis=1),
            ok=distance <= layout.t,
        )

    def _reading(self, message: np.ndarray) -> dict:
        payload_bits = np.ascontiguousarray(message[:, : self.payload_bits])
        check = _product(payload_bits, crc.crc_matrix(self.payload_bits, self.crc_bits))
        return {
            "payload_bits": payload_bits,
            "payloads": payload_lib.bits_to_payloads(payload_bits),
            "crc_ok": (check == message[:, self.payload_bits :]).all(axis=1),
        }

    def _check_logits(self, logits) -> np.ndarray:
        logits = np.asarray(logits)
        if logits.dtype.kind not in "fiu" or logits.shape[1:] != (self.message_bits,):
            raise ValueError(
                f"Logits must be numbers of shape [N, {self.message_bits}]. "
                f"Received: shape {logits.shape}, dtype {logits.dtype}."
            )
        if not np.isfinite(logits).all():
            raise ValueError(
                "Logits must be finite. Received: "
                f"{(~np.isfinite(logits)).sum()} NaN or infinite values."
            )
        return logits.astype(np.float64)

    @staticmethod
    def _check_bits(bits: np.ndarray, what: str, length: int) -> np.ndarray:
        if bits.shape[1:] != (length,) or not np.isin(bits, (0, 1)).all():
            raise ValueError(
                f"{what} must be zeros and ones of shape [N, {length}]. "
                f"Received: shape {bits.shape}, dtype {bits.dtype}."
            )
        return bits.astype(np.uint8)


def _product(bits: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """bits [N, a] times matrix [a, b] over GF(2), uint8; float32 runs on BLAS."""
    product = bits.astype(np.float32) @ matrix.astype(np.float32)
    return product.astype(np.int32).astype(np.uint8) & 1


@functools.cache
def _generator(layout: bch.Layout) -> np.ndarray:
    return layout.generator_matrix()


@functools.cache
def _payload_generator(code: MessageCode) -> np.ndarray:
    check = crc.crc_matrix(code.payload_bits, code.crc_bits)
    message = np.concatenate([np.eye(code.payload_bits, dtype=np.uint8), check], axis=1)
    return _product(message, _generator(code.layout))
