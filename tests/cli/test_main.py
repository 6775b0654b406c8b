import csv
import dataclasses
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import correlation_tagger
import cv2
import keras
import numpy as np
import pytest
import skimage.data

from faketagger_tf import metrics
from faketagger_tf.cli import main as cli
from faketagger_tf.models import FaceswapConfig, build_faceswap
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.presets import save_faceswap
from faketagger_tf.tagging.tagger import Tagger


@pytest.fixture(autouse=True)
def load(monkeypatch):
    """`--tagger` loads the correlation tagger, whatever its name."""
    known = {}

    def load(name, key=None):
        if key not in known:
            known[key] = correlation_tagger.build(key=key)
        return known[key]

    monkeypatch.setattr(Tagger, "load", load)


@pytest.fixture
def photo(tmp_path):
    """A face photo small enough to be quick."""
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return str(path)


def run(*arguments):
    return cli.main(["faketagger", *map(str, arguments)])


def test_tag_and_trace_a_file(tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    assert run("tag", photo, tagged, "--payload=1F2E3D4C") == 0
    line = capsys.readouterr().out
    assert "0x1F2E3D4C" in line and "1 face" in line
    psnr = metrics.psnr(read_photo(photo)[None], read_photo(tagged)[None])[0]
    assert f"PSNR {psnr:.2f} dB" in line
    assert run("trace", tagged) == 0
    assert "payload 0x1F2E3D4C" in capsys.readouterr().out
    assert run("trace", photo) == 1
    assert "no tag" in capsys.readouterr().out
    assert run("trace", tmp_path / "missing.png") == 2
    assert "Cannot read the photo" in capsys.readouterr().err


def test_dashes_flagfile_and_json(tmp_path, photo, capsys):
    flagfile = tmp_path / "flags.cfg"
    flagfile.write_text("--random-payload\n--json\n".replace("-payload", "_payload"))
    tagged = tmp_path / "tagged.png"
    assert run("tag", photo, tagged, f"--flagfile={flagfile}") == 0
    row = json.loads(capsys.readouterr().out)
    assert run("trace", tagged, "--json") == 0
    reading = json.loads(capsys.readouterr().out)
    assert reading["payload"] == row["payload"] and reading["p_value"] < 1e-6
    assert len(reading["box"]) == 4
    assert run("tag", photo, tagged, "--random-payload", "--overwrite") == 0


def test_existing_files_are_kept(tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    tagged.write_bytes(b"mine")
    assert run("tag", photo, tagged) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert tagged.read_bytes() == b"mine"


def test_keyed_tags_need_their_key(tmp_path, photo, capsys):
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("k" * 32)
    other.write_text("o" * 32)
    tagged = tmp_path / "tagged.png"
    assert run("tag", photo, tagged, "--payload=7", f"--key-file={key}") == 0
    assert run("trace", tagged, f"--key-file={key}") == 0
    assert "0x00000007" in capsys.readouterr().out.splitlines()[-1]
    assert run("trace", tagged, f"--key-file={other}") == 1
    assert run("trace", tagged) == 1
    assert run("trace", tagged, f"--key-file={tmp_path / 'none'}") == 2


def test_a_folder_is_resumed(tmp_path, photo, capsys):
    source, target, table = tmp_path / "in", tmp_path / "out", tmp_path / "tags.csv"
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "sub/c.webp"):
        write_image(source / name, read_photo(photo))
    (source / "notes.txt").write_text("no photo")
    assert run("tag", source, target, f"--csv={table}") == 0
    rows = list(csv.DictReader(table.open()))
    assert sorted(row["file"] for row in rows) == sorted(
        str(source / name) for name in ("a.png", "sub/b.jpg", "sub/c.webp")
    )
    assert len({row["payload"] for row in rows}) == 3
    kept = (target / "a.png").read_bytes()
    (target / "sub" / "b.jpg").unlink()
    assert run("tag", source, target, f"--csv={table}") == 0
    assert (target / "a.png").read_bytes() == kept
    rows = list(csv.DictReader(table.open()))
    # The last row of a file is the one that counts.
    payloads = {row["output"]: row["payload"] for row in rows}
    assert len(rows) == 4 and len(payloads) == 3
    capsys.readouterr()
    assert run("trace", target, "--json") == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert row["payload"] == payloads[row["file"]]


def test_folder_mistakes(tmp_path, photo, capsys):
    source = tmp_path / "in"
    source.mkdir()
    assert run("tag", source, tmp_path / "out") == 2
    write_image(source / "a.png", read_photo(photo))
    write_image(source / "a.jpg", read_photo(photo))
    assert run("tag", source, source / "out") == 2
    assert run("tag", source, source) == 2
    assert run("tag", source, tmp_path / "out", "--extension=.png") == 2
    assert run("tag", source, tmp_path / "out", "--extension=.gif") == 2
    assert run("tag", source, photo) == 2
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err.count("Error: ") == 6


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["tag"],
        ["tag", "only-one"],
        ["tag", "missing.png", "out.png"],
        ["tag", "a", "b", "--no-such-flag=1"],
        ["tag", "a", "b", "--payload=1", "--random-payload"],
        ["trace"],
        ["trace", "x.png", "--fpr=2"],
        ["verify", "a"],
        ["deepfake", "a"],
        ["deepfake", "a.png", "b.png", "--model=missing"],
    ],
)
def test_mistakes_are_one_line_and_code_2(arguments, capsys):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(("Error: ", "usage: "))
    if error.startswith("Error: "):
        assert error.count("\n") == 1


