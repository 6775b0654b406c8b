"""Writes photos in each format, and says what becomes of their parts."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from faketagger_tf.photos import colour, containers, metadata, tiff
from faketagger_tf.photos.parts import C2PA, Account, Part, PhotoFile, deep_pixels

KINDS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
_DEEP = ("PNG", "TIFF")
_CLEAR = ("PNG", "WebP", "TIFF", "AVIF")
_HOLDS = {
    "exif": ("JPEG", "PNG", "WebP", "TIFF", "AVIF"),
    "xmp": ("JPEG", "PNG", "WebP", "TIFF", "AVIF"),
    "icc": ("JPEG", "PNG", "WebP", "TIFF", "AVIF"),
    "iptc": ("JPEG", "PNG", "TIFF"),
    "dpi": ("JPEG", "PNG", "TIFF", "BMP"),
}
_NAMES = {"exif": "EXIF", "xmp": "XMP", "icc": "colour profile", "iptc": "IPTC"}
_PNG_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
_AVIF_QUALITY = 90


def kind_of(extension: str) -> str:
    """Returns the format that an extension stands for.

    Raises:
        ValueError: none that photos are written in.
    """
    kind = KINDS.get(extension.lower())
    if kind is None:
        why = {
            ".gif": " A GIF's 256 colours cannot hold a tag.",
            ".heic": " HEIC is read, but not written.",
            ".heif": " HEIC is read, but not written.",
        }.get(extension.lower(), "")
        raise ValueError(
            f"A photo's extension must be one of {', '.join(KINDS)}. "
            f"Received: {extension!r}.{why}"
        )
    return kind


def account(photo: PhotoFile, extension: str) -> Account:
    """Says what of a photo's file is kept, changed and lost in a format.

    Args:
        photo: as read.
        extension: such as ".jpg", in any case.

    Raises:
        ValueError: unknown extension, or colours that the format cannot describe.
    """
    return _plan(photo, kind_of(extension))[1]


def encode_photo_file(
    photo: PhotoFile,
    extension: str,
    quality: int | None = None,
    *,
    subsampling: str | None = None,
    strict: bool = False,
) -> bytes:
    """Encodes a photo in a format, with everything that the format has a place for.

    PNG, BMP and TIFF are lossless, WebP too unless it is asked for a quality or the
    photo was a lossy WebP. A JPEG that was a JPEG is coded as it was: the same
    quantisation tables, sampling of colour and progressive mode.

    Args:
        photo: what to encode.
        extension: one of `KINDS`, in any case.
        quality: of JPEG, WebP and AVIF, 1 to 100. By default the photo's own where it
            had one in this format; else 95 for JPEG, lossless for WebP, 90 for AVIF.
        subsampling: of a JPEG's colour, "4:4:4", "4:2:2" or "4:2:0"; by default the
            photo's own, or else "4:4:4".
        strict: refuse where anything of the photo's file would be lost.

    Returns:
        the file's bytes.

    Raises:
        ValueError: unknown extension, transparency in a format without it, a loss with
            `strict`, or a photo that the format cannot hold.

    Example:
        >>> photo = PhotoFile(np.full([64, 64, 3], 128, np.uint8))
        >>> encode_photo_file(photo, ".png")[1:4]
        b'PNG'
    """
    kind = kind_of(extension)
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be from 1 to 100. Received: {quality!r}.")
    if subsampling is not None and subsampling not in _SUBSAMPLINGS:
        raise ValueError(
            f"subsampling must be one of {', '.join(_SUBSAMPLINGS)}. "
            f"Received: {subsampling!r}."
        )
    if photo.alpha is not None and kind not in _CLEAR:
        raise ValueError(
            f"Transparency cannot be kept in {kind}. "
            "Accepted: .png, .webp, .tif or .avif."
        )
    carried, told = _plan(photo, kind)
    if strict and told.lost:
        raise ValueError(
            f"As {kind} the photo would lose something. "
            f"Received: {'; '.join(told.lost)}."
        )
    try:
        if kind == "JPEG":
            return _jpeg(carried, photo, quality, subsampling)
        return _WRITERS[kind](carried, photo, quality)
    except (OSError, OverflowError, struct.error, cv2.error) as error:
        raise ValueError(f"The photo cannot be stored as {kind}: {error}.") from None


def _plan(photo: PhotoFile, kind: str) -> tuple[PhotoFile, Account]:
    """Returns the photo with what the format can hold alone, and what is said of it."""
    kept: list[str] = []
    changed, lost = list(photo.changed), list(photo.lost)
    same = photo.kind == kind
    new: dict = {}
    if not photo.icc and not same and photo.kind == "PNG":
        chunks = [(part.mark, part.content) for part in photo.parts if not part.key]
        try:
            profile = colour.png_profile(chunks)
        except ValueError as error:
            raise ValueError(
                f"Only PNG can hold the photo's colours: {error} Accepted: .png."
            ) from None
        if profile and kind in _HOLDS["icc"]:
            new["icc"] = profile
            changed.append("PNG's description of its colours became a profile")
        elif profile:
            lost.append("PNG's description of its colours")
    for field, holders in _HOLDS.items():
        content = new.get(field) or getattr(photo, field)
        if not content:
            continue
        name = _NAMES.get(field) or f"{content[0]:.0f} dpi"
        if field == "exif":
            name = _exif_name(content)
        room = {"exif": 6, "xmp": 29}.get(field)
        fits = kind != "JPEG" or room is None
        fits = fits or len(content) <= containers.SEGMENT - room
        if kind in holders and fits:
            kept.append(name)
        elif field == "dpi" and _has_resolution(photo.exif):
            continue  # EXIF says the same.
        else:
            new[field] = None if field == "dpi" else b""
            lost.append(name if fits else f"{name} (longer than a JPEG's segment)")
    exif = new.get("exif", photo.exif)
    if exif:
        # A TIFF file's own directory is that of its EXIF block.
        if not (same and kind == "TIFF"):
            exif, done = metadata.renew_thumbnail(exif, photo.pixels)
            new["exif"] = exif
            if done:
                changed.append(f"EXIF thumbnail {done}")
        if photo.kind == "TIFF" and not same and tiff.has_maker_note(exif):
            lost.append("the MakerNote's inner offsets")
    for part in photo.parts:
        if part.key:
            continue
        if same and part.label == C2PA:
            changed.append(C2PA)
        elif same:
            kept.append(part.label)
        elif part.mark not in _PNG_COLOUR:
            lost.append(part.label.split(" (no longer")[0])
    if photo.trailer:
        text = "what follows the photo (further pictures, film)"
        (kept if same else lost).append(text)
    if photo.alpha is not None:
        kept.append("transparency")
    if photo.fine is not None:
        (kept if kind in _DEEP else lost).append("16 bits per channel")
    alpha = photo.alpha
    if alpha is not None and alpha.dtype == np.uint16 and kind not in _DEEP:
        new["alpha"] = (alpha // 257).astype(np.uint8)
    if same and photo.coding:
        kept.append("quality" if kind == "WebP" else "quality and sampling of colour")
        if photo.coding.progressive:
            kept.append("progressive mode")
        if kind == "JPEG" and photo.coding.sampling not in (*_SUBSAMPLINGS, ""):
            changed.append(f"sampling {photo.coding.sampling} became 4:2:0")
    elif photo.kind in ("AVIF", "HEIC") and kind == "AVIF":
        changed.append(f"coded with quality {_AVIF_QUALITY}")
    told = Account(*(tuple(dict.fromkeys(notes)) for notes in (kept, changed, lost)))
    return dataclasses.replace(photo, **new), told


def _exif_name(exif: bytes) -> str:
    inside = []
    try:
        entries, _ = tiff.first_directory(exif)
        if tiff.GPS_IFD in entries:
            inside.append("GPS")
        if tiff.has_maker_note(exif):
            inside.append("MakerNote")
    except ValueError:
        pass
    return f"EXIF ({', '.join(inside)})" if inside else "EXIF"


def _has_resolution(exif: bytes) -> bool:
    return bool(exif) and 282 in tiff.first_directory(exif)[0]


def _picture(photo: PhotoFile) -> Image.Image:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def _jpeg(
    photo: PhotoFile, whole: PhotoFile, quality: int | None, subsampling: str | None
) -> bytes:
    coding = whole.coding if whole.kind == "JPEG" else None
    sampling = subsampling or (coding.sampling if coding else "") or "4:4:4"
    options: dict = {
        "subsampling": sampling if sampling in _SUBSAMPLINGS else "4:2:0",
        "progressive": bool(coding and coding.progressive),
    }
    if quality is None and coding and max(map(max, coding.tables)) < 256:
        options["qtables"] = [list(table) for table in coding.tables[:2]]
    else:
        options["quality"] = quality or (coding.quality if coding else 95)
    buffer = io.BytesIO()
    _picture(photo).save(buffer, "JPEG", **options)
    coded = containers.split_jpeg(buffer.getvalue())
    picture = [s for s in coded.segments if not 0xE0 <= s[0] <= 0xEF]
    jfif = coded.segments[0][1]
    segments: list[tuple[int, bytes]] = []
    index = None
    for part in _ordered(photo, "JPEG", ("jfif", "exif", "xmp", "iptc", "icc")):
        if part.key == "index":
            index = len(segments), part.content
        if part.key == "picture":
            segments += picture
        elif part.key == "exif" and photo.exif:
            segments.append((0xE1, containers.EXIF + photo.exif))
        elif part.key == "xmp" and photo.xmp:
            segments.append((0xE1, containers.XMP + photo.xmp))
        elif part.key == "iptc":
            segments += containers.split_photoshop(photo.iptc)
        elif part.key == "icc":
            segments += containers.split_icc(photo.icc)
        elif part.key == "jfif":
            segments.append((0xE0, part.content or _with_density(jfif, photo.dpi)))
        elif part.key in ("", "index"):
            payload = part.content[24:] if part.key == "index" else part.content
            segments.append((part.mark[0], payload))
    data = containers.join_jpeg(segments, coded.scan)
    if index and photo.trailer:
        number, content = index
        start = 2 + sum(4 + len(payload) for _, payload in segments[:number]) + 4
        second, *was = struct.unpack(">QQQ", content[:24])
        sizes = {0: len(data)} | ({1: second} if second else {})
        moved = containers.move_pictures(
            content[24:], tuple(was), (start, len(data)), sizes
        )
        segments[number] = segments[number][0], moved
        data = containers.join_jpeg(segments, coded.scan)
    return data + photo.trailer


def _ordered(photo: PhotoFile, kind: str, keys: tuple[str, ...]) -> list[Part]:
    """Returns the photo's parts in their order, with places for those it had not."""
    parts = list(photo.parts) if photo.kind == kind else [Part("picture")]
    has = {part.key for part in parts}
    missing = [Part(key) for key in keys if key not in has]
    if kind == "JPEG" and photo.kind == "JPEG" and photo.exif:
        # A photo with EXIF needs no JFIF header, and had none.
        missing = [part for part in missing if part.key != "jfif"]
    return missing + parts


