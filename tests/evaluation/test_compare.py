"""Comparison with rivals: the numbers, the other environment, the page."""

import json
import re
import sys

import cv2
import numpy as np
import pytest
import support
from skimage import data

from faketagger_tf.evaluation import compare, html
from faketagger_tf.evaluation.changes import CHANGES, Scene
from faketagger_tf.photos import write_image
from faketagger_tf.tagging.tagger import Tagger

# A stand-in for the package, with its interface: bits in the lowest bits of pixels.
PACKAGE = """
import numpy as np
class WaterMark:
    def __init__(self):
        print("Welcome")
    def read_img(self, img):
        self.img = img
    def read_wm(self, bits, mode):
        assert mode == "bit" and bits.dtype == bool
        self.bits = bits
    def embed(self):
        if self.img.shape[0] < 50:
            raise AssertionError("too small")
        marked = self.img.copy()
        marked[0, :32, 0] = marked[0, :32, 0] // 2 * 2 + self.bits
        return marked.astype(float)
    def extract(self, embed_img, wm_shape, mode):
        assert wm_shape == 32 and mode == "bit"
        return embed_img[0, :32, 0] % 2
"""


@pytest.fixture
def python(tmp_path):
    """An interpreter that finds the stand-in."""
    (tmp_path / "site" / "blind_watermark").mkdir(parents=True)
    (tmp_path / "site" / "blind_watermark" / "__init__.py").write_text(PACKAGE)
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\nPYTHONPATH="{tmp_path / "site"}" exec "{sys.executable}" "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def photos():
    photo = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    return {"0000_a": photo, "0001_b": np.ascontiguousarray(photo[:, ::-1])}


def scenes(photos):
    return {name: Scene(np.random.default_rng(0)) for name in photos}


def test_a_rival_runs_in_its_environment(python, photos):
    payloads = dict(zip(photos, (0x1F2E3D4C, 0xFFFF0001), strict=True))
    small = {**photos, "0002_c": photos["0000_a"][:40]}
    marked = compare.mark_rival(
        python, "blind-watermark", small, {**payloads, "0002_c": 1}
    )
    assert list(marked.photos) == list(photos), "a photo it refuses is left out"
    difference = np.abs(marked.photos["0000_a"].astype(int) - photos["0000_a"])
    assert difference.max() == 1
    read, seconds = marked.read(marked.photos)
    assert 0 < marked.seconds < 60 and 0 < seconds < 60
    for name, payload in payloads.items():
        bits, found = read[name]
        assert found and np.array_equal(bits, compare.to_bits(payload))


def test_an_environment_that_does_not_fit_is_named(python, photos):
    payloads = dict.fromkeys(photos, 1)
    with pytest.raises(ValueError, match=r"--python must be a Python.*/nowhere"):
        compare.mark_rival("/nowhere", "rivagan", photos, payloads)
    with pytest.raises(ValueError, match=r"dwtDctSvd does not run with .*imwatermark"):
        compare.mark_rival(python, "dwtDctSvd", photos, payloads)


def mark(photos, payloads):
    """Reads every payload but the second photo's last bit, and no grey photo."""

    def read(changed):
        found = {}
        for name, photo in changed.items():
            if np.ptp(photo.astype(int), axis=2).max() > 0:
                bits = compare.to_bits(payloads[name])
                bits[-1] ^= name == "0001_b"
                found[name] = bits, True
        return found, 0.25

    return compare.Marked(dict(photos), 0.5, read)