def test_help(capsys):
    assert run("--help") == 0
    assert "deepfake IN OUT" in capsys.readouterr().out
    assert run("trace", "--help") == 0
    assert "--fpr" in capsys.readouterr().out


def test_annotate_draws_on_the_photo(tmp_path, photo):
    tagged, picture = tmp_path / "tagged.png", tmp_path / "picture.png"
    run("tag", photo, tagged, "--payload=1")
    assert run("trace", tagged, f"--annotate={picture}") == 0
    change = (read_photo(picture) != read_photo(tagged)).any(2).mean()
    assert 0.005 < change < 0.3
    assert run("trace", tagged, f"--annotate={picture}") == 2
    folder = tmp_path / "pictures"
    run("trace", tagged, photo, f"--annotate={folder}")
    assert len(list(folder.iterdir())) == 2


@pytest.fixture
def swap_model(tmp_path):
    # Untrained, but always the same: some random faces are no longer found as faces.
    keras.utils.set_random_seed(1)
    config = FaceswapConfig(width=4, latent=16)
    save_faceswap(tmp_path / "swap", config, build_faceswap(config))
    return tmp_path / "swap"


def test_deepfake_and_verify(tmp_path, photo, swap_model, capsys):
    tagged, fake, heat = (tmp_path / n for n in ("t.png", "fake.png", "heat.png"))
    run("tag", photo, tagged, "--payload=1F2E3D4C", "--psnr=28")
    assert run("deepfake", tagged, fake, f"--model={swap_model}") == 0
    before, after = read_photo(tagged).astype(int), read_photo(fake).astype(int)
    change = np.abs(after - before).mean(2)
    # The face's middle changed, the hair and the photo's border did not.
    assert change[100:150, 100:160].mean() > 5
    assert change[:30].max() == 0 and change[:, :30].max() == 0
    assert (
        run(
            "deepfake",
            tagged,
            tmp_path / "x.png",
            f"--model={swap_model}",
            "--identity=C",
        )
        == 2
    )
    capsys.readouterr()
    assert run("verify", tagged, tagged, "--json") == 0
    same = json.loads(capsys.readouterr().out)
    assert same["intact"] and same["faces"][0]["changed_face"] == 0
    run("verify", tagged, fake, "--json", f"--output={heat}")
    faked = json.loads(capsys.readouterr().out)["faces"][0]
    assert faked["changed_face"] > 0.3 > 0.1 > faked["changed_around"]
    assert read_photo(heat).shape == (256, 768, 3)
    assert run("verify", photo, fake) == 2
    assert "must carry a tag" in capsys.readouterr().err
    assert run("verify", tagged, photo) == 1


def test_measure_is_the_whole_photos(monkeypatch):
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    second = first.copy()
    second[30:60, 50:80] ^= 9
    psnr, ssim = cli.measure(first, second, rows=16)
    assert psnr == pytest.approx(metrics.psnr(first[None], second[None])[0], abs=1e-9)
    assert ssim == pytest.approx(metrics.ssim(first[None], second[None])[0], abs=2e-5)
    assert cli.measure(first, first) == (math.inf, 1.0)


