import dataclasses
import functools
import io
import os
import stat

import corpus
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from faketagger_tf.photos import colour
from faketagger_tf.photos.photo_file import (
    PhotoFile,
    account,
    count_pixels,
    decode_photo_file,
    encode_photo_file,
    read_photo_file,
    write_encoded,
    write_photo_file,
)


@pytest.fixture
def pixels():
    grain = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    return cv2.GaussianBlur(grain, (0, 0), 3)


@functools.cache  # A profile holds the second in which it was made.
def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_profile_and_exif_are_kept_and_the_photo_turned_upright(
    tmp_path, pixels, extension
):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    exif[0x010F] = "A camera"
    source = tmp_path / f"in{extension}"
    options = {"lossless": True} if extension == ".webp" else {}
    Image.fromarray(pixels).save(source, exif=exif, icc_profile=srgb(), **options)
    photo = read_photo_file(source)
    assert photo.pixels.shape == (60, 40, 3)
    if extension != ".jpg":
        np.testing.assert_array_equal(photo.pixels, np.rot90(pixels, -1))
    target = tmp_path / f"out{extension}"
    write_photo_file(target, photo)
    again = read_photo_file(target)
    if extension != ".jpg":
        np.testing.assert_array_equal(again.pixels, photo.pixels)
    with Image.open(target) as image:
        assert image.info["icc_profile"] == srgb()
        assert image.getexif()[0x010F] == "A camera"
        assert image.getexif()[0x0112] == 1


@pytest.mark.parametrize("extension", [".png", ".webp"])
def test_transparency_is_kept(tmp_path, pixels, extension):
    alpha = np.arange(40 * 60).reshape(40, 60).astype(np.uint8)
    photo = PhotoFile(pixels, alpha)
    path = tmp_path / f"photo{extension}"
    write_photo_file(path, photo)
    again = read_photo_file(path)
    np.testing.assert_array_equal(again.alpha, alpha)
    np.testing.assert_array_equal(again.pixels, pixels)
    with pytest.raises(ValueError, match="Transparency"):
        write_photo_file(tmp_path / "photo.jpg", again)


def test_other_colour_modes_become_rgb(tmp_path, pixels):
    image = Image.fromarray(pixels)
    image.convert("L").save(tmp_path / "grey.png")
    grey = read_photo_file(tmp_path / "grey.png").pixels
    assert (grey == grey[..., :1]).all()
    image.quantize(32).save(tmp_path / "palette.png")
    palette = read_photo_file(tmp_path / "palette.png").pixels
    assert np.abs(palette.astype(int) - pixels).mean() < 12
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    with pytest.raises(ValueError, match="CMYK without a colour profile"):
        read_photo_file(tmp_path / "cmyk.jpg")
    deep = pixels[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(
        read_photo_file(tmp_path / "deep.png").pixels[..., 0], pixels[..., 0]
    )


@pytest.mark.parametrize("extension", [".png", ".webp"])
def test_animations_are_refused(tmp_path, pixels, extension):
    frames = [Image.fromarray(np.roll(pixels, i, axis=0)) for i in range(3)]
    path = tmp_path / f"animated{extension}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"animated|cannot be decoded"):
        read_photo_file(path)


def test_errors_are_one_sentence(tmp_path, pixels):
    with pytest.raises(ValueError, match="Cannot read the photo"):
        read_photo_file(tmp_path / "missing.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="regular file"):
        read_photo_file(tmp_path / "folder.png")
    for name in ("photo.gif", "photo.heic", "photo"):
        with pytest.raises(ValueError, match=r"extension must be one of \.jpg"):
            write_photo_file(tmp_path / name, PhotoFile(pixels))
    with pytest.raises(ValueError, match="quality"):
        write_photo_file(tmp_path / "photo.jpg", PhotoFile(pixels), quality=0)


def test_count_pixels_reads_the_header_alone(tmp_path, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(buffer.getvalue()[:60])
    assert count_pixels(path) == 2400
    path.write_bytes(b"nothing")
    assert count_pixels(path) == 0
    assert count_pixels(tmp_path / "missing") == 0


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o600, 0o600), (0o644, 0o640), (0o666, 0o640), (0o444, 0o440)],
)
def test_the_mode_of_the_photo_less_the_umask(tmp_path, pixels, umask, mode, expected):
    source, target = tmp_path / "in.png", tmp_path / "out.jpg"
    Image.fromarray(pixels).save(source)
    source.chmod(mode)
    write_photo_file(target, read_photo_file(source))
    assert stat.S_IMODE(target.stat().st_mode) == expected
    # A photo that comes from no file has the user's usual permissions.
    write_photo_file(target, PhotoFile(pixels))
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_private_photo_is_private_at_every_moment(tmp_path, pixels, monkeypatch):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(pixels).save(source)
    source.chmod(0o600)
    photo = read_photo_file(source)
    seen = []
    real = os.replace

    def look(temporary, path):
        seen.append(stat.S_IMODE(os.stat(temporary).st_mode))
        real(temporary, path)

    monkeypatch.setattr(os, "replace", look)
    write_encoded(target, encode_photo_file(photo, ".png"), photo)
    assert seen == [0o600]


