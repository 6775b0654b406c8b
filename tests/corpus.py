"""A corpus of small photo files: every format, profile, orientation and kind of damage.

`python -m tests.corpus FOLDER` writes the files, `python -m tests.corpus --table` the
table of `docs/files.md`. Everything is drawn or built here, so the corpus is the same
everywhere and is nobody's photo.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import pathlib
import struct
import sys
import zlib

import cv2
import numpy as np
from PIL import Image

from faketagger_tf.photos import colour, containers
from faketagger_tf.photos.metadata import iptc_resource, upright
from faketagger_tf.photos.photo_file import account, decode_photo_file
from faketagger_tf.photos.suspect import decode_suspect

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "files.md"
BEGIN, END = "<!-- table: python -m tests.corpus --table -->", "<!-- end of table -->"
WIDTH, HEIGHT = 160, 120
HEIC = """
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABw
    aWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFmAAEA
    AAAAAAAArAAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAwmlwcnAAAACkaXBj
    bwAAAHhodmNDAQNwAAAAAAAAAAAAHvAA/P34+AAADwMgAAEAGEABDAH//wNwAAADAJAAAAMAAAMA
    HroCQCEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoBAgYWW6kkprm4EBAwIAAAMAAgAAAwACECIAAQAH
    RAHBcrAiQAAAABRpc3BlAAAAAAAAAIAAAABgAAAAEHBpeGkAAAAAAwgICAAAABZpcG1hAAAAAAAA
    AAEAAQOBAoMAAAC0bWRhdAAAAKgoAa9Y+R6OHRKbKLnh0RgkBag4MbKZWjf33yGzBSEyXoL6EZpR
    W0xo3iwsm5YlWRcVxVlLymHVWU3iDenx3NMYfvVe+4UYTxvPiKQtUs/Dp+pmt6M8ixhMnT+0TAfx
    cgDIhWQlMO7vheeN/ULflljQkSLD1aUOgKW5yJ32wVBSH92Jgc5JdmjIzHTu3B7tKRm+GbuJhurn
    hfBHlz5qrc1r21vKdE3x1YY=
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """A file of the corpus.

    Attributes:
        name: its file name; what it holds is what the extension says.
        row: what the table calls it; cases of one row have one outcome.
        data: its bytes.
        refused: a piece of the sentence with which it is not tagged, or "".
        outputs: the extensions that it is written with.
        unread: a piece of the sentence with which it is not even traced, or "".
    """

    name: str
    row: str
    data: bytes
    refused: str = ""
    outputs: tuple[str, ...] = ()
    unread: str = ""

    @property
    def extension(self) -> str:
        return pathlib.PurePath(self.name).suffix


