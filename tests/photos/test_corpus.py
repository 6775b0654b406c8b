"""The corpus of photo files, checked against exiftool and ImageMagick where installed.

On Debian: `apt-get install libimage-exiftool-perl imagemagick`.
"""

import dataclasses
import io
import json
import pathlib
import shutil
import subprocess

import corpus
import numpy as np
import pytest
from PIL import Image

from faketagger_tf.photos import colour
from faketagger_tf.photos.photo_file import (
    account,
    decode_photo_file,
    deep_pixels,
    encode_photo_file,
)
from faketagger_tf.photos.suspect import MIN_READ, decode_suspect

CASES = corpus.cases()
TAGGED = [case for case in CASES if not case.refused]
LOSSLESS = (".png", ".bmp", ".tif")

exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None,
    reason="exiftool is not installed (apt-get install libimage-exiftool-perl)",
)
# `identify` comes with ImageMagick alone; other packages have a `convert` too.
magick = pytest.mark.skipif(
    shutil.which("convert") is None or shutil.which("identify") is None,
    reason="ImageMagick is not installed (apt-get install imagemagick)",
)


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def read(case: corpus.Case):
    if case.extension == ".heic":
        pytest.importorskip("pi_heif")
    return decode_photo_file(case.data, case.name)


def tagged(photo):
    """The photo with a coarse pattern of three levels, as a tag would add it."""
    height, width = photo.pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    pattern = 3 * np.sign(np.sin(x / 5) * np.sin(y / 7))[..., None] * [1, -1, 1]
    pixels = np.clip(photo.pixels + pattern, 0, 255).round().astype(np.uint8)
    return dataclasses.replace(photo, pixels=pixels)


def test_the_corpus_is_large_and_its_names_differ():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


def test_the_table_of_the_page_is_current():
    pytest.importorskip("pi_heif")  # A row of the table reads HEIC.
    page = corpus.PAGE.read_text("utf-8")
    assert corpus.with_table(page) == page, "run python -m tests.corpus --table"


@by_name([case for case in CASES if case.refused])
def test_what_cannot_be_kept_is_refused_in_a_sentence(case):
    with pytest.raises(ValueError, match=case.refused) as error:
        encode_photo_file(decode_photo_file(case.data, case.name), case.outputs[0])
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@by_name(CASES)
def test_evidence_is_read(case):
    if case.extension == ".heic":
        pytest.importorskip("pi_heif")
    if case.unread:
        with pytest.raises(ValueError, match=case.unread):
            decode_suspect(case.data, case.name)
        return
    suspect = decode_suspect(case.data, case.name)
    assert (
        suspect.pixels.dtype == np.uint8 and min(suspect.pixels.shape[:2]) >= MIN_READ
    )
    notes = "; ".join(suspect.notes)
    for words, note in (
        ("runcated", "what is missing"),
        ("animated", "first frame"),
        ("several pages", "first of 3"),
        ("20 by 15", "border"),
    ):
        also = "end marker" in case.row or "checksum" in case.row
        assert (words in case.row) == (note in notes) or also
    if case.extension == ".heic" or "20 by 15" in case.row:
        return
    assert suspect.pixels.shape == corpus.picture().shape
    # The worst coding here, black and white, is off by half the range.
    error = np.abs(suspect.pixels.astype(int) - corpus.picture())
    limit = 130 if "black and white" in case.row else 45 if "PQ" in case.row else 25
    # Of what is cut off the beginning is there; Pillow's GIFs are interlaced.
    rows = slice(0, 40) if "runcated" in case.row else slice(None)
    if case.row == "GIF, truncated":
        rows = slice(0, None, 8)
    if "grey" not in case.row:
        assert error[rows].mean() < limit


