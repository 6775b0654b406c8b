"""Calibration on untagged photos: what is fitted is what the tagger reads."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import skimage.data

from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.photos import write_image
from faketagger_tf.tagging.tagger import PLACES, Tagger
from trainers.calibrate import read_surprises


@pytest.fixture
def noise():
    """A tagger whose logits are noise of the canvas's own: an ideal untagged face."""
    tagger = Tagger.load("seed64")

    def decode(canvases):
        seeds = np.abs(canvases.sum(axis=(1, 2, 3)) * 1e4).astype(np.int64)
        rows = [np.random.default_rng(seed).normal(size=16) for seed in seeds]
        return np.array(rows, np.float32)

    tagger.networks = dataclasses.replace(tagger.networks, run_decoder=decode)
    tagger._detect = lambda photo: []
    return tagger


def test_the_search_takes_the_most_surprising_of_its_places(noise, tmp_path, capsys):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(40):
        paths.append(str(tmp_path / f"{number}.png"))
        write_image(paths[-1], rng.integers(0, 256, (100, 100, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no photo")
    found = read_surprises(noise, [*paths, str(tmp_path / "broken.png")], jobs=2)
    assert "Skipped" in capsys.readouterr().out
    assert len(found) == 40
    # Fine steps are taken around the best of the grid, but noise has no neighbourhood,
    # so that the result is the largest of so many draws. Two medians of 40 such, whose
    # deviation is about 1.3, differ by 0.36 or so.
    code = noise.code
    draws = np.random.default_rng(1).normal(size=(40 * PLACES, code.message_bits))
    drawn = surprise(code.decode(draws).score, code.message_bits, code.k)
    expected = np.median(drawn.reshape(40, PLACES).max(1))
    assert np.median(found) == pytest.approx(expected, abs=1.5)
    assert Presence.fit(np.resize(found, 200)).faces == 200


def test_mistakes_of_the_command(tmp_path):
    write_image(tmp_path / "one.png", skimage.data.astronaut())
    for arguments, message in (
        ([], "--data must be given"),
        ([f"--data={tmp_path}"] * 2, "A photo must be given once"),
        ([f"--data={tmp_path}", "--tagger=seed64"], "at least 100 untagged faces"),
    ):
        run = subprocess.run(
            [sys.executable, "-m", "trainers.calibrate", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 2
        assert message in run.stderr