def test_shares_are_counted(photos):
    changes = {n: CHANGES[n] for n in ("JPEG 50", "grey, JPEG 75", "deepfake, JPEG 75")}
    systems = {"first": mark, "second": mark}
    report, pictures = compare.compare(systems, photos, changes, scenes(photos))
    rows = {(row["change"], row["system"]): row for row in report["rows"]}
    assert len(rows) == 4, "a change without its model is left out"
    clear = rows["JPEG 50", "first"]
    assert clear["photos"] == 2 and clear["right"] == 0.5
    assert clear["bits"] == pytest.approx(1 - 1 / 64)
    grey = rows["grey, JPEG 75", "second"]
    assert grey["right"] == 0 and grey["bits"] == 0.5
    first, _ = report["systems"]
    assert first["mark_seconds"] == 0.5 and first["read_seconds"] == 0.25
    assert first["ssim"] == pytest.approx(1) and list(pictures) == ["first", "second"]
    assert len(pictures["first"]) == 2
    json.dumps(report)
    text = compare.markdown_comparison(report)
    assert "| JPEG 50 | 50% | 50% |" in text and "| JPEG 50 | 0.984 | 0.984 |" in text
    page = compare.html_comparison(report, pictures)
    assert page.count("<svg") == 2 and page.count("data:image/jpeg;base64,") == 4
    # Self-contained: nothing is fetched.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_a_rival_that_does_not_run_is_told_and_the_rest_goes_on(photos):
    def fail(photos, payloads):
        raise ValueError("It is not installed.")

    changes, seen = {"JPEG 50": CHANGES["JPEG 50"]}, []
    report, pictures = compare.compare(
        {"broken": fail, "first": mark},
        photos,
        changes,
        scenes(photos),
        done=lambda report, pictures: seen.append(list(pictures)),
    )
    assert report["failed"] == [["broken", "It is not installed."]]
    assert seen == [["first"]] and len(report["rows"]) == 1
    assert "broken: It is not installed." in compare.markdown_comparison(report)
    assert "It is not installed." in compare.html_comparison(report, pictures)
    with pytest.raises(ValueError, match=r"No watermark could be measured. It is not"):
        compare.compare({"broken": fail}, photos, changes, scenes(photos))


def test_ours_is_marked_and_read(photos):
    tagger = support.correlation_tagger()
    payloads = dict(zip(photos, (0x1F2E3D4C, 0xFFFF0001), strict=True))
    marked = compare.mark_ours(tagger, photos, payloads, promise="")
    read, _ = marked.read(marked.photos)
    for name, payload in payloads.items():
        assert np.array_equal(read[name][0], compare.to_bits(payload))
    assert (
        compare.read_ours(tagger, 1e-6, None, {"tiny": np.zeros([20, 20, 3], "u1")})[0]
        == {}
    )
    assert isinstance(tagger, Tagger)


def test_the_command_writes_its_three_files(tmp_path, photos, monkeypatch):
    for name, photo in photos.items():
        write_image(tmp_path / "photos" / f"{name}.png", photo)
    monkeypatch.setattr(
        compare.Tagger, "load", lambda name: support.correlation_tagger()
    )
    loaded = []
    monkeypatch.setattr(
        compare, "load_faceswap", lambda name: loaded.append(name) or (None, None)
    )
    monkeypatch.setattr(compare, "check_quality", loaded.append)
    quality = {"jod_mean": 9.5, "jod_least": 9.25}
    monkeypatch.setattr(compare, "measure_quality", lambda *arguments: quality)
    options = compare.CompareOptions(
        data=str(tmp_path / "photos"),
        split="",
        promise="",
        swap_model="",
        large_swap_model="unseen_large",
        cvvdp="python",
        change=("untouched", "JPEG 75"),
        output=str(tmp_path / "out" / "compare"),
    )
    compare.main(options)
    report = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert report["photos"] == 2 and len(report["rows"]) == 2
    assert loaded == ["python", "unseen_large"]
    assert report["systems"][0].items() >= quality.items()
    assert "untouched" in (tmp_path / "out" / "compare.md").read_text()
    assert (tmp_path / "out" / "compare.html").read_text().startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"no change 'sepia'"):
        compare.main(compare.CompareOptions(data="x", change=("sepia",)))
    with pytest.raises(ValueError, match=r"no rival 'stega'. Accepted: rivagan"):
        compare.main(compare.CompareOptions(data="x", rival=("stega",)))


