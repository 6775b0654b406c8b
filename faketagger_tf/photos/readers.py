"""Reads photo files of each format with everything that they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import struct
import zlib

import numpy as np
from PIL import Image

from faketagger_tf.photos import codec, colour, containers, metadata, tiff
from faketagger_tf.photos.coding import Coding, jpeg_coding, webp_quality
from faketagger_tf.photos.parts import C2PA, INDEX, Part, PhotoFile
from faketagger_tf.photos.suspect import open_image, sniff, without_heic

# Sizes have a limit here, with a clear sentence, that is checked before decoding.
Image.MAX_IMAGE_PIXELS = None
_ACCEPTED = "Accepted: JPEG, PNG, WebP, BMP, TIFF, AVIF, or HEIC (with pi-heif)"
# PNG's chunks that stay true whatever the pixels and their type are.
_PNG_SAFE = {
    *(b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi"),
    *(b"tEXt", b"zTXt", b"iTXt", b"tIME", b"caBX", b"sTER", b"oFFs"),
}
# And those that belong to the palette or type that the pixels had.
_PNG_CODED = {b"PLTE", b"tRNS", b"IEND", b"hIST", b"bKGD", b"sBIT", b"sPLT"}
# Adobe's APP14 belongs to the coded picture; the comment has a marker of its own.
_CARRIED = {*range(0xE0, 0xF0), 0xFE} - {0xEE}
_DNG_VERSION = 50706
_PREFIXES = {"exif": containers.EXIF, "xmp": containers.XMP}
_GAIN_MAPS = (b"hdrgm:", b"urn:iso:std:iso:ts:21496", b"hdrgainmap")


class _Notes:
    """What is being found out while a photo is read."""

    def __init__(self):
        self.changed: list[str] = []
        self.lost: list[str] = []


def decode_photo_file(data: bytes, name: str = "") -> PhotoFile:
    """Decodes a photo's bytes as `read_photo_file` does; `name` is used in errors."""
    what = f"The photo {name!r}" if name else "The photo"
    kind = sniff(data)
    if kind == "GIF":
        raise ValueError(
            f"{what} is a GIF, whose 256 colours cannot hold a tag. {_ACCEPTED}."
        )
    if kind == "JPEG 2000":
        raise ValueError(f"{what} is a JPEG 2000 file. {_ACCEPTED}.")
    notes = _Notes()
    try:
        if kind == "TIFF":
            photo, size = _read_tiff(data, what, notes)
        elif kind in ("AVIF", "HEIC"):
            photo, size = _read_heif(data, kind, what, notes)
        else:
            pixels = codec.decode_stored(data, name)
            photo, size = _READERS[kind](data, pixels, what, notes)
        digest = hashlib.sha256(data).hexdigest()
        return dataclasses.replace(_upright(photo, size, notes), sha256=digest)
    except _Refused as refused:
        raise ValueError(str(refused)) from None
    except (codec.TooLarge, MemoryError):
        raise
    except ModuleNotFoundError:
        raise ValueError(without_heic(what)) from None
    except Exception as error:
        # Pillow raises many types for damaged metadata.
        if isinstance(error, ValueError) and str(error).startswith(what):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].rstrip(".")
        raise ValueError(f"{what} has damaged metadata: {reason}.") from None


class _Refused(Exception):
    """A sentence about a photo that is not taken."""


def _channels(stored: np.ndarray, notes: _Notes) -> dict:
    """Returns a photo's 8-bit RGB, what 16 bits hold beyond it, and alpha."""
    pixels, alpha, fine = codec.to_rgb(stored), None, None
    if stored.ndim == 3 and stored.shape[2] == 4:
        alpha = stored[..., 3]
        if (alpha == np.iinfo(alpha.dtype).max).all():
            alpha = None
            notes.changed.append("an opaque alpha channel left out")
    if stored.dtype == np.uint16:
        wide = stored[..., :3] if stored.ndim == 3 else stored[..., None]
        fine = (wide.astype(np.int32) - 257 * pixels.astype(np.int32)).astype(np.int16)
    if stored.ndim == 2:
        notes.changed.append("grey became RGB")
    return {"pixels": pixels, "fine": fine, "alpha": alpha}


