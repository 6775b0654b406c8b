import binascii
import zlib

import numpy as np
import pytest

from faketagger_tf.messages.crc import POLYNOMIALS, crc_matrix
from faketagger_tf.messages.payload import bits_to_payload


def crc(data: bytes, crc_bits: int, reflected: bool = False) -> int:
    order = "little" if reflected else "big"
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder=order)
    check = bits @ crc_matrix(len(bits), crc_bits) & 1
    return bits_to_payload(check[::-1] if reflected else check)


def test_crc_16_is_xmodem():
    data = np.random.default_rng(0).bytes(40)
    assert crc(data, 16) == binascii.crc_hqx(data, 0)


# Check values ("123456789") of the catalogue of parametrised CRC algorithms
# (reveng.sourceforge.io) for those that start at zero and invert nothing; for the
# reflected ones the bits are turned.
@pytest.mark.parametrize(
    ("crc_bits", "reflected", "check"),
    [
        (4, True, 0x7),  # CRC-4/G-704 (ITU)
        (6, True, 0x06),  # CRC-6/G-704 (ITU)
        (7, False, 0x75),  # CRC-7/MMC
        (8, False, 0xF4),  # CRC-8/SMBUS
        (10, False, 0x199),  # CRC-10/ATM
        (13, False, 0x04FA),  # CRC-13/BBC
        (14, True, 0x082D),  # CRC-14/DARC
        (15, False, 0x059E),  # CRC-15/CAN
        (16, False, 0x31C3),  # CRC-16/XMODEM
        (17, False, 0x04F03),  # CRC-17/CAN-FD
        (21, False, 0x0ED841),  # CRC-21/CAN-FD
    ],
)
def test_check_values_of_the_catalogue(crc_bits, reflected, check):
    assert crc(b"123456789", crc_bits, reflected) == check


def test_crc_32_is_the_linear_part_of_zlib_s():
    data = np.random.default_rng(1).bytes(24)
    linear = zlib.crc32(data) ^ zlib.crc32(bytes(len(data)))
    assert crc(data, 32, reflected=True) == linear


@pytest.mark.parametrize("crc_bits", sorted(POLYNOMIALS))
def test_every_width_sees_every_single_error_and_every_burst(crc_bits):
    matrix = crc_matrix(64, crc_bits)
    assert matrix.any(axis=1).all()
    # A cyclic code sees every burst no longer than its check: any crc_bits
    # neighbouring rows are independent, which the powers of x are if and only if
    # multiplication by x can be undone (the constant term is one).
    last = matrix[-crc_bits:].astype(float)
    assert round(abs(np.linalg.det(last))) % 2 == 1


def test_no_crc_is_an_empty_matrix():
    assert crc_matrix(32, 0).shape == (32, 0)
