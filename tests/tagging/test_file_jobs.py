import json
import os
import subprocess
import sys

import corpus
import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.photos.photo_file import read_photo_file
from faketagger_tf.tagging import assure
from faketagger_tf.tagging.file_jobs import (
    TAG_COLUMNS,
    TRACE_COLUMNS,
    tag_file,
    trace_file,
)


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return path


def test_a_file_is_tagged_and_traced(tagger, photo, tmp_path):
    output, seen = tmp_path / "tagged.png", []

    def before(row):
        seen.append(row)
        assert not output.exists()

    row = tag_file(tagger, photo, output, "1F", before_writing=before)
    assert seen == [row] and tuple(row) == TAG_COLUMNS
    assert row["payload"] == "0x0000001F" and row["faces"] == 1
    assert row["unread_faces"] == [] and (row["width"], row["height"]) == (260, 260)
    (reading,) = trace_file(tagger, output, 1e-6)
    assert tuple(reading) == TRACE_COLUMNS
    assert reading["payload"] == row["payload"] and reading["error"] == ""
    # Plain values only: a row is the same as JSON.
    assert json.loads(json.dumps([row, reading])) == [row, reading]


def test_payloads_are_drawn_where_none_is_given(tagger, photo, tmp_path):
    rows = [tag_file(tagger, photo, tmp_path / f"{i}.png") for i in range(2)]
    assert rows[0]["payload"] != rows[1]["payload"]


def test_nothing_is_written_that_could_not_be_announced(tagger, photo, tmp_path):
    def before(_):
        raise ValueError("The table is full.")

    with pytest.raises(ValueError, match="table is full"):
        tag_file(tagger, photo, tmp_path / "o.png", before_writing=before)
    assert not (tmp_path / "o.png").exists()
    with pytest.raises(ValueError, match="leaves no trace"):
        tag_file(tagger, photo, tmp_path / "o.png", strength=80, check=False)


def test_a_photo_without_a_tag_has_one_row(tagger, photo, tmp_path):
    (row,) = trace_file(tagger, photo, 1e-6, every_face=True)
    assert not row["found"] and row["payload"] is None and row["p_value"] > 1e-6
    with pytest.raises(ValueError, match="Cannot read the photo"):
        trace_file(tagger, tmp_path / "none.png", 1e-6)


def test_pictures_of_a_reading(tagger, photo, tmp_path):
    picture, canvas = tmp_path / "picture.png", tmp_path / "canvas.png"
    (row,) = trace_file(tagger, photo, 1e-6, picture=picture, canvas=canvas)
    assert row["error"] == ""
    assert read_photo(picture).shape == (260, 260, 3)
    assert read_photo(canvas).shape == (128, 128, 3)
    # A reading is not lost because its picture cannot be written.
    (row,) = trace_file(tagger, photo, 1e-6, picture=photo / "below-a-file.png")
    assert row["error"].startswith("Cannot write") and row["p_value"] is not None


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(assure, "REFINE", 1)


@pytest.mark.parametrize("quality", [5, 30, 60, 95])
@pytest.mark.parametrize("extension", [".jpg", ".webp", ".avif"])
def test_a_row_is_a_promise_about_the_file(
    tagger, photo, tmp_path, few_steps, quality, extension
):
    output = tmp_path / f"out{extension}"
    try:
        row = tag_file(tagger, photo, output, "1F", quality=quality)
    except ValueError as error:
        assert "reads back" in str(error) and "--quality" in str(error)
        assert quality < 60 and not output.exists()
        return
    # A face that a low quality takes the tag from is named; then the square has it.
    assert (row["faces"], len(row["unread_faces"])) in ((1, 0), (0, 1))
    assert row["faces"] == 1 or quality < 60
    (reading,) = trace_file(tagger, output, 1e-6)
    assert reading["payload"] == "0x0000001F"


def test_the_own_coding_is_followed_as_far_as_the_tag_allows(
    tagger, photo, tmp_path, few_steps
):
    fine, coarse = tmp_path / "fine.jpg", tmp_path / "coarse.jpg"
    write_image(fine, read_photo(photo), 90)
    write_image(coarse, read_photo(photo), 10)
    row = tag_file(tagger, fine, tmp_path / "a.jpg", 7)
    assert row["changed"] == []
    assert read_photo_file(tmp_path / "a.jpg").coding == read_photo_file(fine).coding
    row = tag_file(tagger, coarse, tmp_path / "b.jpg", 7)
    (change,) = row["changed"]
    assert change.startswith("coded with") and change.endswith("so that the tag reads")
    coding = read_photo_file(tmp_path / "b.jpg").coding
    assert coding.sampling == "4:4:4"
    assert trace_file(tagger, tmp_path / "b.jpg", 1e-6)[0]["payload"] == "0x00000007"
    # Who asks for a quality gets it.
    row = tag_file(tagger, coarse, tmp_path / "c.jpg", 7, quality=60)
    assert row["changed"] == []
    coding = read_photo_file(tmp_path / "c.jpg").coding
    assert (coding.quality, coding.sampling) == (60, "4:2:0")


