"""TIFF structures, which are EXIF blocks too: read, corrected in place, written.

A block is corrected in place and never laid out anew, so that what points into it by
offsets (a camera's MakerNote does, in ways that nobody documents) stays valid.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np

ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
XMP, PHOTOSHOP, ICC, IPTC, LAYERS = 700, 34377, 34675, 33723, 37724
MAKER_NOTE = 0x927C
_SIZES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True))
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I"}
# How a picture is stored; a picture that is stored anew brings its own.
STORAGE = {
    *range(256, 260),
    *(262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291),
    *(292, 293, 317, 320, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339),
    *(340, 341, 347, *range(512, 522), 529, 530, 531, 532),
}
_STRIP_BYTES = 1 << 18
EMPTY = struct.pack("<2sHIHI", b"II", 42, 8, 0, 0)  # A block without an entry.


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of a directory: its place in the block and where its value lies."""

    place: int
    kind: int
    count: int
    start: int

    @property
    def size(self) -> int:
        return _SIZES.get(self.kind, 1) * self.count


def header(block: bytes) -> tuple[str, int]:
    """Returns a block's byte order ("<" or ">") and its first directory's place.

    Raises:
        ValueError: the block is no TIFF structure.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None or len(block) < 8:
        raise ValueError("The TIFF header is damaged.")
    return order, struct.unpack_from(f"{order}I", block, 4)[0]


def directory(block: bytes, place: int) -> tuple[dict[int, Entry], int]:
    """Reads one directory; entries whose value lies outside are left out.

    Returns:
        the entries by tag, and where the next directory's offset is stored.

    Raises:
        ValueError: the directory itself lies outside the block.
    """
    order, _ = header(block)
    try:
        count = struct.unpack_from(f"{order}H", block, place)[0]
        entries = {}
        for number in range(count):
            at = place + 2 + 12 * number
            tag, kind, length, start = struct.unpack_from(f"{order}HHII", block, at)
            size = _SIZES.get(kind, 1) * length
            if size <= 4:
                start = at + 8
            if start + size <= len(block):
                entries.setdefault(tag, Entry(at, kind, length, start))
        following = place + 2 + 12 * count
        struct.unpack_from(f"{order}I", block, following)
    except struct.error:
        raise ValueError("A TIFF directory lies outside its block.") from None
    return entries, following


def first_directory(block: bytes) -> tuple[dict[int, Entry], int]:
    return directory(block, header(block)[1])


def numbers(block: bytes, entry: Entry | None) -> tuple[int, ...]:
    """Returns an entry's whole numbers; none for another type."""
    if entry is None or entry.kind not in _NUMBERS:
        return ()
    order, _ = header(block)
    kind = f"{order}{entry.count}{_NUMBERS[entry.kind]}"
    return struct.unpack_from(kind, block, entry.start)


def value(block: bytes, entry: Entry | None) -> bytes:
    return bytes(block[entry.start : entry.start + entry.size]) if entry else b""


def set_number(block: bytearray, entry: Entry, content: int) -> None:
    """Overwrites an entry's only number, in the type that it has."""
    order, _ = header(block)
    struct.pack_into(f"{order}{_NUMBERS[entry.kind]}", block, entry.start, content)


def orientation(block: bytes) -> int:
    """Returns the orientation, 1 to 8; 0 where there is none that is legal.

    Example:
        >>> orientation(bytes.fromhex("4d4d002a00000008" "0001"
        ...     "0112000300000001" "00060000" "00000000"))
        6
    """
    found = numbers(block, first_directory(block)[0].get(ORIENTATION))
    return found[0] if len(found) == 1 and 1 <= found[0] <= 8 else 0


def flat(block: bytes) -> bytes:
    """Returns a file whose first picture claims to be upright.

    Decoders of TIFF turn pictures, each in its own way; this one turns none.
    """
    entry = first_directory(block)[0].get(ORIENTATION)
    if len(numbers(block, entry)) != 1:
        return block
    copy = bytearray(block)
    set_number(copy, entry, 1)
    return bytes(copy)


