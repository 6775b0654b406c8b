import csv
import io
import os
import unicodedata

import pytest

from faketagger_tf.names import colliding, csv_cell, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name é 写真.jpg", "plain name é 写真.jpg"),
        ("two\nlines\r.jpg", r"two\nlines\r.jpg"),
        ("red \x1b[31m\x07.jpg", r"red \x1b[31m\x07.jpg"),
        ("c1 \x9b31m.jpg", r"c1 \x9b31m.jpg"),
        ("del\x7f.jpg", r"del\x7f.jpg"),
        ("gpj.\u202etrap.exe", r"gpj.\u202etrap.exe"),
        ("line\u2028end", r"line\u2028end"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("back\\slash", r"back\\slash"),
        ("tag \U000e0041", r"tag \U000e0041"),
        (b"latin \xe9 \xff.jpg", r"latin \xe9 \xff.jpg"),
        ("lone \ud800.jpg", r"lone \ud800.jpg"),
    ],
)
def test_printable_names(name, shown):
    assert printable(name) == shown
    assert printable(name).isprintable()
    printable(name).encode("utf-8")


def test_no_name_looks_like_another_ones_escape():
    names = ["a\nb", "a\\nb", os.fsdecode(b"a\xffb"), "a\\xffb", "a\xffb", "a\\\nb"]
    assert len({printable(name) for name in names}) == len(names)


def test_every_byte_of_a_real_name_on_disk(tmp_path):
    raw = bytes(b for b in range(1, 256) if b != ord("/"))[:200]
    try:
        with open(os.fsencode(tmp_path) + b"/" + raw, "wb"):
            pass
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    (name,) = os.listdir(tmp_path)
    assert printable(name).isprintable()


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+A1",
        "-A1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\uff1d1",
        "-1;=2",
    ],
)
def test_formulas_are_defused(cell):
    assert csv_cell(cell) == "'" + cell
    text = io.StringIO()
    csv.writer(text).writerow([csv_cell(cell)])
    assert next(csv.reader(io.StringIO(text.getvalue(), newline=""))) == ["'" + cell]


@pytest.mark.parametrize("cell", ["a=b.jpg", "", "-3.5", "+1e-6", 7, -2.5, None, True])
def test_other_cells_stay(cell):
    assert csv_cell(cell) is cell


def test_colliding_paths():
    composed, parted = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    paths = ["o/A.jpg", "o/a.JPG", "o/b.jpg", f"o/{composed}.png", f"o/{parted}.png"]
    paths += ["o/STRASSE.png", "o/straße.png", "o/b.jpg ", "p/a.jpg", "o/x/../c", "o/c"]
    assert colliding(paths) == [
        ["o/A.jpg", "o/a.JPG"],
        ["o/b.jpg", "o/b.jpg "],
        [f"o/{composed}.png", f"o/{parted}.png"],
        ["o/STRASSE.png", "o/straße.png"],
        ["o/x/../c", "o/c"],
    ]
    assert colliding(["one.jpg", "two.jpg"]) == []
    assert colliding([b"\xff.jpg", b"\xfe.jpg"]) == []
