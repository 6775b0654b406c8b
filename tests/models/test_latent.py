"""Latent autoencoders: any size, unit latents, tiles without seams."""

import keras
import numpy as np
import pytest
from skimage import data

from faketagger_tf.manipulations import StatelessSeed
from faketagger_tf.models import (
    LatentConfig,
    build_latent,
    regenerate,
    regenerate_photo,
    start_from_patches,
)
from faketagger_tf.presets import load_latent, load_latents, save_latent

CONFIG = LatentConfig(channels=12, width=8, blocks=1)


@pytest.fixture(scope="module")
def patches():
    photo = data.astronaut().astype(np.float32) / 255
    return photo.reshape(64, 8, 64, 8, 3).swapaxes(1, 2).reshape(-1, 8, 8, 3)


@pytest.fixture(scope="module")
def model(patches):
    keras.utils.set_random_seed(0)
    model = build_latent(CONFIG)
    start_from_patches(model, patches)
    return model


def test_it_starts_as_the_principal_components(model, patches):
    photo = data.astronaut()[None].astype(np.float32) / 255
    ours = np.asarray(regenerate(model, photo))
    flat = patches.reshape(len(patches), -1).astype(np.float64)
    centred = flat - flat.mean(0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    # What twelve components leave, of all patches; the mean patch is not quite flat.
    best = values[12:].sum() / flat.size
    assert best <= np.mean((ours - photo) ** 2) < 1.05 * best
    latents = np.asarray(model.get_layer("latent_encoder")(photo))
    assert latents.shape == (1, 64, 64, 12)
    np.testing.assert_allclose(latents.mean((0, 1, 2)), 0, atol=0.01)
    np.testing.assert_allclose(latents.std((0, 1, 2)), 1, atol=0.02)


def test_noise_is_drawn_by_the_seed_and_grows(model):
    photo = data.astronaut()[None, :64, :64].astype(np.float32) / 255
    still = np.asarray(regenerate(model, photo))
    first, again, other, more = (
        np.asarray(regenerate(model, photo, noise, StatelessSeed(seed)))
        for noise, seed in ((0.1, 1), (0.1, 1), (0.1, 2), (0.3, 1))
    )
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert np.abs(first - other).mean() > 1e-3
    ratio = np.std(more - still) / np.std(first - still)
    assert ratio == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_tiles_leave_no_seam(model, noise):
    photo = data.astronaut()[:137, :333]
    whole, tiled = (
        regenerate_photo(model, photo, noise, np.random.default_rng(3), tile)
        for tile in (1024, 128)
    )
    assert whole.shape == photo.shape and whole.dtype == np.uint8
    # Sums of float32 in another order can tip a value that is rounded.
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() <= 1 and difference.mean() < 0.01
    assert 1 < np.abs(whole.astype(int) - photo).mean() < 30


def test_a_folder_is_loaded_as_it_was_saved(model, tmp_path):
    save_latent(tmp_path / "mine", CONFIG, model)
    config, loaded = load_latent(tmp_path / "mine")
    assert config == CONFIG
    photo = data.astronaut()[None, :64, :64].astype(np.float32) / 255
    wanted = np.asarray(regenerate(model, photo))
    np.testing.assert_allclose(regenerate(loaded, photo), wanted, atol=1e-6)
    latents = load_latents([str(tmp_path / "mine"), f"b={tmp_path / 'mine'}"])
    assert list(latents) == ["mine", "b"]
    made = latents["b"](photo, 0.0, StatelessSeed(0))
    np.testing.assert_allclose(made, wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"Two latent models are called 'mine'"):
        load_latents([str(tmp_path / "mine")] * 2)
    with pytest.raises(ValueError, match=r"no latent model 'nowhere'"):
        load_latent("nowhere")


@pytest.mark.parametrize("options", [{"channels": 0}, {"width": 2}, {"blocks": 1.5}])
def test_bad_sizes_are_named(options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))} must be a whole"):
        LatentConfig(**options)