def without_orientation(block: bytes) -> bytes:
    """Returns a block without that entry; what its offsets point to stays in place."""
    entries, following = first_directory(block)
    entry = entries.get(ORIENTATION)
    if entry is None:
        return block
    order, first = header(block)
    copy = bytearray(block)
    struct.pack_into(f"{order}H", copy, first, (following - first - 2) // 12 - 1)
    end = following + 4
    copy[entry.place : end] = copy[entry.place + 12 : end] + bytes(12)
    return bytes(copy)


def has_maker_note(block: bytes) -> bool:
    """Whether an EXIF block holds a camera's own notes."""
    deeper = numbers(block, first_directory(block)[0].get(EXIF_IFD))
    return bool(deeper) and MAKER_NOTE in directory(block, deeper[0])[0]


def write_picture(
    block: bytes,
    pixels: np.ndarray,
    values: dict[int, tuple[int, int, bytes]],
    pages: bool = False,
) -> bytes:
    """Writes a TIFF file that holds a block as it is, and a picture.

    The block (another TIFF file, or an EXIF block) stays where it is; its own first
    picture is erased, and the new one takes its place as far as it is large enough.
    Deflate with the horizontal predictor, which every reader of TIFF knows.

    Args:
        block: what to keep; `EMPTY` for nothing.
        pixels: uint8 or uint16 [H, W, 3 or 4], RGB and straight alpha.
        values: further entries by tag: type, count and content in the block's byte
            order. An empty content removes the entry.
        pages: keep the block's further directories.
    """
    order, _ = header(block)
    entries, following = first_directory(block)
    out = bytearray(block)
    erased = list(pictures(block, entries))
    for tag in (*values, LAYERS):
        entry = entries.get(tag)
        if (
            entry
            and entry.size > 4
            and value(block, entry) != values.get(tag, (0,) * 3)[2]
        ):
            erased.append((entry.start, entry.size))
    free = _merged(erased)
    for start, size in free:
        out[start : start + size] = bytes(size)
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize
    rows = min(height, max(1, _STRIP_BYTES // (width * channels * depth)))
    strips = [
        zlib.compress(_predicted(pixels[top : top + rows], order), 6)
        for top in range(0, height, rows)
    ]
    offsets = []
    for strip in strips:
        hole = next((i for i, (_, size) in enumerate(free) if size >= len(strip)), None)
        if hole is None:
            offsets.append(_appended(out, strip))
        else:
            start, size = free[hole]
            out[start : start + len(strip)] = strip
            used = len(strip) + (len(strip) & 1)
            free[hole] = (start + used, max(0, size - used))
            offsets.append(start)
    for start, size in reversed(free):
        if size and start + size == len(out):
            del out[start:]

    def shorts(*content: int) -> tuple[int, int, bytes]:
        return 3, len(content), struct.pack(f"{order}{len(content)}H", *content)

    def longs(content: list[int]) -> tuple[int, int, bytes]:
        return 4, len(content), struct.pack(f"{order}{len(content)}I", *content)

    new = {
        256: longs([width]),
        257: longs([height]),
        258: shorts(*[8 * depth] * channels),
        259: shorts(8),
        262: shorts(2),
        273: longs(offsets),
        ORIENTATION: shorts(1),
        277: shorts(channels),
        278: longs([rows]),
        279: longs([len(strip) for strip in strips]),
        284: shorts(1),
        317: shorts(2),
    }
    if channels == 4:
        new[338] = shorts(2)
    kept = {
        tag: bytes(block[entry.place : entry.place + 12])
        for tag, entry in entries.items()
        if tag not in STORAGE and tag not in new and tag != LAYERS
    }
    for tag, content in values.items():
        if tag in kept and value(block, entries[tag]) == content[2]:
            continue
        kept.pop(tag, None)
        if content[2]:
            new[tag] = content
    for tag, (kind, count, content) in new.items():
        if len(content) > 4:
            content = struct.pack(f"{order}I", _appended(out, content))
        kept[tag] = struct.pack(f"{order}HHI", tag, kind, count) + content.ljust(
            4, b"\0"
        )
    table = struct.pack(f"{order}H", len(kept))
    table += b"".join(kept[tag] for tag in sorted(kept))
    table += bytes(block[following : following + 4]) if pages else bytes(4)
    struct.pack_into(f"{order}I", out, 4, _appended(out, table))
    return bytes(out)


def pictures(block: bytes, entries: dict[int, Entry]):
    """Yields (start, size) of the strips or tiles of a directory's picture."""
    for offsets, sizes in ((273, 279), (324, 325), (513, 514)):
        starts = numbers(block, entries.get(offsets))
        for start, size in zip(
            starts, numbers(block, entries.get(sizes)), strict=False
        ):
            # A damaged offset must not erase the header.
            if start >= 8 and start + size <= len(block):
                yield start, size


def is_complete(block: bytes) -> bool:
    """Whether the first picture's strips or tiles are all there, inside the file."""
    entries, _ = first_directory(block)
    tiled = 324 in entries
    starts = numbers(block, entries.get(324 if tiled else 273))
    sizes = numbers(block, entries.get(325 if tiled else 279))
    if len(starts) != len(sizes) or not starts:
        return False
    if any(a + b > len(block) for a, b in zip(starts, sizes, strict=True)):
        return False
    rows, height = (numbers(block, entries.get(tag))[:1] for tag in (278, 257))
    return tiled or not rows or (bool(height) and len(starts) * rows[0] >= height[0])


def _merged(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, size in sorted(pieces):
        if merged and start <= sum(merged[-1]):
            first = merged[-1][0]
            merged[-1] = first, max(sum(merged[-1]), start + size) - first
        else:
            merged.append((start, size))
    return merged


def _appended(out: bytearray, content: bytes) -> int:
    out.extend(bytes(len(out) & 1))  # TIFF wants even offsets.
    out.extend(content)
    return len(out) - len(content)


def _predicted(rows: np.ndarray, order: str) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return differences.astype(rows.dtype.newbyteorder(order)).tobytes()
