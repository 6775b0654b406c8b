"""Presets: what is published computes what was trained."""

import json

import numpy as np
import pytest

from export import preset
from faketagger_tf import lite, presets
from faketagger_tf.messages.presence import Presence
from faketagger_tf.models import (
    FaceswapConfig,
    LatentConfig,
    build_faceswap,
    build_latent,
)
from faketagger_tf.presets import (
    PRESENCE,
    REGISTERED,
    load_faceswap,
    load_latent,
    load_presence,
    load_tagger,
    save_faceswap,
    save_latent,
    save_presence,
    save_tagger,
)
from faketagger_tf.tagging.networks import has_lite, keras_networks
from faketagger_tf.tagging.tagger import Tagger


def test_tagger(config, models, images, tmp_path):
    save_tagger(tmp_path / "run", config, *models)
    folder = preset.export_tagger(tmp_path / "run", "mine", tmp_path / "presets")
    found, _, decoder = load_tagger(folder)
    assert found.preset == "mine"
    expected = np.asarray(models[1](images, training=False))
    np.testing.assert_array_equal(np.asarray(decoder(images, training=False)), expected)
    read = lite.load_decoder(str(folder / "decoder.tflite"))(images)
    # Logits of about 1; float32 sums in another order, on any processor.
    np.testing.assert_allclose(read, expected, atol=1e-3)
    about = json.loads((folder / "decoder.tflite.json").read_text())
    assert about["message_bits"] == config.message_bits
    assert about["anchor"]["landmarks"] == "arcface-5" and about["outside"] == "repeat"
    # Both networks, so that the preset runs without TensorFlow.
    assert has_lite(folder)
    bits = np.random.default_rng(0).integers(0, 2, (len(images), 16))
    ours, theirs = (
        networks.encode(images, bits, 30.0, np.ones(len(images)))
        for networks in (Tagger.load(folder).networks, keras_networks(config, *models))
    )
    # As for the halves in tests/export/test_tflite.py.
    np.testing.assert_allclose(ours, theirs, atol=3e-3)


def test_calibration_is_the_runs_and_the_card_stays(config, models, tmp_path):
    run, root = tmp_path / "run", tmp_path / "presets"
    save_tagger(run, config, *models)
    (root / "mine").mkdir(parents=True)
    (root / "mine" / "card.md").write_text("by hand")
    save_presence(root / "mine", Presence(threshold=9.0))
    folder = preset.export_tagger(run, "mine", root)
    assert not (folder / PRESENCE).exists()
    assert (folder / "card.md").read_text() == "by hand"
    about = lite.load_description(str(folder / "decoder.tflite"))
    assert about["presence"]["threshold"] == 0.0

    presence = Presence(1.5, 0.1, 1.25, 300, 9.0)
    save_presence(run, presence)
    save_presence(run, Presence(2.5), REGISTERED)
    preset.export_tagger(run, "mine", root)
    assert load_presence(folder) == presence
    about = lite.load_description(str(folder / "decoder.tflite"))
    assert load_presence(folder, REGISTERED) == Presence(2.5)
    assert about["presence"] == {"threshold": 1.5, "rate": 0.1, "scale": 1.25}
    # Published once more from itself.
    preset.export_tagger(folder, "mine", root)
    assert load_presence(folder) == presence


def test_swap_model_is_halved(tmp_path):
    config = FaceswapConfig(face_size=32, width=8, latent=32)
    model = build_faceswap(config)
    save_faceswap(tmp_path / "run", config, model)
    folder = preset.export_swap(tmp_path / "run", "one", tmp_path / "swaps")
    sizes = [
        (f / "faceswap.weights.h5").stat().st_size for f in (tmp_path / "run", folder)
    ]
    assert sizes[1] < 0.7 * sizes[0]
    found, halved = load_faceswap(folder)
    assert found == config
    faces = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    for name in config.identities:
        ours, theirs = (np.asarray(m(faces)[name]) for m in (halved, model))
        assert ours.dtype == np.float32
        assert ours.std() > 0.002
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_shipped_swap_model_is_found_by_name(tmp_path, monkeypatch):
    config = FaceswapConfig(face_size=32, width=8, latent=32)
    save_faceswap(tmp_path / "shipped" / "one", config, build_faceswap(config))
    monkeypatch.setattr(presets, "SWAPS", tmp_path / "shipped")
    folder = preset.export_swap("one", "copy", tmp_path / "swaps")
    assert load_faceswap(folder)[0] == config


def test_latent_model_is_halved(tmp_path):
    config = LatentConfig(channels=4, width=8, blocks=1)
    model = build_latent(config)
    save_latent(tmp_path / "run", config, model)
    folder = preset.export_latent(tmp_path / "run", "one", tmp_path / "latents")
    found, halved = load_latent(folder)
    assert found == config
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(halved(images), model(images), atol=5e-3)


@pytest.mark.parametrize("missing", ["tagger", "swap", "latent"])
def test_unknown_source_is_named(missing, tmp_path):
    function = getattr(preset, f"export_{missing}")
    with pytest.raises(ValueError, match=r"no (tagger|face-swap|latent).*absent"):
        function(str(tmp_path / "absent"), "x", tmp_path)
