"""Reading and writing image files at the library's border: uint8 RGB arrays."""

from __future__ import annotations

import contextlib
import contextvars
import os
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from faketagger_tf.files import find_files, write_atomic
from faketagger_tf.photos.containers import exif_and_xmp, split_jpeg
from faketagger_tf.photos.metadata import orientation_of, upright

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_PIXELS = 150_000_000  # 12,000 x 12,000 and a little
MAX_BYTES = 1 << 30
# Of a progressive JPEG; some ten are usual. Each may be a few bytes long and costs a
# pass over the whole picture, so that a small file could keep a processor for hours.
MAX_SCANS = 200
_ACCEPTED = "Accepted: JPEG, PNG, WebP or BMP"
_most = contextvars.ContextVar("most pixels of a photo", default=None)


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Reads a photo as every other module expects it.

    The orientation of EXIF or XMP is applied, grey becomes RGB, alpha is dropped, 16
    bits per channel are rounded to 8 and CMYK is converted without its colour profile.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: the file is missing, no regular file, empty, truncated, of another
            format, or has more than `MAX_PIXELS` pixels or `MAX_BYTES` bytes.
    """
    return decode_photo(read_bytes(path), os.fspath(path))


def read_bytes(path: str | os.PathLike) -> bytes:
    """Reads a photo's file whole; `read_photo` says which files are refused."""
    name = os.fspath(path)
    # A named pipe would be waited for, and a device could be read, for ever.
    if os.path.exists(name) and not os.path.isfile(name):
        raise ValueError(f"The photo {name!r} is not a regular file. {_ACCEPTED}.")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(
            f"Cannot read the photo {name!r}: {error.strerror or error}."
        ) from None
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"The photo {name!r} is too large. Received: more than {MAX_BYTES} bytes. "
            f"Accepted: up to {MAX_BYTES} bytes."
        )
    return data


def decode_photo(data: bytes, name: str = "") -> np.ndarray:
    """Decodes a photo's bytes as `read_photo` does; `name` is used in errors."""
    pixels = to_rgb(decode_stored(data, name))
    try:
        orientation = orientation_of(*exif_and_xmp(data))
    except ValueError:  # Pixels need no sound metadata.
        orientation = 1
    return upright(pixels, orientation)


def decode_stored(data: bytes, name: str = "") -> np.ndarray:
    """Decodes the pixels of a JPEG, PNG, WebP or BMP file as they are stored.

    Returns:
        uint8 or uint16 [H, W] grey, [H, W, 3] RGB or [H, W, 4] with straight alpha;
        of CMYK, RGB without its profile. No orientation is applied.

    Raises:
        ValueError: as `read_photo`.
    """
    what = f"The photo {name!r}" if name else "The photo"
    if not data:
        raise ValueError(f"{what} is empty. {_ACCEPTED}.")
    try:
        size, complete = inspect(data)
    except (struct.error, IndexError):
        raise ValueError(f"{what} is truncated within its header.") from None
    if size is None:
        raise ValueError(f"{what} is not in a known image format. {_ACCEPTED}.")
    check_size(size, what)
    if data[:2] == b"\xff\xd8":
        with contextlib.suppress(ValueError):  # Damage is named below.
            data = data[: len(data) - len(split_jpeg(data).trailer)]
        check_scans(data, what)
    # libjpeg fills what is missing with grey and only warns, so it is checked here.
    if not complete:
        raise ValueError(f"{what} is truncated. Received: {len(data)} bytes.")
    image = decode_array(data)
    if image is None:
        raise ValueError(f"{what} cannot be decoded: its data are damaged.")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{what} must have 8 or 16 bits per channel. Received: {image.dtype}."
        )
    # What the fourth channel of a BMP means is not laid down.
    return image[..., :3] if data[:2] == b"BM" and image.ndim == 3 else image


class TooLarge(ValueError):
    """A picture has more pixels than this library takes."""


def check_size(size: tuple[int, int], what: str) -> None:
    """Refuses a picture of too many pixels before it is decoded."""
    width, height = size
    most = min(MAX_PIXELS, _most.get() or MAX_PIXELS)
    if width * height > most:
        raise TooLarge(
            f"{what} is too large. Received: {width}x{height} pixels. "
            f"Accepted: up to {most} pixels."
        )


def check_scans(data: bytes, what: str) -> None:
    """Refuses a JPEG of too many scans before it is decoded.

    Coded data never hold an unescaped marker, so that markers can be counted.
    """
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise ValueError(
            f"{what} has too many scans. Received: {scans}. "
            f"Accepted: up to {MAX_SCANS}."
        )


@contextlib.contextmanager
def at_most(pixels: int) -> Iterator[None]:
    """Within it, this thread decodes no picture of more pixels; for servers.

    Example:
        with at_most(50_000_000):
            suspect = decode_suspect(data)
    """
    token = _most.set(pixels)
    try:
        yield
    finally:
        _most.reset(token)


