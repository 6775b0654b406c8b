"""The trainer for one GPU: its parts on TensorFlow, a short run on JAX."""

import dataclasses
import json
import re
import time

import keras
import numpy as np
import pytest
from support import TINY, run_on_jax

from faketagger_tf import visibility
from faketagger_tf.data.covers import write_covers
from faketagger_tf.drawn import default_identities, draw_canvases
from faketagger_tf.manipulations import Context, StatelessSeed
from faketagger_tf.manipulations.codecs import gridjpeg
from faketagger_tf.models import build_decoder, build_encoder, encoder_inputs
from faketagger_tf.presets import load_tagger, save_tagger
from trainers import joint_xla, xla
from trainers.mixture import GROUPS, Group, Mixture, vary_covers

CONFIG = dataclasses.replace(
    TINY, image_size=64, strength="visibility", attention=True, outside="black"
)
# A run of four steps, two in a program, on some of the groups: loops over windows and
# many grids take minutes to compile on a CPU. The whole table is traced, not compiled.
RUN = """
import dataclasses, json, sys
import jax, keras, numpy as np
from absl import logging
logging.set_verbosity(logging.INFO)
jax.config.update("jax_disable_most_optimizations", True)  # Compiling takes the time.
from faketagger_tf import visibility
from faketagger_tf.models import encoder_inputs
from faketagger_tf.presets import load_tagger
from trainers import joint_xla
from trainers.mixture import GROUPS

folder = sys.argv[1]
options = joint_xla.XlaOptions(
    covers=f"{folder}/covers.npz", output=f"{folder}/out", warm_start=sys.argv[2],
    minutes=60.0, steps=4, steps_a_call=2, images=1, warmup_steps=1, log_every=2,
    precision="float32")
names = ("webp", "small grey", "swap one:A>B", "paste", "tight")
groups = [group for group in GROUPS if group.name in names]
assert joint_xla.train(options, groups) == 0
assert "tensorflow" not in sys.modules

config, encoder, decoder = load_tagger(options.output)
given = np.load(f"{folder}/given.npz")
inputs = encoder_inputs(config, given["cover"], given["message"], 44.0, 1.5)
blurred = [visibility.blur(given["cover"], sigma) for sigma in (0.6, 1.0, 1.5)]
np.savez(f"{folder}/found.npz", residual=encoder(inputs),
         logits=decoder(given["cover"]), blurred=np.stack(blurred))

trainer = joint_xla.XlaTrainer(dataclasses.replace(options, precision="mixed_bfloat16"))
state, terms = jax.eval_shape(
    trainer.compiled(), trainer.start(), np.zeros((5, 64, 64, 3), np.uint8),
    [v.value for v in trainer.frozen], np.float32(0))
print(json.dumps({name: term.shape for name, term in terms.items()}))
"""