@by_name(TAGGED)
def test_what_is_written_is_what_trace_reads(case):
    photo = tagged(read(case))
    for extension in case.outputs:
        data = encode_photo_file(photo, extension)
        again = decode_photo_file(data, case.name)
        if min(photo.pixels.shape[:2]) >= MIN_READ:
            suspect = decode_suspect(data)
            np.testing.assert_array_equal(suspect.pixels, again.pixels)
        if extension in LOSSLESS or "lossless" in case.row:
            np.testing.assert_array_equal(again.pixels, photo.pixels)
        else:
            # Quality 30 and colour at half the resolution are the worst.
            assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 8
        assert (again.alpha is None) == (photo.alpha is None)
        if photo.alpha is not None:
            np.testing.assert_array_equal(again.alpha, photo.alpha)
        if photo.fine is not None and extension in (".png", ".tif"):
            np.testing.assert_array_equal(deep_pixels(again), deep_pixels(photo))
        assert "turned upright" not in again.changed
        # Writing it once more loses nothing more.
        if extension == case.extension:
            assert not account(again, extension).lost


@by_name([case for case in TAGGED if "16 bits" in case.row])
def test_the_difference_of_8_bits_is_added_to_16(case):
    photo = read(case)
    new = tagged(photo)
    added = deep_pixels(new).astype(int) - deep_pixels(photo)
    difference = new.pixels.astype(int) - photo.pixels
    np.testing.assert_array_equal(added, 257 * difference)


@by_name(
    [case for case in TAGGED if "orientation" in case.row and "AVIF" not in case.row]
)
def test_every_orientation_is_turned_upright_once(case):
    pixels = read(case).pixels.astype(int)
    assert pixels.shape == (corpus.HEIGHT, corpus.WIDTH, 3)
    # JPEG's colour at half the resolution; a wrong turn is off by more than 40.
    assert np.abs(pixels - corpus.picture()).mean() < (
        5 if case.name[-3:] == "jpg" else 0.1
    )
    with Image.open(io.BytesIO(encode_photo_file(read(case), case.extension))) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == (corpus.WIDTH, corpus.HEIGHT)


@by_name([case for case in TAGGED if account(read(case), case.outputs[0]).lost])
def test_strict_refuses_what_would_be_lost(case):
    photo = read(case)
    lost = account(photo, case.outputs[0]).lost
    with pytest.raises(ValueError) as error:
        encode_photo_file(photo, case.outputs[0], strict=True)
    assert all(clause in str(error.value) for clause in lost)


# --- Independent oracles -------------------------------------------------------------


def written(case: corpus.Case) -> str:
    other = case.outputs[0]
    return case.name if other == case.extension else f"{case.name}{other}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The corpus and what became of it, tagged, in two folders."""
    root = tmp_path_factory.mktemp("corpus")
    before, after = root / "before", root / "after"
    before.mkdir()
    after.mkdir()
    for case in TAGGED:
        if case.extension == ".heic":
            continue
        (before / case.name).write_bytes(case.data)
        photo = tagged(read(case))
        (after / written(case)).write_bytes(encode_photo_file(photo, case.outputs[0]))
    return before, after


@pytest.fixture(scope="module")
def tags(folders):
    """What exiftool finds: folder, file name, group and tag to value."""
    found = []
    for folder in folders:
        command = ["exiftool", "-json", "-a", "-G1", "-u", "-struct", "-r", str(folder)]
        run = subprocess.run(command, capture_output=True, check=False, timeout=120)
        files = json.loads(run.stdout)
        found.append({pathlib.PurePath(f["SourceFile"]).name: f for f in files})
    return found


# How the picture is stored, which is what changes.
STORED = {
    *("Compression", "Predictor", "RowsPerStrip", "StripOffsets", "StripByteCounts"),
    *("BitsPerSample", "SamplesPerPixel", "PhotometricInterpretation", "JPEGTables"),
    *("PlanarConfiguration", "ImageWidth", "ImageHeight", "Orientation", "ColorType"),
    *("ExifImageWidth", "ExifImageHeight", "BitDepth", "Filter", "Interlace"),
    *("ThumbnailImage", "ThumbnailLength", "PreviewImage", "PreviewImageStart"),
    *("PreviewImageLength", "YCbCrSubSampling", "ReferenceBlackWhite", "Palette"),
    *("Transparency", "ProfileName", "PhotoshopThumbnail", "MPImageLength"),
    *("MPImageStart", "ThumbnailOffset", "SampleFormat", "ExtraSamples"),
    *("YCbCrPositioning", "FillOrder", "PageNumber", "SubfileType", "ImageSourceData"),
}
GROUPS = ("IFD", "ExifIFD", "GPS", "Canon", "IPTC", "XMP", "ICC", "PNG", "Photoshop")
GROUPS += ("JUMBF", "JFIF", "MPF", "MPImage", "Ducky", "RIFF", "File:Comment")