@functools.cache
def picture() -> np.ndarray:
    """The photo of the corpus, uint8 [HEIGHT, WIDTH, 3]: no side is like another."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    waves = [
        128 + 80 * np.sin(x / (9 + i) + i) * np.cos(y / (13 - i)) + x / 4 - y / 5
        for i in range(3)
    ]
    grain = np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 3))
    return np.clip(np.dstack(waves) + grain, 2, 253).astype(np.uint8)


@functools.cache
def deep() -> np.ndarray:
    """The same with 16 bits, uint16."""
    off = np.random.default_rng(1).integers(-120, 121, picture().shape)
    return (picture().astype(np.int32) * 257 + off).astype(np.uint16)


def alpha() -> np.ndarray:
    return np.tile(np.linspace(10, 250, WIDTH).astype(np.uint8), (HEIGHT, 1))


def lying(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns how an upright picture is stored with an orientation."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def coded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_block(directories: list[dict], order: str = "<", start: int = 8) -> bytes:
    """Lays out linked directories: tag to (type, count, content or directories).

    A content may be bytes, a list of directories (of which the entry points to the
    first), or a function that is given its own place and returns bytes.
    """
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    struct.pack_into(f"{order}I", out, 4, start)

    def write(linked: list[dict]) -> int:
        first, link = 0, None
        for directory in linked:
            out.extend(bytes(len(out) & 1))
            place = len(out)
            out.extend(bytes(2 + 12 * len(directory) + 4))
            struct.pack_into(f"{order}H", out, place, len(directory))
            if link is None:
                first = place
            else:
                struct.pack_into(f"{order}I", out, link, place)
            for number, tag in enumerate(sorted(directory)):
                kind, count, content = directory[tag]
                at = place + 2 + 12 * number
                if isinstance(content, list):
                    content = struct.pack(f"{order}I", write(content))
                out.extend(bytes(len(out) & 1))
                if callable(content):
                    content = content(len(out))
                struct.pack_into(f"{order}HHI", out, at, tag, kind, count)
                if len(content) <= 4 and kind != 0:
                    out[at + 8 : at + 8 + len(content)] = content
                else:
                    struct.pack_into(f"{order}I", out, at + 8, len(out))
                    out.extend(content)
            link = place + 2 + 12 * len(directory)
        return first

    write(directories)
    return bytes(out)


def text(content: str) -> tuple[int, int, bytes]:
    data = content.encode() + b"\0"
    return 2, len(data), data


def exif(
    order: str = "<",
    orientation: int = 1,
    long: bool = False,
    thumbnail: bytes = b"",
    maker: bool = False,
    broken: bool = False,
    sides: tuple[int, int] | None = None,
) -> bytes:
    """Builds an EXIF block with a credit, a date, a place and what is asked for."""

    def number(value: int, wide: bool = False) -> tuple[int, int, bytes]:
        kind, letter = (4, "I") if wide else (3, "H")
        return kind, 1, struct.pack(f"{order}{letter}", value)

    def ratio(*values: int) -> tuple[int, int, bytes]:
        pairs = [n for value in values for n in (value, 1)]
        return 5, len(values), struct.pack(f"{order}{len(pairs)}I", *pairs)

    def canon(place: int) -> bytes:
        # A MakerNote of Canon's kind: its offsets count from the block's beginning.
        words = (b"Camera firmware 1.2.3\0", b"The owner of this camera\0")
        table = struct.pack(f"{order}H", 2)
        at = place + 2 + 24 + 4
        for tag, word in zip((7, 9), words, strict=True):
            table += struct.pack(f"{order}HHII", tag, 2, len(word), at)
            at += len(word)
        return table + bytes(4) + b"".join(words)

    inside = {
        0x9000: (7, 4, b"0232"),
        0x9003: text("2024:05:06 07:08:09"),
        0xA001: number(1),
    }
    if sides:
        inside[0xA002] = number(sides[0], True)
        inside[0xA003] = number(sides[1], True)
    if maker:
        inside[0x927C] = (7, 2 + 24 + 4 + 22 + 25, canon)
    first = {
        0x010F: text("Canon"),
        0x0110: text("Model X"),
        0x0112: number(orientation, long),
        0x011A: ratio(300),
        0x011B: ratio(300),
        0x0128: text("inches, of course") if broken else number(2),
        0x0132: text("2024:05:06 07:08:09"),
        0x013B: text("A. Photographer"),
        0x8298: text("(c) 2024 An Agency"),
        0x8769: (4, 1, [inside]),
        0x8825: (
            4,
            1,
            [
                {
                    0: (1, 4, b"\2\3\0\0"),
                    1: text("N"),
                    2: ratio(52, 31, 12),
                    3: text("E"),
                    4: ratio(13, 24, 18),
                }
            ],
        ),
    }
    linked = [first]
    if thumbnail:
        small = {0x0103: number(6), 0x0202: number(len(thumbnail), True)}
        # The pointer's value is the thumbnail's place: type 0 forces it outside.
        small[0x0201] = (0, 1, thumbnail)
        linked.append(small)
    block = bytearray(tiff_block(linked, order))
    if thumbnail:
        at = block.index(struct.pack(f"{order}HH", 0x0201, 0))
        struct.pack_into(f"{order}H", block, at + 2, 4)
    return bytes(block)


def thumbnail() -> bytes:
    # The unchanged photo in small: it must not survive.
    return coded(cv2.resize(picture()[..., ::-1].copy(), (80, 60)), "JPEG", quality=80)


def xmp(orientation: int = 0, more: str = "") -> bytes:
    turned = f' tiff:Orientation="{orientation}"' if orientation else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"'
        ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
        ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
        ' xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
        f' photoshop:Credit="An Agency"{turned} {more}><xmpRights:UsageTerms><rdf:Alt>'
        '<rdf:li xml:lang="x-default">Editorial use only</rdf:li></rdf:Alt>'
        "</xmpRights:UsageTerms></rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    ).encode()


def iptc(small: bool = False) -> bytes:
    records = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(words)) + words
        for number, words in (
            (80, b"A. Photographer"),
            (110, b"An Agency"),
            (116, b"(c) 2024 An Agency"),
            (120, b"A minister opens a bridge."),
        )
    )
    block = iptc_resource(records)
    if small:
        content = bytes(28) + thumbnail()
        block += struct.pack(">4sHHI", b"8BIM", 1036, 0, len(content)) + content
        block += bytes(len(content) & 1)
    return block


def jumbf() -> bytes:
    """An empty manifest store, as C2PA labels it."""
    label = bytes.fromhex("6332706100110010800000aa00389b71") + b"\x03c2pa\0"
    description = struct.pack(">I4s", 8 + len(label), b"jumd") + label
    return struct.pack(">I4s", 8 + len(description), b"jumb") + description


def jpeg(
    pixels: np.ndarray | Image.Image | None = None,
    segments: tuple[tuple[int, bytes], ...] = (),
    trailer: bytes = b"",
    jfif: bool = False,
    **options,
) -> bytes:
    """Codes a JPEG and puts segments in front of the picture."""
    pixels = picture() if pixels is None else pixels
    options = {"quality": 88, "subsampling": "4:2:0"} | options
    whole = containers.split_jpeg(coded(pixels, "JPEG", **options))
    own = [s for s in whole.segments if jfif or s[0] != 0xE0]
    kept = own[:1] if jfif else []
    data = containers.join_jpeg([*kept, *segments, *own[len(kept) :]], whole.scan)
    return data + trailer


def app1(block: bytes) -> tuple[int, bytes]:
    return 0xE1, containers.EXIF + block


def app1_xmp(packet: bytes) -> tuple[int, bytes]:
    return 0xE1, containers.XMP + packet


def pictures(second: bytes, segments=(), film: bytes = b"", pixels=None) -> bytes:
    """A JPEG with an index of two pictures and the second one after its end."""
    entries = struct.pack("<IIIHH", 0x030000, 0, 0, 0, 0)
    entries += struct.pack("<IIIHH", 0, len(second), 0, 0, 0)
    block = tiff_block(
        [
            {
                0xB000: (7, 4, b"0100"),
                0xB001: (4, 1, b"\2\0\0\0"),
                0xB002: (7, 32, entries),
            }
        ]
    )
    index = containers.MPF + block
    data = jpeg(pixels, (*segments, (0xE2, index)))
    start = data.index(index)
    moved = containers.move_pictures(index, (start, 0), (start, 0), {0: len(data)})
    block = bytearray(moved[4:])
    place = block.index(entries[16:])
    struct.pack_into("<I", block, place + 8, len(data) - start - 4)
    return data.replace(index, moved[:4] + bytes(block)) + second + film


def png(pixels: np.ndarray | Image.Image, before=(), after=(), **options) -> bytes:
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint16:
        order = (
            pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels
        )
        data = cv2.imencode(".png", np.ascontiguousarray(order))[1].tobytes()
    else:
        data = coded(pixels, "PNG", **options)
    chunks = containers.split_png(data)
    return containers.join_png([chunks[0], *before, *chunks[1:-1], *after, chunks[-1]])


def webp(
    pixels: np.ndarray, icc=b"", block=b"", packet=b"", others=(), **options
) -> bytes:
    chunks = containers.split_webp(coded(pixels, "WEBP", **options))
    chunks = [c for c in chunks if c[0] != b"VP8X"]
    height, width = pixels.shape[:2]
    clear = pixels.shape[2] == 4
    return containers.join_webp(
        chunks, (width, height), clear, icc, block, packet, list(others)
    )


def tiff(
    pixels: np.ndarray, order: str = "<", more: dict | None = None, pages=(), **kind
) -> bytes:
    """Builds an uncompressed TIFF from entries, with a credit and a resolution."""
    stored = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = stored.shape
    bits = 8 * stored.dtype.itemsize
    content = stored.astype(stored.dtype.newbyteorder(order)).tobytes()

    def short(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    directory = {
        256: short(width),
        257: short(height),
        258: short(*[bits] * channels),
        259: short(1),
        262: short(kind.get("photometric", 2 if channels > 2 else 1)),
        273: (0, 1, content),
        277: short(channels),
        278: short(height),
        279: (4, 1, struct.pack(f"{order}I", len(content))),
        282: (5, 1, struct.pack(f"{order}II", 300, 1)),
        283: (5, 1, struct.pack(f"{order}II", 300, 1)),
        284: short(1),
        296: short(2),
        315: text("A. Photographer"),
    }
    if channels == 4 and directory[262] == short(2):
        directory[338] = short(2)
    block = bytearray(tiff_block([directory | (more or {}), *pages], order))
    at = block.index(struct.pack(f"{order}HH", 273, 0))
    struct.pack_into(f"{order}H", block, at + 2, 4)
    return bytes(block)


@functools.cache
def grey_profile() -> bytes:
    """A grey profile with a gamma of 1.8."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Grey\0" + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + bytes.fromhex("0000f6d600010000 0000d32d"),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256)) + b"\0\0",
    }
    return icc_profile(b"mntrGRAYXYZ ", tags)


