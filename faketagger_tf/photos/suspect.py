"""Reading a suspect: evidence is decoded as far as it goes, and never refused for more.

`photo_file` reads a photo to tag and refuses what it cannot give back whole; a suspect
needs its pixels only.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import warnings
import zlib
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from faketagger_tf.photos import codec, containers, tiff
from faketagger_tf.photos.metadata import orientation_of, upright

EXTENSIONS = (
    *codec.EXTENSIONS,
    *(".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jfif"),
)
# Pixels a side below which neither a photo nor a canvas in it is read. Of 17 canvases
# of 120 pixels, tagged with the promise "web", all read when they are reduced to 40,
# ten at 32 and one at 24.
MIN_READ = 24
ACCEPTED = (
    "Accepted: JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, JPEG 2000, or HEIC "
    "(with the package pi-heif)"
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_SIGNATURES = (b"\xff\xd8\xff", containers.PNG_SIGNATURE, b"GIF87a", b"GIF89a")
_SEARCHED = 1 << 16  # Bytes in which a file's beginning is looked for.
# Pillow's names; its other formats run programs or have never held a photo.
_FORMATS = {
    "JPEG": ("JPEG", "MPO"),
    "PNG": ("PNG",),
    "WebP": ("WEBP",),
    "BMP": ("BMP",),
    "GIF": ("GIF",),
    "TIFF": ("TIFF",),
    "AVIF": ("AVIF",),
    "HEIC": ("HEIF",),
    "JPEG 2000": ("JPEG2000",),
}


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A suspect's pixels.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, upright, at least `MIN_READ` pixels each way.
        notes: what had to be done to get them, a clause each; empty for a sound file.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read_suspect(path: str | os.PathLike) -> Suspect:
    """Reads a suspect's pixels from a file, damaged ones too.

    Truncated files, files without an end, with something in front of the picture or
    with damaged metadata are read as far as they go; of animated files the first frame
    and of files with several pictures the first; small pictures get a border.

    Raises:
        ValueError: the file is missing, no regular file, empty, too large (more than
            `codec.MAX_PIXELS` pixels or `codec.MAX_BYTES` bytes), of another format,
            or holds no row of pixels that can be decoded.
    """
    return decode_suspect(codec.read_bytes(path), os.fspath(path))


def decode_suspect(data: bytes, name: str = "") -> Suspect:
    """Decodes a suspect's bytes as `read_suspect` does; `name` is used in errors."""
    what = f"The photo {name!r}" if name else "The photo"
    if not data:
        raise ValueError(f"{what} is empty. {ACCEPTED}.")
    notes: list[str] = []
    data = _from_its_beginning(data, notes)
    kind = sniff(data)
    if not kind:
        raise ValueError(f"{what} is not in a known image format. {ACCEPTED}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, orientation = _decode(data, kind, what, notes)
    except codec.TooLarge:
        raise
    except MemoryError:
        raise
    except ModuleNotFoundError:
        raise ValueError(without_heic(what)) from None
    except UnidentifiedImageError:
        raise ValueError(f"{what} has a damaged header ({kind}).") from None
    except Exception as error:
        # Decoders raise many types for damaged files.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].rstrip(".")
        raise ValueError(
            f"{what} holds no picture that can be decoded ({kind}: {reason})."
        ) from None
    pixels = upright(codec.to_rgb(pixels), orientation)
    return Suspect(_padded(pixels, notes), tuple(notes))


def sniff(data: bytes) -> str:
    """Returns a file's format by its first bytes; "" for an unknown one.

    Example:
        >>> sniff(b"GIF89a")
        'GIF'
    """
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == containers.PNG_SIGNATURE:
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or data[:4] == b"\xff\x4f\xff\x51":
        return "JPEG 2000"
    if data[4:8] == b"ftyp":
        size = int.from_bytes(data[:4], "big")
        brands = {data[i : i + 4] for i in (8, *range(16, min(size, 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & set(_HEIC) else ""
    return "BMP" if data[:2] == b"BM" else ""


def open_image(data: bytes | BinaryIO, kind: str) -> Image.Image:
    """Opens a picture with Pillow, in the one format that it was recognised as.

    Raises:
        ModuleNotFoundError: HEIC without the package pi-heif.
        OSError, ValueError and others: Pillow cannot read it.
    """
    if kind == "HEIC":
        import pi_heif

        pi_heif.register_heif_opener()
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    return Image.open(file, formats=_FORMATS[kind])


def without_heic(what: str) -> str:
    """Returns the sentence for a HEIC file where its package is missing."""
    return (
        f"{what} is a HEIC file, which needs the package pi-heif. "
        "Accepted: HEIC after `pip install 'faketagger-tf[heic]'`."
    )


def _from_its_beginning(data: bytes, notes: list[str]) -> bytes:
    """Skips what precedes the picture: an upload's headers, line ends, zeros."""
    if sniff(data):
        return data
    found = [
        place
        for signature in _SIGNATURES
        if (place := data.find(signature, 0, _SEARCHED)) > 0
    ]
    riff = data.find(b"RIFF", 0, _SEARCHED)
    if riff > 0 and data[riff + 8 : riff + 12] == b"WEBP":
        found.append(riff)
    if not found:
        return data
    notes.append(f"{min(found)} bytes before the picture skipped")
    return data[min(found) :]


def _decode(
    data: bytes, kind: str, what: str, notes: list[str]
) -> tuple[np.ndarray, int]:
    """Returns pixels as stored and their orientation."""
    exif, xmp = containers.exif_and_xmp(data)
    try:
        orientation = orientation_of(exif, xmp)
    except ValueError:
        notes.append("damaged EXIF: taken as upright")
        orientation = 1
    if kind in ("JPEG", "PNG", "WebP", "BMP"):
        mended = _MENDERS[kind](data, what, notes)
        # OpenCV speaks about damage on the terminal; Pillow does not.
        sound = kind == "PNG" or mended is data
        pixels = codec.decode_array(mended) if sound else None
        if pixels is None and kind == "PNG":
            # Whole chunks with damaged pixels inside.
            mended = _mend_png(data, what, notes, sound=False)
            pixels = codec.decode_array(mended)
        if pixels is None:
            pixels = _with_pillow(mended, kind, what, notes)[0]
        if kind == "PNG":
            pixels = codec.to_rgb(pixels)
            missing = struct.unpack(">I", data[20:24])[0] - len(pixels)
            if missing:
                pixels = np.pad(pixels, [(0, missing), (0, 0), (0, 0)])
        return (pixels[..., :3] if pixels.ndim == 3 else pixels), orientation
    if kind == "GIF":
        data = _mend_gif(data, what, notes)
    elif kind == "TIFF" and exif:
        data = tiff.flat(data)
    try:
        pixels, found = _with_pillow(data, kind, what, notes)
    except UnidentifiedImageError:
        if kind != "TIFF":
            raise
        pixels, found = _floating(data, what), 1
    return pixels, orientation if kind == "TIFF" else found


def _with_pillow(
    data: bytes, kind: str, what: str, notes: list[str]
) -> tuple[np.ndarray, int]:
    with open_image(data, kind) as image:
        codec.check_size(image.size, what)
        if kind in ("GIF", "AVIF") and getattr(image, "is_animated", False):
            notes.append("animated: the first frame was read")
        elif kind in ("TIFF", "HEIC") and getattr(image, "n_frames", 1) > 1:
            notes.append(f"the first of {image.n_frames} pictures was read")
        orientation = 1
        if kind in ("AVIF", "HEIC"):
            try:
                block = containers.bare_exif(image.info.get("exif") or b"")
                orientation = orientation_of(block, image.info.get("xmp") or b"")
            except ValueError:
                notes.append("damaged EXIF: taken as upright")
        if kind == "TIFF" and _is_deep(image):
            deep = codec.decode_array(data)
            if deep is not None:
                if not tiff.is_complete(data):
                    notes.append("truncated: what is missing is empty")
                return deep, orientation
        try:
            image.load()
        except OSError:
            # A file that is cut off: what is missing is black.
            with open_image(data + bytes(min(len(data) * 8, 1 << 26)), kind) as padded:
                padded.load()
                image = padded
            notes.append("truncated: what is missing is empty")
        if image.mode.startswith(("I", "F")):
            return _wide(np.asarray(image)), orientation
        # Transparency is left out as elsewhere, without blending.
        return np.asarray(image.convert("RGB")), orientation


def _floating(data: bytes, what: str) -> np.ndarray:
    """Decodes a TIFF that Pillow does not know: colours in floating point."""
    entries, _ = tiff.first_directory(data)
    sides = [tiff.numbers(data, entries.get(tag)) for tag in (256, 257)]
    codec.check_size((sides[0][0], sides[1][0]), what)
    pixels = codec.decode_array(data)
    if pixels is None:
        raise UnidentifiedImageError
    return pixels if pixels.dtype == np.uint8 else _wide(pixels)


def _is_deep(image: Image.Image) -> bool:
    bits = image.tag_v2.get(258, (8,))
    return max(bits if isinstance(bits, tuple) else (bits,)) > 8


def _wide(values: np.ndarray) -> np.ndarray:
    """Makes 16 or 32 bits of grey 16; floating point is taken as 0 to 1."""
    if values.dtype.kind == "f":
        return (np.clip(np.nan_to_num(values), 0, 1) * 65535).astype(np.uint16)
    return np.clip(values, 0, 65535).astype(np.uint16)


def _mend_jpeg(data: bytes, what: str, notes: list[str]) -> bytes:
    """Returns the first picture alone, with an end, without its metadata."""
    try:
        jpeg = containers.split_jpeg(data)
    except ValueError:
        # Two ends: one may complete a marker that was cut in the middle.
        try:
            jpeg = containers.split_jpeg(data + b"\xff\xd9\xff\xd9")
        except ValueError:
            jpeg = _jpeg_by_search(data)
        missing = len(data) < 4 or data.rstrip(b"\0\r\n")[-2:] != b"\xff\xd9"
        notes.append(
            "truncated or without its end: what is missing is grey"
            if missing
            else "damaged header: read as far as it goes"
        )
    codec.check_size(jpeg.size, what)
    codec.check_scans(jpeg.scan, what)
    if jpeg.trailer.startswith(b"\xff\xd8\xff"):
        notes.append("several pictures: the first was read")
    return containers.bare_jpeg(jpeg)


def _jpeg_by_search(data: bytes) -> containers.Jpeg:
    """Finds a damaged header's segments by their markers."""
    segments, at = [], 2
    while True:
        found = data.find(b"\xff", at)
        if found < 0 or found + 4 > len(data):
            raise ValueError("The JPEG ends within its header.")
        marker = data[found + 1]
        length = struct.unpack_from(">H", data, found + 2)[0]
        needed = marker in (0xDB, 0xC4, 0xDD, 0xEE) or 0xC0 <= marker <= 0xCF
        if marker == 0xDA:
            return containers.Jpeg(segments, [], data[found:] + b"\xff\xd9", b"")
        if needed and length >= 4:
            segments.append((marker, data[found + 4 : found + 2 + length]))
            at = found + 2 + length
        elif (
            0xE0 <= marker <= 0xFE
            and data[found + 2 + length : found + 3 + length] == b"\xff"
        ):
            at = found + 2 + length
        else:
            at = found + 1


def _mend_png(data: bytes, what: str, notes: list[str], sound: bool = True) -> bytes:
    """Returns the first picture alone, as many rows as there are, without metadata."""
    codec.check_size(struct.unpack(">II", data[16:24]), what)
    header = data[16:29]
    kept, coded, at, animated = [], [], 8, False
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + 8 + length]
        if name == b"IDAT":
            coded.append(payload)
        elif name in (b"PLTE", b"tRNS"):
            kept.append((name, payload))
        elif name == b"acTL":
            animated = True
        stored = data[at + 8 + length : at + 12 + length]
        sound &= stored == struct.pack(">I", zlib.crc32(payload, zlib.crc32(name)))
        at += 12 + length
        if name == b"IEND":
            break
    else:
        sound = False
    if animated:
        notes.append("animated: the first frame was read")
    if not coded:
        raise ValueError("no pixels")
    packed = b"".join(coded)
    if not sound:
        notes.append("truncated or damaged: what is missing is black")
        size, height = _png_bytes(header), struct.unpack(">I", header[4:8])[0]
        pixels = bytearray(_inflated(packed, size))
        if header[12]:
            pixels = pixels.ljust(size, b"\0")
        else:  # The rows that are there; each begins with its filter, 0 to 4.
            step = size // height
            rows = max(1, -(-len(pixels) // step))
            pixels = pixels.ljust(rows * step, b"\0")
            header = header[:4] + struct.pack(">I", rows) + header[8:]
            filters = np.frombuffer(pixels, np.uint8)[::step]
            filters[filters > 4] = 0
        packed = zlib.compress(pixels, 1)
    chunks = [(b"IHDR", header), *kept, (b"IDAT", packed), (b"IEND", b"")]
    return containers.join_png(chunks)


def _png_bytes(header: bytes) -> int:
    """Returns how many bytes a PNG's rows take, filter bytes included."""
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: first column and row, and the steps.
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
        passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _inflated(packed: bytes, limit: int) -> bytes:
    """Inflates as much as is sound, a piece at a time."""
    inflate, out = zlib.decompressobj(), []
    size = 0
    for start in range(0, len(packed), 1024):
        try:
            out.append(inflate.decompress(packed[start : start + 1024], limit - size))
        except zlib.error:
            break
        size += len(out[-1])
        if size >= limit:
            break
    return b"".join(out)


def _mend_webp(data: bytes, what: str, notes: list[str]) -> bytes:
    size, complete = codec.inspect(data)
    codec.check_size(size, what)
    if data[12:16] == b"VP8X" and data[20] & 2:
        notes.append("animated: the first frame was read")
    if complete:
        return data
    notes.append("truncated: what is missing is blurred")
    length = struct.unpack_from("<I", data, 4)[0] + 8
    # The size is the file's own claim; no sound WebP is larger than its pixels.
    return data.ljust(min(length, len(data) + size[0] * size[1] * 4 + 1024), b"\0")


def _mend_bmp(data: bytes, what: str, notes: list[str]) -> bytes:
    (width, height), _ = codec.inspect(data)
    codec.check_size((width, height), what)
    start, bits = struct.unpack_from("<I", data, 10)[0], 24
    if struct.unpack_from("<I", data, 14)[0] >= 40:
        bits = struct.unpack_from("<H", data, 28)[0]
        if struct.unpack_from("<I", data, 30)[0] in (1, 2):  # Run lengths.
            return data
    if start >= len(data):
        raise ValueError("no pixels")
    needed = start + (width * bits + 31) // 32 * 4 * height
    if len(data) < needed:
        notes.append("truncated: what is missing is black")
    return data.ljust(needed, b"\0")


def _mend_gif(data: bytes, what: str, notes: list[str]) -> bytes:
    """Completes the first picture's codes with zeros, which are always codes."""
    at = 13 + _gif_table(data[10])
    while at + 2 <= len(data) and data[at] in (0x21, 0x2C):
        picture = data[at] == 0x2C
        if picture:
            if at + 11 > len(data):
                break
            size = struct.unpack_from("<HH", data, at + 5)
            codec.check_size(size, what)
            at += 11 + _gif_table(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        if picture:
            if at < len(data):
                return data
            notes.append("truncated: what is missing has the first colour")
            block = b"\xff" + bytes(255)
            count = size[0] * size[1] * 2 // 255 + 1
            return data.ljust(at, b"\0") + block * count + b"\0;"
        at += 1
    raise ValueError("no pixels")


def _gif_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


_MENDERS = {"JPEG": _mend_jpeg, "PNG": _mend_png, "WebP": _mend_webp, "BMP": _mend_bmp}


def _padded(pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    height, width = pixels.shape[:2]
    if min(height, width) >= MIN_READ:
        return pixels
    down, across = max(0, MIN_READ - height), max(0, MIN_READ - width)
    notes.append(f"a border was added: {width}x{height} is less than {MIN_READ} pixels")
    return cv2.copyMakeBorder(
        pixels,
        down // 2,
        down - down // 2,
        across // 2,
        across - across // 2,
        cv2.BORDER_REPLICATE,
    )
