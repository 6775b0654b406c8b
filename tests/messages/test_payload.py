import numpy as np
import pytest

from faketagger_tf.messages import (
    bits_to_payload,
    format_payload,
    parse_payload,
    payload_to_bits,
)


@pytest.mark.parametrize(
    "written",
    [
        0x1F2E3D4C,
        np.int64(0x1F2E3D4C),
        "1F2E3D4C",
        "0x1f2e3d4c",
        " 0X1F2E3D4C\n",
        b"\x1f\x2e\x3d\x4c",
        bytearray(b"\x1f\x2e\x3d\x4c"),
    ],
)
def test_parse_accepts_int_hex_and_bytes(written):
    assert parse_payload(written, 32) == 523124044


@pytest.mark.parametrize(
    "written", ["", "0x", "12G4", "-1", "1_0", "0x 1", b"", True, 1.0, None, [1]]
)
def test_parse_rejects_what_is_no_payload(written):
    with pytest.raises(ValueError, match=r"A payload must be .*Received: "):
        parse_payload(written, 16)


@pytest.mark.parametrize("written", [-1, 1 << 16, "10000", b"\x01\x00\x00"])
def test_parse_rejects_what_does_not_fit(written):
    with pytest.raises(ValueError, match=r"from 0 to 0xFFFF\. Received: "):
        parse_payload(written, 16)


def test_format_pads_to_the_payload_s_length():
    assert format_payload(0xBEEF, 32) == "0x0000BEEF"
    assert format_payload(5, 11) == "0x005"
    assert parse_payload(format_payload(5, 11), 11) == 5


@pytest.mark.parametrize("payload_bits", [1, 7, 8, 11, 32, 64, 100])
def test_bits_are_the_binary_digits_most_significant_first(payload_bits):
    rng = np.random.default_rng(payload_bits)
    for _ in range(5):
        payload = int.from_bytes(rng.bytes(13), "big") % (1 << payload_bits)
        bits = payload_to_bits(payload, payload_bits)
        assert bits.dtype == np.uint8
        assert "".join(map(str, bits)) == f"{payload:0{payload_bits}b}"
        assert bits_to_payload(bits) == payload


@pytest.mark.parametrize("bits", [[], [0, 2], [[0, 1]], 1, [0.5]])
def test_bits_to_payload_rejects_other_than_a_row_of_bits(bits):
    with pytest.raises(ValueError, match="one row of zeros and ones"):
        bits_to_payload(bits)
