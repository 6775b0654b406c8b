"""The latent trainer: it learns, it resumes, it validates, it names mistakes."""

import json

import numpy as np
import pytest
import support
from skimage import data

from faketagger_tf.photos import write_image
from faketagger_tf.presets import load_latent
from trainers.latent import measure

TINY = [
    "--image_size=64",
    "--crop=32",
    "--channels=6",
    "--width=8",
    "--blocks=1",
    "--batch_size=8",
    "--learning_rate=1e-3",
    "--noise=0.02",
    "--panel_every=1000",
    "--log_every=10",
    "--save_every=20",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    lines = ["file,person,split"]
    for i in range(16):
        top, left = rng.integers(0, 400, 2)
        name = f"{i}.png"
        write_image(folder / name, data.astronaut()[top : top + 100, left : left + 100])
        lines.append(f"{name},{i},{'validation' if i % 4 == 3 else 'train'}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    return folder


def train(*arguments):
    return support.run_module("trainers.latent", *TINY, *arguments)


@pytest.mark.slow
def test_it_learns_validates_and_resumes(photos, tmp_path):
    output = tmp_path / "run"
    first = train(
        f"--data={photos}", f"--output={output}", "--steps=60", "--eval_every=30"
    )
    assert first.returncode == 0, first.stderr
    rows = json.loads((output / "validation.json").read_text())
    assert [row["step"] for row in rows] == [30, 60]
    assert all(row["score"] > row["with noise 0.1"] for row in rows)
    _, model = load_latent(output)
    crops = np.stack(
        [data.astronaut()[i * 60 : i * 60 + 64, 200:264] for i in range(5)]
    )
    assert measure(model, crops) > 18
    assert (output / "panel.png").stat().st_size > 0
    again = train(f"--data={photos}", f"--output={output}", "--steps=60")
    assert "already at step 60 of 60" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crop=20"], "--crop must be a multiple of 8"),
        (["--channels=0"], "channels must be a whole number"),
        (
            ["--data=x.tfrecord", "--eval_every=5"],
            "--eval_every needs photos or drawn faces",
        ),
    ],
)
def test_mistakes_give_one_sentence(tmp_path, arguments, message):
    result = train(f"--output={tmp_path}", *arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert message in result.stderr
