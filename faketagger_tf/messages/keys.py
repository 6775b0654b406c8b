"""Keyed tags: what only the holder of a secret can read or write.

Two steps, both from HMAC-SHA256 (RFC 2104, FIPS 180-4):

1. The payload is enciphered by a Feistel network over its bits (Luby and Rackoff 1988,
   eight rounds), so that knowing tags and their payloads does not tell how another
   payload would look.
2. The code word's bits are permuted and masked, so that the soft decoder finds no code
   word in a tag written with another key or with none.

What it protects against: reading a payload, and writing a tag of one's own choice. It
does not hide that a photo carries some tag: to whoever has the public weights its
logits are more even than an untagged photo's (of 34 keyed photos read without the key
30 had a p-value below .05, though none counts as found at 1e-6). The mapping is
the same for every photo of a key. So it does not protect against a *replay*: whoever
has the public weights and one tagged photo can read the raw bits, unread as they are,
and write the same bits into another photo; the reader then sees the first photo's
payload. Nor does it keep a tag from being destroyed. Let each photo have a payload of
its own, and compare the suspect with the photo on record before believing a reading.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import os

import numpy as np

MIN_KEY_BYTES = 16
ROUNDS = 8
# What text begins with, longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_key(path: str | os.PathLike) -> bytes:
    """Reads a key file: its bytes are the key, without surrounding white space.

    The same text is the same key however an editor or a shell stored it: a byte-order
    mark is left out, and UTF-16 and UTF-32 are read as the UTF-8 of their text.

    Raises:
        ValueError: the file cannot be read, holds fewer than 16 bytes, or text that is
            damaged.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except OSError as error:
        raise ValueError(
            f"Cannot read the key file {name!r}: {error.strerror or error}."
        ) from None
    data = _as_utf8(data, name).strip()
    if len(data) < MIN_KEY_BYTES:
        raise ValueError(
            f"A key must have at least {MIN_KEY_BYTES} bytes, for example from "
            f"`openssl rand -hex 32`. Received: {len(data)} bytes in {name!r}."
        )
    return data


def _as_utf8(data: bytes, name: str) -> bytes:
    """Brings text of any Unicode form to UTF-8; other bytes stay as they are."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                text = data[len(mark) :].decode(encoding)
                if all(letter.isprintable() or letter.isspace() for letter in text):
                    return text.encode()
            except UnicodeError:
                pass
            # Drawn bytes begin so too, one key in 30,000: which it is cannot be told.
            raise ValueError(
                f"The key file {name!r} begins with the byte-order mark of {encoding}, "
                f"but holds no such text. Received: {len(data)} bytes. Accepted: text, "
                "or bytes that begin otherwise, as from `openssl rand -hex 32`."
            )
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        # Plain letters of UTF-16 without a mark: every second byte is zero.
        if zeros and len(data) % 2 == 0 and not any(zeros):
            return data.decode(encoding, "replace").encode()
    return data


def _stream(key: bytes, label: str, count: int) -> bytes:
    """`count` pseudo-random bytes: HMAC-SHA256 of the label and a counter."""
    blocks = range(-(-count // 32))
    parts = [_mac(key, f"{label}:{block}".encode()) for block in blocks]
    return b"".join(parts)[:count]


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, b"faketagger-tf:1:" + data, hashlib.sha256).digest()


class KeyedCode:
    """The two keyed steps for one key and one size of message.

    Args:
        key: the secret, at least 16 bytes.
        payload_bits, message_bits: as in `TaggerConfig`.

    Raises:
        ValueError: the key is too short.
    """

    def __init__(self, key: bytes, payload_bits: int, message_bits: int):
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(
                f"A key must have at least {MIN_KEY_BYTES} bytes. "
                f"Received: {len(key)} bytes."
            )
        self._key = bytes(key)
        self._payload_bits = payload_bits
        draws = np.frombuffer(_stream(key, "permutation", 8 * message_bits), ">u8")
        self._order = np.argsort(draws, kind="stable")
        mask = np.frombuffer(_stream(key, "mask", -(-message_bits // 8)), np.uint8)
        self._mask = np.unpackbits(mask)[:message_bits]

    @property
    def key_id(self) -> str:
        """16 hexadecimal digits that tell keys apart and do not tell the key."""
        return _mac(self._key, b"key id").hex()[:16]

    def scramble(self, code_bits: np.ndarray) -> np.ndarray:
        """Permutes and masks code words, uint8 `[N, message_bits]`."""
        return code_bits[:, self._order] ^ self._mask

    def unscramble(self, logits: np.ndarray) -> np.ndarray:
        """Undoes `scramble` on logits, float `[N, message_bits]`."""
        plain = np.empty_like(logits)
        plain[:, self._order] = np.where(self._mask, -logits, logits)
        return plain

    def encipher(self, payload: int) -> int:
        """Maps a payload to another of as many bits; one to one."""
        return self._feistel(payload, range(ROUNDS))

    def decipher(self, payload: int) -> int:
        """Undoes `encipher`."""
        return self._feistel(payload, reversed(range(ROUNDS)))

    def _feistel(self, payload: int, rounds) -> int:
        # The halves stay in place and take turns, so that odd lengths work as well.
        low_bits = self._payload_bits // 2
        high_bits = self._payload_bits - low_bits
        high, low = payload >> low_bits, payload & ((1 << low_bits) - 1)
        for turn in rounds:
            if turn % 2:
                low ^= self._round(turn, high, low_bits)
            else:
                high ^= self._round(turn, low, high_bits)
        return high << low_bits | low

    def _round(self, turn: int, value: int, bits: int) -> int:
        data = b"feistel:%d:%d:%x" % (self._payload_bits, turn, value)
        size = -(-bits // 8)
        drawn = int.from_bytes(
            _stream(self._key, _mac(self._key, data).hex(), size), "big"
        )
        return drawn & ((1 << bits) - 1)
