import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from faketagger_tf.photos import codec as images
from faketagger_tf.photos.photo_file import decode_photo_file
from faketagger_tf.photos.suspect import decode_suspect

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def photo():
    """A smooth image, so that lossy formats stay close."""
    y, x = np.mgrid[0:48, 0:64]
    return np.dstack([x * 4, y * 5, 255 - x * 2 - y]).astype(np.uint8)


@pytest.mark.parametrize("extension", [".png", ".bmp", ".webp"])
def test_lossless_formats_round_trip(tmp_path, photo, extension):
    path = tmp_path / f"a{extension}"
    images.write_image(path, photo)
    np.testing.assert_array_equal(images.read_photo(path), photo)
    assert os.listdir(tmp_path) == [path.name]


def test_jpeg_decodes_as_another_decoder_does(tmp_path, photo):
    images.write_image(tmp_path / "a.jpg", photo, quality=80)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(images.read_photo(tmp_path / "a.jpg"), expected)
    assert np.abs(expected.astype(int) - photo).mean() < 3


def test_quality_is_honoured(photo):
    sizes = [len(images.encode_image(photo, ".jpg", q)) for q in (10, 50, 95)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif, quality=95)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))
    result = images.read_photo(tmp_path / "a.jpg")
    np.testing.assert_array_equal(result, expected)
    assert result.shape[:2] == ((48, 64) if orientation < 5 else (64, 48))


def test_grey_becomes_rgb(tmp_path, photo):
    Image.fromarray(photo[..., 0]).save(tmp_path / "grey.png")
    result = images.read_photo(tmp_path / "grey.png")
    np.testing.assert_array_equal(result, np.repeat(photo[..., :1], 3, 2))


def test_alpha_is_dropped(tmp_path, photo):
    alpha = np.full([48, 64, 1], 7, np.uint8)
    Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(images.read_photo(tmp_path / "rgba.png"), photo)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_rounded_to_8(tmp_path, photo, channels):
    wide = photo[..., :channels].astype(np.uint16) * 257
    off = np.random.default_rng(0).integers(-120, 121, wide.shape)
    wide = np.clip(wide + off, 0, 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), wide[..., ::-1] if channels == 3 else wide)
    result = images.read_photo(tmp_path / "a.png")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(
        result, np.broadcast_to(photo[..., :channels], result.shape)
    )


def test_cmyk_jpeg_looks_right(tmp_path, photo):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    result = images.read_photo(tmp_path / "a.jpg")
    assert np.abs(result.astype(int) - photo).mean() < 4


def test_palette_png_is_read(tmp_path, photo):
    picture = Image.fromarray(photo).quantize(16)
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(images.read_photo(tmp_path / "a.png"), expected)


def bad_files(photo):
    jpeg = images.encode_image(photo, ".jpg")
    png = images.encode_image(photo, ".png")
    webp = images.encode_image(photo, ".webp")
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc + png[33:]
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg_bomb = jpeg[:start] + struct.pack(">HH", 65_000, 65_000) + jpeg[start + 4 :]
    return [
        ("is empty", b""),
        ("truncated. Received", jpeg[:-40]),
        ("truncated", png[: len(png) // 2]),
        ("truncated", webp[: len(webp) // 2]),
        ("truncated within its header", jpeg[:20]),
        ("known image format", b"This is a text that somebody renamed.\n" * 10),
        ("known image format", b"GIF89a" + bytes(100)),
        ("60000x60000", bomb),
        ("65000x65000", jpeg_bomb),
        ("damaged", png[:60] + bytes(60) + png[120:]),
    ]


@pytest.mark.parametrize("number", range(10))
def test_bad_files_give_one_sentence_with_the_name(tmp_path, photo, number):
    message, data = bad_files(photo)[number]
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"holiday\.jpg") as error:
        images.read_photo(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match=r"not a regular file\. Accepted: JPEG"):
            images.read_photo(path)


def test_missing_file_and_folder():
    with pytest.raises(ValueError, match=r"nowhere\.jpg.*No such file"):
        images.read_photo("nowhere.jpg")
    with pytest.raises(ValueError, match=r"nowhere"):
        images.list_photos("nowhere")


def test_unwritable_output_is_one_sentence(tmp_path, photo):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write"):
        images.write_image(tmp_path / "file" / "a.png", photo)
    with pytest.raises(ValueError, match="extension"):
        images.write_image(tmp_path / "a.gif", photo)
    with pytest.raises(ValueError, match="uint8 RGB"):
        images.write_image(tmp_path / "a.png", photo / 255.0)


def test_failed_write_keeps_the_old_file(tmp_path, photo, monkeypatch):
    path = tmp_path / "a.png"
    images.write_image(path, photo)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match="No space left"):
        images.write_image(path, photo[::-1].copy())
    np.testing.assert_array_equal(images.read_photo(path), photo)
    assert os.listdir(tmp_path) == ["a.png"]


def test_list_photos_is_recursive_sorted_and_skips_others(tmp_path):
    for name in ("b.JPG", "a.png", "x/c.webp", "notes.txt", ".hidden.png", ".d/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [os.path.relpath(p, tmp_path) for p in images.list_photos(tmp_path)]
    assert found == ["a.png", "b.JPG", os.path.join("x", "c.webp")]


def many_scans(count: int) -> bytes:
    """A progressive JPEG of 64x64 grey pixels, whose scans but the first are empty."""

    def segment(marker, payload):
        return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload

    one_code = [1, *[0] * 15]
    blocks = 64
    direct = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8)
    # End-of-band runs of 2^14 blocks and more: one of them covers all.
    empty = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bytes([0, 0x7F])
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, bytes([0, *[1] * 64])),
            segment(0xC2, struct.pack(">BHHB3B", 8, 64, 64, 1, 1, 0x11, 0)),
            segment(0xC4, bytes([0x00, *one_code, 0])),
            segment(0xC4, bytes([0x10, *one_code, 0xE0])),
            direct,
            empty * (count - 1),
            b"\xff\xd9",
        ]
    )


def test_a_jpeg_of_many_scans_is_refused_undecoded():
    """One of 50 million pixels and 32 MiB takes a processor a quarter of an hour."""
    few = many_scans(images.MAX_SCANS)
    assert images.decode_photo(few).shape[:2] == (64, 64)
    decode_suspect(few)
    # A film behind the picture is not counted.
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 300
    assert images.decode_photo(few + film).shape[:2] == (64, 64)
    many = many_scans(images.MAX_SCANS + 1)
    for data in (many, many[:-2]):
        with pytest.raises(ValueError, match=r"too many scans\. Received: 201\. Acc"):
            decode_suspect(data)
    for decode in (images.decode_photo, decode_photo_file):
        with pytest.raises(ValueError, match="too many scans"):
            decode(many)