@pytest.fixture(scope="module")
def canvases():
    """uint8 [8, 64, 64, 3]: drawn faces."""
    identity = next(iter(default_identities(1).values()))
    return draw_canvases(identity, 8, seed=1, image_size=64, canvas_scale=1.9)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The folder of an untrained tagger."""
    folder = tmp_path_factory.mktemp("tagger")
    keras.utils.set_random_seed(1)
    encoder, decoder = build_encoder(CONFIG), build_decoder(CONFIG)
    save_tagger(folder, CONFIG, encoder, decoder)
    return folder


def test_a_run_on_jax_gives_a_tagger_that_tensorflow_loads(tmp_path, warm, canvases):
    write_covers(tmp_path / "covers.npz", canvases)
    cover = (canvases[:2] / 255).astype(np.float32)
    message = np.random.default_rng(0).integers(0, 2, (2, 8)).astype(np.float32)
    np.savez(tmp_path / "given.npz", cover=cover, message=message)
    result = run_on_jax("-c", RUN, str(tmp_path), str(warm))
    assert result.returncode == 0, result.stderr[-3000:]

    config, encoder, decoder = load_tagger(tmp_path / "out")
    assert config == CONFIG
    _, old_encoder, old_decoder = load_tagger(warm)
    for new, old in ((encoder, old_encoder), (decoder, old_decoder)):
        moved = []
        for a, b in zip(new.get_weights(), old.get_weights(), strict=True):
            assert np.isfinite(a).all()
            moved.append(np.abs(a - b).max() > 0)
        assert np.mean(moved) > 0.95
        # Four steps of Adam move no weight by more than four times the rate.
        pairs = zip(new.trainable_variables, old.trainable_variables, strict=True)
        assert all(np.abs(a.numpy() - b.numpy()).max() < 4.1e-3 for a, b in pairs)
    # Two calls of two steps pass one third of the run on their way.
    assert (tmp_path / "out" / "third1" / "config.json").is_file()

    found = np.load(tmp_path / "found.npz")
    inputs = encoder_inputs(config, cover, message, 44.0, 1.5)
    np.testing.assert_allclose(found["residual"], encoder(inputs), atol=1e-3)
    assert np.abs(found["residual"]).max() > 0.003  # Such a bound checks something.
    np.testing.assert_allclose(found["logits"], decoder(cover), atol=1e-3)
    assert np.abs(found["logits"]).max() > 0.01
    for ours, sigma in zip(found["blurred"], (0.6, 1.0, 1.5), strict=True):
        np.testing.assert_allclose(ours, visibility.blur(cover, sigma), atol=1e-5)

    shapes = json.loads(result.stdout.splitlines()[-1])
    assert shapes["bits"] == [2, sum(group.units for group in GROUPS)]
    assert re.search(r"Step 4, message loss .* minutes left", result.stderr)


def test_the_command_on_jax_prints_one_line_and_exits_2(tmp_path):
    result = run_on_jax("-m", "trainers.joint_xla", "--covers=absent.npz", "--output=x")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: Cannot read the covers 'absent.npz'")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covers": "absent.npz"}, "Cannot read the covers 'absent.npz'"),
        ({}, r"uint8 \[N, 128, 128, 3\].*Received: uint8 \[8, 64, 64, 3\]"),
        ({"warm_start": "absent"}, "There is no tagger 'absent'"),
        ({"warm_start": "seed64"}, "strength 'visibility'.*seed64.*'scheduled'"),
        ({"warm_start": "WARM"}, r"needs Keras on JAX\. Received: .*tensorflow"),
    ],
)
def test_user_mistakes_give_one_sentence(options, message, tmp_path, warm, canvases):
    write_covers(tmp_path / "covers.npz", canvases)
    if options.get("warm_start") == "WARM":
        options = {"warm_start": str(warm)}
    options = {"covers": str(tmp_path / "covers.npz"), "output": "x", **options}
    with pytest.raises(ValueError, match=message):
        joint_xla.train(joint_xla.XlaOptions(**options))


def test_levels_must_be_in_order():
    with pytest.raises(ValueError, match=r"--level_low.*50.0 and 49.0"):
        joint_xla.XlaOptions(level_low=50.0)


def test_every_group_has_its_share_and_its_scales():
    mixture = Mixture(GROUPS, 2, 128, Context())
    assert mixture.batch == 2 * sum(group.units for group in GROUPS) == 64
    scales = np.stack(
        [np.asarray(mixture.draw_scales(StatelessSeed(seed))) for seed in range(20)]
    )
    parts = np.split(scales, mixture.cuts, axis=1)
    for group, part in zip(GROUPS, parts, strict=True):
        low, high = group.scales or (0.9, 4.2)
        assert part.min() >= low - 1e-5 and part.max() <= high + 1e-5
        assert np.std(np.log(part)) > 0.05
    # A photo of 192 pixels that is shared at about half its size is a larger one.
    path = parts[[group.name for group in GROUPS].index("path")]
    assert path.max() > 2.5


def test_jpeg_in_one_batch_is_jpeg_one_by_one(canvases):
    groups = [
        Group("jpeg", 1, quality=(30, 30)),
        Group("none", 1),
        Group("small", 2, quality=(50, 90), grids=(64, 96)),
        Group("large", 1, quality=(60, 60), grids=(192,)),
    ]
    images = (canvases[:5] / 255).astype(np.float32)
    mixture = Mixture(groups, 1, 64, Context())
    qualities = np.asarray(mixture.draw_qualities(StatelessSeed(3)))
    assert qualities[0] == 30 and qualities[4] == 60
    assert 50 <= qualities[2] <= 90 and qualities[2] != qualities[3]
    coded = np.asarray(mixture.code(images, qualities))
    np.testing.assert_allclose(coded[1], images[1], atol=1e-6)  # Rounded already.
    for i, grid in ((0, 64), (2, 32), (3, 48), (4, 96)):
        alone = gridjpeg(images[i : i + 1], None, Context(), grid, qualities[i])
        # A last bit, which a product of other size may round otherwise, can tip a
        # coefficient and so move one block of a small grid.
        moved = np.abs(coded[i] - np.asarray(alone)[0]).max(axis=-1) > 1e-3
        assert moved.mean() < 0.1, grid


def test_a_batch_meets_its_groups(canvases):
    still = (0, 0, 0)
    groups = [
        Group("none", 1, jitter=still),
        Group("paste", 1, "facepaste(large)", still),
        Group("small", 1, jitter=still, side=32),
        Group("tight", 1, jitter=still, tight=True),
        Group("moved", 1, jitter=(0, 0, 5)),
    ]
    images = (canvases[:5] / 255).astype(np.float32)
    mixture = Mixture(groups, 1, 64, Context())
    received = np.asarray(mixture.manipulate(images, images, StatelessSeed(1)))
    np.testing.assert_allclose(received[0], images[0], atol=1e-3)
    np.testing.assert_allclose(received[1, 31, 31], images[0, 31, 31], atol=1e-2)
    np.testing.assert_allclose(received[1, 0], images[1, 0], atol=1e-3)
    detail = [np.abs(np.diff(x, axis=0)).mean() for x in (received[2], images[2])]
    assert detail[0] < 0.9 * detail[1]
    lit = received[3].max(axis=-1) > 0
    assert not lit[:8].any() and lit[20:44, 20:44].mean() > 0.9
    np.testing.assert_allclose(received[3, 31, 31], images[3, 31, 31], atol=1e-3)
    assert np.abs(received[4] - images[4]).max() > 0.05


def test_covers_vary_and_black_outside_stays_black(canvases):
    cover = (canvases / 255).astype(np.float32)
    cover[:, :20] = 0
    chains = ((1.0, "color(0.6)|gamma(0.6)"), (1.0, "noise(0.02)"), (0.0, "edge(0.4)"))
    varied = np.asarray(vary_covers(cover, StatelessSeed(0), chains))
    assert (varied[:, :20] == 0).all()
    # What is inside does not turn black.
    inside = cover.max(-1) > 0.004
    assert varied.max(-1)[inside].min() > 0.004
    assert np.abs(varied - cover)[:, 20:].mean() > 0.02
    np.testing.assert_allclose(255 * varied, np.round(255 * varied), atol=1e-3)
    same = vary_covers(cover, StatelessSeed(0), ((0.0, "grey"),))
    np.testing.assert_allclose(same, cover, atol=1e-6)


def test_the_update_is_kerass_adam_with_clipping():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 2), (4,))]
    variables = [keras.Variable(value) for value in start]
    adam = keras.optimizers.Adam(0.01, global_clipnorm=1.0)
    zeros = [np.zeros_like(value) for value in start]
    state = joint_xla.State(start, [], zeros, zeros, start, 0)
    average = start[0]
    for scale in (0.1, 10.0, 1.0):
        gradients = [
            (scale * rng.normal(size=v.shape)).astype(np.float32) for v in start
        ]
        adam.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        state = joint_xla.update(state, gradients, [], 0.01)
        kept = 1 - 1 / (state.step / 5 + 2)
        average = kept * average + (1 - kept) * state.weights[0]
    for ours, variable in zip(state.weights, variables, strict=True):
        np.testing.assert_allclose(ours, variable.numpy(), atol=1e-5)
    np.testing.assert_allclose(state.average[0], average, atol=1e-6)
    # One bad batch does not spoil a run.
    bad = joint_xla.update(state, [np.full((3, 2), np.nan), start[1]], [], 0.01)
    assert all(np.isfinite(w).all() for w in bad.weights + bad.square + bad.average)


def test_the_rate_warms_up_and_falls_with_the_clock():
    assert xla.rate_share(100, 50, 0.0) == pytest.approx(0.5)
    assert xla.rate_share(100, 100, 0.0) == pytest.approx(1.0)
    assert xla.rate_share(100, 500, 0.5) == pytest.approx(0.51)
    assert xla.rate_share(100, 900, 1.2) == pytest.approx(0.02)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"Cannot write to --output .*file"):
        xla.make_output(str(tmp_path / "file"))


def clock(folder) -> xla.RunOptions:
    """Options of a run of six calls, with a line every other call."""
    return xla.RunOptions(
        output=str(folder), minutes=60.0, steps=60, warmup_steps=20, log_every=20
    )


def test_the_loop_saves_thirds_and_ends_at_its_steps(tmp_path):
    shares, saved, told = [], [], []

    def advance(share):
        shares.append(share)
        return {"loss": np.full(10, len(shares), np.float32)}

    def describe(terms):
        told.append(len(terms))
        return "loss"

    options = clock(tmp_path)
    assert xla.run(options, time.monotonic(), advance, describe, saved.append) == 60
    assert saved == [tmp_path / "third1", tmp_path / "third2", tmp_path]
    assert told == [2, 2, 2]
    # Half of the warm-up, then down with what is done.
    assert shares[0] == pytest.approx(0.5) and shares[1] > shares[3] > shares[5]


def test_the_loop_ends_where_every_step_is_not_finite(tmp_path):
    terms = {"loss": np.array([1.0] + [np.nan] * 9)}
    options, once = clock(tmp_path), [lambda _: terms, str, lambda _: None]
    assert xla.run(options, time.monotonic(), *once) == 60, "a step alone is left out"
    terms["loss"][0] = np.inf
    with pytest.raises(ValueError, match="Step 20 gave a value that is not finite: lo"):
        xla.run(options, time.monotonic(), *once)
