import json
import subprocess
import sys

import correlation_tagger
import numpy as np
import pytest
import skimage.data

from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.tagging.file_jobs import (
    TAG_COLUMNS,
    TRACE_COLUMNS,
    tag_file,
    trace_file,
)


@pytest.fixture(scope="module")
def tagger():
    return correlation_tagger.build()


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
        tag_file(tagger, photo, tmp_path / "o.png", psnr=80, check=False)


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


def test_what_works_on_files_imports_no_tensorflow():
    modules = ("tagging.file_jobs", "tagging.assure", "batch", "files", "metrics")
    program = (
        "import importlib, sys;"
        f"[importlib.import_module('faketagger_tf.' + name) for name in {modules}];"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