def _with_density(jfif: bytes, dpi: tuple[float, float] | None) -> bytes:
    if dpi is None:
        return jfif
    across, down = (min(65535, max(1, round(d))) for d in dpi)
    return jfif[:7] + struct.pack(">BHH", 1, across, down) + jfif[12:]


def _png(photo: PhotoFile, whole: PhotoFile, quality: int | None) -> bytes:
    if photo.fine is not None:
        wide = deep_pixels(photo)
        if photo.alpha is not None:
            alpha = photo.alpha.astype(np.uint16)
            alpha = alpha * 257 if photo.alpha.dtype == np.uint8 else alpha
            wide = np.dstack([wide, alpha])
        order = cv2.COLOR_RGB2BGR if wide.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        options = [cv2.IMWRITE_PNG_COMPRESSION, 4]
        data = cv2.imencode(".png", cv2.cvtColor(wide, order), options)[1].tobytes()
    else:
        buffer = io.BytesIO()
        _picture(photo).save(buffer, "PNG", compress_level=4)
        data = buffer.getvalue()
    coded = containers.split_png(data)
    chunks = [coded[0]]
    for part in _ordered(photo, "PNG", ("icc", "dpi", "exif", "xmp", "iptc")):
        if part.key == "picture":
            chunks += [chunk for chunk in coded if chunk[0] == b"IDAT"]
        elif part.key == "icc" and photo.icc:
            chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc)))
        elif part.key == "dpi" and photo.dpi:
            across, down = (round(d / 0.0254) for d in photo.dpi)
            chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
        elif part.key == "exif" and photo.exif:
            chunks.append((b"eXIf", photo.exif))
        elif part.key == "xmp" and photo.xmp:
            head = b"XML:com.adobe.xmp\0\0\0\0\0"
            chunks.append((b"iTXt", head + photo.xmp))
        elif part.key == "iptc" and photo.iptc:
            chunks.append((b"zTXt", _raw_profile(photo.iptc)))
        elif not part.key and not (photo.icc and part.mark in (b"sRGB",)):
            chunks.append((part.mark, part.content))
    return containers.join_png([*chunks, (b"IEND", b"")])


