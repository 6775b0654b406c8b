"""The joint trainer: replicas agree, resuming is exact, mistakes are named."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import support
import tensorflow as tf
from absl import flags

from faketagger_tf import visibility
from faketagger_tf.config import TaggerConfig
from faketagger_tf.data import canvas_dataset
from faketagger_tf.evaluation.canvases import evaluate, keras_decode
from faketagger_tf.joint import vary_covers
from faketagger_tf.manipulations import Context, StatelessSeed, parse_chains
from faketagger_tf.models import FaceswapConfig, build_faceswap
from faketagger_tf.options import define_flags, from_flags
from faketagger_tf.presets import load_tagger, save_faceswap
from trainers import joint, loop

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = dataclasses.replace(support.TINY, psnr=30.0, face_region=1.0)
RUN = loop.LoopOptions(
    steps=6, batch_size=8, log_every=2, save_every=2, panel_every=1000, output="unused"
)
OPTIONS = joint.JointOptions(run=RUN, tagger=CONFIG, psnr_start=15.0)
TINY = [
    "--image_size=32",
    "--message_bits=8",
    "--payload_bits=4",
    "--crc_bits=0",
    "--encoder_width=8",
    "--decoder_width=8",
    "--batch_size=8",
    "--psnr_start=15",
    "--psnr=30",
    "--log_every=2",
    "--save_every=2",
    "--panel_every=1000",
    "--face_region=1.0",
]


@pytest.fixture(scope="module")
def canvases():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 4, 4, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8))


@pytest.fixture(scope="module")
def swap_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap")
    config = FaceswapConfig(face_size=32, face_region=1.0, width=4, latent=16)
    save_faceswap(folder, config, build_faceswap(config))
    return str(folder)


def make_trainer(
    canvases, specs, swap_models=(), replicas=1, cover_specs=(), **options
):
    keras.utils.set_random_seed(3)

    def dataset(start):
        return canvas_dataset(
            canvases,
            32,
            8,
            training=True,
            seed=5,
            message_bits=8,
            skip_batches=start,
        )

    options = dataclasses.replace(
        OPTIONS,
        manipulation=tuple(specs),
        cover_manipulation=tuple(cover_specs),
        swap_model=tuple(swap_models),
        **options,
    )
    held_out = canvases[:8], [""] * 8
    return joint.JointTrainer(options, loop.make_strategy(replicas), dataset, held_out)


def weights(trainer):
    return [np.asarray(v) for v in trainer.encoder.weights + trainer.decoder.weights]


def first_steps(trainer, steps=1):
    data = trainer.strategy.experimental_distribute_dataset(trainer.dataset(0))
    iterator = iter(data)
    trainer.train_loop_begin()
    for _ in range(steps):
        trainer.train_step(iterator)
    return weights(trainer)


def test_covers_are_varied_by_share_and_in_turn(canvases):
    trainer = make_trainer(
        canvases, ["identity"], cover_specs=["identity", "facecrop(0.1)"]
    )
    covers = next(iter(trainer.dataset(0)))["cover"]
    varied = vary_covers(
        trainer.cover_chains, covers, StatelessSeed(1), trainer.context, tf.constant(3)
    ).numpy()
    varied = np.roll(varied, -3, axis=0)
    np.testing.assert_array_equal(varied[:4], covers[:4])
    np.testing.assert_allclose(varied[4:, 0, 0], 0.5, atol=0.01)


def test_two_replicas_equal_one(canvases, swap_folder):
    assert len(tf.config.list_logical_devices("CPU")) == 2
    # One chain without randomness, so that an image's place in the batch is no matter.
    one = first_steps(make_trainer(canvases, ["jpeg(75)"], replicas=1))
    two = first_steps(make_trainer(canvases, ["jpeg(75)"], replicas=2))
    for a, b in zip(one, two, strict=True):
        # Adam's first step is the learning rate times the gradient's sign, and two
        # halves of a batch sum to another last bit: where a gradient is rounding noise
        # its sign may differ. Nowhere else, on any processor.
        assert np.mean(np.abs(a - b) > 1e-4) < 0.01


def test_face_swap_stays_frozen_and_passes_gradients(canvases, swap_folder):
    specs = ["faceswap(A>B, mask=none, colour=0)"]
    trainer = make_trainer(canvases, specs, [swap_folder])
    before = weights(trainer)
    swap = trainer.context.swaps["A>B"].function
    faces = canvases[:2] / np.float32(255)
    swapped = np.asarray(swap(faces))
    after = first_steps(trainer)
    np.testing.assert_array_equal(swap(faces), swapped)
    # All that the encoder learns here has come through the face swap.
    encoder = len(trainer.encoder.weights)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(before[:encoder], after[:encoder], strict=True)
    ]
    assert np.mean(np.array(moved) > 0) > 0.9


def run_loop(canvases, folder, interrupt_at=None, **options):
    specs = ["identity", "noise(0.05)", "jpeg(35..90)"]
    trainer = make_trainer(canvases, specs, **options)
    if interrupt_at:
        step = trainer.train_step

        def interrupted(iterator):
            terms = step(iterator)
            if int(trainer.step.numpy()) + 1 == interrupt_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return terms

        trainer.train_step = interrupted
    code = loop.run(trainer, pathlib.Path(folder))
    return code, weights(trainer)


def test_resumed_run_equals_uninterrupted_run(canvases, tmp_path):
    code, whole = run_loop(canvases, tmp_path / "whole")
    assert code == 0
    code, _ = run_loop(canvases, tmp_path / "cut", interrupt_at=3)
    assert code == 128 + signal.SIGTERM
    code, resumed = run_loop(canvases, tmp_path / "cut")
    assert code == 0
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    # What was saved is what was trained.
    (tmp_path / "cut" / "config.json").write_text(CONFIG.to_json())
    _, encoder, _ = load_tagger(tmp_path / "cut")
    np.testing.assert_array_equal(encoder.get_weights()[0], resumed[0])


def test_validation_keeps_the_best_and_resumes_exactly(canvases, tmp_path):
    options = {
        "run": dataclasses.replace(RUN, eval_every=1, steps=6),
        "ema": 0.5,
        "eval_manipulation": ("identity", "jpeg(50)"),
    }
    _, whole = run_loop(canvases, tmp_path / "whole", **options)
    run_loop(canvases, tmp_path / "cut", interrupt_at=3, **options)
    _, resumed = run_loop(canvases, tmp_path / "cut", **options)
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    texts = [
        (tmp_path / name / "validation.json").read_text() for name in ("whole", "cut")
    ]
    assert texts[0] == texts[1]
    rows = json.loads(texts[0])
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        mean = (row["identity"] + row["jpeg(50)"]) / 2
        assert row["score"] == pytest.approx(mean)
        # Full strength, whatever the ramp says: 30 dB, rounded to uint8.
        assert row["psnr"] == pytest.approx(30.0, abs=0.7)
    table = (tmp_path / "whole" / "validation.md").read_text().splitlines()
    assert table[0].startswith("| step | score | psnr | ssim | identity |")
    assert len(table) == 2 + len(rows)

    # What lies in best/ reads as well as the best row says.
    config, encoder, decoder = load_tagger(tmp_path / "whole" / "best")
    report, _ = evaluate(
        config,
        encoder,
        {"best": keras_decode(decoder)},
        canvases[:8],
        parse_chains(["identity", "jpeg(50)"]),
        Context(face_region=1.0),
    )
    bits = [row["bit_accuracy"] for row in report["manipulations"].values()]
    # One bit of 128 may stand at the threshold on another processor.
    assert np.mean(bits) == pytest.approx(max(r["score"] for r in rows), abs=0.01)


def test_validation_leaves_training_untouched(canvases, tmp_path):
    trainer = make_trainer(canvases, ["identity"], ema=0.5, replicas=2)
    first_steps(trainer, 2)
    before = weights(trainer)
    with trainer.published():
        inside = weights(trainer)
    for a, b in zip(before, weights(trainer), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = [np.abs(a - b).max() > 0 for a, b in zip(before, inside, strict=True)]
    assert np.mean(moved) > 0.9, "average and statistics take the raw ones' place"


def test_truncated_checkpoint_is_named(canvases, tmp_path):
    run_loop(canvases, tmp_path)
    data = next((tmp_path / "checkpoints").glob("ckpt-6.data*"))
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match="ckpt-6' is damaged"):
        run_loop(canvases, tmp_path)


def test_non_finite_loss_stops_with_step_and_term(canvases, tmp_path):
    trainer = make_trainer(canvases, ["identity"])
    trainer.decoder.layers[-1].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match=r"Step 1 .*message_loss=nan"):
        loop.run(trainer, tmp_path)


def test_psnr_schedule_waits_for_the_bits(canvases):
    trainer = make_trainer(canvases, ["identity"], psnr_ramp=10)
    assert trainer.scheduled_strength(100) == 15.0
    for step in range(60):
        trainer._follow_accuracy(step, 1.0)
        if trainer.ramp_start.numpy() >= 0:
            break
    begun = int(trainer.ramp_start.numpy())
    assert 10 < begun < 60
    assert trainer.scheduled_strength(begun) == 15.0
    assert trainer.scheduled_strength(begun + 5) == pytest.approx(22.5)
    assert trainer.scheduled_strength(begun + 50) == 30.0


def test_failed_bootstrap_is_reported(canvases, caplog):
    trainer = make_trainer(canvases, ["identity"], bootstrap_steps=1)
    trainer.step.assign(2)
    first_steps(trainer)
    with caplog.at_level("ERROR"):
        trainer.train_loop_end()
    assert "Failed bootstrap" in caplog.text and "--psnr_start" in caplog.text


def test_too_small_a_batch_is_named(canvases):
    with pytest.raises(ValueError, match="8 images a replica for 9"):
        make_trainer(canvases, ["identity"] * 9)


def test_unknown_swap_is_named(canvases, swap_folder):
    trainer = make_trainer(canvases, ["faceswap(A>C)"], [swap_folder])
    with pytest.raises(ValueError, match=r"A>C.*A>B"):
        first_steps(trainer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output must be given"),
        (["--output=OUT", "--data=EMPTY"], "at least one"),
        (["--output=OUT", "--data=/absent"], "does not exist"),
        (["--output=OUT", "--psnr_start=50", "--psnr=40"], "--psnr_start.*50.*40"),
        (["--output=OUT", "--replicas=64"], "--replicas must be at most.*64"),
        (["--output=OUT", "--payload_bits=99"], "payload_bits.*99"),
        (["--output=OUT", "--manipulation=jepg(50)"], "jepg"),
        (["--output=FILE/run", "--steps=1"], "Cannot write.*FILE"),
        (["--output=OUT", "--warmup_steps=9", "--steps=5"], "--warmup_steps.*9 and 5"),
        (["--output=OUT", "--data=a*", "--eval_every=5"], r"validation split.*a\*"),
    ],
)
def test_user_mistakes_give_one_sentence(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "FILE").write_text("")
    arguments = [
        a.replace("OUT", str(tmp_path / "run"))
        .replace("EMPTY", str(tmp_path / "empty"))
        .replace("FILE", str(tmp_path / "FILE"))
        for a in arguments
    ]
    values = flags.FlagValues()
    define_flags(joint.JointOptions(), values)
    values(["joint", *TINY, *arguments])
    with pytest.raises(ValueError, match=message):
        joint.train(from_flags(joint.JointOptions(), values))


def test_jit_compile_needs_one_replica():
    options = dataclasses.replace(RUN, jit_compile=True)
    with pytest.raises(ValueError, match=r"--jit_compile needs one replica.*2"):
        options.check_replicas(2)


def test_another_configuration_in_the_output_is_refused(tmp_path):
    loop.check_output(str(tmp_path), CONFIG.to_json(), "config.json")
    loop.check_output(str(tmp_path), CONFIG.to_json(), "config.json")
    with pytest.raises(ValueError, match=r"another config\.json"):
        loop.check_output(str(tmp_path), TaggerConfig().to_json(), "config.json")


def test_command_line_prints_one_line_and_exits_2(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "trainers.joint",
            "--data=/absent",
            f"--output={tmp_path}",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "Error: The folder of photos does not exist" in result.stderr


VISIBLE = dataclasses.replace(CONFIG, strength="visibility", level=30.0, attention=True)


def test_a_visibility_is_ramped_and_reached(canvases):
    trainer = make_trainer(
        canvases,
        ["identity@1..4", "jpeg(50..90)@0.9..1.2"],
        tagger=VISIBLE,
        level_start=10.0,
        psnr_ramp=2,
    )
    assert trainer.scheduled_strength(0) == 10
    trainer.ramp_start.assign(0)
    assert [trainer.scheduled_strength(n) for n in (0, 1, 2, 9)] == [10, 20, 30, 30]
    batch = next(iter(trainer.dataset(0)))
    residual = trainer.residual(batch["cover"], batch["message"], 30.0, False, 2.0)
    near = visibility.nearness(np.full([8, 1], 2.0, np.float32))
    seen = visibility.visibility(residual, visibility.masks(batch["cover"]), near)
    np.testing.assert_allclose(-20 * np.log10(seen), 30, atol=1e-2)
    first_steps(trainer, 2)
    assert trainer.train_loop_end()["message_loss"] < 2


def test_a_ramp_that_would_make_the_tag_more_visible_is_refused():
    with pytest.raises(ValueError, match=r"--level_start must not exceed --level"):
        dataclasses.replace(OPTIONS, tagger=VISIBLE, level_start=31.0)
