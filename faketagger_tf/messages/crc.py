"""Cyclic redundancy checks of 0 to 32 bits, as matrices over GF(2)."""

from __future__ import annotations

import numpy as np

# Generator polynomials without their leading term. Widths that have a customary CRC
# use it (3 GSM, 4 ITU, 5 USB, 6 ITU, 7 MMC, 8 SMBUS, 10 ATM, 11 FlexRay, 12 UMTS,
# 13 BBC, 14 DARC, 15 CAN, 16 XMODEM, 17 and 21 CAN FD, 24 OpenPGP, 30 CDMA,
# 31 Philips, 32 ISO-HDLC); the others a primitive polynomial, so that every error of
# two bits is detected.
POLYNOMIALS = {
    1: 0x1,
    2: 0x3,
    3: 0x3,
    4: 0x3,
    5: 0x05,
    6: 0x03,
    7: 0x09,
    8: 0x07,
    9: 0x011,
    10: 0x233,
    11: 0x385,
    12: 0x80F,
    13: 0x1CF5,
    14: 0x0805,
    15: 0x4599,
    16: 0x1021,
    17: 0x1685B,
    18: 0x00081,
    19: 0x00027,
    20: 0x00009,
    21: 0x102899,
    22: 0x000003,
    23: 0x000021,
    24: 0x864CFB,
    25: 0x0000009,
    26: 0x0000047,
    27: 0x0000027,
    28: 0x0000009,
    29: 0x00000005,
    30: 0x2030B9C7,
    31: 0x04C11DB7,
    32: 0x04C11DB7,
}


def crc_matrix(payload_bits: int, crc_bits: int) -> np.ndarray:
    """Returns C, uint8 [payload_bits, crc_bits], with crc = payload @ C mod 2.

    The register starts at zero and nothing is reflected or inverted, so the check is
    linear; bits are most significant first. Row i is x**(payload_bits - 1 - i) *
    x**crc_bits modulo the generator polynomial.
    """
    matrix = np.zeros((payload_bits, crc_bits), np.uint8)
    if not crc_bits:
        return matrix
    polynomial = POLYNOMIALS[crc_bits]
    remainder = polynomial
    for row in reversed(matrix):
        row[:] = [remainder >> i & 1 for i in reversed(range(crc_bits))]
        remainder <<= 1
        if remainder >> crc_bits:
            remainder ^= 1 << crc_bits | polynomial
    return matrix
