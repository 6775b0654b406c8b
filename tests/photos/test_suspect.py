"""Suspects beyond the corpus: bad places, bad claims, random damage."""

import io
import os
import random
import struct
import subprocess
import sys
import time

import corpus
import numpy as np
import pytest
from PIL import Image

from faketagger_tf.photos import codec, containers
from faketagger_tf.photos.photo_file import decode_photo_file
from faketagger_tf.photos.suspect import decode_suspect, read_suspect


def test_pipes_devices_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            read_suspect(path)
    with pytest.raises(ValueError, match="No such file"):
        read_suspect(tmp_path / "nowhere.jpg")


def test_a_file_is_read_by_what_it_holds_not_by_its_name(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(corpus.png(corpus.picture()))
    suspect = read_suspect(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(suspect.pixels, corpus.picture())
    assert suspect.notes == ()


def test_large_files_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(codec, "MAX_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(corpus.png(corpus.picture()))
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        read_suspect(tmp_path / "large.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_pictures_that_claim_too_many_pixels_are_refused(kind, monkeypatch):
    monkeypatch.setattr(codec, "MAX_PIXELS", 1000)
    data = corpus.coded(corpus.picture(), kind)
    with pytest.raises(ValueError, match=r"too large\. Received: 160x120"):
        decode_suspect(data)


def test_claims_of_a_small_file_cost_neither_time_nor_memory():
    chunks = containers.split_png(corpus.png(corpus.picture()))
    chunks[0] = b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 16, 6, 0, 0, 0)
    bitmap = bytearray(corpus.coded(corpus.picture(), "BMP"))
    struct.pack_into("<I", bitmap, 10, 0xFFFFFF00)
    endless = bytearray(corpus.png(corpus.picture()))
    endless[33] = 0xFF  # The length of the first chunk of pixels.
    start = time.process_time()
    suspect = decode_suspect(containers.join_png(chunks))
    assert suspect.pixels.shape == (10_000, 10_000, 3)
    assert "what is missing is black" in suspect.notes[0]
    with pytest.raises(ValueError, match="no pixels"):
        decode_suspect(bytes(bitmap))
    decode_suspect(bytes(endless))
    with pytest.raises(ValueError, match="truncated"):
        decode_photo_file(bytes(endless))
    # OpenCV alone spends 13 s on the last one, which is what this would catch.
    assert time.process_time() - start < 8


def test_truncated_pictures_are_read_as_far_as_they_go():
    whole = corpus.jpeg(quality=95)
    before = decode_suspect(whole).pixels.astype(int)
    for share in (0.4, 0.6, 0.8):
        suspect = decode_suspect(whole[: int(len(whole) * share)])
        # A file's rows take about as many bytes each; the header takes some too.
        rows = slice(0, int(corpus.HEIGHT * (share - 0.2)))
        assert np.abs(suspect.pixels[rows] - before[rows]).mean() < 1
        assert "what is missing is grey" in suspect.notes[0]


def test_random_damage_gives_a_picture_or_a_sentence():
    rng = random.Random(0)
    cases = [case for case in corpus.cases() if case.data]
    for _ in range(300):
        data = bytearray(rng.choice(cases).data)
        if rng.random() < 0.4:
            del data[rng.randrange(1, len(data)) :]
        for _ in range(rng.choice([0, 1, 10])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for decode in (decode_suspect, decode_photo_file):
            try:
                pixels = decode(bytes(data), "photo").pixels
                assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
            except ValueError as error:
                assert "\n" not in str(error) and "'photo'" in str(error)


def test_small_pictures_get_a_border_that_continues_them():
    small = np.tile(np.uint8([[[200, 10, 90]]]), (15, 20, 1))
    data = io.BytesIO()
    Image.fromarray(small).save(data, "PNG")
    suspect = decode_suspect(data.getvalue())
    assert suspect.pixels.shape == (24, 24, 3)
    assert (suspect.pixels == small[0, 0]).all()


def test_reading_imports_no_tensorflow():
    code = (
        "import sys; import faketagger_tf.photos.suspect, faketagger_tf.names;"
        "import faketagger_tf.photos.photo_file;"
        "print([m for m in ('tensorflow', 'keras', 'jax') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_heic_without_its_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    data = next(c.data for c in corpus.cases() if c.extension == ".heic")
    for decode in (decode_suspect, decode_photo_file):
        with pytest.raises(ValueError, match=r"pi-heif.*faketagger-tf\[heic\]"):
            decode(data, "photo.heic")