def _raw_profile(resources: bytes) -> bytes:
    """Writes Photoshop's resources as ImageMagick does, which exiftool reads too."""
    lines = resources.hex()
    lines = "\n".join(lines[i : i + 72] for i in range(0, len(lines), 72))
    text = f"\n8bim\n{len(resources):8}\n{lines}\n"
    return b"Raw profile type 8bim\0\0" + zlib.compress(text.encode("ascii"))


def _webp(photo: PhotoFile, whole: PhotoFile, quality: int | None) -> bytes:
    coding = whole.coding if whole.kind == "WebP" else None
    options: dict = {"lossless": True, "exact": True, "quality": 50}
    if quality is not None or coding:
        options = {"quality": quality or coding.quality, "exact": True}
    buffer = io.BytesIO()
    _picture(photo).save(buffer, "WEBP", **options)
    coded = containers.split_webp(buffer.getvalue())
    picture = [chunk for chunk in coded if chunk[0] in (b"ALPH", b"VP8 ", b"VP8L")]
    height, width = photo.pixels.shape[:2]
    others = [
        (part.mark, part.content)
        for part in photo.parts
        if photo.kind == "WebP" and not part.key
    ]
    return containers.join_webp(
        picture,
        (width, height),
        photo.alpha is not None,
        photo.icc,
        photo.exif,
        photo.xmp,
        others,
    )