@functools.cache
def cmyk_profile() -> bytes:
    """A press whose inks are weaker and dirtier than a naive conversion believes."""
    steps = np.linspace(0, 1, 5)
    c, m, y, k = np.meshgrid(steps, steps, steps, steps, indexing="ij")
    red = (1 - 0.95 * c) * (1 - 0.15 * m) * (1 - 0.02 * y) * (1 - 0.9 * k)
    green = (1 - 0.35 * c) * (1 - 0.85 * m) * (1 - 0.08 * y) * (1 - 0.9 * k)
    blue = (1 - 0.10 * c) * (1 - 0.45 * m) * (1 - 0.85 * y) * (1 - 0.9 * k)
    rgb = np.dstack([v.ravel() for v in (red, green, blue)])[0] * 0.93
    # Reflectances are linear; Lab relative to D50.
    matrix = np.array(
        [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
    )
    f = rgb @ matrix.T / colour.D50
    f = np.where(f > 216 / 24389, np.cbrt(f), (24389 / 27 * f + 16) / 116)
    lab = np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1
    )
    table = np.stack(
        [lab[:, 0] / 100, (lab[:, 1] + 128) / 255, (lab[:, 2] + 128) / 255], 1
    )
    table = np.clip(table * 65280, 0, 65535).astype(">u2").tobytes()
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft2\0\0\0\0" + bytes([4, 3, 5, 0]) + identity + struct.pack(">HH", 2, 2)
    lut += struct.pack(">HH", 0, 65535) * 4 + table + struct.pack(">HH", 0, 65535) * 3
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 6) + b"Press\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + bytes.fromhex("0000f6d600010000 0000d32d"),
        b"A2B0": lut,
    }
    return icc_profile(b"prtrCMYKLab ", tags)


