"""A photo with all that its file held."""

from __future__ import annotations

import dataclasses

import numpy as np

from faketagger_tf.photos.coding import Coding

C2PA = "C2PA manifest (no longer valid: the pixels have changed)"
INDEX = "index of further pictures"


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a file that is carried over.

    Attributes:
        key: "exif", "xmp", "icc" and "iptc" stand for the photo's fields, "picture"
            for the coded pixels; else "" for a piece that is copied byte for byte.
        mark: the piece's marker or chunk name in its container.
        content: its bytes.
        label: what to call it.
    """

    key: str
    mark: bytes = b""
    content: bytes = b""
    label: str = ""


@dataclasses.dataclass(frozen=True)
class PhotoFile:
    """A photo as read from a file.

    `dataclasses.replace(photo, pixels=tagged)` is the photo with other pixels: what 16
    bits hold beyond 8 stays in `fine`, so that the difference of 8-bit pixels is added
    to the 16-bit ones.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, upright.
        alpha: uint8 or uint16 [H, W] opacity, or None for an opaque photo.
        exif: the EXIF block, without prefix, its orientation 1; may be empty.
        icc: the RGB colour profile; may be empty.
        xmp: the XMP packet, its orientation 1; may be empty.
        iptc: Photoshop's resources, which hold IPTC; may be empty.
        dpi: pixels per inch across and down, or None.
        fine: int16 [H, W, 3], -128 to 128, or None for 8 bits: the 16-bit value is
            257 times the 8-bit one plus this.
        kind: the file's format, "JPEG", "PNG", ...; "" for none.
        parts: the file's pieces in their order.
        trailer: what follows a JPEG's end: further pictures, a film.
        source: a TIFF file as it was.
        coding: how a lossy JPEG or WebP was coded.
        changed: what reading had to change, a clause each.
        lost: what reading could not keep, a clause each.
        mode: the file's permission bits, or None.
        times: when it was read and changed last, in nanoseconds, or None.
        sha256: hexadecimal digest of the file's bytes; "" for none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None
    fine: np.ndarray | None = None
    kind: str = ""
    parts: tuple[Part, ...] = ()
    trailer: bytes = b""
    source: bytes = b""
    coding: Coding | None = None
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    mode: int | None = None
    times: tuple[int, int] | None = None
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Account:
    """What becomes of a photo's parts in a format, a clause each."""

    kept: tuple[str, ...]
    changed: tuple[str, ...]
    lost: tuple[str, ...]


def deep_pixels(photo: PhotoFile) -> np.ndarray:
    """Returns a photo's pixels with 16 bits, uint16 [H, W, 3].

    Example:
        >>> photo = PhotoFile(np.uint8([[[7, 7, 7]]]), fine=np.int16([[[-3, 0, 5]]]))
        >>> tagged = dataclasses.replace(photo, pixels=photo.pixels + np.uint8(1))
        >>> (deep_pixels(tagged) - deep_pixels(photo)).tolist()
        [[[257, 257, 257]]]
    """
    wide = photo.pixels.astype(np.int32) * 257
    if photo.fine is not None:
        wide += photo.fine
    return np.clip(wide, 0, 65535).astype(np.uint16)
