"""Options: flags are made from a dataclass, and both refuse the same values."""

import dataclasses
import pathlib

import pytest
from absl import flags

from faketagger_tf.options import (
    Checked,
    define_flags,
    flagfile,
    from_flags,
    nested,
    option,
)
from trainers.evaluate import EvaluateOptions
from trainers.faceswap import FaceswapOptions
from trainers.joint import JointOptions
from trainers.latent import LatentOptions

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


@dataclasses.dataclass(frozen=True)
class Inner:
    """A part.

    Attributes:
        size: side of a square
            in pixels.
        secret: none of the user's business.
    """

    size: int = 5
    secret: int = 0


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    inner: Inner = nested(Inner(size=7), exclude=("secret",))
    steps: int = option(10, "Steps in all.", low=1, high=99)
    kind: str = option("a", "Which.", choices=("a", "b"))
    names: tuple[str, ...] = option(("x",), "Names.")
    rates: tuple[float, ...] = option((0.5,), "Rates.")
    loud: bool = option(False, "Whether.")
    output: str = option("", "Where to.", required=True)


def parse(defaults, *arguments):
    values = flags.FlagValues()
    define_flags(defaults, values)
    values(["command", *arguments])
    return from_flags(defaults, values)


def test_defaults_and_values():
    assert parse(Options(), "--output=o") == Options(output="o")
    found = parse(
        Options(),
        "--output=o",
        "--size=9",
        "--steps=3",
        "--names=y",
        "--names=z",
        "--rates=1",
        "--loud",
    )
    assert found == Options(
        inner=Inner(9), steps=3, names=("y", "z"), rates=(1.0,), loud=True, output="o"
    )


def test_help_comes_from_the_metadata_and_the_docstring():
    values = flags.FlagValues()
    define_flags(Options(), values)
    assert values["steps"].help == "Steps in all."
    assert values["kind"].help == "Which. One of: a, b."
    assert values["size"].help == "side of a square in pixels."
    assert "secret" not in values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output must be given. Received: nothing."),
        (["--output=o", "--kind=c"], "--kind must be one of a, b. Received: 'c'."),
    ],
)
def test_mistakes_are_one_sentence(arguments, message):
    with pytest.raises(ValueError) as caught:
        parse(Options(), *arguments)
    assert str(caught.value) == message


def test_bounds_hold_for_flags_and_for_the_dataclass():
    with pytest.raises(flags.IllegalFlagValueError, match="steps"):
        parse(Options(), "--output=o", "--steps=0")
    with pytest.raises(ValueError, match=r"--steps must be at least 1 and at most 99"):
        Options(steps=100)


def test_a_flagfile_gives_the_same_options(tmp_path):
    options = Options(
        inner=Inner(9), names=("y", "z"), rates=(), loud=True, output="a b"
    )
    (tmp_path / "flags.cfg").write_text(flagfile(options))
    found = parse(Options(rates=()), f"--flagfile={tmp_path / 'flags.cfg'}")
    assert found == options


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.cfg")), ids=lambda p: p.stem)
def test_every_flagfile_is_understood(path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)  # They name each other from there.
    arguments = [f"--flagfile={path}", "--output=o"]
    if path.stem.endswith(("evaluate", "refined")):
        defaults, arguments = EvaluateOptions(), ["--tagger=t", *arguments]
    elif path.stem.endswith("faceswap"):
        defaults = FaceswapOptions()
    elif path.stem.startswith("latent"):
        defaults = LatentOptions()
    else:
        defaults = JointOptions()
    assert parse(defaults, *arguments) != defaults
