import functools
import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from faketagger_tf.photos.photo_file import (
    PhotoFile,
    count_pixels,
    read_photo_file,
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
    cmyk = read_photo_file(tmp_path / "cmyk.jpg").pixels
    assert np.abs(cmyk.astype(int) - pixels).mean() < 6
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
    with pytest.raises(ValueError, match="extension"):
        write_photo_file(tmp_path / "photo.gif", PhotoFile(pixels))
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
