"""Desks to ask, a tagger without training, and a photo."""

import numpy as np
import pytest
import skimage.data
import support

pytest.importorskip("fastapi", reason="pip install -r requirements-serving.txt")
pytest.importorskip("limits")

import desk_server

from faketagger_tf.photos import encode_image


@pytest.fixture(scope="session")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="session")
def pixels():
    """A photo with a face, uint8 [260, 260, 3]."""
    return np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])


@pytest.fixture(scope="session")
def photo(pixels):
    return encode_image(pixels, ".png")


@pytest.fixture
def start(tagger, tmp_path_factory):
    """Starts desks, each with its records: `with start(rate="3/minute") as desk`."""
    return lambda **options: desk_server.running(
        tagger, tmp_path_factory.mktemp("desk"), **options
    )


@pytest.fixture(scope="module")
def desk(tagger, tmp_path_factory):
    """One desk for many tests, that limits nobody's rate."""
    with desk_server.running(tagger, tmp_path_factory.mktemp("desk")) as desk:
        yield desk
