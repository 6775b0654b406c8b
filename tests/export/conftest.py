"""A small tagger whose statistics look trained, shared by the tests of the exports."""

import dataclasses

import numpy as np
import pytest
import support

from faketagger_tf.models import build_decoder, build_encoder


@pytest.fixture(scope="session")
def config():
    return dataclasses.replace(support.SMALL, psnr=30.0)


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
