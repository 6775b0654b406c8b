"""The shipped latent models do what their card says, on pictures they never saw."""

import cv2
import pytest
from skimage import data

from faketagger_tf.presets import LATENTS, latent_folder, list_latents, load_latent
from trainers.latent import measure


def test_what_is_shipped():
    assert list_latents() == ["one", "two", "unseen", "unseen_wide"]
    card = (LATENTS / "card.md").read_text()
    assert "depict nobody" in card and "@@" not in card
    for name in list_latents():
        (weights,) = latent_folder(name).glob("*.h5")
        assert weights.stat().st_size < 4e6
    configs = [load_latent(name)[0] for name in list_latents()]
    for sizes in ("width", "channels"):
        assert len({getattr(config, sizes) for config in configs}) == len(configs)


@pytest.mark.parametrize("name", list_latents())
def test_a_face_is_restored(name):
    canvas = cv2.resize(
        data.astronaut()[:256, 96:352], (128, 128), interpolation=cv2.INTER_AREA
    )[None]
    _, model = load_latent(name)
    plain, noisy = measure(model, canvas), measure(model, canvas, 0.1)
    # The card's means are 30 to 34 dB; one picture is a few dB off, processors are not.
    assert plain > 25 and plain > noisy > 22
