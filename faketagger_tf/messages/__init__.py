"""Modules 1 and 5: payload <-> code bits, with soft-decision decoding. NumPy only."""

from faketagger_tf.messages.code import Decoded, HardDecoded, MessageCode
from faketagger_tf.messages.payload import (
    bits_to_payload,
    format_payload,
    parse_payload,
    payload_to_bits,
)

__all__ = [
    "Decoded",
    "HardDecoded",
    "MessageCode",
    "bits_to_payload",
    "format_payload",
    "parse_payload",
    "payload_to_bits",
]
