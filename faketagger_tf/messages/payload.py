"""Payloads as users write them (int, hex, bytes) and as bits."""

from __future__ import annotations

import operator
import re

import numpy as np

_HEX = re.compile(r"(0[xX])?[0-9a-fA-F]+")


def parse_payload(payload: int | str | bytes, payload_bits: int) -> int:
    """Reads a payload from what a user may write.

    Args:
        payload: an integer; a hexadecimal string with or without "0x"
            ("1F2E3D4C"); or bytes, most significant first.
        payload_bits: length of the payload in bits.

    Returns:
        The payload as an integer in [0, 2**payload_bits).

    Raises:
        ValueError: not a payload, or one that does not fit in `payload_bits`.
    """
    if isinstance(payload, str):
        text = payload.strip()
        value = int(text, 16) if _HEX.fullmatch(text) else None
    elif isinstance(payload, bytes | bytearray):
        value = int.from_bytes(payload, "big") if payload else None
    elif isinstance(payload, bool | np.bool_):
        value = None
    else:
        try:
            value = operator.index(payload)
        except TypeError:
            value = None
    if value is None:
        raise ValueError(
            "A payload must be an integer, a hexadecimal string such as "
            f"{format_payload(0, payload_bits)!r}, or bytes. Received: {payload!r}."
        )
    if not 0 <= value < 1 << payload_bits:
        raise ValueError(
            f"A payload of {payload_bits} bits must be from 0 to "
            f"{format_payload((1 << payload_bits) - 1, payload_bits)}. "
            f"Received: {payload!r}."
        )
    return value


def format_payload(payload: int, payload_bits: int) -> str:
    """Returns the payload as "0x..." with one digit per (begun) four bits."""
    return f"0x{payload:0{-(-payload_bits // 4)}X}"


def payload_to_bits(payload: int, payload_bits: int) -> np.ndarray:
    """Returns the payload's bits, uint8 [payload_bits], most significant first.

    Raises:
        ValueError: the payload does not fit in `payload_bits`.
    """
    return payloads_to_bits([payload], payload_bits)[0]


def payloads_to_bits(payloads, payload_bits: int) -> np.ndarray:
    """`payload_to_bits` of many: a sequence of N payloads to uint8 [N, payload_bits].

    Raises:
        ValueError: a payload does not fit in `payload_bits`.
    """
    size = -(-payload_bits // 8)
    packed = b"".join(
        parse_payload(payload, payload_bits).to_bytes(size, "big")
        for payload in payloads
    )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8)).reshape(-1, size * 8)
    return np.ascontiguousarray(bits[:, size * 8 - payload_bits :])


def bits_to_payload(bits) -> int:
    """Returns the integer whose bits, most significant first, are `bits` [n].

    Raises:
        ValueError: `bits` is not one row of zeros and ones.
    """
    bits = np.asarray(bits)
    if bits.ndim != 1 or not bits.size or not np.isin(bits, (0, 1)).all():
        raise ValueError(
            "Payload bits must be one row of zeros and ones. "
            f"Received: shape {bits.shape}, dtype {bits.dtype}."
        )
    return bits_to_payloads(bits[np.newaxis].astype(np.uint8))[0]


def bits_to_payloads(bits: np.ndarray) -> list[int]:
    """`bits_to_payload` of many: uint8 [N, n] in {0, 1} to N integers."""
    padding = -bits.shape[1] % 8
    packed = np.packbits(np.pad(bits, ((0, 0), (padding, 0))), axis=1)
    return [int.from_bytes(row.tobytes(), "big") for row in packed]