def test_times_are_preserved_on_request(tmp_path, pixels):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(pixels).save(source)
    times = 1_500_000_000_123_456_789, 1_400_000_000_987_654_321
    os.utime(source, ns=times)
    photo = read_photo_file(source)
    write_photo_file(target, photo)
    assert target.stat().st_mtime_ns > times[1]
    write_photo_file(target, photo, preserve=True)
    # Some disks store whole microseconds.
    assert abs(target.stat().st_mtime_ns - times[1]) < 2000


@pytest.mark.parametrize("quality", [20, 50, 75, 92, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_coded_as_it_was(quality, progressive):
    options = {"quality": quality, "subsampling": "4:2:2", "progressive": progressive}
    data = corpus.jpeg(**options)
    photo = decode_photo_file(data)
    assert photo.coding.quality == quality
    again = encode_photo_file(photo, ".jpg")
    with Image.open(io.BytesIO(data)) as old, Image.open(io.BytesIO(again)) as new:
        assert old.quantization == new.quantization
        assert old.layer == new.layer
        assert ("progressive" in new.info) == progressive
    assert len(again) < 1.1 * len(data)
    higher = decode_photo_file(encode_photo_file(photo, ".jpg", 96)).coding
    assert (higher.quality, higher.sampling) == (96, "4:2:2")
    full = encode_photo_file(photo, ".jpg", subsampling="4:4:4")
    assert decode_photo_file(full).coding.sampling == "4:4:4"
    with pytest.raises(ValueError, match="subsampling must be one of"):
        encode_photo_file(photo, ".jpg", subsampling="4:1:1")


def test_other_photos_become_jpegs_of_quality_95(pixels):
    coding = decode_photo_file(encode_photo_file(PhotoFile(pixels), ".jpg")).coding
    assert (coding.quality, coding.sampling) == (95, "4:4:4")


@pytest.mark.parametrize("quality", [30, 60, 80, 95])
def test_a_lossy_webp_stays_lossy_and_about_as_large(quality):
    data = corpus.webp(corpus.picture(), quality=quality)
    photo = decode_photo_file(data)
    # The estimate is from quantizers that libwebp spreads around the quality.
    assert abs(photo.coding.quality - quality) < 15
    again = encode_photo_file(photo, ".webp")
    assert b"VP8 " in again[:64] and 0.7 < len(again) / len(data) < 1.3
    assert b"VP8L" in encode_photo_file(PhotoFile(photo.pixels), ".webp")[:64]
    assert b"VP8 " in encode_photo_file(PhotoFile(photo.pixels), ".webp", 80)[:64]


def test_a_grey_profile_means_the_same_for_rgb():
    grey = corpus.picture()[..., 0]
    as_rgb = colour.grey_as_rgb(corpus.grey_profile())
    target = ImageCms.createProfile("sRGB")

    def shown(image, profile):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        return np.asarray(converted).astype(int)

    expected = shown(Image.fromarray(grey), corpus.grey_profile())
    three = shown(Image.fromarray(np.dstack([grey] * 3)), as_rgb)
    assert np.abs(expected - three).max() <= 1
    assert np.abs(expected - grey[..., None]).max() > 10


def test_profiles_agree_with_those_of_littlecms():
    ramp = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    converted = ImageCms.profileToProfile(
        Image.fromarray(ramp),
        ImageCms.ImageCmsProfile(io.BytesIO(colour.SRGB)),
        ImageCms.createProfile("sRGB"),
    )
    assert np.abs(np.asarray(converted).astype(int) - ramp).max() <= 1


def test_colours_that_a_format_cannot_describe_are_not_written(pixels):
    chunks = [(b"cICP", b"\x09\x10\0\1")]
    photo = decode_photo_file(corpus.png(pixels, chunks))
    assert "chunk cICP" in account(photo, ".png").kept
    with pytest.raises(ValueError, match=r"Only PNG .* transfer 16\. Accepted: \.png"):
        encode_photo_file(photo, ".jpg")


def test_a_field_that_the_caller_empties_is_not_written(pixels):
    photo = decode_photo_file(corpus.full_jpeg())
    bare = dataclasses.replace(photo, exif=b"", xmp=b"", iptc=b"")
    data = encode_photo_file(bare, ".jpg")
    for words in (b"A. Photographer", b"Usage", b"Agency"):
        assert words not in data
    assert corpus.P3 in data


def test_the_picture_of_a_tiff_leaves_no_copy_behind():
    data = corpus.full_tiff(corpus.picture())
    photo = decode_photo_file(data)
    tagged = dataclasses.replace(photo, pixels=photo.pixels ^ 3)
    written = encode_photo_file(tagged, ".tif")
    for start in range(0, corpus.picture().size - 64, 4096):
        piece = corpus.picture().tobytes()[start : start + 64]
        assert piece in data and piece not in written
    assert len(written) <= len(data) + 512


def test_blocks_too_long_for_a_jpeg_are_named():
    long = corpus.xmp(more=f'photoshop:Headline="{"x" * 70_000}"')
    photo = decode_photo_file(corpus.png(corpus.picture(), [corpus.itxt(long)]))
    assert account(photo, ".jpg").lost == ("XMP (longer than a JPEG's segment)",)
    encode_photo_file(photo, ".jpg")
    assert account(photo, ".webp").kept == ("XMP",)
