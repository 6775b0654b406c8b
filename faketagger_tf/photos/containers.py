"""JPEG segments, PNG chunks and WebP chunks: taken apart and put together again.

What is not a picture is copied byte for byte, which no library does for all three; the
pictures themselves are coded by Pillow and OpenCV.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import zlib

from faketagger_tf.photos import tiff

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
ICC = b"ICC_PROFILE\0"
MPF = b"MPF\0"
SEGMENT = 65533  # Bytes that a JPEG segment holds at most.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """A JPEG file in three parts.

    Attributes:
        segments: (marker, payload) up to the coded picture.
        places: where each payload begins in the file.
        scan: from the first scan's marker to the end marker.
        trailer: what follows the end marker: further pictures, a film.
    """

    segments: list[tuple[int, bytes]]
    places: list[int]
    scan: bytes
    trailer: bytes

    @property
    def frame(self) -> tuple[int, bytes]:
        """The frame header's marker and payload: coding, size, components."""
        for marker, payload in self.segments:
            if marker in _FRAMES and len(payload) >= 6 + 3 * payload[5]:
                return marker, payload
        raise ValueError("The JPEG has no frame header.")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        height, width = struct.unpack(">HH", self.frame[1][1:5])
        return width, height


def split_jpeg(data: bytes) -> Jpeg:
    """Takes a JPEG file apart.

    Raises:
        ValueError: the file ends before its end marker, or its segments are damaged.
    """
    segments, places, at = [], [], 2
    while True:
        if at + 4 > len(data):
            raise ValueError("The JPEG ends within its header.")
        if data[at] != 0xFF:
            raise ValueError("The JPEG's segments are damaged.")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        length = struct.unpack_from(">H", data, at + 2)[0]
        segments.append((marker, data[at + 4 : at + 2 + length]))
        places.append(at + 4)
        at += 2 + length
    first = at
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise ValueError("The JPEG has no end marker.")
        if data[found.start() + 1] == 0xD9:
            break
        if found.start() + 4 > len(data):
            raise ValueError("The JPEG has no end marker.")
        length = struct.unpack_from(">H", data, found.start() + 2)[0]
        at = found.start() + 2 + length
    return Jpeg(segments, places, data[first : found.end()], data[found.end() :])


def join_jpeg(segments: list[tuple[int, bytes]], scan: bytes) -> bytes:
    """Puts a JPEG file together, without what may follow its end marker."""
    pieces = [b"\xff\xd8"]
    for marker, payload in segments:
        pieces += [struct.pack(">BBH", 0xFF, marker, len(payload) + 2), payload]
    return b"".join([*pieces, scan])


def bare_jpeg(jpeg: Jpeg) -> bytes:
    """Returns the picture without its metadata, as a decoder needs it."""
    # Adobe's APP14 says which colours the components are.
    needed = [
        (marker, payload)
        for marker, payload in jpeg.segments
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE
    ]
    return join_jpeg(needed, jpeg.scan)


def split_icc(profile: bytes) -> list[tuple[int, bytes]]:
    """Returns the APP2 segments of a colour profile."""
    step = SEGMENT - len(ICC) - 2
    pieces = [profile[i : i + step] for i in range(0, len(profile), step)]
    return [
        (0xE2, ICC + bytes([number, len(pieces)]) + piece)
        for number, piece in enumerate(pieces, 1)
    ]


def split_photoshop(resources: bytes) -> list[tuple[int, bytes]]:
    """Returns the APP13 segments of Photoshop's resources, IPTC among them."""
    step = SEGMENT - len(PHOTOSHOP)
    return [
        (0xED, PHOTOSHOP + resources[i : i + step])
        for i in range(0, len(resources), step)
    ]