@exiftool
@by_name([case for case in TAGGED if case.outputs == (case.extension,)])
def test_exiftool_finds_every_tag_again(case, tags):
    before, after = (found[case.name] for found in tags)
    converted = "grey" in case.row or "CMYK" in case.row
    for name, value in before.items():
        group, _, tag = name.partition(":")
        if not name.startswith(GROUPS) or tag in STORED:
            continue
        if converted and group.startswith("ICC"):
            continue
        if case.row == "PNG with chunks that nobody knows" and tag == "PrVT":
            continue
        if "lying on its side" in case.row and tag in ("MPImage2", "Length"):
            continue  # Turned, as another test sees.
        if tag == "Image" or "xmpGImg" in tag or tag == "ThumbnailsImage":
            continue
        assert after.get(name) == value, name
    turned = [v for k, v in after.items() if k.endswith(":Orientation")]
    assert set(turned) <= {"Horizontal (normal)"}
    assert after.get("ExifTool:Error") is None
    assert after.get("ExifTool:Warning") in (None, before.get("ExifTool:Warning"))


@exiftool
@pytest.mark.parametrize("extension", [".png", ".webp", ".tif", ".avif"])
def test_exiftool_finds_the_credit_in_another_format(extension, tags):
    after = tags[1][f"full-as-{extension[1:]}.jpg{extension}"]
    words = json.dumps(after)
    assert after["IFD0:Artist"] == "A. Photographer"
    assert after["IFD0:Copyright"] == "(c) 2024 An Agency"
    assert after["Canon:OwnerName"] == "The owner of this camera"
    assert after["Canon:CanonFirmwareVersion"] == "Camera firmware 1.2.3"
    assert after["GPS:GPSLatitude"].startswith("52 deg 31' 12")
    assert after["XMP-photoshop:Credit"] == "An Agency"
    assert "Editorial use only" in words and after["ICC_Profile:ProfileDescription"]
    told = account(read(case_named("full.jpg")), extension)
    found = any(name.endswith(":By-line") for name in after)
    assert found == ("IPTC" in told.kept)


@exiftool
def test_the_thumbnail_shows_the_photo_as_it_is_now(folders):
    command = ["exiftool", "-b", "-ThumbnailImage"]
    for name in ("full.jpg", "maker-be.jpg", "full.webp"):
        old, new = (
            Image.open(
                io.BytesIO(
                    subprocess.run(
                        [*command, str(folder / name)], capture_output=True, timeout=60
                    ).stdout
                )
            )
            for folder in folders
        )
        small = np.asarray(
            Image.fromarray(corpus.picture()).resize(new.size, 4)
        ).astype(int)
        assert np.abs(np.asarray(old.convert("RGB")) - small).mean() > 20
        assert np.abs(np.asarray(new.convert("RGB")) - small).mean() < 12


@exiftool
@pytest.mark.parametrize("name", ["two.jpg", "ultra-hdr.jpg"])
def test_exiftool_finds_the_second_picture_byte_for_byte(name, folders):
    command = ["exiftool", "-b", "-MPImage2"]
    old, new = (
        subprocess.run(
            [*command, str(f / name)], capture_output=True, timeout=60
        ).stdout
        for f in folders
    )
    assert old == new and old[:3] == b"\xff\xd8\xff"


