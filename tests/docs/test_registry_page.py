"""The example of docs/registry.md, run as it stands there."""

import re

import numpy as np
import support

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import write_image
from faketagger_tf.tagging.search import PLACES

PAGE = support.ROOT / "docs" / "registry.md"


def test_the_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = draw_photo(identity_from_seed(3), np.random.default_rng(3), 256)[0]
    write_image("photo.jpg", photo)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    p_values, told = capsys.readouterr().out.splitlines()
    blind, registered = map(float, p_values.split())
    assert registered < blind < 1e-6
    assert told == "newsroom same photo"
    names["registry"].close()


def test_the_places_are_those_of_the_search():
    text = PAGE.read_text("utf-8")
    assert f"up to {PLACES} places" in text and f"{PLACES} now that it looks" in text