def move_pictures(
    payload: bytes, was: tuple[int, int], now: tuple[int, int], sizes: dict[int, int]
) -> bytes:
    """Corrects the index of further pictures (CIPA DC-007) after the first has changed.

    Args:
        payload: the APP2 segment, from "MPF" on.
        was: where the payload began, and where the first picture ended.
        now: the same in the new file.
        sizes: of pictures whose length has changed, by number; 0 is the first one.

    Raises:
        ValueError: the index is damaged.
    """
    block = bytearray(payload[4:])
    order, _ = tiff.header(block)
    entry = tiff.first_directory(block)[0].get(0xB002)
    if entry is None:
        raise ValueError("The index of further pictures is damaged.")
    grown: list[tuple[int, int]] = []
    for number in range(entry.size // 16):
        at = entry.start + 16 * number
        _, size, offset = struct.unpack_from(f"{order}III", block, at)
        place = offset + was[0] + 4
        if number in sizes:
            if offset:
                grown.append((place, sizes[number] - size))
            struct.pack_into(f"{order}I", block, at + 4, sizes[number])
        if offset:
            shift = sum(more for start, more in grown if start < place)
            place += now[1] - was[1] + shift - now[0] - 4
            struct.pack_into(f"{order}I", block, at + 8, place)
    return payload[:4] + bytes(block)


def split_png(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns a PNG file's chunks up to its end.

    Raises:
        ValueError: a chunk is cut off or its sum does not fit.
    """
    chunks, at = [], len(PNG_SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise ValueError("The PNG has no end.")
        length, name = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + 8 + length]
        stored = data[at + 8 + length : at + 12 + length]
        if stored != struct.pack(">I", zlib.crc32(payload, zlib.crc32(name))):
            raise ValueError(f"The PNG's chunk {name!r} is damaged.")
        chunks.append((name, payload))
        at += 12 + length
        if name == b"IEND":
            return chunks


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    pieces = [PNG_SIGNATURE]
    for name, payload in chunks:
        pieces += [
            struct.pack(">I4s", len(payload), name),
            payload,
            struct.pack(">I", zlib.crc32(payload, zlib.crc32(name))),
        ]
    return b"".join(pieces)


def split_webp(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns a WebP file's chunks.

    Raises:
        ValueError: a chunk is cut off.
    """
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    chunks, at = [], 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise ValueError(f"The WebP's chunk {name!r} is cut off.")
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 8 + length + (length & 1)
    return chunks


def join_webp(
    picture: list[tuple[bytes, bytes]],
    size: tuple[int, int],
    alpha: bool,
    icc: bytes = b"",
    exif: bytes = b"",
    xmp: bytes = b"",
    others: list[tuple[bytes, bytes]] = (),
) -> bytes:
    """Puts a WebP file together in the order that its specification asks for."""
    flags = 0x20 * bool(icc) | 0x10 * alpha | 0x08 * bool(exif) | 0x04 * bool(xmp)
    chunks = list(picture)
    if flags or others:
        width, height = size
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        head = [(b"VP8X", bytes([flags, 0, 0, 0]) + sides)]
        head += [(b"ICCP", icc)] if icc else []
        tail = [(b"EXIF", exif)] if exif else []
        tail += [(b"XMP ", xmp)] if xmp else []
        chunks = [*head, *picture, *tail, *others]
    body = b"".join(
        struct.pack("<4sI", name, len(payload)) + payload + bytes(len(payload) & 1)
        for name, payload in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def exif_and_xmp(data: bytes) -> tuple[bytes, bytes]:
    """Returns a file's EXIF block and XMP packet as far as they can be found.

    Made for files that may be damaged: nothing is raised, and what cannot be found is
    empty. JPEG, PNG, WebP and TIFF.
    """
    exif = xmp = b""
    if data[:3] == b"\xff\xd8\xff":
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
            if data[at + 1] == 0xFF:
                at += 1
                continue
            end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            if data[at + 1] == 0xE1:
                payload = data[at + 4 : end]
                if payload.startswith(EXIF) and not exif:
                    exif = payload[len(EXIF) :]
                elif payload.startswith(XMP) and not xmp:
                    xmp = payload[len(XMP) :]
            at = end
    elif data[:8] == PNG_SIGNATURE or data[:4] == b"RIFF":
        png = data[:4] != b"RIFF"
        at, layout = (8, ">I4s") if png else (12, "<4sI")
        while at + 8 <= len(data):
            head = struct.unpack_from(layout, data, at)
            length, name = head if png else head[::-1]
            if name in (b"eXIf", b"EXIF"):
                exif = bare_exif(data[at + 8 : at + 8 + length])
            elif name == b"XMP ":
                xmp = data[at + 8 : at + 8 + length]
            elif name == b"iTXt":
                xmp = png_xmp(data[at + 8 : at + 8 + length]) or xmp
            at += 12 + length if png else 8 + length + (length & 1)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        try:
            entries, _ = tiff.first_directory(data)
        except ValueError:
            return b"", b""
        exif, xmp = data, tiff.value(data, entries.get(tiff.XMP))
    return exif, xmp


def bare_exif(block: bytes) -> bytes:
    """Returns an EXIF block without the prefix that some writers leave on it."""
    return block[len(EXIF) :] if block.startswith(EXIF) else block


def png_xmp(payload: bytes) -> bytes:
    """Returns the XMP packet of an iTXt chunk; empty for another text."""
    keyword, _, rest = payload.partition(b"\0")
    if keyword != b"XML:com.adobe.xmp" or len(rest) < 2:
        return b""
    text = rest[2:].split(b"\0", 2)[-1]
    if rest[0]:
        try:
            inflate = zlib.decompressobj()
            text = inflate.decompress(text, 1 << 24)  # 16 MiB are enough for text.
        except zlib.error:
            return b""
    return text
