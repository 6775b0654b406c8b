"""The evaluation as a command: its files, its determinism, its mistakes."""

import dataclasses
import json
import pathlib

import cv2
import numpy as np
import pytest
import support

from faketagger_tf.models import (
    FaceswapConfig,
    build_decoder,
    build_encoder,
    build_faceswap,
)
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.presets import save_faceswap, save_tagger

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = dataclasses.replace(support.TINY, psnr=34.0, face_region=1.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A tagger, a swap model, and photos of two identities with one bad file."""
    root = tmp_path_factory.mktemp("world")
    save_tagger(root / "tagger", CONFIG, build_encoder(CONFIG), build_decoder(CONFIG))
    swap = FaceswapConfig(face_size=32, face_region=1.0, width=4, latent=16)
    save_faceswap(root / "swap", swap, build_faceswap(swap))
    rng = np.random.default_rng(0)
    for name in "AB":
        (root / "photos" / name).mkdir(parents=True)
        for i in range(30):
            coarse = rng.integers(60, 200, (4, 4, 3))
            photo = np.kron(coarse, np.ones((10, 10, 1))).astype(np.uint8)
            write_image(root / "photos" / name / f"{i}.png", photo)
    for i in range(10):
        (root / "photos" / "A" / f"bad{i}.png").write_bytes(b"no photo")
    return root


def evaluate(world, output, *arguments):
    return support.run_module(
        "trainers.evaluate",
        f"--tagger={world / 'tagger'}",
        f"--data={world / 'photos'}",
        f"--swap_model={world / 'swap'}",
        "--manipulation=identity",
        "--manipulation=noise(0.1)|jpeg(50)",
        "--manipulation=faceswap(A>B,mask=none,colour=0)",
        f"--output={output}",
        *arguments,
    )


def test_report_is_complete_and_deterministic(world, tmp_path):
    first = evaluate(world, tmp_path / "one", "--html")
    assert first.returncode == 0, first.stderr
    assert "bad" in first.stderr, "the unreadable file must be named"
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert {"psnr", "ssim", "message_bits", "payload_bits", "images"} <= set(report)
    assert report["psnr"] == pytest.approx(34.0, abs=0.7)
    assert list(report["manipulations"]) == [
        "identity",
        "noise(0.1)|jpeg(50)",
        "faceswap(A>B,mask=none,colour=0)",
    ]
    for row in report["manipulations"].values():
        assert {"bit_accuracy", "word_error_rate", "raw_word_error_rate"} <= set(row)
        assert 0 <= row["bit_accuracy"] <= 1
    swap = report["manipulations"]["faceswap(A>B,mask=none,colour=0)"]
    assert swap["words"] < report["images"], "a swap is measured on its source"
    assert "| `identity` |" in (tmp_path / "one" / "report.md").read_text()
    page = (tmp_path / "one" / "report.html").read_text()
    assert page.count("<svg") == 1 and "noise(0.1)|jpeg(50)" in page
    panel = read_photo(tmp_path / "one" / "panel.png")
    assert panel.shape[1] > 6 * 32
    tagged = read_photo(tmp_path / "one" / "tagged.png")
    assert tagged.shape == (32, 32, 3)
    assert cv2.imread(str(tmp_path / "one" / "swapped.jpg")).shape == (32, 32, 3)

    assert evaluate(world, tmp_path / "two").returncode == 0
    for name in ("report.json", "panel.png"):
        one, two = (tmp_path / run / name for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_attacks_are_reported(world, tmp_path):
    result = support.run_module(
        "trainers.evaluate",
        f"--tagger={world / 'tagger'}",
        "--manipulation=identity",
        "--limit=8",
        "--repeats=2",
        "--attacks",
        f"--output={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["images"] == 8
    assert report["manipulations"]["identity"]["words"] == 16
    assert len(report["attacks"]) == 5
    assert report["untagged"]["drawn faces"]["faces"] >= 8
    text = (tmp_path / "report.md").read_text()
    assert "darkest third" in text and "second tag" in text and "drawn faces" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tagger=nothing"], "no tagger 'nothing'"),
        (["--manipulation=faceswap(A>Z)"], "no face swap 'A>Z'"),
        (["--manipulation=jpeg(500)"], "quality of jpeg"),
        (["--data=/absent"], "does not exist"),
        (["--tflite=/absent.tflite"], "no decoder file"),
    ],
)
def test_mistakes_give_one_sentence(world, tmp_path, arguments, message):
    result = evaluate(world, tmp_path, *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    errors = [x for x in result.stderr.splitlines() if x.startswith("Error:")]
    assert len(errors) == 1 and message in errors[0]
