"""What the docstrings' examples find: a photo, a tagger, and a folder of their own."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _example(request, doctest_namespace, tmp_path, monkeypatch):
    """`photo`, also as photo.jpg in the current folder, and `tagger`."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    from faketagger_tf.drawn import draw_photo, identity_from_seed
    from faketagger_tf.photos import write_image
    from faketagger_tf.tagging.tagger import Tagger

    monkeypatch.chdir(tmp_path)
    photo = draw_photo(identity_from_seed(3), np.random.default_rng(3), 256)[0]
    write_image("photo.jpg", photo)
    doctest_namespace |= {"photo": photo, "tagger": Tagger.load("face128")}