def icc_profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Lays out a profile of version 2."""
    body, table, first = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, first + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", first + len(body), 0x02400000) + kind
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + bytes.fromhex("0000f6d6000100000000d32d")
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


P3 = colour.rgb_profile(
    "Display P3",
    ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    colour.D65_XY,
    colour.SRGB_CURVE,
)
ADOBE = colour.rgb_profile(
    "Like Adobe RGB",
    ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)),
    colour.D65_XY,
    colour.gamma_curve(563 / 256),
)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


def itxt(packet: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet


def full_jpeg(**options) -> bytes:
    segments = (
        app1(exif(maker=True, thumbnail=thumbnail())),
        app1_xmp(xmp()),
        *containers.split_photoshop(iptc()),
        *containers.split_icc(P3),
        (0xFE, b"A comment"),
    )
    return jpeg(segments=segments, jfif=True, dpi=(300, 300), **options)


def full_png(pixels: np.ndarray) -> bytes:
    before = [
        iccp(P3),
        (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        (b"tEXt", b"Author\0A. Photographer"),
        (b"zTXt", b"Copyright\0\0" + zlib.compress(b"(c) 2024 An Agency")),
        (b"eXIf", exif(maker=True)),
        itxt(xmp()),
    ]
    return png(pixels, before, [(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9))])


def full_tiff(pixels: np.ndarray, order: str = "<") -> bytes:
    inside = {0x9003: text("2024:05:06 07:08:09")}
    more = {
        700: (1, len(xmp()), xmp()),
        33432: text("(c) 2024 An Agency"),
        34377: (1, len(iptc(True)), iptc(True)),
        34665: (4, 1, [inside]),
        34675: (7, len(P3), P3),
    }
    return tiff(pixels, order, more)


def gain_map(orientation: int) -> bytes:
    stored = lying(picture(), orientation)
    small = jpeg(
        Image.fromarray(cv2.resize(stored[..., 0], None, fx=0.5, fy=0.5)),
        (app1_xmp(xmp(more='hdrgm:Version="1.0" hdrgm:GainMapMax="2"')),),
        subsampling=-1,
    )
    packet = xmp(more=f'hdrgm:Version="1.0" Item:Length="{len(small)}"')
    segments = app1(exif(orientation=orientation)), app1_xmp(packet)
    return pictures(small, segments, pixels=stored)


def cases() -> list[Case]:
    """Returns the corpus."""
    rgb = picture()
    found: list[Case] = []

    def add(name, row, data, refused="", outputs=None, unread=""):
        own = pathlib.PurePath(name).suffix
        found.append(Case(name, row, data, refused, outputs or (own,), unread))

    # Orientation in every legal encoding.
    for turn in range(1, 9):
        stored = lying(rgb, turn)
        sides = stored.shape[1::-1]
        which = "1" if turn == 1 else "2 to 8"
        for order, long in (("<", False), (">", False), ("<", True), (">", True)):
            name = f"{'le' if order == '<' else 'be'}-{'long' if long else 'short'}"
            block = exif(order, turn, long, sides=sides)
            add(
                f"exif-{name}-{turn}.jpg",
                f"JPEG, EXIF orientation {which}, both byte orders, SHORT and LONG",
                jpeg(stored, (app1(block),)),
            )
        add(
            f"xmp-{turn}.jpg",
            f"JPEG, XMP orientation {which}",
            jpeg(stored, (app1_xmp(xmp(turn)),)),
        )
        add(
            f"exif-{turn}.png",
            f"PNG with transparency, EXIF orientation {which}",
            png(lying(np.dstack([rgb, alpha()]), turn), [(b"eXIf", exif(">", turn))]),
        )
        add(
            f"exif-{turn}.webp",
            f"WebP, lossless, EXIF orientation {which}",
            webp(stored, block=exif("<", turn), lossless=True),
        )
        entry = {274: (3, 1, struct.pack("<H", turn))}
        add(
            f"turned-{turn}.tif", f"TIFF, orientation {which}", tiff(stored, more=entry)
        )
        add(
            f"deep-turned-{turn}.tif",
            f"TIFF, 16 bits, orientation {which}",
            tiff(lying(deep(), turn), more=entry),
        )
    # JPEG.
    full = full_jpeg()
    add("full.jpg", "JPEG with everything", full)
    for other in (".png", ".webp", ".tif", ".avif", ".bmp"):
        add(
            f"full-as-{other[1:]}.jpg",
            f"JPEG with everything, as {other}",
            full,
            "",
            (other,),
        )
    add("plain.jpg", "JPEG, plain", jpeg(jfif=True))
    add(
        "maker-be.jpg",
        "JPEG, MakerNote with inner offsets, big-endian",
        jpeg(segments=(app1(exif(">", maker=True, thumbnail=thumbnail())),)),
    )
    add(
        "c2pa.jpg",
        "JPEG with C2PA",
        jpeg(segments=((0xEB, b"JP\0\1\0\0\0\1" + jumbf()),)),
    )
    add(
        "irb.jpg",
        "JPEG, Photoshop's resources with a thumbnail",
        jpeg(segments=tuple(containers.split_photoshop(iptc(True)))),
    )
    add(
        "long-xmp.jpg",
        "JPEG with extended XMP",
        jpeg(
            segments=(
                app1_xmp(
                    xmp(
                        more='xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"'
                        ' xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
                    )
                ),
                (
                    0xE1,
                    containers.EXTENDED_XMP
                    + b"0123456789ABCDEF0123456789ABCDEF"
                    + struct.pack(">II", 7, 0)
                    + b"<rest/>",
                ),
            )
        ),
    )
    small = 'xmpGImg:image="/9j/4AAQSkZJRg=="'
    add(
        "xmp-small.jpg",
        "JPEG, thumbnail within XMP",
        jpeg(segments=(app1_xmp(xmp(more=small)),)),
    )
    add(
        "ducky.jpg",
        "JPEG, further APP segments",
        jpeg(
            segments=((0xEC, b"Ducky\0\1\0\4\0\0\0\x50"), (0xE5, b"Maker's own\0data"))
        ),
    )
    for name in ("4:2:2", "4:4:4"):
        add(
            f"sampling-{name[0]}{name[2]}{name[4]}.jpg",
            f"JPEG, {name}",
            jpeg(subsampling=name),
        )
    add("progressive.jpg", "JPEG, progressive", jpeg(progressive=True, quality=75))
    add("q30.jpg", "JPEG of quality 30", jpeg(quality=30))
    grey = Image.fromarray(rgb).convert("L")
    add("grey.jpg", "JPEG, grey", jpeg(grey, subsampling=-1))
    add(
        "grey-profile.jpg",
        "JPEG, grey with its profile",
        jpeg(grey, tuple(containers.split_icc(grey_profile())), subsampling=-1),
    )
    cmyk = Image.fromarray(rgb).convert("CMYK")
    add(
        "cmyk.jpg",
        "JPEG, CMYK with its profile",
        coded(cmyk, "JPEG", quality=95, icc_profile=cmyk_profile()),
    )
    add(
        "cmyk-bare.jpg",
        "JPEG, CMYK without a profile",
        coded(cmyk, "JPEG"),
        "CMYK without",
    )
    add("p3.jpg", "JPEG, Display P3", jpeg(segments=tuple(containers.split_icc(P3))))
    add(
        "adobe.jpg",
        "JPEG, Adobe RGB",
        jpeg(segments=tuple(containers.split_icc(ADOBE))),
    )
    second = jpeg(cv2.resize(rgb, (80, 60)))
    add(
        "two.jpg", "JPEG with a second picture (MPO)", pictures(second, (app1(exif()),))
    )
    add("ultra-hdr.jpg", "JPEG with a gain map (Ultra HDR)", gain_map(1))
    add("ultra-hdr-turned.jpg", "JPEG with a gain map, lying on its side", gain_map(6))
    add(
        "motion.jpg",
        "JPEG with a film after its end",
        jpeg(trailer=b"\0\0\0\x18ftypmp42" + bytes(200)),
    )
    broken = exif(broken=True)
    add(
        "broken-unit.jpg",
        "JPEG, a wrong type in EXIF's ResolutionUnit",
        jpeg(segments=(app1(broken),)),
    )
    add(
        "bad-exif.jpg",
        "JPEG, EXIF without a header",
        jpeg(segments=(app1(b"nothing" * 3),)),
        "damaged metadata",
    )
    plain = jpeg(quality=95)
    add("cut.jpg", "JPEG, truncated", plain[: len(plain) * 3 // 5], "truncated")
    add(
        "cut-progressive.jpg",
        "JPEG, progressive, truncated",
        jpeg(progressive=True)[:-1500],
        "truncated",
    )
    add("no-end.jpg", "JPEG without its end marker", plain[:-2], "truncated")
    add(
        "preceded.jpg",
        "JPEG after an upload's header",
        b"Content-Type: image/jpeg\r\n\r\n" + plain,
        "known image format",
    )
    add("small.jpg", "JPEG of 20 by 15 pixels", jpeg(cv2.resize(rgb, (20, 15))))
    # PNG.
    add("full.png", "PNG with everything", full_png(rgb))
    for other in (".jpg", ".webp", ".tif"):
        add(
            f"full-as-{other[1:]}.png",
            f"PNG with everything, as {other}",
            full_png(rgb),
            "",
            (other,),
        )
    add("deep.png", "PNG, 16 bits", full_png(deep()))
    add("deep-as-jpg.png", "PNG, 16 bits, as .jpg", png(deep()), "", (".jpg",))
    add("deep-as-tif.png", "PNG, 16 bits, as .tif", full_png(deep()), "", (".tif",))
    clear = np.dstack([deep(), alpha().astype(np.uint16) * 257 + 1])
    add("deep-clear.png", "PNG, 16 bits with transparency", png(clear))
    add("grey.png", "PNG, grey", png(grey))
    add("grey-deep.png", "PNG, grey of 16 bits", png(deep()[..., 0]))
    add(
        "grey-profile.png",
        "PNG, grey with its profile",
        png(grey, [iccp(grey_profile())]),
    )
    both = Image.merge("LA", (grey, Image.fromarray(alpha())))
    add("grey-clear.png", "PNG, grey with transparency", png(both))
    add("bits.png", "PNG, black and white", png(grey.convert("1")))
    palette = Image.fromarray(rgb).quantize(64)
    add("palette.png", "PNG, palette", png(palette))
    add(
        "palette-clear.png",
        "PNG, palette with transparency",
        png(palette, transparency=3),
    )
    add(
        "opaque.png",
        "PNG, opaque alpha channel",
        png(np.dstack([rgb, np.full_like(alpha(), 255)])),
    )
    gamma = (b"gAMA", struct.pack(">I", 55556))
    wide = (
        b"cHRM",
        struct.pack(">8I", *(31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
    )
    add("gamma.png", "PNG with gAMA and cHRM", png(rgb, [gamma, wide]))
    add(
        "gamma-as-jpg.png",
        "PNG with gAMA and cHRM, as .jpg",
        png(rgb, [gamma, wide]),
        "",
        (".jpg",),
    )
    add(
        "srgb.png",
        "PNG with sRGB and gAMA",
        png(rgb, [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))]),
    )
    add(
        "cicp.png", "PNG with cICP (Display P3)", png(rgb, [(b"cICP", b"\x0c\x0d\0\1")])
    )
    add(
        "cicp-as-jpg.png",
        "PNG with cICP (Display P3), as .jpg",
        png(rgb, [(b"cICP", b"\x0c\x0d\0\1")]),
        "",
        (".jpg",),
    )
    pq = [(b"cICP", b"\x09\x10\0\1"), (b"cLLI", bytes(8))]
    add("pq.png", "PNG with cICP (PQ), 16 bits", png(deep(), pq))
    add(
        "pq-as-jpg.png",
        "PNG with cICP (PQ), 16 bits, as .jpg",
        png(deep(), pq),
        "Only PNG",
        (".jpg",),
    )
    add("c2pa.png", "PNG with C2PA", png(rgb, [(b"caBX", jumbf())]))
    add(
        "private.png",
        "PNG with chunks that nobody knows",
        png(rgb, [(b"prVt", b"safe"), (b"prVT", b"unsafe")]),
    )
    frames = [Image.fromarray(np.roll(rgb, 9 * i, 0)) for i in range(3)]
    moving = {"save_all": True, "append_images": frames[1:]}
    add("animated.png", "PNG, animated", coded(frames[0], "PNG", **moving), "animated")
    whole = png(rgb)
    add("cut.png", "PNG, truncated", whole[: len(whole) * 2 // 3], "truncated")
    add(
        "bad-sum.png",
        "PNG, a wrong checksum",
        whole[:-20] + b"\1\2" + whole[-18:],
        "damaged",
    )
    # WebP.
    add("lossy.webp", "WebP, lossy", webp(rgb, quality=75))
    add("lossless.webp", "WebP, lossless", webp(rgb, lossless=True))
    add(
        "clear.webp",
        "WebP with transparency",
        webp(np.dstack([rgb, alpha()]), lossless=True, exact=True),
    )
    everything = webp(
        rgb,
        P3,
        exif(maker=True, thumbnail=thumbnail()),
        xmp(),
        [(b"C2PA", jumbf()), (b"priv", b"own")],
        quality=75,
    )
    add("full.webp", "WebP with everything", everything)
    add("full-as-jpg.webp", "WebP with everything, as .jpg", everything, "", (".jpg",))
    add(
        "animated.webp",
        "WebP, animated",
        coded(frames[0], "WEBP", **moving),
        "animated",
    )
    sharp = webp(rgb, quality=90)
    add("cut.webp", "WebP, truncated", sharp[: len(sharp) * 3 // 4], "truncated")
    # TIFF.
    add("full.tif", "TIFF with everything", full_tiff(rgb))
    for other in (".jpg", ".png"):
        add(
            f"full-as-{other[1:]}.tif",
            f"TIFF with everything, as {other}",
            full_tiff(rgb),
            "",
            (other,),
        )
    add("deep.tif", "TIFF, 16 bits", full_tiff(deep()))
    add("deep-be.tif", "TIFF, 16 bits, big-endian", full_tiff(deep(), ">"))
    add("deep-clear.tif", "TIFF, 16 bits with transparency", tiff(clear))
    add("clear.tif", "TIFF with transparency", tiff(np.dstack([rgb, alpha()])))
    add("grey-deep.tif", "TIFF, grey of 16 bits", tiff(deep()[..., 0]))
    add("lzw.tif", "TIFF, LZW", coded(rgb, "TIFF", compression="tiff_lzw"))
    add(
        "jpeg.tif",
        "TIFF, JPEG inside",
        coded(rgb, "TIFF", compression="jpeg", quality=95),
    )
    add("pages.tif", "TIFF of several pages", coded(frames[0], "TIFF", **moving))
    press = {34675: (7, len(cmyk_profile()), cmyk_profile())}
    add(
        "cmyk.tif",
        "TIFF, CMYK with its profile",
        tiff(np.asarray(cmyk), more=press, photometric=5),
    )
    layers = {37724: (7, 400, b"Adobe Photoshop Document Data Block\0" + bytes(364))}
    add("layers.tif", "TIFF with Photoshop's layers", tiff(rgb, more=layers))
    add(
        "float.tif",
        "TIFF, floating point",
        cv2.imencode(".tiff", rgb.astype(np.float32) / 255)[1].tobytes(),
        "8 or 16 bits",
    )
    raw = {254: (4, 1, b"\1\0\0\0"), 50706: (1, 4, b"\1\4\0\0")}
    add("raw.tif", "Camera raw (DNG)", tiff(rgb, more=raw), "raw file")
    add("cut.tif", "TIFF, truncated", tiff(rgb)[:-20000], "truncated")
    # The rest.
    add("still.gif", "GIF", coded(frames[0], "GIF"), "256 colours")
    add(
        "animated.gif",
        "GIF, animated",
        coded(frames[0], "GIF", **moving),
        "256 colours",
    )
    flat = coded(frames[0], "GIF")
    add("cut.gif", "GIF, truncated", flat[: len(flat) // 2], "256 colours")
    add("plain.bmp", "BMP", coded(rgb, "BMP", dpi=(300, 300)))
    add("palette.bmp", "BMP, palette", coded(palette, "BMP"))
    add(
        "plain.avif",
        "AVIF with everything",
        coded(rgb, "AVIF", exif=exif(), icc_profile=P3, xmp=xmp(), quality=95),
    )
    add(
        "turned.avif",
        "AVIF, orientation 6",
        coded(lying(rgb, 6), "AVIF", exif=exif("<", 6), quality=95),
    )
    add(
        "as-jpg.avif",
        "AVIF with everything, as .jpg",
        coded(rgb, "AVIF", exif=exif(), icc_profile=P3, xmp=xmp(), quality=95),
        "",
        (".jpg",),
    )
    add(
        "animated.avif",
        "AVIF, animated",
        coded(frames[0], "AVIF", **moving),
        "animated",
    )
    add("plain.heic", "HEIC, as .jpg", base64.b64decode(HEIC), "", (".jpg",))
    add("plain.jp2", "JPEG 2000", coded(rgb, "JPEG2000"), "JPEG 2000")
    add(
        "text.jpg",
        "A text that was renamed",
        b"This is a text.\n" * 9,
        "known image format",
        unread="known image format",
    )
    add("empty.jpg", "An empty file", b"", "empty", unread="empty")
    return found


def table() -> str:
    """Runs the corpus through tagging's and tracing's readers: a table in Markdown."""
    rows: dict[str, tuple[str, ...]] = {}
    for case in cases():
        try:
            told = account(decode_photo_file(case.data), case.outputs[0])
            kept, changed, lost = ("; ".join(n) for n in dataclasses.astuple(told))
        except ValueError as error:
            kept, changed, lost = f"not tagged: {first_clause(error)}", "", ""
        try:
            read = "; ".join(decode_suspect(case.data).notes) or "read"
        except ValueError as error:
            read = f"not read: {first_clause(error)}"
        outcome = kept, changed, lost, read
        if rows.setdefault(case.row, outcome) != outcome:
            raise ValueError(f"Two outcomes in the row {case.row!r}: {outcome}")
    lines = ["| File | Kept | Changed | Lost | `trace` |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join((row, *outcome))} |" for row, outcome in rows.items()]
    return "\n".join(" ".join(line.split()) for line in lines) + "\n"


def first_clause(error: ValueError) -> str:
    sentence = str(error).split(". ")[0].rstrip(".")
    return sentence.removeprefix("The photo ").removeprefix("is ").removeprefix("has ")


def with_table(page: str) -> str:
    """Returns the page with its table renewed."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if sys.argv[1] == "--table":
        PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
    else:
        folder = pathlib.Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases():
            (folder / case.name).write_bytes(case.data)
        print(f"{len(cases())} files in {folder}")
