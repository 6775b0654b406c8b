"""EXIF, XMP and Photoshop blocks: what must be corrected when the picture changes."""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np

from faketagger_tf.photos import tiff

_ORIENTATION = re.compile(
    rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([1-8])(?=\s*["'<])"""
)
_SIDES = re.compile(
    rb"""((?:exif:Pixel(X|Y)Dimension|tiff:Image(Width|Length))\s*(?:=\s*["']|>)\s*)"""
    rb"""(\d+)(?=\s*["'<])"""
)
_XMP_THUMBNAIL = re.compile(
    rb"""(xmpGImg:image\s*(?:=\s*(?P<quote>["'])|>))([^<"']+)(?=(?(quote)["']|<))"""
)
_THUMBNAILS = (1033, 1036)  # Photoshop's resources that hold a small picture.
_IPTC = 0x0404


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an array [H, W, ...] that is stored with an EXIF orientation upright.

    Example:
        >>> upright(np.array([[1, 2], [3, 4]]), 6).tolist()
        [[3, 1], [4, 2]]
    """
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """Returns a photo's orientation, 1 to 8: that of EXIF, or else that of XMP.

    Raises:
        ValueError: the EXIF block is damaged.
    """
    found = tiff.orientation(exif) if exif else 0
    if not found:
        match = _ORIENTATION.search(xmp)
        found = int(match[2]) if match else 1
    return found


def turn_exif(exif: bytes, size: tuple[int, int], turned: bool) -> bytes:
    """Sets every orientation to 1, and the sides that it states to the upright ones.

    Args:
        exif: a block without its "Exif" prefix.
        size: (width, height) upright.
        turned: the photo was stored on its side.

    Raises:
        ValueError: the block is damaged.
    """
    block = bytearray(exif)
    entries, following = tiff.first_directory(block)
    inside = tiff.numbers(block, entries.get(tiff.EXIF_IFD))
    directories = [entries]
    second = _second(block, following)
    if second is not None:
        directories.append(second)
    for number, found in enumerate(directories):
        entry = found.get(tiff.ORIENTATION)
        if len(tiff.numbers(block, entry)) == 1:
            tiff.set_number(block, entry, 1)
        if not turned or number:
            continue
        sides = [(found, 256, size[0]), (found, 257, size[1])]
        if inside:
            deeper = tiff.directory(block, inside[0])[0]
            sides += [(deeper, 0xA002, size[0]), (deeper, 0xA003, size[1])]
        for where, tag, side in sides:
            if len(tiff.numbers(block, where.get(tag))) == 1:
                tiff.set_number(block, where[tag], side)
    return bytes(block)


def turn_xmp(xmp: bytes, size: tuple[int, int], turned: bool) -> bytes:
    """Does for a packet of XMP what `turn_exif` does; nothing else is touched."""
    xmp = _ORIENTATION.sub(rb"\g<1>1", xmp)
    if not turned:
        return xmp

    def side(match: re.Match) -> bytes:
        wide = match[2] == b"X" or match[3] == b"Width"
        return match[1] + str(size[0] if wide else size[1]).encode()

    return _SIDES.sub(side, xmp)


def drop_xmp_thumbnail(xmp: bytes) -> tuple[bytes, bool]:
    """Empties the small pictures of the unchanged photo; whether there were any."""
    new, count = _XMP_THUMBNAIL.subn(rb"\g<1>", xmp)
    return new, count > 0


def _second(block: bytes, following: int) -> dict[int, tiff.Entry] | None:
    order, _ = tiff.header(block)
    place = struct.unpack_from(f"{order}I", block, following)[0]
    if not place:
        return None
    try:
        return tiff.directory(block, place)[0]
    except ValueError:
        return None


def renew_thumbnail(exif: bytes, pixels: np.ndarray | None) -> tuple[bytes, str]:
    """Replaces the small picture of an EXIF block by one of the photo as it is now.

    The new one takes the old one's place, so that nothing else moves. One that does not
    fit, or is no JPEG, is erased.

    Args:
        exif: a block.
        pixels: uint8 [H, W, 3] RGB, or None to erase the thumbnail.

    Returns:
        the block, and "replaced", "removed" or "" where there was none.
    """
    block = bytearray(exif)
    order, _ = tiff.header(block)
    _, following = tiff.first_directory(block)
    entries = _second(block, following)
    if entries is None:
        return exif, ""
    start = tiff.numbers(block, entries.get(513))
    length = tiff.numbers(block, entries.get(514))
    if pixels is not None and len(start) == len(length) == 1:
        old = bytes(block[start[0] : start[0] + length[0]])
        new = _thumbnail(old, pixels)
        if new:
            block[start[0] : start[0] + len(old)] = new.ljust(len(old), b"\0")
            tiff.set_number(block, entries[514], len(new))
            return bytes(block), "replaced"
    for start, size in tiff.pictures(block, entries):
        block[start : start + size] = bytes(size)
    struct.pack_into(f"{order}I", block, following, 0)
    return bytes(block), "removed"


def _thumbnail(old: bytes, pixels: np.ndarray) -> bytes:
    """Codes a thumbnail as large as the old one in as many bytes, or returns none."""
    try:
        stored = cv2.imdecode(np.frombuffer(old, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return b""
    if stored is None:
        return b""
    height, width = pixels.shape[:2]
    scale = max(stored.shape) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for quality in (85, 70, 55, 40, 25):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        data = cv2.imencode(".jpg", small[..., ::-1], options)[1].tobytes()
        if len(data) <= len(old):
            return data
    return b""


def resources(block: bytes) -> list[tuple[int, bytes, bytes]]:
    """Returns Photoshop's resources: number, the whole resource, and its content.

    Raises:
        ValueError: the block is damaged.
    """
    found, at = [], 0
    while at + 12 <= len(block):
        kind, number, name = struct.unpack_from(">4sHB", block, at)
        start = at + 6 + (name + 2) // 2 * 2
        if kind not in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
            raise ValueError("Photoshop's resources are damaged.")
        if start + 4 > len(block):
            raise ValueError("Photoshop's resources are damaged.")
        size = struct.unpack_from(">I", block, start)[0]
        content = block[start + 4 : start + 4 + size]
        if len(content) < size:
            raise ValueError("Photoshop's resources are damaged.")
        end = start + 4 + (size + 1) // 2 * 2
        found.append((number, block[at:end], content))
        at = end
    return found


def drop_photoshop_thumbnail(block: bytes) -> tuple[bytes, bool]:
    """Leaves out the small pictures of the unchanged photo; whether there were any."""
    try:
        found = resources(block)
    except ValueError:
        return block, False
    kept = [whole for number, whole, _ in found if number not in _THUMBNAILS]
    if len(kept) == len(found):
        return block, False
    return b"".join(kept), True


def iptc_records(block: bytes) -> bytes:
    """Returns the IPTC records within Photoshop's resources; may be empty."""
    try:
        found = resources(block)
    except ValueError:
        return b""
    return b"".join(content for number, _, content in found if number == _IPTC)


def iptc_resource(records: bytes) -> bytes:
    """Wraps IPTC records as Photoshop does."""
    padding = bytes(len(records) & 1)
    head = struct.pack(">4sHHI", b"8BIM", _IPTC, 0, len(records))
    return head + records + padding