def _tiff(photo: PhotoFile, whole: PhotoFile, quality: int | None) -> bytes:
    same = photo.kind == "TIFF" and photo.source
    block = photo.source if same else photo.exif or tiff.EMPTY
    order, _ = tiff.header(block)
    entries, _ = tiff.first_directory(block)
    values = {
        tiff.XMP: (1, len(photo.xmp), photo.xmp),
        tiff.ICC: (7, len(photo.icc), photo.icc),
    }
    if not same or tiff.PHOTOSHOP in entries:
        values[tiff.PHOTOSHOP] = (1, len(photo.iptc), photo.iptc)
    if photo.dpi and not same and 282 not in entries:
        for tag, dpi in zip((282, 283), photo.dpi, strict=True):
            content = struct.pack(f"{order}II", round(dpi * 1000), 1000)
            values[tag] = 5, 1, content
        values[296] = 3, 1, struct.pack(f"{order}H", 2)
    pixels = photo.pixels if photo.fine is None else deep_pixels(photo)
    if photo.alpha is not None:
        alpha = photo.alpha
        if alpha.dtype != pixels.dtype:
            alpha = alpha.astype(np.uint16) * 257
        pixels = np.dstack([pixels, alpha])
    return tiff.write_picture(block, pixels, values, pages=bool(same))


def _avif(photo: PhotoFile, whole: PhotoFile, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    options: dict = {"quality": quality or _AVIF_QUALITY, "subsampling": "4:4:4"}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        # Pillow would lay a block with an orientation out anew.
        options["exif"] = tiff.without_orientation(photo.exif)
    if photo.xmp:
        options["xmp"] = photo.xmp
    _picture(photo).save(buffer, "AVIF", **options)
    return buffer.getvalue()


def _bmp(photo: PhotoFile, whole: PhotoFile, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    options = {"dpi": photo.dpi} if photo.dpi else {}
    _picture(photo).save(buffer, "BMP", **options)
    return buffer.getvalue()


_WRITERS = {"PNG": _png, "WebP": _webp, "TIFF": _tiff, "AVIF": _avif, "BMP": _bmp}
