import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.evaluation import files
from faketagger_tf.photos import write_image
from faketagger_tf.tagging import assure


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(assure, "REFINE", 1)
    face = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
    for number in range(3):
        write_image(tmp_path / f"{number}.jpg", face, 90)
    (tmp_path / "2.jpg").write_bytes(b"no photo")
    return [str(tmp_path / f"{number}.jpg") for number in range(3)]


def test_good_rows_are_read_and_broken_promises_are_found(paths, monkeypatch):
    tagger = support.correlation_tagger()
    ways = files.list_ways([".png", ".jpg"], [80])
    report = files.measure_files(tagger, paths, ways)
    assert report["photos"] == 3 and report["broken"] == []
    assert len(report["refused"]) == 3
    for row in report["rows"]:
        assert (row["photos"], row["refused"], row["wrong"]) == (3, 1, 0)
        assert row["good"] == row["good_and_read"] == row["read"] == 2
    assert [row["growth"] > 1.5 for row in report["rows"]] == [True, False, False]
    table = files.markdown_files(report)
    assert "| .jpg | 80 | 3 | 1 | 2 | 2 | 2 | 0 |" in table
    # A `tag` that promises too much.
    monkeypatch.setattr(files, "trace_file", lambda *_: [])
    report = files.measure_files(tagger, paths[:1], ways)
    assert [way for _, *way in report["broken"]] == [list(way) for way in ways]


def test_photos_take_turns_and_time_is_kept(paths):
    tagger = support.correlation_tagger()
    ways = files.list_ways([".png", ".bmp"], [])
    report = files.measure_files(tagger, paths[:2], ways, each=1)
    assert [row["photos"] for row in report["rows"]] == [1, 1]
    assert files.measure_files(tagger, paths, ways, seconds=1e-9)["photos"] == 0
