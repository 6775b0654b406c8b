import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.cli import main as cli
from faketagger_tf.photos import write_image
from faketagger_tf.tagging import assure
from faketagger_tf.tagging.tagger import Tagger


@pytest.fixture(autouse=True)
def load(monkeypatch):
    """`--tagger` loads the correlation tagger, whatever its name."""
    known = {}

    def load(name, key=None):
        if key not in known:
            known[key] = support.correlation_tagger(key=key)
        return known[key]

    monkeypatch.setattr(Tagger, "load", load)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """A retry refines by one step, which is as good a retry here, and quick."""
    monkeypatch.setattr(assure, "REFINE", 1)


@pytest.fixture
def photo(tmp_path):
    """A face photo small enough to be quick."""
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return str(path)


@pytest.fixture
def faketagger():
    """Runs the command; returns its exit code."""
    return lambda *arguments: cli.main(["faketagger", *map(str, arguments)])