def test_an_empty_key_file_is_no_open_tag(tmp_path, photo, capsys):
    assert run("tag", photo, tmp_path / "out.png", "--key-file=") == 2
    assert "Cannot read the key file ''" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_tables_are_added_to_and_nothing_else_is(tmp_path, photo, capsys):
    table = tmp_path / "tags.csv"
    for _ in range(2):
        assert (
            run("tag", photo, tmp_path / "o.png", f"--csv={table}", "--overwrite") == 0
        )
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 2 and rows[0]["payload"] != rows[1]["payload"]
    before = pathlib.Path(photo).read_bytes()
    assert run("tag", photo, tmp_path / "p.png", f"--csv={photo}") == 2
    assert pathlib.Path(photo).read_bytes() == before
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert run("tag", photo, tmp_path / "p.png", f"--csv={other}") == 2
    assert "no table of this command" in capsys.readouterr().err
    assert other.read_text() == "a,b\n1,2\n"


def test_a_failed_file_has_no_payload_in_its_last_row(tmp_path, photo, monkeypatch):
    from faketagger_tf.photos import photo_file as photofile

    def fail(*_):
        raise ValueError("The disk is full.")

    monkeypatch.setattr(photofile, "write_photo_file", fail)
    table = tmp_path / "tags.csv"
    assert run("tag", photo, tmp_path / "o.png", f"--csv={table}") == 2
    rows = list(csv.DictReader(table.open()))
    assert rows[-1]["error"] == "The disk is full." and not rows[-1]["payload"]


def test_tags_that_cannot_be_read_back_are_refused(tmp_path, photo, capsys):
    for psnr in (60, 80):
        target = tmp_path / f"{psnr}.png"
        assert run("tag", photo, target, f"--psnr={psnr}") == 2
        assert "reads back" in capsys.readouterr().err
        assert not target.exists()
    assert run("tag", photo, tmp_path / "x.png", "--psnr=80", "--nocheck") == 2
    assert "leaves no trace" in capsys.readouterr().err


def test_a_face_that_is_lost_is_tagged_on_the_centred_square(tmp_path, photo, capsys):
    tagger = Tagger.load("any")
    found = tagger._detect(read_photo(photo))
    answers = [found]  # Found before tagging, not after it.
    original = tagger._detect
    tagger._detect = lambda _: answers.pop() if answers else []
    try:
        assert run("tag", photo, tmp_path / "out.png", "--payload=9", "--json") == 0
    finally:
        tagger._detect = original
    assert json.loads(capsys.readouterr().out)["faces"] == 0


def test_refined_tags(tmp_path, photo, capsys):
    pictures = []
    for steps in (0, 3):
        path = tmp_path / f"{steps}.png"
        assert run("tag", photo, path, "--payload=9", f"--refine={steps}") == 0
        assert run("trace", path) == 0
        pictures.append(read_photo(path).astype(int))
    assert "payload 0x00000009" in capsys.readouterr().out
    assert np.abs(pictures[1] - pictures[0]).max() > 0
    assert run("tag", photo, tmp_path / "no.png", "--refine=-1") == 2
    assert "--refine" in capsys.readouterr().err


