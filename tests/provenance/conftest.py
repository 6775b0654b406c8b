import numpy as np
import pytest
import skimage.data
import support

pytest.importorskip("c2pa", reason="pip install -r requirements-c2pa.txt")

from faketagger_tf.photos import write_image
from faketagger_tf.provenance.certificates import (
    load_credentials,
    write_dev_certificate,
)
from faketagger_tf.tagging import assure


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """A retry refines by one step, which is as good a retry here, and quick."""
    monkeypatch.setattr(assure, "REFINE", 1)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(chain, key): the files of a signer for tests."""
    folder = tmp_path_factory.mktemp("certificate")
    write_dev_certificate(folder / "chain.pem", folder / "key.pem")
    return folder / "chain.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def credentials(certificate):
    return load_credentials(*certificate)


@pytest.fixture(scope="session")
def tagger():
    return support.correlation_tagger()


@pytest.fixture
def photo(tmp_path):
    """A face photo small enough to be quick."""
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return path
