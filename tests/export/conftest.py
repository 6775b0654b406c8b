"""A small tagger whose statistics look trained, shared by the tests of the exports."""

import numpy as np
import pytest

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models import build_decoder, build_encoder


@pytest.fixture(scope="session")
def config():
    return TaggerConfig(
        image_size=64,
        message_bits=16,
        payload_bits=8,
        crc_bits=3,
        encoder_width=8,
        decoder_width=16,
        psnr=30.0,
    )


@pytest.fixture(scope="session")
def models(config):
    rng = np.random.default_rng(0)
    encoder, decoder = build_encoder(config), build_decoder(config)
    # Statistics and scales as after training, so that folding them is put to the test.
    for model in (encoder, decoder):
        for layer in model.layers:
            if "normalization" in layer.name:
                width = layer.gamma.shape[0]
                layer.gamma.assign(rng.uniform(0.5, 2, width))
                layer.beta.assign(rng.normal(0, 0.5, width))
                layer.moving_mean.assign(rng.normal(0, 0.5, width))
                layer.moving_variance.assign(rng.uniform(0.5, 2, width))
    return encoder, decoder


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).random((5, 64, 64, 3), np.float32)