def test_a_tag_that_does_not_read_is_made_stronger(
    tmp_path, photo, monkeypatch, capsys
):
    tagger = Tagger.load("any")
    weak = dataclasses.replace(tagger.config, psnr=52.0)
    monkeypatch.setattr(cli, "STRONGER", (10.0, 20.0))
    monkeypatch.setattr(tagger, "config", weak)
    assert run("tag", photo, tmp_path / "out.png", "--payload=9", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["faces"] == 1 and row["psnr"] < 46
    assert run("trace", tmp_path / "out.png") == 0


def test_canvas_and_pictures(tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    assert run("tag", photo, tagged, "--payload=7") == 0
    canvas, picture = tmp_path / "new" / "canvas.png", tmp_path / "more" / "read.png"
    assert run("trace", tagged, f"--canvas={canvas}", f"--annotate={picture}") == 0
    assert read_photo(canvas).shape == (128, 128, 3)
    assert read_photo(picture).shape == read_photo(tagged).shape
    assert run("trace", tagged, f"--canvas={canvas}") == 2
    assert "exists" in capsys.readouterr().err
    assert run("trace", tagged, tagged, f"--canvas={tmp_path / 'c.png'}") == 2
    for folder in ("a", "a_b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for name in ("a/b_c.png", "a_b/c.png"):
        (tmp_path / "in" / name).write_bytes(tagged.read_bytes())
    assert run("trace", tmp_path / "in", f"--annotate={tmp_path / 'out'}") == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_pictures_of_other_formats_are_counted(tmp_path, photo, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.gif").write_bytes(b"GIF89a")
    write_image(tmp_path / "in" / "b.png", read_photo(photo))
    assert run("tag", tmp_path / "in", tmp_path / "out") == 0
    assert "1 pictures" in capsys.readouterr().err


def test_one_sentence_alone_on_standard_error(tmp_path):
    """As a process: no native library's lines around it."""
    command = [sys.executable, "-m", "faketagger_tf", "trace", str(tmp_path / "no.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")


# --- 500 damaged or hostile files ----------------------------------------------------


def png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, data):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(*chunk)
        for chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def damaged(kind, good, rng):
    """Bytes of one bad file."""
    if kind == "empty":
        return b""
    if kind == "text":
        return b"This is no photo.\n" * 40
    if kind == "random":
        return rng.bytes(2000)
    if kind == "truncated":
        return good[: int(rng.integers(4, len(good) * 9 // 10))]
    if kind == "magic":
        return good[:4] + rng.bytes(500)
    if kind == "bomb":
        return png(30_000, 30_000, zlib.compress(bytes(10_000_000)))
    if kind == "huge":
        return png(2**31 - 1, 2**31 - 1, b"")
    if kind == "no_pixels":
        return png(0, 0, zlib.compress(b""))
    if kind == "short":
        return png(400, 400, zlib.compress(bytes(1000)))
    if kind == "small":
        return cv2.imencode(".png", np.full((40, 40, 3), 99, np.uint8))[1].tobytes()
    raise AssertionError(kind)


KINDS = (
    "empty", "text", "random", "truncated", "magic", "bomb", "huge", "no_pixels",
    "short", "small",
)  # fmt: skip


def test_five_hundred_bad_files_do_not_stop_a_run(tmp_path, capsys):
    rng = np.random.default_rng(11)
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    face = np.ascontiguousarray(skimage.data.astronaut()[40:200, 140:300])
    encoded = {
        extension: cv2.imencode(extension, face[..., ::-1])[1].tobytes()
        for extension in (".png", ".jpg", ".webp", ".bmp")
    }
    extensions = list(encoded)
    bad, flipped = set(), set()
    for i in range(440):
        extension = extensions[i // len(KINDS) % 4]
        data = damaged(KINDS[i % len(KINDS)], encoded[extension], rng)
        # BMP has no checksum or end; a truncated one is found by its size.
        path = source / f"bad{i:03}{extension}"
        path.write_bytes(data)
        bad.add(str(path))
    for i in range(50):
        extension = extensions[i % 4]
        data = bytearray(encoded[extension])
        for place in rng.integers(0, len(data), 3):
            data[place] ^= 1 << int(rng.integers(8))
        path = source / f"flipped{i:02}{extension}"
        path.write_bytes(data)
        flipped.add(str(path))
    links = {"loop.png": "loop.png", "gone.jpg": "nowhere.jpg", "null.png": "/dev/null"}
    for name, aim in links.items():
        os.symlink(aim, source / name)
        bad.add(str(source / name))
    os.symlink("..", source / "parent")
    os.mkfifo(source / "pipe.png")
    bad.add(str(source / "pipe.png"))
    if os.geteuid():
        (source / "secret.png").write_bytes(encoded[".png"])
        (source / "secret.png").chmod(0)
        bad.add(str(source / "secret.png"))
    good = set()
    for i, extension in enumerate(extensions):
        (source / f"good{i}{extension}").write_bytes(encoded[extension])
        good.add(f"good{i}{extension}")
    # A photo under another format's name is still a photo.
    (source / "misnamed.png").write_bytes(encoded[".jpg"])
    good.add("misnamed.png")
    os.symlink(source / "good0.png", source / "link.png")
    good.add("link.png")

    assert run("tag", source, target, "--payload=5", "--json") == 2
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    failed = {row["file"] for row in rows if row["error"]}
    assert len(rows) >= 500
    assert bad <= failed <= bad | flipped
    assert all(f"Error: {path}: " in captured.err for path in failed)
    # Every error is one of our sentences, none an exception that got through.
    assert all(row["error"].endswith(".") for row in rows if row["error"])
    written = {path.name for path in target.iterdir()}
    assert good <= written
    assert written.isdisjoint(os.path.basename(path) for path in failed)
    assert run("trace", *(target / name for name in sorted(good)), "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["payload"] for row in found] == ["0x00000005"] * len(good)
