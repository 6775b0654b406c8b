"""The Keras models: shapes, exact PSNR, what each input does, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models import (
    FaceswapConfig,
    build_decoder,
    build_encoder,
    build_faceswap,
    render,
)
from faketagger_tf.models.layers import DepthToSpace, SpaceToDepth

TINY = {
    "image_size": 32,
    "message_bits": 8,
    "payload_bits": 4,
    "crc_bits": 0,
    "encoder_width": 8,
    "decoder_width": 8,
}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "cover": rng.random((3, 32, 32, 3), np.float32),
        "message": rng.integers(0, 2, (3, 8)).astype(np.float32),
    }


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_scheduled_residual_has_the_exact_psnr(batch, mask):
    encoder = build_encoder(TaggerConfig(**TINY, texture_mask=mask))
    wanted = np.array([[20.0], [33.0], [41.0]], np.float32)
    residual = np.asarray(encoder({**batch, "psnr": wanted}))
    assert residual.shape == (3, 32, 32, 3)
    measured = -10 * np.log10(np.mean(residual**2, axis=(1, 2, 3)))
    np.testing.assert_allclose(measured, wanted[:, 0], atol=1e-3)


def test_texture_mask_spares_flat_regions():
    encoder = build_encoder(TaggerConfig(**TINY, texture_mask=1.0))
    rng = np.random.default_rng(1)
    cover = np.full((1, 32, 32, 3), 0.5, np.float32)
    cover[:, :, 16:] = rng.random((1, 32, 16, 3))
    message = np.ones((1, 8), np.float32)
    psnr = np.full((1, 1), 30.0, np.float32)
    residual = np.asarray(encoder({"cover": cover, "message": message, "psnr": psnr}))
    power = np.mean(residual**2, axis=(0, 1, 3))
    assert power[:10].mean() < 0.2 * power[-10:].mean()


def test_learned_strength_has_no_psnr_input(batch):
    encoder = build_encoder(TaggerConfig(**TINY, strength="learned"))
    assert sorted(encoder.input) == ["cover", "message"]
    assert encoder(batch).shape == (3, 32, 32, 3)


def test_message_reaches_the_residual(batch):
    encoder = build_encoder(TaggerConfig(**TINY, strength="learned"))
    other = {**batch, "message": 1.0 - batch["message"]}
    assert np.abs(np.asarray(encoder(batch)) - np.asarray(encoder(other))).max() > 1e-3


def test_the_linear_path_can_be_left_out():
    names = [
        {layer.name for layer in build_encoder(TaggerConfig(linear_path=linear)).layers}
        for linear in (True, False)
    ]
    assert "pattern" in names[0] and not any("pattern" in n for n in names[1])


def test_decoder_gives_unbounded_logits(batch):
    decoder = build_decoder(TaggerConfig(**TINY))
    assert decoder(batch["cover"]).shape == (3, 8)
    assert decoder.layers[-1].activation is keras.activations.linear
    convolutions = [x for x in decoder.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 7


def test_every_layer_is_named_for_its_work():
    for model in (
        build_encoder(TaggerConfig(**TINY)),
        build_decoder(TaggerConfig(**TINY)),
    ):
        automatic = [x.name for x in model.layers if x.name.startswith("conv2d")]
        assert not automatic


def test_space_to_depth_agrees_with_tensorflow(batch):
    ours = SpaceToDepth(4)(batch["cover"])
    np.testing.assert_array_equal(ours, tf.nn.space_to_depth(batch["cover"], 4))
    np.testing.assert_array_equal(DepthToSpace(4)(ours), batch["cover"])


@pytest.mark.parametrize("skips", [False, True])
def test_faceswap_shares_its_encoder(skips):
    config = FaceswapConfig(face_size=32, width=4, latent=16, skips=skips)
    model = build_faceswap(config)
    faces = np.random.default_rng(2).random((2, 32, 32, 3), np.float32)
    outputs = model(faces)
    assert sorted(outputs) == ["A", "B"]
    assert np.abs(np.asarray(outputs["A"]) - np.asarray(outputs["B"])).max() > 1e-4
    # Pixels in [0, 1] out of eleven float32 layers: other orders of summation, which
    # oneDNN chooses by processor, differ in the sixth digit.
    np.testing.assert_allclose(render(model, "B", faces), outputs["B"], atol=1e-4)
    assert np.min(outputs["A"]) >= 0 and np.max(outputs["A"]) <= 1


def test_classic_faceswap_has_the_classic_widths():
    model = build_faceswap(FaceswapConfig())
    shared = model.get_layer("shared_encoder")
    widths = [shared.get_layer(f"down{i}").filters for i in (1, 2, 3, 4)]
    assert widths == [128, 256, 512, 1024]
    assert shared.get_layer("code").units == 1024


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"identities": ("A",)}, "at least two.*A"),
        ({"identities": ("A", "A")}, "two different"),
        ({"identities": ("A", "B/C")}, "B/C"),
        ({"face_size": 50}, "face_size.*50"),
        ({"width": 6}, "width.*6"),
    ],
)
def test_bad_faceswap_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        FaceswapConfig(**fields)
