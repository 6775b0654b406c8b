"""The face-swap trainer for one GPU: its crops on TensorFlow, a short run on JAX."""

import re

import keras
import numpy as np
import pytest
from support import run_on_jax

from faketagger_tf.data.covers import write_faces
from faketagger_tf.manipulations import StatelessSeed
from faketagger_tf.models import FaceswapConfig
from faketagger_tf.presets import load_faceswap
from trainers import faceswap_xla

COLOURS = {"A": (200, 90, 60), "B": (60, 90, 200)}
FLAGS = [
    "--face_size=32",
    "--face_region=1.0",
    "--width=8",
    "--latent=32",
    "--batch_size=4",
    "--learning_rate=5e-3",
    "--warmup_steps=1",
    "--precision=float32",
    "--steps=60",
    "--minutes=60",
    "--log_every=30",
]


@pytest.fixture
def faces(tmp_path):
    """A file of two identities that differ in colour."""
    rng = np.random.default_rng(0)
    canvases = {
        name: np.kron(
            (rng.integers(-40, 40, (6, 4, 4, 3)) + tint).clip(0, 255),
            np.ones((1, 8, 8, 1)),
        ).astype(np.uint8)
        for name, tint in COLOURS.items()
    }
    write_faces(tmp_path / "faces.npz", canvases, 1.9)
    return tmp_path / "faces.npz"


def test_a_run_on_jax_gives_a_swap_that_tensorflow_loads(faces, tmp_path):
    run = tmp_path / "run"
    arguments = [f"--faces={faces}", f"--output={run}", "--adversarial=0.02"]
    arguments += ["--judge_width=8", "--judge_learning_rate=3e-3"]
    result = run_on_jax("-m", "trainers.faceswap_xla", *FLAGS, *arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    first, last = (
        dict(re.findall(r"(\w+) ([\d.]+)", line))
        for line in re.findall(r"Step \d+, (.*)", result.stderr)
    )
    for term in ("loss_A", "loss_B", "judge"):
        assert float(last[term]) < float(first[term]), term
    config, model = load_faceswap(run)
    assert config.identities == ("A", "B")
    reddish = np.tile(np.array(COLOURS["A"], np.float32) / 255, (1, 32, 32, 1))
    mean = np.asarray(model(reddish)["B"]).mean(axis=(0, 1, 2))
    assert mean[2] > mean[0] + 0.2, "A's colours rendered as B must turn blue"


def test_crops_are_the_middle_zoomed_moved_and_half_of_them_mirrored():
    side = 64
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    canvas = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None], 99), axis=-1)
    config = FaceswapConfig(face_size=32, face_region=0.5)
    crops = faceswap_xla.crop_faces(canvas[None], StatelessSeed(1), 200, config)
    crops = keras.ops.convert_to_numpy(crops)
    assert crops.shape == (200, 32, 32, 3)
    across = crops[:, 16, -1, 0] - crops[:, 16, 0, 0]
    down = crops[:, -1, 16, 1] - crops[:, 0, 16, 1]
    # The middle half is half of the ramp, less half a pixel at either end; zooms of 5%
    # change it by .024, and the ramp ends half a pixel before the canvas, by .008.
    assert np.abs(np.abs(across) - 0.5 * 31 / 32).max() < 0.035
    assert down.min() > 0.45, "nothing is mirrored upside down"
    assert 0.35 < np.mean(across < 0) < 0.65
    middle = crops[:, 15:17, 15:17, :2].mean((1, 2))
    assert 0.02 < np.abs(middle - 0.5).max() < 0.03
    np.testing.assert_allclose(crops[..., 2], 99 / 255, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faces": "absent.npz"}, "Cannot read the covers 'absent.npz'"),
        ({}, r"needs Keras on JAX\. Received: .*tensorflow"),
        ({"model": FaceswapConfig(face_size=64)}, r"\[N, 128, 128, 3\]"),
    ],
)
def test_user_mistakes_give_one_sentence(options, message, faces):
    model = FaceswapConfig(face_size=32, face_region=1.0)
    options = {"faces": str(faces), "output": "x", "model": model, **options}
    with pytest.raises(ValueError, match=message):
        faceswap_xla.train(faceswap_xla.XlaOptions(**options))


def test_the_command_on_jax_prints_one_line_and_exits_2():
    result = run_on_jax(
        "-m", "trainers.faceswap_xla", "--faces=absent.npz", "--output=x"
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: Cannot read the covers 'absent.npz'")
