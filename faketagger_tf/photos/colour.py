"""Colour profiles: CMYK converted, grey and PNG's own descriptions written as profiles.

A grey photo becomes RGB when it is tagged, and JPEG has no place for a PNG's gAMA,
cHRM and cICP chunks. In both cases pixels stay as they are, and a profile that means
the same is written (ICC.1:2022, a matrix with three equal curves).
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageCms

D50 = np.array([0.9642, 1.0, 0.8249])
D65_XY = (0.3127, 0.3290)
SRGB_XY = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
# The colours that cICP numbers (ITU-T H.273); those of films' projectors are left out.
_CICP_XY = {
    1: SRGB_XY,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def space(profile: bytes) -> str:
    """Returns what a profile's pixels are: "RGB", "GRAY", "CMYK", or "" for none.

    Example:
        >>> space(SRGB)
        'RGB'
    """
    return profile[16:20].decode("latin-1").strip() if len(profile) >= 128 else ""


def cmyk_to_srgb(image: Image.Image, profile: bytes) -> np.ndarray:
    """Converts a CMYK picture through its profile: relative colorimetric, black point.

    Args:
        image: mode CMYK.
        profile: its ICC profile.

    Returns:
        uint8 [H, W, 3] sRGB.

    Raises:
        ValueError: the profile is damaged or not one for CMYK.
    """
    if space(profile) != "CMYK":
        raise ValueError("The colour profile is not one for CMYK.")
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f"The colour profile is damaged ({error}).") from None
    return np.asarray(converted)


def grey_as_rgb(profile: bytes) -> bytes:
    """Returns an RGB profile under which equal channels look as the grey ones did.

    Raises:
        ValueError: the grey profile has no curve (rare: one with tables).
    """
    curve = _tag(profile, b"kTRC")
    if space(profile) != "GRAY" or curve[:4] not in (b"curv", b"para"):
        raise ValueError("The grey colour profile has no curve.")
    return rgb_profile("Grey as RGB", SRGB_XY, D65_XY, curve)


def png_profile(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Returns a profile for a PNG's cICP, or gAMA and cHRM; empty for sRGB.

    Raises:
        ValueError: the chunks describe high dynamic range or unknown colours.
    """
    found = dict(reversed(chunks))
    if cicp := found.get(b"cICP"):
        if len(cicp) < 4:
            raise ValueError("The cICP chunk is damaged.")
        primaries, transfer = _CICP_XY.get(cicp[0]), cicp[1]
        curve = {13: SRGB_CURVE, 4: gamma_curve(2.2), 5: gamma_curve(2.8)} | {
            8: gamma_curve(1.0)
        }
        if primaries is None or transfer not in curve:
            raise ValueError(
                "The colours of the cICP chunk have no profile. "
                f"Received: primaries {cicp[0]}, transfer {transfer}."
            )
        if primaries == SRGB_XY and transfer == 13:
            return b""
        return rgb_profile("cICP", primaries, D65_XY, curve[transfer])
    if b"sRGB" in found or not (b"gAMA" in found or b"cHRM" in found):
        return b""
    primaries, white, curve = SRGB_XY, D65_XY, SRGB_CURVE
    close = True
    if len(found.get(b"cHRM", b"")) == 32:
        xy = np.array(struct.unpack(">8I", found[b"cHRM"])).reshape(4, 2) / 1e5
        close = bool(np.abs(xy - np.array([D65_XY, *SRGB_XY])).max() < 2e-3)
        white, primaries = tuple(xy[0]), tuple(map(tuple, xy[1:]))
    if len(found.get(b"gAMA", b"")) == 4:
        gamma = struct.unpack(">I", found[b"gAMA"])[0] / 1e5
        if not gamma:
            raise ValueError("The gAMA chunk is damaged.")
        # 1/2.2 is how PNG writers have always said sRGB.
        if abs(gamma - 1 / 2.2) > 5e-4:
            close, curve = False, gamma_curve(1 / gamma)
    return b"" if close else rgb_profile("gAMA and cHRM", primaries, white, curve)


def rgb_profile(
    description: str,
    primaries: tuple[tuple[float, float], ...],
    white: tuple[float, float],
    curve: bytes,
) -> bytes:
    """Returns a display profile, version 4, always the same for the same arguments.

    Args:
        description: plain ASCII.
        primaries: chromaticities (x, y) of red, green and blue.
        white: that of white.
        curve: a "curv" or "para" element, for all three channels.
    """
    columns = np.array([_xyz(xy) for xy in primaries]).T
    scale = np.linalg.solve(columns, _xyz(white))
    cones = np.diag((_BRADFORD @ D50) / (_BRADFORD @ _xyz(white)))
    adapted = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD
    matrix = adapted @ (columns * scale)
    tags = {
        b"desc": _text(description),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*adapted.ravel()),
    }
    for number, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*matrix[:, number])
        tags[name + b"TRC"] = curve
    places: dict[bytes, int] = {}
    body, table = b"", b""
    first = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        if content not in places:
            places[content] = first + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    head = struct.pack(">I4xI", first + len(body), 0x04400000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma_curve(gamma: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(gamma)


def _tag(profile: bytes, name: bytes) -> bytes:
    count = struct.unpack_from(">I", profile, 128)[0] if len(profile) >= 132 else 0
    for number in range(min(count, 100)):
        at = 132 + 12 * number
        if profile[at : at + 4] == name and at + 12 <= len(profile):
            start, size = struct.unpack_from(">II", profile, at + 4)
            return profile[start : start + size]
    return b""


def _xyz(xy: tuple[float, float]) -> np.ndarray:
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return (
        b"mluc\0\0\0\0"
        + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28)
        + content
    )


SRGB_CURVE = (
    b"para\0\0\0\0"
    + struct.pack(">HH", 3, 0)
    + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
)
SRGB = rgb_profile("sRGB", SRGB_XY, D65_XY, SRGB_CURVE)
