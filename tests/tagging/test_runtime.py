"""Tagging and tracing where TensorFlow is not installed, and the two runtimes."""

import concurrent.futures
import json
import shutil

import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.config import TaggerConfig
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.models import build_decoder, build_encoder
from faketagger_tf.photos import write_image
from faketagger_tf.presets import PRESETS, list_presets, save_tagger
from faketagger_tf.tagging.networks import Networks, has_lite
from faketagger_tf.tagging.tagger import Tagger

PAYLOAD = 0x1F2E3D4C


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A file with a drawn face's photo."""
    photo, _, _ = draw_photo(identity_from_seed(4), np.random.default_rng(4), 320)
    path = tmp_path_factory.mktemp("drawn") / "face.png"
    write_image(path, photo)
    return path


@pytest.fixture(scope="module")
def lite():
    return Tagger.load("face128")


@pytest.fixture(scope="module")
def keras():
    return Tagger.load("face128", runtime="keras")


def test_the_library_needs_no_tensorflow(drawn):
    program = (
        "from faketagger_tf import Tagger\n"
        "from faketagger_tf.photos import read_photo\n"
        "tagger = Tagger.load('face128'); photo = read_photo(sys.argv[1])\n"
        "(canvas,) = tagger.find_canvases(photo); assert canvas.face\n"
        "(reading,) = tagger.read(tagger.embed(photo, 0x1F2E3D4C))\n"
        "assert reading.payload == 0x1F2E3D4C\n"
        "try: tagger.embed(photo, 1, refine=40)\n"
        "except ValueError as error: print(error)\n"
        "try: Tagger.load('face128', runtime='keras')\n"
        "except ValueError as error: print(error)\n"
    )
    run = support.run_without(support.TRAINING, program, drawn)
    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        assert "needs TensorFlow" in line
        assert 'pip install "faketagger-tf[train]"' in line
    assert run.stdout.count("\n") == 2


def test_the_command_needs_no_tensorflow(drawn, tmp_path):
    program = "from faketagger_tf.cli.main import run; run()"
    tagged = tmp_path / "tagged.png"
    run = support.run_without(
        support.TRAINING, program, "tag", drawn, tagged, "--payload=1F2E3D4C"
    )
    assert run.returncode == 0, run.stderr
    assert "1 face(s)" in run.stdout
    run = support.run_without(support.TRAINING, program, "trace", tagged, "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["payload"] == "0x1F2E3D4C"


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_runs_on_both(name):
    assert has_lite(PRESETS / name)
    lite, keras = Tagger.load(name), Tagger.load(name, runtime="keras")
    size, bits = lite.config.image_size, lite.config.message_bits
    rng = np.random.default_rng(0)
    # Smooth, so that nothing is clipped and the residual is as on photos.
    cover = rng.uniform(0.2, 0.8, (3, 1, 1, 3)) + rng.normal(
        0, 0.05, (3, size, size, 3)
    )
    message = rng.integers(0, 2, (3, bits))
    given = cover.astype(np.float32), message, lite.check_strength(None), np.ones(3)
    ours, theirs = lite.networks.encode(*given), keras.networks.encode(*given)
    assert ours.shape == theirs.shape and theirs.std() > 0.005
    if lite.config.informed_steps:
        # A step takes the cube root of a slope, which near 0 makes much of the least
        # rounding, and six of them multiply it: pixels of this noise differ, what the
        # decoder reads does not.
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8
        for residual in (ours, theirs):
            logits = keras.networks.decode(cover + residual)
            assert np.mean((logits > 0) == message) > 0.98
    else:
        # The file's weights are halves: 2^-11 of a residual that reaches 0.1 or so, and
        # a grey level is 0.004.
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    ours, theirs = (t.networks.decode(cover) for t in (lite, keras))
    assert theirs.std() > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_payloads_are_the_same_whoever_tags_and_reads(lite, keras):
    photo = skimage.data.astronaut()
    for writer, reader in ((lite, keras), (keras, lite)):
        tagged = writer.embed(photo, PAYLOAD)
        (ours,), (theirs,) = reader.read(tagged), writer.read(tagged)
        assert ours.payload == theirs.payload == PAYLOAD
        np.testing.assert_array_equal(ours.corners, theirs.corners)


def test_refined_tags_from_lite_files(lite):
    photo = skimage.data.astronaut()
    refined = lite.embed(photo, PAYLOAD, refine=2)
    assert (refined != lite.embed(photo, PAYLOAD)).any()
    (reading,) = lite.read(refined)
    assert reading.payload == PAYLOAD


def test_many_threads_get_what_one_gets(lite):
    size = lite.config.image_size
    canvases = np.random.default_rng(1).random((24, 2, size, size, 3), np.float32)
    alone = [lite.networks.decode(pair) for pair in canvases]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lite.networks.decode, canvases))
    np.testing.assert_array_equal(together, alone)


CONFIG = support.TINY


def test_a_training_runs_folder_is_read_by_keras(tmp_path):
    save_tagger(tmp_path, CONFIG, build_encoder(CONFIG), build_decoder(CONFIG))
    assert not has_lite(tmp_path)
    assert Tagger.load(tmp_path).networks.decode(np.zeros((2, 32, 32, 3))).shape == (
        2,
        8,
    )
    with pytest.raises(ValueError, match=r"no encoder\.tflite.*export\.preset"):
        Tagger.load(tmp_path, runtime="litert")
    with pytest.raises(ValueError, match=r"one of litert, keras.*'torch'"):
        Tagger.load(tmp_path, runtime="torch")
    program = (
        "from faketagger_tf import Tagger\n"
        "try: Tagger.load(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    run = support.run_without(support.TRAINING, program, tmp_path)
    assert (
        "Accepted: a folder published by export.preset; or its weights, after pip i"
        in (run.stdout)
    ), run.stderr


def test_networks_that_do_not_fit_their_configuration_are_named(tmp_path):
    for name in ("decoder.tflite", "encoder.tflite"):
        shutil.copy(PRESETS / "seed64" / name, tmp_path / name)
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    with pytest.raises(ValueError, match=r"decoder\.tflite' does not fit the config"):
        Tagger.load(tmp_path)
    seed = json.loads((PRESETS / "seed64" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(seed | {"strength": "learned"}))
    learned = Tagger.load(tmp_path)
    with pytest.raises(ValueError, match=r"encoder\.tflite' does not fit the config"):
        learned.embed(skimage.data.astronaut(), 1)
    (tmp_path / "decoder.tflite").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is no TFLite file"):
        Tagger.load(tmp_path)


def test_the_encoder_is_given_what_its_configuration_names():
    def given(strength) -> dict:
        seen = {}
        networks = Networks(TaggerConfig(strength=strength), seen.update, None, None)
        cover = np.zeros((2, 128, 128, 3), np.float32)
        networks.encode(cover, np.zeros((2, 64)), 44.0, np.array([0.5, 4.0]))
        return seen

    seen = given("visibility")
    assert sorted(seen) == ["cover", "level", "message", "scale"]
    np.testing.assert_array_equal(seen["level"], [[44.0], [44.0]])
    np.testing.assert_array_equal(seen["scale"], [[0.5], [4.0]])
    seen = given("scheduled")
    assert sorted(seen) == ["cover", "message", "psnr"]
    np.testing.assert_array_equal(seen["psnr"], [[44.0], [44.0]])
    assert sorted(given("learned")) == ["cover", "message"]
