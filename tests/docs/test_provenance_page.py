"""The commands and examples of docs/provenance.md, run as they stand there."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import support

pytest.importorskip("c2pa", reason="pip install -r requirements-c2pa.txt")
pytest.importorskip("fastapi", reason="pip install -r requirements-serving.txt")

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import read_photo, write_image

TEXT = (support.ROOT / "docs" / "provenance.md").read_text("utf-8")


def commands(mark: str) -> list[str]:
    """The commands of the indented block that begins with a mark."""
    (block,) = re.findall(rf"\n\n((?:    .*\n)*?    {mark}.*\n(?:    .*\n)*)", TEXT)
    lines = [line[4:] for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    if "$ " in block:  # Other lines are what they print.
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return lines


def test_the_page(environment, tmp_path, monkeypatch):
    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    photo = draw_photo(identity_from_seed(3), np.random.default_rng(3), 256)[0]
    write_image(tmp_path / "photo.jpg", photo)
    run(*commands("faketagger registry dev-certificate"))
    for command in commands("faketagger registry init"):
        run(command)
    # Without the face swap, which docs/desk.md runs.
    write_image(tmp_path / "fake.jpg", read_photo(tmp_path / "tagged.jpg"), 90)
    trace, show = commands(r"\$ faketagger trace fake.jpg --registry=\S+\n")
    told = run(trace)
    assert "an identity nobody has checked" in told
    payload = re.search("0x[0-9A-F]{8}", told).group()
    assert "0xCBD7D4D0" in show
    run(show.replace("0xCBD7D4D0", payload))
    assert (tmp_path / "store.c2pa").stat().st_size > 1000
    for state, chain in (("not trusted", "other.pem"), ("trusted", "chain.pem")):
        if state == "not trusted":
            run(
                "faketagger registry dev-certificate --certificate=other.pem "
                "--private-key=other-key.pem"
            )
        shutil.copy(tmp_path / chain, tmp_path / "anchors.pem")
        (traced,) = commands(r"\$ faketagger trace fake.jpg .* --trust")
        assert f"({state}: " in run(traced)

    monkeypatch.chdir(tmp_path)
    recover, serve = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names = {}
    exec(recover.replace("0xCBD7D4D0", payload), names)
    assert names["claim"].state == "unchecked"
    assert names["claim"].algorithm == "com.newsroom.faketagger.face128"
    assert "c2pa.watermarked.bound" in names["claim"].actions
    exec(serve, names)
    paths = set(names["app"].openapi()["paths"])
    told = set(re.findall(r"^\| `(?:GET|POST) (/\S+?)[?`,]", TEXT, re.MULTILINE))
    assert {f"/c2pa/v1{path}" for path in told if "well-known" not in path} <= paths
    names["reader"].registry.close()
