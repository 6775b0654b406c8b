"""What the package declares and what its wheel holds."""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HEAVY = {"tensorflow", "keras", "mtcnn", "tensorboard", "starlette", "uvicorn"}


def applies(requirement: Requirement) -> bool:
    """Whether this machine needs it."""
    return requirement.marker is None or requirement.marker.evaluate()


def pins(name: str) -> dict[str, Version]:
    """Exact versions, on this machine, of a requirements file and those it names."""
    found = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found |= pins(line[3:])
        elif line:
            requirement = Requirement(line)
            match = re.fullmatch(r"==([\w.]+)", str(requirement.specifier))
            assert match, f"{name}: {line!r} is not an exact version"
            if applies(requirement):
                found[requirement.name.lower()] = Version(match[1])
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names and sizes in the wheel."""
    if Version(setuptools.__version__) < Version("77"):
        pytest.skip("Building needs setuptools 77: pip install -r requirements-dev.txt")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for path in ROOT.iterdir():  # Every folder, so that one too many would show.
        if path.is_dir() and path.name[0] != "." and path.name not in ("build", "runs"):
            ignore = shutil.ignore_patterns("__pycache__", "node_modules", ".*")
            shutil.copytree(path, source / path.name, ignore=ignore)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('out'))"
    subprocess.run(
        [sys.executable, "-c", program], cwd=source, check=True, capture_output=True
    )
    (path,) = (source / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info.compress_size for info in archive.infolist()}


def test_top_level_names(wheel):
    names = {name.partition("/")[0] for name in wheel}
    assert {name for name in names if not name.endswith(".dist-info")} <= {
        "faketagger_tf",
        "trainers",
        "export",
        "pipelines",
    }
    assert "faketagger_tf" in names and len(names) <= 5


def test_presets_are_in_the_wheel_and_pictures_are_not(wheel):
    weights = "faketagger_tf/weights"
    for preset in ("face128", "seed64"):
        for file in ("config.json", "card.md", "encoder.tflite", "decoder.tflite"):
            assert f"{weights}/{preset}/{file}" in wheel
    assert f"{weights}/face128/registered.json" in wheel
    for network in ("pnet", "rnet", "onet"):
        assert f"{weights}/faces/{network}.tflite" in wheel
    assert f"{weights}/swaps/unseen_skips/faceswap.json" in wheel
    assert f"{weights}/swaps/one/faceswap.json" not in wheel
    assert f"{weights}/latents/unseen/latent.weights.h5" in wheel
    assert f"{weights}/latents/one/latent.json" not in wheel
    assert f"{weights}/donors/composites.webp" in wheel
    assert not [name for name in wheel if name.endswith((".jpg", ".png"))]
    assert sum(wheel.values()) < 31e6


def test_tagging_and_tracing_install_no_training_framework():
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not base & HEAVY
    extras = PROJECT["optional-dependencies"]
    assert {"tensorflow", "keras"} <= {Requirement(x).name for x in extras["train"]}


def test_ranges_hold_what_is_tested():
    tested = pins("requirements-dev.txt")
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    every = (Requirement(line) for group in groups for line in group)
    for requirement in filter(applies, every):
        assert requirement.name in tested, f"{requirement.name} has no exact version"
        assert tested[requirement.name] in requirement.specifier, requirement.name