def test_a_second_tag_is_refused_with_the_payload_of_the_first(
    tagger, photo, tmp_path, few_steps
):
    first, second = tmp_path / "first.jpg", tmp_path / "second.jpg"
    tag_file(tagger, photo, first, "1F")
    with pytest.raises(ValueError, match=r"already\. Received: payload 0x0000001F"):
        tag_file(tagger, first, second, "2A")
    assert not second.exists()
    tag_file(tagger, first, second, "2A", retag=True)
    assert trace_file(tagger, second, 1e-6)[0]["payload"] == "0x0000002A"


def test_looking_for_a_first_tag_costs_one_decoding(
    tagger, photo, tmp_path, monkeypatch
):
    shown, decode = [], tagger.networks.decode

    def counting(canvases):
        shown.append(len(canvases))
        return decode(canvases)

    monkeypatch.setitem(tagger.networks.__dict__, "decode", counting)
    tag_file(tagger, photo, tmp_path / "o.png", 7)
    assert shown == [1, 1]  # Before tagging, and after it.


def test_what_is_lost_is_said_or_refused(tagger, photo, tmp_path):
    from PIL import Image, PngImagePlugin

    told = PngImagePlugin.PngInfo()
    told.add_text("Copyright", "A. Nyone")
    source, output = tmp_path / "told.png", tmp_path / "o.jpg"
    Image.open(photo).save(source, pnginfo=told)
    with pytest.raises(ValueError, match="text 'Copyright'"):
        tag_file(tagger, source, output, 7, strict=True)
    assert not output.exists()
    row = tag_file(tagger, source, output, 7)
    assert row["lost"] == ["text 'Copyright'"]
    assert tag_file(tagger, source, tmp_path / "o.png", 7, strict=True)["lost"] == []


def test_times_are_kept_on_request(tagger, photo, tmp_path):
    os.utime(photo, (1_000_000_000, 1_100_000_000))
    tag_file(tagger, photo, tmp_path / "new.png", 7)
    tag_file(tagger, photo, tmp_path / "old.png", 7, preserve=True)
    assert os.stat(tmp_path / "old.png").st_mtime == 1_100_000_000
    assert os.stat(tmp_path / "new.png").st_mtime > 1_100_000_000


def test_a_damaged_suspect_is_read_with_a_note(tagger, photo, tmp_path):
    output = tmp_path / "o.jpg"
    tag_file(tagger, photo, output, 7)
    assert trace_file(tagger, output, 1e-6)[0]["notes"] == []
    output.write_bytes(output.read_bytes()[:-2])
    (row,) = trace_file(tagger, output, 1e-6)
    assert row["payload"] == "0x00000007" and "without its end" in row["notes"][0]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_reads_however_it_is_turned(tagger, photo, tmp_path, turns):
    lying, output, upright = (tmp_path / f"{n}.png" for n in ("lying", "out", "up"))
    write_image(lying, np.ascontiguousarray(np.rot90(read_photo(photo), turns)))
    row = tag_file(tagger, lying, output, 7)
    assert row["faces"] == 1
    write_image(upright, np.ascontiguousarray(np.rot90(read_photo(output), -turns)))
    for path in (output, upright):
        assert trace_file(tagger, path, 1e-6)[0]["payload"] == "0x00000007"


def test_every_kind_of_file_keeps_its_tag(tmp_path, few_steps):
    """A fifth of the corpus: all of it takes half a minute."""
    tagger = support.correlation_tagger(detect=lambda photo: [])
    read = 0
    for case in corpus.cases()[::5]:
        own = os.path.splitext(case.name)[1]
        path = tmp_path / f"in{own}"
        path.write_bytes(case.data)
        for extension in case.outputs or (own,):
            output = tmp_path / f"out{extension}"
            try:
                tag_file(tagger, path, output, "1F", retag=True)
            except ValueError as error:
                assert str(error).endswith(".")
                continue
            (row, *_) = trace_file(tagger, output, 1e-6)
            assert row["payload"] == "0x0000001F", (case.name, extension)
            read += 1
    assert read > 20


def test_what_works_on_files_imports_no_tensorflow():
    modules = ("tagging.file_jobs", "tagging.assure", "batch", "files", "metrics")
    program = (
        "import importlib, sys;"
        f"[importlib.import_module('faketagger_tf.' + name) for name in {modules}];"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