def test_the_gain_map_is_turned_with_the_photo():
    photo = read(case_named("ultra-hdr-turned.jpg"))
    data = encode_photo_file(tagged(photo), ".jpg")
    # Pillow knows the index, but gives out one picture of an Ultra HDR photo.
    with Image.open(io.BytesIO(data)) as image:
        first, second = image._getmp()[0xB002]
    assert first["Size"] == len(data) - len(photo.trailer)
    assert second["Size"] == len(photo.trailer)
    start = data.index(b"MPF\0") + 4 + second["DataOffset"]
    with Image.open(io.BytesIO(data[start:])) as image:
        gains = np.asarray(image.convert("L")).astype(int)
    expected = Image.fromarray(corpus.picture()[..., 0]).resize(gains.shape[::-1])
    assert gains.shape == (corpus.HEIGHT // 2, corpus.WIDTH // 2)
    assert np.abs(gains - np.asarray(expected)).mean() < 8
    assert b"hdrgm:GainMapMax" in photo.trailer and data.endswith(photo.trailer)
    assert f'Item:Length="{len(photo.trailer)}"'.encode() in data


def case_named(name: str) -> corpus.Case:
    return next(case for case in CASES if case.name == name)


def convert(path, *options: str) -> bytes:
    command = ["convert", str(path), *options]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


# ImageMagick turns JPEG and TIFF by EXIF alone, blends palettes and corrects the gamma
# of grey by a rule of its own; CMYK is below.
STRANGE = ("XMP orientation", "PNG with transparency, EXIF", "WebP, lossless, EXIF")
STRANGE += ("AVIF", "HEIC", "palette", "CMYK", "grey", "black and white")


@magick
def test_imagemagick_sees_the_same_pixels(folders):
    compared = [c for c in TAGGED if not any(words in c.row for words in STRANGE)]
    assert len(compared) > 90
    # One process for all of them: starting it takes longer than its work.
    first, *others = [f"{folders[0] / case.name}[0]" for case in compared]
    options = ("-auto-orient", "-alpha", "off", "-depth", "8", "rgb:-")
    raw, at = np.frombuffer(convert(first, *others, *options), np.uint8), 0
    for case in compared:
        pixels = read(case).pixels
        theirs = raw[at : at + pixels.size].reshape(pixels.shape)
        at += pixels.size
        # Both decode with libjpeg and libwebp, of other versions; 16 bits are rounded.
        assert np.abs(theirs.astype(int) - pixels).mean() < 1.5, case.name
    assert at == raw.size


@magick
@by_name([c for c in TAGGED if "16 bits" in c.row and c.outputs == (c.extension,)])
def test_imagemagick_reads_16_bits_from_what_was_written(case, folders):
    raw = convert(
        folders[1] / case.name,
        "-alpha",
        "off",
        "-depth",
        "16",
        "-endian",
        "LSB",
        "rgb:-",
    )
    expected = deep_pixels(tagged(read(case)))
    theirs = np.frombuffer(raw, "<u2").reshape(expected.shape)
    np.testing.assert_array_equal(theirs, expected)


@magick
@pytest.mark.parametrize("name", ["cmyk.jpg", "cmyk.tif"])
def test_imagemagick_converts_cmyk_alike(name, folders, tmp_path):
    (tmp_path / "srgb.icc").write_bytes(colour.SRGB)
    options = ("-intent", "Relative", "-black-point-compensation")
    options += ("-profile", str(tmp_path / "srgb.icc"), "-depth", "8", "rgb:-")
    pixels = read(case_named(name)).pixels
    theirs = np.frombuffer(convert(folders[0] / name, *options), np.uint8)
    error = theirs.reshape(pixels.shape).astype(int) - pixels
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 40
    # Without the profile it would be another picture.
    naive = decode_suspect(case_named(name).data).pixels.astype(int)
    assert 10 * np.log10(255**2 / np.mean((naive - pixels) ** 2)) < 25


@magick
@pytest.mark.parametrize("name", ["p3.jpg", "adobe.jpg", "full.png", "full.tif"])
def test_imagemagick_finds_the_profile_byte_for_byte(name, folders):
    assert convert(folders[1] / name, "icc:-") == convert(folders[0] / name, "icc:-")
