"""File names that are no UTF-8, break lines, or speak to terminals or spreadsheets."""

import csv
import json
import os
import pathlib
import unicodedata

import pytest

from faketagger_tf.photos import read_photo, write_image

NAMES = (
    b"plain.png",
    b"caf\xe9.png",  # Latin-1: no UTF-8.
    b"line\nError: fake.png",
    b"\x1b[31mred\x1b[2J\x7f.png",
    b"=HYPERLINK(1).png",
    b"+1 'quo\"te', comma.png",
    b"back\\x1b.png",
    "\u202egnp.png".encode(),  # Turns the writing direction.
    "Jos\u00e9 \u5317\u4eac.png".encode(),
)


@pytest.fixture
def source(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(pathlib.Path(photo).read_bytes())
    return folder


def check_terminal(text):
    """Lines alone: nothing that a terminal would obey or that cannot be encoded."""
    text.encode()
    kinds = {unicodedata.category(letter) for letter in text.replace("\n", "")}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs"})


def test_a_whole_run(faketagger, tmp_path, source, capsys, monkeypatch):
    target, table = tmp_path / "out", tmp_path / "tags.csv"
    assert faketagger("tag", source, target, "--payload=5", f"--csv={table}") == 0
    shown = capsys.readouterr()
    check_terminal(shown.out + shown.err)
    assert len(shown.out.splitlines()) == len(NAMES)
    assert all("payload 0x00000005" in line for line in shown.out.splitlines())
    assert sorted(os.listdir(os.fsencode(target))) == sorted(NAMES)
    # A table has a line per photo, also for whoever reads lines.
    assert len(table.read_text().splitlines()) == 1 + len(NAMES)
    check_terminal(table.read_text())

    seen = tmp_path / "seen.csv"
    assert faketagger("trace", target, "--json", f"--csv={seen}") == 0
    shown = capsys.readouterr()
    check_terminal(shown.out)
    files = [json.loads(line)["file"] for line in shown.out.splitlines()]
    exact = {str(target / n.decode()) for n in NAMES if n != NAMES[1]}
    assert set(files) - exact == {f"{target}/caf\\xe9.png"}
    check_terminal(seen.read_text())
    (tmp_path / "cells").mkdir()
    monkeypatch.chdir(target)  # So that names stand alone in their cells.
    files = os.listdir(".")
    assert faketagger("trace", "--csv=../cells/t.csv", "--", *files) == 0
    with open("../cells/t.csv") as file:
        cells = [row["file"] for row in csv.DictReader(file)]
    assert len(cells) == len(NAMES) and "'=HYPERLINK(1).png" in cells
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)


def test_errors_name_the_file_and_nothing_else(faketagger, tmp_path, source, capsys):
    for name in NAMES:
        (source / os.fsdecode(name)).write_bytes(b"no photo")
    assert faketagger("tag", source, tmp_path / "out") == 2
    shown = capsys.readouterr().err
    check_terminal(shown)
    assert len(shown.splitlines()) == len(NAMES) + 1
    assert not any(line.startswith("Error: fake") for line in shown.splitlines())
    for name in NAMES:
        assert faketagger("trace", source / os.fsdecode(name)) == 2
        shown = capsys.readouterr().err
        check_terminal(shown)
        assert len(shown.splitlines()) == 1
    assert faketagger("tag", "a\n\x1b[2J", "b.png") == 2
    check_terminal(capsys.readouterr().err)
    assert faketagger("tag", "a", "b", "--no\x1b[2J=1") == 2
    check_terminal(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ann.png", "ann.PNG"),
        ("Jos\u00e9.png", "Jose\u0301.png"),  # Composed, and not.
        ("stra\u00dfe.png", "STRASSE.png"),
        ("a.jpg", "a.jfif"),  # Written as JPEG, too.
    ],
)
def test_outputs_that_are_one_on_some_disks_are_refused(
    faketagger, tmp_path, photo, first, second, capsys
):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in (first, second):
        (source / name).write_bytes(pathlib.Path(photo).read_bytes())
    assert faketagger("tag", source, target, "--overwrite") == 2
    assert "different files on every disk" in capsys.readouterr().err
    assert not target.exists()


def test_a_file_of_the_same_run_is_never_replaced(
    faketagger, tmp_path, photo, monkeypatch, capsys
):
    """On a disk that holds two names for one that we do not know of: links here."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    for name in ("a.png", "b.png"):
        write_image(source / name, read_photo(photo))
    lstat = os.lstat

    def one_name(path, *arguments, **named):
        place = os.fspath(path)
        if place == str(target / "b.png"):
            path = target / "a.png"
        return lstat(path, *arguments, **named)

    monkeypatch.setattr(os, "lstat", one_name)
    for flags in (["--overwrite"], []):
        code = faketagger("tag", source, target, "--jobs=1", "--payload=5", *flags)
        assert code == (2 if flags else 0)
        assert os.listdir(target) == ["a.png"]
    assert "a file of this run by another name" in capsys.readouterr().err


def test_a_byte_order_mark_for_excel(faketagger, tmp_path, photo, capsys):
    table = tmp_path / "tags.csv"
    flags = (f"--csv={table}", "--csv-excel", "--overwrite")
    for _ in range(2):
        assert faketagger("tag", photo, tmp_path / "o.png", *flags) == 0
    data = table.read_bytes()
    assert data.startswith(b"\xef\xbb\xbffile,") and data.count(b"\xef\xbb\xbf") == 1
    assert len(list(csv.DictReader(table.open(encoding="utf-8-sig")))) == 2
    assert faketagger("tag", photo, tmp_path / "p.png", "--csv-excel") == 2
    assert "--csv-excel goes with --csv" in capsys.readouterr().err


def test_what_is_read_and_not_written_becomes_jpeg(faketagger, tmp_path, photo):
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.jpg", read_photo(photo))
    os.rename(tmp_path / "in" / "a.jpg", tmp_path / "in" / "a.jfif")
    assert faketagger("tag", tmp_path / "in", tmp_path / "out") == 0
    assert os.listdir(tmp_path / "out") == ["a.jpg"]
