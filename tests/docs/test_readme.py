"""The README's commands and its example, run as they stand there."""

import re
import subprocess

import pytest
import skimage.data
import support

from faketagger_tf.photos import read_photo, write_image

README = (support.ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", README, re.MULTILINE)


def block(mark: str) -> list[str]:
    """The lines of the one indented block that holds a mark."""
    (found,) = [block for block in BLOCKS if mark in block]
    return [line.removeprefix("    ") for line in found.rstrip().splitlines()]


@pytest.fixture
def folder(tmp_path):
    """With a photo of a face, photo.jpg and photo.png."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("photo.jpg", "photo.png"):
        write_image(folder / name, skimage.data.astronaut())
    return folder


def run(commands: list[str], folder, environment) -> list[str]:
    told = []
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, (command, done.stderr)
        told += done.stdout.splitlines()
    return told


def test_the_first_commands(folder, environment):
    install, *commands, _, shown = block("pip install .")
    assert install.startswith("pip install . ") and len(commands) == 2
    _, traced = run(commands, folder, environment)
    # As it is shown, but for the figures.
    number = re.compile(r"\d[\d.e-]*(?= bits|$)|(?<=p )[\d.e-]+")
    assert number.sub("N", traced) == number.sub("N", shown)


def test_the_story(folder, environment):
    commands = [line.removeprefix("$ ") for line in block("$ faketagger tag")]
    told = run(commands, folder, environment)
    assert "payload 0x1F2E3D4C" in told[-1]
    assert read_photo(folder / "read.png").size


def test_the_example(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec("\n".join(block("Tagger.load")), {})
    payload, p_value, *_ = capsys.readouterr().out.split()
    assert payload == "0x1f2e3d4c" and float(p_value) < 1e-6


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    links += re.findall(r"^\| `([\w/]+/)`", README, re.MULTILINE)
    assert len(links) > 20
    for link in links:
        assert link.startswith("https://") or (support.ROOT / link).exists(), link
