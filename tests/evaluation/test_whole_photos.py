"""Whole photos are scaled, tagged, changed and read; shares add up."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from skimage import data

from faketagger_tf.data import Photo
from faketagger_tf.evaluation import whole_photos
from faketagger_tf.evaluation.changes import CHANGES
from faketagger_tf.photos import write_image
from faketagger_tf.tagging.tagger import Canvas, Reading
from tests import support


class CornerTagger:
    """Writes a payload into one pixel: survives what leaves that pixel alone."""

    class config:
        image_size = 64
        payload_bits = 8

    def find_canvases(self, photo):
        if min(photo.shape[:2]) < 64:
            raise ValueError("A photo must have at least 64 pixels in each direction.")
        scale = 64 / min(photo.shape[:2])
        return [Canvas(np.array([[scale, 0, 0], [0, scale, 0]]))]

    def embed(self, photo, payload, strength, canvases, refine, residuals=None):
        tagged = photo.copy()
        tagged[0, 0] = (payload, 255 - payload, 77)
        return tagged

    def examine(self, photo, fpr, quick=False):
        self.find_canvases(photo)
        red, green, blue = (int(x) for x in photo[0, 0])
        found = blue == 77 and red + green == 255
        p = 1e-9 if found else 1.0
        return [Reading(red, found, p, 0.0, 0.0, found, 0, 0.0)]

    def read(self, photo, fpr, quick=False):
        return [r for r in self.examine(photo, fpr) if r.found]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    found = []
    for i, tone in enumerate([50.0, -20.0, 10.0, None]):
        size = (200 + 20 * i, 220)
        photo = cv2.resize(data.astronaut(), size, interpolation=cv2.INTER_AREA)
        write_image(folder / f"{i}.png", photo)
        found.append(Photo(str(folder / f"{i}.png"), str(i), ita=tone))
    (folder / "bad.png").write_bytes(b"no photo")
    return [*found, Photo(str(folder / "bad.png"), "bad")]


def measure(photos, **options):
    names = ["untouched", "mirrored", "half size", "deepfake, JPEG 75"]
    chosen = {name: CHANGES[name] for name in names}
    chosen["wrong"] = lambda photo, scene: photo + np.uint8([1, 255, 0])
    return whole_photos.measure_photos(
        CornerTagger(), photos, sides=(100, 200), changes=chosen, **options
    )


def test_shares_sizes_and_tones(photos):
    report = measure(photos)
    rows = {(r["canvas"], r["change"]): r for r in report["rows"]}
    assert {canvas for canvas, _ in rows} == {100, 200}
    row = rows[200, "untouched"]
    assert row["photos"] == 4 and row["found"] == 1.0 and row["wrong"] == 0
    assert row["found_by_tone"] == [1.0, 1.0, 1.0]
    assert rows[200, "mirrored"]["found"] == 0.0
    assert rows[200, "wrong"]["wrong"] == 4 and rows[200, "wrong"]["found"] == 0.0
    # At half of 100 pixels the reader refuses: counted as not found, and said.
    assert rows[100, "half size"] == {
        "canvas": 100,
        "strength": None,
        "change": "half size",
        "photos": 4,
        "found": 0.0,
        "wrong": 0,
        "refused": 4,
        "found_by_tone": [0.0, 0.0, 0.0],
    }
    assert (200, "deepfake, JPEG 75") not in rows, "there is no model to swap with"
    (first, _) = report["sets"]
    assert first["untagged_faces"] == 4 and first["untagged_found"] == 0
    # One pixel of 100 x 120 or so is changed.
    assert first["psnr"] > 40 and 0 < first["flip_mean"] < 0.01
    assert [path for path, _ in report["skipped"]] == [photos[-1].path]


def test_one_seed_gives_one_report_on_any_number_of_threads(photos):
    first, again = (measure(photos, threads=n) for n in (1, 3))
    assert first == again
    assert json.loads(json.dumps(first)) == first


def test_thirds_go_from_dark_to_light(photos):
    assert whole_photos.skin_tone_thirds(photos) == [{1}, {2}, {0}]


def test_markdown_has_a_column_a_size(photos):
    text = whole_photos.markdown_photos(measure(photos))
    assert "| change | canvas 100 | canvas 200 |" in text
    assert "| half size | 0.0%, 4 too small |" in text
    assert "darkest third" in text and "1 photos were skipped" in text


def test_a_promise_chooses_each_photos_strength(photos):
    """Through a tagger whose tags are real ones."""
    report = whole_photos.measure_photos(
        support.correlation_tagger(),
        photos[:2],
        sides=(150,),
        strengths=("archive",),
        changes={"untouched": CHANGES["untouched"]},
    )
    (entry,) = report["sets"]
    config = support.CORRELATION
    assert config.strongest <= entry["mean_strength"] <= config.weakest
    assert entry["kept"] in (0.0, 0.5, 1.0)
    assert report["rows"][0]["found"] == 1.0
    text = whole_photos.markdown_photos(report)
    assert "| change | canvas 150 archive |" in text and "| promise kept |" in text


def test_nothing_measured_is_one_sentence(photos):
    with pytest.raises(ValueError, match="None of the 1 photos was measured"):
        measure(photos[-1:])


def test_options_become_flags():
    options = whole_photos.WholePhotosOptions()
    assert options.canvas == (120, 250, 500)
    assert dataclasses.replace(options, data="x").data == "x"