def test_what_else_is_measured_joins_the_table(photos):
    def quality(covers, marked):
        assert list(covers) == list(marked) == list(photos)
        return {"jod_mean": 9.876, "jod_least": 9.5}

    changes = {"JPEG 50": CHANGES["JPEG 50"]}
    report, pictures = compare.compare(
        {"first": mark}, photos, changes, scenes(photos), quality=quality
    )
    assert "| ColorVideoVDP mean, JOD | 9.88 |" in compare.markdown_comparison(report)
    assert "ColorVideoVDP least, JOD" in compare.html_comparison(report, pictures)
    without, _ = compare.compare({"first": mark}, photos, changes, scenes(photos))
    assert "ColorVideoVDP" not in compare.markdown_comparison(without)


def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(photos):
    def quality(covers, marked):
        raise ValueError("It was killed.")

    changes = {"JPEG 50": CHANGES["JPEG 50"]}
    report, _ = compare.compare(
        {"first": mark, "second": mark},
        photos,
        changes,
        scenes(photos),
        quality=quality,
    )
    assert len(report["rows"]) == 2
    assert report["failed"][0] == ["quality of first", "It was killed."]


def test_pairs_are_measured_in_the_other_environment(photos, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ColorVideoVDP does not run with .*pycvvdp"):
        compare.measure_quality(sys.executable, photos, photos)
    with pytest.raises(ValueError, match=r"--cvvdp must be a Python interpreter"):
        compare.measure_quality("/no/python", photos, photos)
    with pytest.raises(ValueError, match=r"does not run with .*pycvvdp"):
        compare.check_quality(sys.executable)
    with pytest.raises(ValueError, match=r"Received: '/bin/echo', which does not"):
        compare.check_quality("/bin/echo")
    # ColorVideoVDP needs torch; what stands in for it measures a difference, too.
    (tmp_path / "pycvvdp.py").write_text(
        "import html; html.escape\n"
        "class cvvdp:\n"
        "    def __init__(self, display_name, quiet): pass\n"
        "    def predict(self, test, reference, dim_order):\n"
        "        return 10 - abs(test.astype(float) - reference).mean(), None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    marked = dict(photos)
    first, *_ = marked
    marked[first] = np.clip(marked[first].astype(int) // 2 * 2, 0, 255).astype("u1")
    shift = np.abs(marked[first].astype(float) - photos[first]).mean()
    found = compare.measure_quality(sys.executable, photos, marked)
    assert found["jod_least"] == pytest.approx(10 - shift)
    assert found["jod_mean"] == pytest.approx(10 - shift / len(photos))


def test_every_scene_has_the_models_of_its_deepfakes(tmp_path, photos):
    for name, photo in photos.items():
        write_image(tmp_path / f"{name}.png", photo)
    options = compare.CompareOptions(data=str(tmp_path), split="", canvas=0)
    models = {"swap": "small", "latent": "redraws", "large_swap": "large"}
    _, found = compare.load_photos(options, support.correlation_tagger(), **models)
    assert len(found) == len(photos)
    for scene in found.values():
        assert {name: getattr(scene, name) for name in models} == models


def test_bars_are_as_long_as_their_values():
    chart = html.bar_chart("t", ["a", "b"], {"x": [1.0, None], "y": [0.5, 0.0]})
    bars = re.findall(r'width="([\d.]+)" height="10"', chart)
    lengths = [float(length) for length in bars]
    assert len(lengths) == 3
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=0.1) and lengths[2] == 0.5


def test_text_is_escaped_in_a_page():
    page = html.page("<b>", [html.paragraph("a & b"), html.table(["<"], [[">"]])])
    assert "<title>&lt;b&gt;</title>" in page
    assert "a &amp; b" in page and "&gt;</td>" in page
