import csv
import dataclasses
import json
import pathlib

import numpy as np

from faketagger_tf import metrics
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.tagging import assure, file_jobs
from faketagger_tf.tagging.tagger import Tagger


def test_tag_and_trace_a_file(faketagger, tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    assert faketagger("tag", photo, tagged, "--payload=1F2E3D4C") == 0
    line = capsys.readouterr().out
    assert "0x1F2E3D4C" in line and "1 face" in line
    psnr = metrics.psnr(read_photo(photo)[None], read_photo(tagged)[None])[0]
    assert f"PSNR {psnr:.2f} dB" in line
    assert faketagger("trace", tagged) == 0
    assert "payload 0x1F2E3D4C" in capsys.readouterr().out
    assert faketagger("trace", photo) == 1
    assert "no tag" in capsys.readouterr().out
    assert faketagger("trace", tmp_path / "missing.png") == 2
    assert "Cannot read the photo" in capsys.readouterr().err


def test_existing_files_are_kept(faketagger, tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    tagged.write_bytes(b"mine")
    assert faketagger("tag", photo, tagged) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert tagged.read_bytes() == b"mine"


def test_keyed_tags_need_their_key(faketagger, tmp_path, photo, capsys):
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("k" * 32)
    other.write_text("o" * 32)
    tagged = tmp_path / "tagged.png"
    assert faketagger("tag", photo, tagged, "--payload=7", f"--key-file={key}") == 0
    assert faketagger("trace", tagged, f"--key-file={key}") == 0
    assert "0x00000007" in capsys.readouterr().out.splitlines()[-1]
    assert faketagger("trace", tagged, f"--key-file={other}") == 1
    assert faketagger("trace", tagged) == 1
    assert faketagger("trace", tagged, f"--key-file={tmp_path / 'none'}") == 2


def test_an_empty_key_file_is_no_open_tag(faketagger, tmp_path, photo, capsys):
    assert faketagger("tag", photo, tmp_path / "out.png", "--key-file=") == 2
    assert "Cannot read the key file ''" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_a_folder_is_resumed(faketagger, tmp_path, photo, capsys):
    source, target, table = tmp_path / "in", tmp_path / "out", tmp_path / "tags.csv"
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "sub/c.webp"):
        write_image(source / name, read_photo(photo))
    (source / "notes.txt").write_text("no photo")
    assert faketagger("tag", source, target, f"--csv={table}") == 0
    rows = list(csv.DictReader(table.open()))
    assert sorted(row["file"] for row in rows) == sorted(
        str(source / name) for name in ("a.png", "sub/b.jpg", "sub/c.webp")
    )
    assert len({row["payload"] for row in rows}) == 3
    kept = (target / "a.png").read_bytes()
    (target / "sub" / "b.jpg").unlink()
    assert faketagger("tag", source, target, f"--csv={table}") == 0
    assert (target / "a.png").read_bytes() == kept
    rows = list(csv.DictReader(table.open()))
    # The last row of a file is the one that counts.
    payloads = {row["output"]: row["payload"] for row in rows}
    assert len(rows) == 4 and len(payloads) == 3
    capsys.readouterr()
    assert faketagger("trace", target, "--json") == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert row["payload"] == payloads[row["file"]]


def test_folder_mistakes(faketagger, tmp_path, photo, capsys):
    source = tmp_path / "in"
    source.mkdir()
    assert faketagger("tag", source, tmp_path / "out") == 2
    write_image(source / "a.png", read_photo(photo))
    write_image(source / "a.jpg", read_photo(photo))
    assert faketagger("tag", source, source / "out") == 2
    assert faketagger("tag", source, source) == 2
    assert faketagger("tag", source, tmp_path / "out", "--extension=.png") == 2
    assert faketagger("tag", source, tmp_path / "out", "--extension=.gif") == 2
    assert faketagger("tag", source, photo) == 2
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err.count("Error: ") == 6


def test_tables_are_added_to_and_nothing_else_is(faketagger, tmp_path, photo, capsys):
    table = tmp_path / "tags.csv"
    for _ in range(2):
        assert (
            faketagger(
                "tag", photo, tmp_path / "o.png", f"--csv={table}", "--overwrite"
            )
            == 0
        )
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 2 and rows[0]["payload"] != rows[1]["payload"]
    before = pathlib.Path(photo).read_bytes()
    assert faketagger("tag", photo, tmp_path / "p.png", f"--csv={photo}") == 2
    assert pathlib.Path(photo).read_bytes() == before
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert faketagger("tag", photo, tmp_path / "p.png", f"--csv={other}") == 2
    assert "not a table of this command" in capsys.readouterr().err
    assert other.read_text() == "a,b\n1,2\n"


def test_a_failed_file_has_no_payload_in_its_last_row(
    faketagger, tmp_path, photo, monkeypatch
):
    def fail(*_):
        raise ValueError("The disk is full.")

    monkeypatch.setattr(file_jobs, "write_encoded", fail)
    table = tmp_path / "tags.csv"
    assert faketagger("tag", photo, tmp_path / "o.png", f"--csv={table}") == 2
    rows = list(csv.DictReader(table.open()))
    assert rows[-1]["error"] == "The disk is full." and not rows[-1]["payload"]


def test_tags_that_cannot_be_read_back_are_refused(
    faketagger, tmp_path, photo, capsys, monkeypatch
):
    tagger = Tagger.load("any")
    for psnr in (60.0, 80.0):
        weak = dataclasses.replace(tagger.config, weakest=psnr)
        monkeypatch.setattr(tagger, "config", weak)
        target = tmp_path / f"{psnr}.png"
        assert faketagger("tag", photo, target, "--strength=0") == 2
        assert "reads back" in capsys.readouterr().err
        assert not target.exists()
    target = tmp_path / "x.png"
    assert faketagger("tag", photo, target, "--strength=0", "--nocheck") == 2
    assert "leaves no trace" in capsys.readouterr().err


def test_strengths_by_share_and_by_promise(faketagger, tmp_path, photo, capsys):
    ratios = []
    for flags in (["--strength=0"], ["--strength=1"], ["--strength=auto"]):
        path = tmp_path / f"{len(ratios)}.png"
        assert faketagger("tag", photo, path, "--payload=9", "--json", *flags) == 0
        row = json.loads(capsys.readouterr().out)
        ratios.append(row["psnr"])
    assert ratios[0] > ratios[2] >= ratios[1]
    # The patterns of this tagger are colour as much as luma.
    assert "grey, JPEG 75" in row["broken"]
    archive = ("--promise=archive", "--payload=9")
    assert faketagger("tag", photo, tmp_path / "archive.png", *archive) == 0
    assert "may not survive JPEG 75; grey" in capsys.readouterr().out
    both = ("--promise=web", "--strength=0.5")
    assert faketagger("tag", photo, tmp_path / "both.png", *both) == 2
    assert "--strength=0.5" in capsys.readouterr().err


def test_a_face_that_is_lost_is_tagged_on_the_centred_square(
    faketagger, tmp_path, photo, capsys
):
    tagger = Tagger.load("any")
    found = tagger._detect(read_photo(photo))
    answers = [found]  # Found before tagging, not after it.
    original = tagger._detect
    tagger._detect = lambda _: answers.pop() if answers else []
    try:
        assert (
            faketagger("tag", photo, tmp_path / "out.png", "--payload=9", "--json") == 0
        )
    finally:
        tagger._detect = original
    row = json.loads(capsys.readouterr().out)
    assert row["faces"] == 0 and len(row["unread_faces"]) == 1
    # What the face's tag would have lost is not said of the square's.
    assert not row["broken"]


def test_refined_tags(faketagger, tmp_path, photo, capsys):
    pictures = []
    for steps in (0, 3):
        path = tmp_path / f"{steps}.png"
        assert faketagger("tag", photo, path, "--payload=9", f"--refine={steps}") == 0
        assert faketagger("trace", path) == 0
        pictures.append(read_photo(path).astype(int))
    assert "payload 0x00000009" in capsys.readouterr().out
    assert np.abs(pictures[1] - pictures[0]).max() > 0
    assert faketagger("tag", photo, tmp_path / "no.png", "--refine=-1") == 2
    assert "--refine" in capsys.readouterr().err


def test_a_tag_that_does_not_read_is_made_stronger(
    faketagger, tmp_path, photo, monkeypatch, capsys
):
    tagger = Tagger.load("any")
    weak = dataclasses.replace(tagger.config, psnr=52.0)
    monkeypatch.setattr(assure, "STRONGER", (10.0, 20.0))
    monkeypatch.setattr(tagger, "config", weak)
    assert faketagger("tag", photo, tmp_path / "out.png", "--payload=9", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["faces"] == 1 and row["psnr"] < 46
    assert faketagger("trace", tmp_path / "out.png") == 0


def test_pictures_of_other_formats_are_counted(faketagger, tmp_path, photo, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.gif").write_bytes(b"GIF89a")
    write_image(tmp_path / "in" / "b.png", read_photo(photo))
    assert faketagger("tag", tmp_path / "in", tmp_path / "out") == 0
    assert "1 entries" in capsys.readouterr().err


def test_faces_whose_tag_does_not_read_are_named(faketagger, tmp_path, photo, capsys):
    """A second, invented face beside the real one, which the reader never finds."""
    tagger = Tagger.load("any")
    original = tagger._detect
    found = original(read_photo(photo))
    away = np.array([-60.0, 80.0])
    invented = dataclasses.replace(
        found[0],
        box=(10.0, 150.0, *found[0].box[2:]),
        landmarks=found[0].landmarks + away,
    )
    answers = [[*found, invented]]
    tagger._detect = lambda image: answers.pop() if answers else original(image)
    table, target = tmp_path / "tags.csv", tmp_path / "out.png"
    flags = ("--payload=9", "--strength=1", f"--csv={table}")
    try:
        assert faketagger("tag", photo, target, *flags) == 0
    finally:
        tagger._detect = original
    line = capsys.readouterr().out
    assert "1 face(s), 1 more without a tag that reads" in line
    (row,) = csv.DictReader(table.open())
    assert row["faces"] == "1" and not row["error"]
    assert json.loads(row["unread_faces"]) == [[round(x, 1) for x in invented.box]]
    assert faketagger("trace", target) == 0


def test_unchecked_tags_say_nothing_about_unread_faces(
    faketagger, tmp_path, photo, capsys
):
    rows = []
    for form in ("--nocheck", "--no-check", "--check=false", "--check"):
        arguments = ("--payload=9", "--json", "--overwrite", form)
        assert faketagger("tag", photo, tmp_path / "o.png", *arguments) == 0
        rows.append(json.loads(capsys.readouterr().out)["unread_faces"])
    assert rows == [None, None, None, []]


def test_links_to_folders_are_counted(faketagger, tmp_path, photo, capsys):
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "b.png", read_photo(photo))
    (tmp_path / "in" / "up").symlink_to("..")
    assert faketagger("tag", tmp_path / "in", tmp_path / "out") == 0
    assert "1 entries" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_second_tag_is_refused(faketagger, tmp_path, photo, capsys):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    assert faketagger("tag", photo, first, "--payload=1F") == 0
    assert faketagger("tag", first, second, "--payload=2A") == 2
    error = capsys.readouterr().err
    assert "payload 0x0000001F" in error and "--retag" in error
    assert not second.exists()
    assert faketagger("tag", first, second, "--payload=2A", "--retag") == 0
    assert faketagger("trace", second) == 0
    assert "payload 0x0000002A" in capsys.readouterr().out


def test_what_is_lost_is_shown_everywhere(faketagger, tmp_path, photo, capsys):
    from PIL import Image, PngImagePlugin

    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "A. Nyone")
    source, table = tmp_path / "told.png", tmp_path / "tags.csv"
    Image.open(photo).save(source, pnginfo=told)
    flags = ("--payload=5", f"--csv={table}", "--overwrite")
    assert faketagger("tag", source, tmp_path / "o.jpg", *flags) == 0
    assert "lost: text 'Author'" in capsys.readouterr().out
    assert faketagger("tag", source, tmp_path / "o.jpg", *flags, "--json") == 0
    assert json.loads(capsys.readouterr().out)["lost"] == ["text 'Author'"]
    assert {r["lost"] for r in csv.DictReader(table.open())} == {"text 'Author'"}
    assert faketagger("tag", source, tmp_path / "p.jpg", "--strict") == 2
    assert "text 'Author'" in capsys.readouterr().err
    assert not (tmp_path / "p.jpg").exists()