def _upright(photo: PhotoFile, size: tuple[int, int], notes: _Notes) -> PhotoFile:
    """Turns a photo with all that knows of its direction; `size` is that stored."""
    try:
        orientation = metadata.orientation_of(photo.exif, photo.xmp)
        turned = orientation >= 5
        exif, xmp = photo.exif, photo.xmp
        sides = size[::-1] if turned else size
        if exif:
            exif = metadata.turn_exif(exif, sides, turned)
    except ValueError as error:
        raise ValueError(f"its EXIF block cannot be read. {error}") from None
    xmp = metadata.turn_xmp(xmp, sides, turned)
    xmp, small = metadata.drop_xmp_thumbnail(xmp)
    iptc, smaller = metadata.drop_photoshop_thumbnail(photo.iptc)
    if small or smaller:
        notes.changed.append("thumbnail of XMP or Photoshop removed")
    if orientation != 1:
        notes.changed.append("turned upright")

    def turn(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else metadata.upright(array, orientation)

    dpi = photo.dpi[::-1] if photo.dpi and turned else photo.dpi
    photo = dataclasses.replace(
        photo,
        pixels=turn(photo.pixels),
        alpha=turn(photo.alpha),
        fine=turn(photo.fine),
        exif=exif,
        xmp=xmp,
        iptc=iptc,
        dpi=dpi,
    )
    if orientation != 1 and photo.trailer:
        photo = _turn_gain_map(photo, orientation, notes)
    return dataclasses.replace(
        photo,
        changed=tuple(dict.fromkeys(notes.changed)),
        lost=tuple(dict.fromkeys(notes.lost)),
    )


def _turn_gain_map(photo: PhotoFile, orientation: int, notes: _Notes) -> PhotoFile:
    """Turns the gain map too, which lies over the photo; other pictures stay."""
    packets = [photo.xmp, photo.trailer]
    if not any(mark in packet for mark in _GAIN_MAPS for packet in packets):
        return photo
    try:
        jpeg = containers.split_jpeg(photo.trailer)
        if jpeg.trailer.startswith(b"\xff\xd8\xff"):
            raise ValueError("Which of several pictures is the map is not known.")
        old = len(photo.trailer) - len(jpeg.trailer)
        turned = _turned_jpeg(jpeg, orientation)
    except (ValueError, OSError):
        notes.lost.append("gain map and further pictures (they lie as the photo lay)")
        parts = tuple(part for part in photo.parts if part.key != "index")
        return dataclasses.replace(photo, parts=parts, trailer=b"")
    notes.changed.append("gain map turned too, coded anew")
    parts = tuple(
        dataclasses.replace(
            part, content=struct.pack(">Q", len(turned)) + part.content[8:]
        )
        if part.key == "index"
        else part
        for part in photo.parts
    )
    # Where Android's readers find it: lengths from the end of the file.
    lengths = (b'Item:Length="%d"' % size for size in (old, len(turned)))
    return dataclasses.replace(
        photo,
        parts=parts,
        trailer=turned + jpeg.trailer,
        xmp=photo.xmp.replace(*lengths),
    )


def _turned_jpeg(jpeg: containers.Jpeg, orientation: int) -> bytes:
    stored = codec.decode_array(containers.bare_jpeg(jpeg))
    coding = jpeg_coding(jpeg)
    if stored is None or max(map(max, coding.tables)) > 255:
        raise ValueError("The gain map cannot be coded anew.")
    buffer = io.BytesIO()
    Image.fromarray(metadata.upright(stored, orientation)).save(
        buffer, "JPEG", qtables=[list(t) for t in coding.tables[:2]], subsampling=0
    )
    coded = containers.split_jpeg(buffer.getvalue())
    segments = [s for s in jpeg.segments if s[0] in _CARRIED]
    segments += [s for s in coded.segments if not 0xE0 <= s[0] <= 0xEF]
    return containers.join_jpeg(segments, coded.scan)


def _read_jpeg(
    data: bytes, pixels: np.ndarray, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    jpeg = containers.split_jpeg(data)
    end = len(data) - len(jpeg.trailer)
    blocks: dict[str, bytes] = {}
    iptc = b""
    icc: dict[int, bytes] = {}
    dpi = None
    parts: list[Part] = []

    def place(key: str) -> None:
        if all(part.key != key for part in parts):
            parts.append(Part(key))

    for (marker, payload), start in zip(jpeg.segments, jpeg.places, strict=True):
        mark = bytes([marker])
        if marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            unit, across, down = struct.unpack(">BHH", payload[7:12])
            if unit in (1, 2):
                scale = 1 if unit == 1 else 2.54
                dpi = across * scale, down * scale
            if payload[12:14] != b"\0\0":
                notes.changed.append("JFIF thumbnail removed")
            parts.append(Part("jfif", mark, payload[:12] + b"\0\0"))
        elif marker == 0xE0 and payload.startswith(b"JFXX\0"):
            notes.changed.append("JFIF thumbnail removed")
        elif marker == 0xE1 and payload.startswith((containers.EXIF, containers.XMP)):
            key = "exif" if payload.startswith(containers.EXIF) else "xmp"
            if key in blocks:
                notes.lost.append(f"a second block of {key.upper()}")
                continue
            blocks[key] = payload[len(_PREFIXES[key]) :]
            place(key)
        elif marker == 0xE2 and payload.startswith(containers.ICC):
            icc[payload[12]] = payload[14:]
            place("icc")
        elif marker == 0xED and payload.startswith(containers.PHOTOSHOP):
            iptc += payload[len(containers.PHOTOSHOP) :]
            place("iptc")
        elif marker == 0xE2 and payload.startswith(containers.MPF):
            if jpeg.trailer:
                # The second picture's new length if any, where the index lay and the
                # photo ended: what its offsets refer to.
                where = struct.pack(">QQQ", 0, start, end)
                parts.append(Part("index", mark, where + payload, INDEX))
        elif marker in _CARRIED:
            parts.append(Part("", mark, payload, _jpeg_label(marker, payload)))
    profile = b"".join(icc[number] for number in sorted(icc))
    components = jpeg.frame[1][5]
    if components == 4:
        pixels, profile = _from_cmyk(
            containers.bare_jpeg(jpeg), "JPEG", profile, what, notes
        )
    parts.append(Part("picture"))
    photo = PhotoFile(
        **_channels(pixels, notes),
        exif=blocks.get("exif", b""),
        icc=_rgb_profile(profile, pixels.ndim == 2, what, notes),
        xmp=blocks.get("xmp", b""),
        iptc=iptc,
        dpi=dpi,
        kind="JPEG",
        parts=tuple(parts),
        trailer=jpeg.trailer,
        coding=jpeg_coding(jpeg),
    )
    return photo, jpeg.size


def _jpeg_label(marker: int, payload: bytes) -> str:
    if marker == 0xFE:
        return "comment"
    if payload.startswith(containers.EXTENDED_XMP):
        return "extended XMP"
    if payload.startswith(b"urn:iso:std:iso:ts:21496"):
        return "gain map's metadata"
    if marker == 0xEB and payload[:2] == b"JP":
        return C2PA
    name = payload.split(b"\0")[0][:20].decode("ascii", "replace")
    return f"APP{marker - 0xE0} {name if name.isprintable() else ''}".strip()


def _from_cmyk(
    data: bytes, kind: str, profile: bytes, what: str, notes: _Notes
) -> tuple[np.ndarray, bytes]:
    if not profile:
        raise _Refused(
            f"{what} is CMYK without a colour profile, so its colours are not known. "
            "Accepted: CMYK with its profile, or RGB."
        )
    with open_image(data, kind) as image:
        pixels = colour.cmyk_to_srgb(image, profile)
    notes.changed.append("CMYK became sRGB through its profile")
    notes.lost.append("the CMYK profile")
    return pixels, colour.SRGB


def _rgb_profile(profile: bytes, grey: bool, what: str, notes: _Notes) -> bytes:
    space = colour.space(profile)
    if not profile or (space == "RGB" and not grey):
        return profile
    if space == "GRAY" and grey:
        notes.changed.append("grey profile written for RGB with the same curve")
        return colour.grey_as_rgb(profile)
    notes.lost.append("a colour profile that does not fit the pixels")
    return b""


def _read_png(
    data: bytes, pixels: np.ndarray, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    chunks = containers.split_png(data)
    names = {name for name, _ in chunks}
    if b"acTL" in names:
        raise _Refused(f"{what} is animated. Accepted: a still picture.")
    header = chunks[0][1]
    width, height, _, kind = struct.unpack(">IIBB", header[:10])
    exif = xmp = icc = b""
    dpi = None
    parts: list[Part] = []
    for name, payload in chunks[1:]:
        if name == b"eXIf":
            exif = containers.bare_exif(payload)
            parts.append(Part("exif"))
        elif name == b"iTXt" and (packet := containers.png_xmp(payload)):
            xmp = packet
            parts.append(Part("xmp"))
        elif name == b"iCCP":
            icc = _inflated_profile(payload)
            parts.append(Part("icc"))
        elif name == b"pHYs" and len(payload) == 9 and payload[8] == 1:
            across, down = struct.unpack(">II", payload[:8])
            dpi = across * 0.0254, down * 0.0254
            parts.append(Part("dpi", name, payload))
        elif name == b"IDAT":
            if all(part.key != "picture" for part in parts):
                parts.append(Part("picture"))
        elif name == b"sBIT" and kind in (2, 6) and len(payload) >= 3:
            parts.append(Part("", name, payload[:3], "sBIT"))
        elif name in _PNG_CODED:
            continue
        elif name in _PNG_SAFE or name[3] & 32:  # The mark of "safe to copy".
            parts.append(Part("", name, payload, _png_label(name, payload)))
        else:
            notes.lost.append(f"PNG chunk {name.decode('latin-1')}")
    if kind in (3, 4):
        notes.changed.append(f"{'palette' if kind == 3 else 'grey'} became RGB")
    photo = PhotoFile(
        **_channels(pixels, notes),
        exif=exif,
        icc=_rgb_profile(icc, kind in (0, 4), what, notes),
        xmp=xmp,
        dpi=dpi,
        kind="PNG",
        parts=tuple(parts),
    )
    return photo, (width, height)


def _inflated_profile(payload: bytes) -> bytes:
    _, _, rest = payload.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        return inflate.decompress(rest[1:], 1 << 25)
    except zlib.error:
        raise ValueError("its colour profile is damaged.") from None


def _png_label(name: bytes, payload: bytes) -> str:
    if name in (b"tEXt", b"zTXt", b"iTXt"):
        keyword = payload.split(b"\0")[0].decode("latin-1")
        return f"text {keyword!r}"
    return _chunk_label(name)


def _chunk_label(name: bytes) -> str:
    return C2PA if name in (b"caBX", b"C2PA") else f"chunk {name.decode('latin-1')}"


def _read_webp(
    data: bytes, pixels: np.ndarray, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    chunks = containers.split_webp(data)
    found = dict(reversed(chunks))
    if b"ANIM" in found or b"ANMF" in found:
        raise _Refused(f"{what} is animated. Accepted: a still picture.")
    coding = Coding(webp_quality(found[b"VP8 "])) if b"VP8 " in found else None
    known = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"EXIF", b"XMP ")
    parts = tuple(
        Part(
            "",
            name,
            payload,
            C2PA if name == b"C2PA" else f"chunk {name.decode('latin-1')}",
        )
        for name, payload in chunks
        if name not in known
    )
    # OpenCV returns a fourth channel in any case.
    head = found.get(b"VP8X") or found.get(b"VP8L", bytes(5))[4:]
    if not head[0] & 0x10:
        pixels = pixels[..., :3]
    photo = PhotoFile(
        **_channels(pixels, notes),
        exif=containers.bare_exif(found.get(b"EXIF", b"")),
        icc=_rgb_profile(found.get(b"ICCP", b""), False, what, notes),
        xmp=found.get(b"XMP ", b""),
        kind="WebP",
        parts=parts,
        coding=coding,
    )
    return photo, (pixels.shape[1], pixels.shape[0])


def _read_bmp(
    data: bytes, pixels: np.ndarray, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    dpi = None
    if struct.unpack_from("<I", data, 14)[0] >= 40:
        across, down = struct.unpack_from("<ii", data, 38)
        if across > 0 and down > 0:
            dpi = across * 0.0254, down * 0.0254
    with open_image(data, "BMP") as image:
        if image.mode in ("1", "L", "P") and pixels.ndim == 3:
            notes.changed.append("palette became RGB")
    photo = PhotoFile(**_channels(pixels, notes), dpi=dpi, kind="BMP")
    return photo, (pixels.shape[1], pixels.shape[0])


_READERS = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WebP": _read_webp,
    "BMP": _read_bmp,
}


def _read_tiff(
    data: bytes, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    try:
        tiff.header(data)
    except ValueError:
        raise _Refused(f"{what} is a BigTIFF file. {_ACCEPTED}.") from None
    entries, _ = tiff.first_directory(data)

    def first(tag: int, otherwise: int) -> int:
        return (*tiff.numbers(data, entries.get(tag)), otherwise)[0]

    size = first(256, 0), first(257, 0)
    codec.check_size(size, what)
    # Decoders leave out what is missing without a word.
    if not tiff.is_complete(data):
        raise _Refused(f"{what} is truncated. Received: {len(data)} bytes.")
    if _DNG_VERSION in entries or first(254, 0) & 1:
        raise _Refused(f"{what} is a camera's raw file, or a preview. {_ACCEPTED}.")
    bits, photometric = first(258, 1), first(262, 1)
    channels, extra = first(277, 1), first(338, 0)
    if bits > 16 or first(339, 1) not in (1, 4) or photometric in (8, 9, 32803, 34892):
        raise _Refused(
            f"{what} must have 8 or 16 bits per channel of grey, RGB or CMYK. "
            f"Received: {bits} bits, photometric interpretation {photometric}."
        )
    icc = tiff.value(data, entries.get(tiff.ICC))
    exif = b""
    orientation = tiff.orientation(data)
    level = tiff.flat(data)
    with open_image(level, "TIFF") as image:
        pages = getattr(image, "n_frames", 1)
        dpi = image.info.get("dpi") if 282 in entries else None
        try:
            if photometric == 5:
                if bits != 8:
                    raise _Refused(f"{what} is CMYK of {bits} bits. Accepted: 8 bits.")
                pixels, icc = _from_cmyk(level, "TIFF", icc, what, notes)
            elif bits > 8:
                known = photometric == 2 and (
                    channels == 3 or (channels, extra) == (4, 2)
                )
                if not known and (photometric, channels) != (1, 1):
                    raise _Refused(
                        f"{what} has 16 bits in an order that is not known. Accepted: "
                        "grey, RGB, or RGB with straight alpha."
                    )
                pixels = codec.decode_array(level)
                if pixels is None or pixels.shape[:2] != size[::-1]:
                    raise OSError("its data are damaged")
            else:
                pixels = _eight_bits(image, what, notes)
        except (OSError, SyntaxError) as error:
            raise _Refused(
                f"{what} cannot be decoded: its data are damaged."
            ) from error
        tags = image.getexif()
        for tag in (*tiff.STORAGE, tiff.XMP, tiff.PHOTOSHOP, tiff.ICC, tiff.IPTC, 330):
            tags.pop(tag, None)
        tags.pop(tiff.LAYERS, None)
        if orientation:
            tags[tiff.ORIENTATION] = orientation
        if len(tags):
            exif = containers.bare_exif(tags.tobytes())
    if pages > 1 or 330 in entries:
        notes.changed.append("further pictures of the TIFF kept as they were")
    if tiff.LAYERS in entries:
        notes.lost.append("Photoshop's layers")
    iptc = tiff.value(data, entries.get(tiff.PHOTOSHOP))
    records = tiff.value(data, entries.get(tiff.IPTC))
    if records and not metadata.iptc_records(iptc):
        iptc += metadata.iptc_resource(records)
    photo = PhotoFile(
        **_channels(pixels, notes),
        exif=exif,
        icc=_rgb_profile(icc, pixels.ndim == 2, what, notes),
        xmp=tiff.value(data, entries.get(tiff.XMP)),
        iptc=iptc,
        dpi=tuple(map(float, dpi)) if dpi else None,
        kind="TIFF",
        source=data,
    )
    return photo, size


def _eight_bits(image: Image.Image, what: str, notes: _Notes) -> np.ndarray:
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        raise _Refused(
            f"{what} has colours that are not known. Received: {image.mode}. "
            "Accepted: grey, RGB, a palette, or CMYK with its profile."
        )
    image.load()
    if image.mode in ("P", "PA"):
        notes.changed.append("palette became RGB")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    clear = "A" in image.mode or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if clear else "RGB"))


def _read_heif(
    data: bytes, kind: str, what: str, notes: _Notes
) -> tuple[PhotoFile, tuple[int, int]]:
    try:
        with open_image(data, kind) as image:
            codec.check_size(image.size, what)
            if kind == "AVIF" and getattr(image, "is_animated", False):
                raise _Refused(f"{what} is animated. Accepted: a still picture.")
            pixels = _eight_bits(image, what, notes)
            info = dict(image.info)
            more = kind == "HEIC" and (
                getattr(image, "n_frames", 1) > 1
                or bool(info.get("depth_images"))
                or b"auxC" in data[: 1 << 16]
            )
    except (OSError, RuntimeError) as error:
        raise _Refused(f"{what} cannot be decoded: its data are damaged.") from error
    boxes = data[: 1 << 16]
    found = boxes.find(b"pixi")
    if found > 0 and len(boxes) > found + 9 and boxes[found + 9] > 8:
        notes.lost.append(f"{boxes[found + 9]} bits per channel (8 are read)")
    if more:
        notes.lost.append("further pictures of the HEIC (gain map, depth, preview)")
    exif = containers.bare_exif(info.get("exif") or b"")
    turned = kind == "AVIF" and (b"irot" in boxes or b"imir" in boxes)
    if turned and exif and tiff.has_maker_note(exif):
        notes.lost.append("the MakerNote's inner offsets")
    icc = info.get("icc_profile") or b""
    place = boxes.find(b"colrnclx")
    if place > 0 and not icc:
        primaries, transfer = struct.unpack_from(">HH", boxes, place + 8)
        if primaries != 2 and (primaries, transfer) not in ((1, 1), (1, 6), (1, 2)):
            chunk = bytes([primaries & 255, transfer & 255, 0, 1])
            try:
                icc = colour.png_profile([(b"cICP", chunk)])
            except ValueError as error:
                raise _Refused(
                    f"{what} has colours that cannot be kept: {error}"
                ) from None
    photo = PhotoFile(
        **_channels(pixels, notes),
        exif=exif,
        icc=_rgb_profile(icc, pixels.ndim == 2, what, notes),
        xmp=info.get("xmp") or b"",
        kind=kind,
    )
    return photo, (pixels.shape[1], pixels.shape[0])
