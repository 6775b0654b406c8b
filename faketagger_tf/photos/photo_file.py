"""A photo file, read to be given back whole: pixels, profile, metadata and the rest.

What a format has a place for is carried over; what it has not is named. `account` says
for a photo and a format what is kept, changed and lost, before anything is written.
"""

from __future__ import annotations

import dataclasses
import io
import os

from faketagger_tf.files import write_atomic
from faketagger_tf.photos import codec
from faketagger_tf.photos.parts import Account, PhotoFile, deep_pixels
from faketagger_tf.photos.readers import decode_photo_file
from faketagger_tf.photos.suspect import open_image, sniff
from faketagger_tf.photos.writers import KINDS, account, encode_photo_file

__all__ = [
    "READABLE",
    "WRITABLE",
    "Account",
    "PhotoFile",
    "account",
    "count_pixels",
    "decode_photo_file",
    "deep_pixels",
    "encode_photo_file",
    "read_photo_file",
    "write_encoded",
    "write_like",
    "write_photo_file",
]

WRITABLE = tuple(KINDS)
READABLE = (*WRITABLE, ".jfif", ".heic", ".heif")


def read_photo_file(path: str | os.PathLike) -> PhotoFile:
    """Reads a photo to tag, with everything that its file holds.

    Grey and palettes become RGB; CMYK is converted to sRGB through its profile. What
    cannot be kept is named in the photo's `lost`. While a photo is read, memory holds
    up to 16 bytes per pixel, 28 for 16 bits per channel.

    Raises:
        ValueError: the file is missing, damaged, animated, too large, no regular file,
            of another format, or its colours cannot be kept (CMYK without a profile).
    """
    data = codec.read_bytes(path)
    photo = decode_photo_file(data, os.fspath(path))
    try:
        status = os.stat(path)
    except OSError:  # It was there a moment ago.
        return photo
    times = status.st_atime_ns, status.st_mtime_ns
    return dataclasses.replace(photo, mode=status.st_mode & 0o777, times=times)


def write_photo_file(
    path: str | os.PathLike,
    photo: PhotoFile,
    quality: int | None = None,
    *,
    subsampling: str | None = None,
    strict: bool = False,
    preserve: bool = False,
) -> Account:
    """Writes a photo in the format of the path's extension, whole or not at all.

    Args:
        path: ends in one of `WRITABLE`.
        photo: what to write.
        quality: of JPEG, WebP and AVIF; see `encode_photo_file`.
        subsampling: of a JPEG's colour.
        strict: refuse where anything of the photo's file would be lost.
        preserve: give the file the times of the one that the photo was read from.

    Returns:
        what was kept, changed and lost.

    Raises:
        ValueError: as `encode_photo_file`, or an output that cannot be written.
    """
    name = os.fspath(path)
    extension = os.path.splitext(name)[1]
    data = encode_photo_file(
        photo, extension, quality, subsampling=subsampling, strict=strict
    )
    write_encoded(path, data, photo, preserve)
    return account(photo, extension)


def write_encoded(
    path: str | os.PathLike, data: bytes, photo: PhotoFile, preserve: bool = False
) -> None:
    """Writes what `encode_photo_file` returned, whole or not at all.

    The file may be read and written by those who could read and write the photo's own,
    less the umask.

    Raises:
        ValueError: the output cannot be written.
    """
    write_like(path, data, photo.mode, photo.times if preserve else None)


def write_like(
    path: str | os.PathLike,
    data: bytes,
    mode: int | None,
    times: tuple[int, int] | None = None,
) -> None:
    """`write_encoded` where the photo itself is not at hand.

    Args:
        path: the output.
        data: its content.
        mode: permissions of the photo's own file; None where it has none.
        times: in nanoseconds, of access and change, that the output is given.

    Raises:
        ValueError: the output cannot be written.
    """

    def write(temporary: str) -> None:
        if mode is not None:
            # First, so that nobody reads what is private in the meantime.
            os.chmod(temporary, os.stat(temporary).st_mode & mode | 0o200)
        with open(temporary, "wb") as file:
            file.write(data)
        if mode is not None:
            os.chmod(temporary, os.stat(temporary).st_mode & mode)
        if times is not None:
            os.utime(temporary, ns=times)

    write_atomic(path, write)


def count_pixels(photo: str | os.PathLike | bytes) -> int:
    """Width times height as the header of a file, or of its bytes, states them.

    0 where it has none.
    """
    if not isinstance(photo, bytes) and not os.path.isfile(photo):
        return 0
    try:
        inside = isinstance(photo, bytes)
        with io.BytesIO(photo) if inside else open(photo, "rb") as file:
            kind = sniff(file.read(256))
            file.seek(0)
            with open_image(file, kind) as image:
                return image.width * image.height
    except Exception:
        # What is wrong with the file is told when it is read.
        return 0
