"""Models on disk: round trips, and one sentence for whatever is wrong."""

import json
import os
import stat

import numpy as np
import pytest
import support

from faketagger_tf.files import write_atomic
from faketagger_tf.messages.presence import Presence
from faketagger_tf.models import (
    FaceswapConfig,
    build_decoder,
    build_encoder,
    build_faceswap,
)
from faketagger_tf.presets import (
    REGISTERED,
    load_faceswap,
    load_presence,
    load_swaps,
    load_tagger,
    save_faceswap,
    save_presence,
    save_tagger,
)

CONFIG = support.TINY
SWAP = FaceswapConfig(face_size=32, width=4, latent=16)


@pytest.fixture
def tagger(tmp_path):
    encoder, decoder = build_encoder(CONFIG), build_decoder(CONFIG)
    save_tagger(tmp_path / "tagger", CONFIG, encoder, decoder)
    return tmp_path / "tagger", decoder


@pytest.fixture
def swap(tmp_path):
    save_faceswap(tmp_path / "swap", SWAP, build_faceswap(SWAP))
    return tmp_path / "swap"


def test_tagger_round_trip(tagger):
    folder, decoder = tagger
    config, _, loaded = load_tagger(folder)
    assert config == CONFIG
    image = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(loaded(image), decoder(image))
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "decoder.weights.h5",
        "encoder.weights.h5",
    ]


def test_truncated_weights_are_named(tagger):
    folder, _ = tagger
    path = folder / "decoder.weights.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"decoder\.weights\.h5' are damaged"):
        load_tagger(folder)


def test_missing_weights_are_named(tagger):
    folder, _ = tagger
    (folder / "encoder.weights.h5").unlink()
    with pytest.raises(ValueError, match=r"encoder\.weights\.h5' is missing"):
        load_tagger(folder)


def test_config_that_does_not_match_its_weights_is_named(tagger):
    folder, _ = tagger
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "decoder_width": 16}))
    with pytest.raises(ValueError, match="do not fit the configuration"):
        load_tagger(folder)


def test_unknown_tagger_lists_what_there_is():
    with pytest.raises(ValueError, match=r"no tagger 'portrait9000'.*preset"):
        load_tagger("portrait9000")


def test_swaps_are_named_after_their_model(swap):
    assert sorted(load_swaps([str(swap)])) == ["A>B", "B>A"]
    assert sorted(load_swaps([f"one={swap}"])) == ["one:A>B", "one:B>A"]
    faces = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    _, model = load_faceswap(swap)
    swapped = load_swaps([str(swap)])["A>B"]
    assert swapped.size == 32
    np.testing.assert_allclose(swapped.function(faces), model(faces)["B"], atol=1e-6)


def test_two_unnamed_swap_models_are_refused(swap):
    with pytest.raises(ValueError, match=r"A>B.*name of its own"):
        load_swaps([str(swap), str(swap)])


def test_folder_without_a_swap_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no face-swap model.*faceswap\.json"):
        load_faceswap(tmp_path)


def test_calibration_round_trip_and_errors(tagger):
    folder, _ = tagger
    assert load_presence(folder) is None
    presence = Presence(1.5, 0.1, 1.2, 300, 9.0)
    save_presence(folder, presence)
    assert load_presence(folder) == presence
    assert load_presence(folder, REGISTERED) is None
    save_presence(folder, Presence(2.5), REGISTERED)
    assert load_presence(folder, REGISTERED) == Presence(2.5)
    assert load_presence(folder) == presence
    (folder / "presence.json").write_text('{"threshold": "high"}')
    with pytest.raises(ValueError, match="finite"):
        load_presence(folder)
    (folder / "presence.json").write_text('{"thresholds": 1.5}')
    with pytest.raises(ValueError, match=r"Unknown field in .*presence\.json"):
        load_presence(folder)


def test_write_atomic_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "report.json"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, 3)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_unwritable_output_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write"):
        write_atomic(tmp_path / "file" / "report.json", "text")
