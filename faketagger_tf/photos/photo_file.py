"""A photo file with what surrounds its pixels: profile, EXIF and transparency."""

from __future__ import annotations

import dataclasses
import io
import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from faketagger_tf.files import write_atomic
from faketagger_tf.photos import EXTENSIONS, decode_photo

# decode_photo has its own limit, with a clear sentence, and is always called first.
Image.MAX_IMAGE_PIXELS = None
ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class PhotoFile:
    """A photo as read from a file.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, upright.
        alpha: uint8 [H, W] opacity, or None for an opaque photo.
        exif: the EXIF block without its orientation, which is applied; may be empty.
        icc: the RGB colour profile; may be empty.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    exif: bytes = b""
    icc: bytes = b""


def read_photo_file(path: str | os.PathLike) -> PhotoFile:
    """Reads a photo with its metadata.

    Pixels are read as `data.read_photo` does: grey and palettes become RGB, 16 bits
    are rounded to 8, CMYK is converted without its profile, which is then dropped.

    Raises:
        ValueError: the file is missing, damaged, animated, too large, no regular file,
            or of another format.
    """
    name = os.fspath(path)
    # Opening a named pipe would wait for ever.
    if os.path.exists(name) and not os.path.isfile(name):
        raise ValueError(
            f"The photo {name!r} is not a regular file. "
            "Accepted: a JPEG, PNG, WebP or BMP file."
        )
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ValueError(
            f"Cannot read the photo {name!r}: {error.strerror or error}."
        ) from None
    pixels = decode_photo(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                alpha, exif, icc = _metadata(image, name)
    except ValueError:
        raise
    except Exception as error:
        # Pillow raises many types for damaged metadata.
        raise ValueError(
            f"The photo {name!r} has damaged metadata ({type(error).__name__})."
        ) from None
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"The photo {name!r} cannot be decoded: its data are damaged.")
    return PhotoFile(pixels, alpha, exif, icc)


def _metadata(image: Image.Image, name: str):
    # A "multi-picture" JPEG holds a preview beside the photo, which is no animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ValueError(
            f"The photo {name!r} is animated. Received: {image.n_frames} frames. "
            "Accepted: a still picture."
        )
    icc = image.info.get("icc_profile") or b""
    if icc[16:20] != b"RGB ":
        icc = b""
    tags = image.getexif()
    alpha = None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        upright = ImageOps.exif_transpose(image)
        alpha = np.asarray(upright.convert("RGBA").getchannel("A"))
    if ORIENTATION in tags:
        tags[ORIENTATION] = 1
    return alpha, tags.tobytes() if len(tags) else b"", icc


def count_pixels(path: str | os.PathLike) -> int:
    """Width times height as a file's header states them; 0 where it has none."""
    if not os.path.isfile(path):
        return 0
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Exception:
        # What is wrong with the file is told when it is read.
        return 0


def write_photo_file(
    path: str | os.PathLike, photo: PhotoFile, quality: int = 95
) -> None:
    """Writes a photo in the format of the path's extension, whole or not at all.

    PNG, WebP and BMP are lossless; JPEG has full colour resolution. EXIF, profile and
    transparency are kept where the format has a place for them.

    Args:
        path: ends in .jpg, .jpeg, .png, .webp or .bmp.
        photo: what to write.
        quality: of JPEG, 1 to 100.

    Raises:
        ValueError: unknown extension, transparency in a format without it, or an
            output that cannot be written.
    """
    name = os.fspath(path)
    extension = os.path.splitext(name)[1].lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f"A photo's extension must be one of {', '.join(EXTENSIONS)}. "
            f"Received: {name!r}."
        )
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be from 1 to 100. Received: {quality!r}.")
    if photo.alpha is not None and extension not in (".png", ".webp"):
        raise ValueError(
            f"Transparency cannot be kept in {name!r}. Accepted: .png or .webp."
        )
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    options: dict = {}
    if extension != ".bmp":
        options = {"icc_profile": photo.icc or None, "exif": photo.exif}
    if extension in (".jpg", ".jpeg"):
        kind = "JPEG"
        options |= {"quality": quality, "subsampling": 0}
    elif extension == ".png":
        kind = "PNG"
        options |= {"compress_level": 4}
    elif extension == ".webp":
        kind = "WEBP"
        options |= {"lossless": True, "exact": True, "quality": 50}
    else:
        kind = "BMP"
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(f"The photo cannot be stored as {name!r}: {error}.") from None
    write_atomic(name, buffer.getvalue())
