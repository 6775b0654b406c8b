"""The face-swap trainer: it learns, it resumes, and it names mistakes.

Runs as a command of its own, because the two trainers share flag names.
"""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from faketagger_tf.photos import write_image
from faketagger_tf.presets import load_faceswap

ROOT = pathlib.Path(__file__).parents[2]
TINY = [
    "--face_size=32",
    "--face_region=1.0",
    "--width=8",
    "--latent=32",
    "--batch_size=4",
    "--learning_rate=3e-3",
    "--save_every=10",
    "--panel_every=1000",
    "--log_every=5",
]


def train(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "trainers.faceswap", *TINY, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two identities that differ in colour, and one file that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, tint in (("A", (200, 90, 60)), ("B", (60, 90, 200))):
        for i in range(12):
            coarse = rng.integers(-40, 40, (4, 4, 3)) + tint
            photo = np.kron(coarse, np.ones((12, 12, 1))).clip(0, 255).astype(np.uint8)
            (folder / name).mkdir(exist_ok=True)
            write_image(folder / name / f"{i}.png", photo)
    (folder / "A" / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_learns_to_swap_and_skips_the_broken_file(photos, tmp_path):
    output = tmp_path / "run"
    arguments = [f"--data={photos}", f"--output={output}", "--steps=60"]
    result = train(*arguments)
    assert result.returncode == 0, result.stderr
    assert "broken.jpg" in result.stderr
    assert "ETA" in result.stderr
    config, model = load_faceswap(output)
    assert config.identities == ("A", "B")
    reddish = np.tile(np.array([200, 90, 60], np.float32) / 255, (1, 32, 32, 1))
    mean = np.asarray(model(reddish)["B"]).mean(axis=(0, 1, 2))
    assert mean[2] > mean[0] + 0.2, "A's colours rendered as B must turn blue"
    assert (output / "panel.png").stat().st_size > 0
    again = train(*arguments)
    assert again.returncode == 0
    assert "already at step 60 of 60" in again.stderr


def test_a_judge_is_trained_beside_it_and_resumed(photos, tmp_path):
    arguments = [f"--data={photos}", f"--output={tmp_path}", "--adversarial=0.1"]
    arguments += ["--judge_width=8", "--judge_learning_rate=3e-3", "--log_every=10"]
    result = train(*arguments, "--steps=20", "--final_learning_rate=1")
    assert result.returncode == 0, result.stderr
    judged = [float(x) for x in re.findall(r"judge ([\d.]+)", result.stderr)]
    assert len(judged) == 2 and judged[1] < 0.85 * judged[0], "the judge must learn"
    again = train(*arguments, "--steps=30", "--final_learning_rate=1")
    assert again.returncode == 0, again.stderr
    assert "at step 20" in again.stderr
    resumed = float(re.search(r"judge ([\d.]+)", again.stderr)[1])
    # A judge that had started anew would be back where it began.
    assert resumed < judged[0]
    for other in ("--adversarial=0", "--judge_width=16"):
        refused = train(*arguments, "--steps=40", other)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
        assert "resumed with the judge that it was begun with" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=ONE", "--output=OUT"], "two identities"),
        (["--data=drawn", "--groups=2", "--output=OUT"], "--groups needs photos"),
        (["--data=PHOTOS", "--output=OUT", "--face_size=30"], "face_size"),
    ],
)
def test_mistakes_give_one_sentence(photos, tmp_path, arguments, message):
    names = {"ONE": photos / "A", "OUT": tmp_path / "run", "PHOTOS": photos}
    for name, path in names.items():
        arguments = [a.replace(name, str(path)) for a in arguments]
    result = train(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    errors = [x for x in result.stderr.splitlines() if x.startswith("Error:")]
    assert len(errors) == 1 and message in errors[0]
