"""How a lossy photo was coded, so that it can be coded alike again."""

from __future__ import annotations

import dataclasses
import functools
import io

import numpy as np
from PIL import Image

from faketagger_tf.photos.containers import Jpeg, bare_jpeg

_SAMPLING = {
    ((1, 1), (1, 1), (1, 1)): "4:4:4",
    ((2, 1), (1, 1), (1, 1)): "4:2:2",
    ((2, 2), (1, 1), (1, 1)): "4:2:0",
    ((1, 2), (1, 1), (1, 1)): "4:4:0",
    ((4, 1), (1, 1), (1, 1)): "4:1:1",
}


@dataclasses.dataclass(frozen=True)
class Coding:
    """How a JPEG or lossy WebP was coded.

    Attributes:
        quality: 1 to 100, estimated: of JPEG that of libjpeg whose luma table is
            closest, of WebP that of libwebp whose quantizer is.
        sampling: of colour in JPEG, "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", or ""
            for grey and others.
        progressive: a progressive JPEG.
        tables: a JPEG's quantisation tables, 64 numbers each in natural order.
    """

    quality: int
    sampling: str = ""
    progressive: bool = False
    tables: tuple[tuple[int, ...], ...] = ()


def jpeg_coding(jpeg: Jpeg) -> Coding:
    """Returns how a JPEG was coded.

    Raises:
        ValueError: its tables are damaged.
    """
    marker, frame = jpeg.frame
    factors = tuple(
        (frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(frame[5])
    )
    # Without its metadata, which may be damaged, Pillow opens it in any case.
    with Image.open(io.BytesIO(bare_jpeg(jpeg)), formats=("JPEG", "MPO")) as image:
        tables = tuple(tuple(t) for _, t in sorted(image.quantization.items()))
    if not tables:
        raise ValueError("The JPEG has no quantisation table.")
    return Coding(
        quality=jpeg_quality(tables[0]),
        sampling=_SAMPLING.get(factors, ""),
        progressive=marker in (0xC2, 0xC6, 0xCA, 0xCE),
        tables=tables,
    )


def jpeg_quality(table: tuple[int, ...]) -> int:
    """Returns the quality of libjpeg whose luma table is closest, 1 to 100."""
    distance = np.abs(np.log(_luma_tables()) - np.log(np.maximum(table, 1)))
    return int(distance.sum(axis=1).argmin()) + 1


@functools.cache
def _luma_tables() -> np.ndarray:
    """The luma tables of qualities 1 to 100, [100, 64], as libjpeg writes them."""
    tables, grey = [], Image.new("L", (8, 8))
    for quality in range(1, 101):
        buffer = io.BytesIO()
        grey.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            tables.append(image.quantization[0])
    return np.array(tables, np.float64)


def webp_quality(frame: bytes) -> int:
    """Returns libwebp's quality for a lossy frame (the VP8 chunk), 1 to 100.

    Its header (RFC 6386, section 9) has a quantizer for each of up to four segments;
    libwebp spreads them around the one that its quality stands for.

    Raises:
        IndexError: the frame is cut off within its header.
    """
    bits = _Bits(frame[10:])
    bits.read(2)  # Colour space and clamping.
    quantizers = []
    if bits.read(1):
        new_map, new_data = bits.read(1), bits.read(1)
        if new_data:
            bits.read(1)
            quantizers = [bits.optional(7) for _ in range(4)]
            for _ in range(4):
                bits.optional(6)
        if new_map:
            for _ in range(3):
                if bits.read(1):
                    bits.read(8)
    bits.read(1 + 6 + 3)  # The loop filter's type, level and sharpness.
    if bits.read(1) and bits.read(1):
        for _ in range(8):
            bits.optional(6)
    bits.read(2)
    base = bits.read(7)
    middle = float(np.median(quantizers)) if any(quantizers) else base
    linear = (1 - middle / 127) ** 3
    share = linear * 1.5 if linear < 0.5 else (linear + 1) / 2
    return int(np.clip(round(100 * share), 1, 100))


class _Bits:
    """VP8's boolean decoder for the header, where both values are equally likely."""

    def __init__(self, data: bytes):
        self._data, self._next = data, 2
        self._value, self._range, self._count = data[0] << 8 | data[1], 255, 0

    def read(self, count: int) -> int:
        number = 0
        for _ in range(count):
            split = 1 + (self._range - 1 >> 1)
            one = self._value >= split << 8
            if one:
                self._value -= split << 8
                self._range -= split
            else:
                self._range = split
            while self._range < 128:
                self._value, self._range = self._value << 1, self._range << 1
                self._count += 1
                if self._count == 8:
                    self._value |= self._data[self._next]
                    self._next, self._count = self._next + 1, 0
            number = number << 1 | one
        return number

    def optional(self, count: int) -> int:
        if not self.read(1):
            return 0
        number = self.read(count)
        return -number if self.read(1) else number