def decode_array(data: bytes) -> np.ndarray | None:
    """Decodes what OpenCV can: grey, RGB or RGBA as stored; None for damaged data."""
    try:
        # This mode keeps depth and alpha, and applies no orientation.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.size == 0:
        return None
    if image.ndim == 3 and image.shape[2] == 2:
        return np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    if image.ndim == 3 and image.shape[2] in (3, 4):
        order = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return cv2.cvtColor(image, order)
    return image[..., 0] if image.ndim == 3 else image


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Makes what `decode_stored` returns uint8 [H, W, 3]; alpha is dropped."""
    if pixels.dtype == np.uint16:
        # Rounded, without NumPy's copies of twice the size.
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(pixels[..., :3])


def write_image(
    path: str | os.PathLike, image: np.ndarray, quality: int | None = None
) -> None:
    """Writes an image in the format of the path's extension, whole or not at all.

    Args:
        path: ends in .jpg, .jpeg, .png, .webp or .bmp.
        image: [H, W, 3] uint8 RGB.
        quality: 1 to 100 for JPEG (95 by default) and lossy WebP (lossless by
            default); PNG and BMP are lossless.

    Raises:
        ValueError: unknown extension, wrong image, or an output that cannot be written.
    """
    name = os.fspath(path)
    data = encode_image(image, os.path.splitext(name)[1], quality)
    write_atomic(name, data)


def encode_image(
    image: np.ndarray, extension: str, quality: int | None = None
) -> bytes:
    """Encodes a [H, W, 3] uint8 RGB image; see `write_image`."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "An image must be uint8 RGB of shape [height, width, 3]. "
            f"Received: {image.dtype} of shape {image.shape}."
        )
    extension = extension.lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f"An image's extension must be one of {', '.join(EXTENSIONS)}. "
            f"Received: {extension!r}."
        )
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be from 1 to 100. Received: {quality!r}.")
    options = []
    if extension in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality or 95]
    elif extension == ".webp":
        # OpenCV writes lossless WebP above 100.
        options = [cv2.IMWRITE_WEBP_QUALITY, quality or 101]
    elif extension == ".png":
        # OpenCV's own default is fast and a quarter larger.
        options = [cv2.IMWRITE_PNG_COMPRESSION, 6]
    try:
        good, data = cv2.imencode(
            extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options
        )
    except cv2.error:
        good = False
    if not good:
        raise ValueError(
            f"An image of shape {image.shape} cannot be stored as {extension}."
        )
    return data.tobytes()


def list_photos(folder: str | os.PathLike) -> list[str]:
    """Lists the image files below a folder as `files.find_files` does, sorted.

    Raises:
        ValueError: the folder does not exist or is not a folder.
    """
    from absl import logging  # Whoever reads single files needs no absl.

    found = find_files(folder, EXTENSIONS)
    for path in found.links + found.unreadable:
        logging.warning("Passed over: %r, a link or a folder that cannot be read", path)
    return found.paths


def inspect(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Reads (width, height) and whether the data reach their end, without decoding."""
    if data[:3] == b"\xff\xd8\xff":
        return _inspect_jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        # OpenCV looks for a chunk that is said to be longer than the file for 13 s.
        at = 8
        while data[at + 4 : at + 8] != b"IEND" and at + 12 <= len(data):
            at += 12 + struct.unpack(">I", data[at : at + 4])[0]
        return struct.unpack(">II", data[16:24]), at + 12 <= len(data)
    if data[:2] == b"BM":
        start, header = struct.unpack("<II", data[10:18])
        if header == 12:
            width, height = struct.unpack("<HH", data[18:22])
        else:
            width, height = struct.unpack("<ii", data[18:26])
        return (abs(width), abs(height)), len(data) > start
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        complete = len(data) >= struct.unpack("<I", data[4:8])[0] + 8
        kind = data[12:16]
        if kind == b"VP8X":
            width = int.from_bytes(data[24:27], "little") + 1
            return (width, int.from_bytes(data[27:30], "little") + 1), complete
        if kind == b"VP8L":
            bits = struct.unpack("<I", data[21:25])[0]
            return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), complete
        width, height = struct.unpack("<HH", data[26:30])
        return (width & 0x3FFF, height & 0x3FFF), complete
    return None, False


def _inspect_jpeg(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    size, start = None, 2
    while True:
        if data[start] != 0xFF:
            return None, False
        marker = data[start + 1]
        if marker == 0xFF:
            start += 1
            continue
        length = struct.unpack(">H", data[start + 2 : start + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[start + 5 : start + 9])
            size = width, height
        start += 2 + length
        if marker == 0xDA:
            # Coded data never hold an unescaped marker, so the next one is real.
            return size, data.find(b"\xff\xd9", start) >= 0
