"""Options of a command as a dataclass that makes its own flags.

    @dataclasses.dataclass(frozen=True)
    class Options(Checked):
        steps: int = option(1000, "Training steps in all.", low=1)

    if __name__ == "__main__":
        run_command(Options(), main)  # main(options), with --steps in --help

In the manner of etils' eapp, on absl's flags, so that --flagfile keeps working. A field
that is itself a dataclass gives the flags of its own fields. A field without a help
text takes it from the class's docstring ("Attributes:").
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable

from absl import flags

from faketagger_tf.command import run_main


def option(default, help: str, *, low=None, high=None, choices=(), required=False):
    """A dataclass field with a help text, bounds (both included) and choices.

    Args:
        default: the field's default, a tuple for a flag that may be repeated.
        help: one sentence.
        low, high: the bounds of a number; None for none.
        choices: the words accepted; empty for any.
        required: the flag must be given a value that is not empty.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": tuple(choices)}
    return dataclasses.field(
        default=default, metadata={**metadata, "required": required}
    )


def nested(default, exclude=()):
    """A field that is a dataclass and gives the flags of its fields but `exclude`."""
    return dataclasses.field(
        default_factory=lambda: default, metadata={"exclude": tuple(exclude)}
    )


class Checked:
    """Base of option dataclasses: refuses values outside of a field's metadata."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, about = getattr(self, field.name), field.metadata
            low, high = about.get("low"), about.get("high")
            if (low is not None and value < low) or (high is not None and value > high):
                accepted = [f"at least {low}"] * (low is not None)
                accepted += [f"at most {high}"] * (high is not None)
                raise ValueError(
                    f"--{field.name} must be {' and '.join(accepted)}. "
                    f"Received: {value!r}."
                )
            if about.get("choices") and value not in about["choices"]:
                raise ValueError(
                    f"--{field.name} must be one of {', '.join(about['choices'])}. "
                    f"Received: {value!r}."
                )


def define_flags(
    defaults, values: flags.FlagValues = flags.FLAGS, exclude: tuple[str, ...] = ()
) -> None:
    """Defines a flag for every field of a dataclass instance, which has the defaults.

    Raises:
        TypeError: a field is none of str, int, float, bool, a tuple of them, dataclass.
    """
    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_bool,
        tuple[str, ...]: flags.DEFINE_multi_string,
        tuple[int, ...]: flags.DEFINE_multi_integer,
        tuple[float, ...]: flags.DEFINE_multi_float,
    }
    types = typing.get_type_hints(type(defaults))
    described = _described(type(defaults))
    for field in dataclasses.fields(defaults):
        value, about = getattr(defaults, field.name), field.metadata
        if field.name in exclude:
            continue
        if dataclasses.is_dataclass(value):
            define_flags(value, values, about.get("exclude", ()))
            continue
        kind, bounds = types[field.name], {}
        if kind not in define:
            raise TypeError(f"No flag can hold {field.name}: {kind}.")
        if kind in (int, float):
            bounds = {"lower_bound": about.get("low"), "upper_bound": about.get("high")}
        text = about.get("help") or described.get(field.name, field.name)
        if about.get("choices"):
            text += f" One of: {', '.join(about['choices'])}."
        define[kind](
            field.name,
            list(value) if isinstance(value, tuple) else value,
            text,
            flag_values=values,
            module_name=sys.argv[0],  # The command's, so that --help lists it.
            **bounds,
        )


def from_flags(defaults, values: flags.FlagValues = flags.FLAGS, exclude=()):
    """Returns the dataclass with the values of the parsed flags.

    Raises:
        ValueError: a required flag is not set, or the dataclass refuses a value.
    """
    found = {}
    for field in dataclasses.fields(defaults):
        default, about = getattr(defaults, field.name), field.metadata
        if field.name in exclude:
            continue
        if dataclasses.is_dataclass(default):
            found[field.name] = from_flags(default, values, about.get("exclude", ()))
            continue
        value = values[field.name].value
        if about.get("required") and not value:
            raise ValueError(f"--{field.name} must be given. Received: nothing.")
        found[field.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(defaults, **found)


def flagfile(options) -> str:
    """Returns the flags that give these options, one a line, for --flagfile."""
    values = flags.FlagValues()
    define_flags(options, values)
    return values.flags_into_string()


def run_command(defaults, run: Callable[[object], int | None]) -> None:
    """Runs a command whose flags are those of `defaults`; never returns.

    Args:
        defaults: a dataclass instance.
        run: takes the options that the flags give; returns the exit code. Its
            ValueError gives one line and exit 2.
    """
    define_flags(defaults)
    run_main(lambda argv: run(from_flags(defaults)))


def _described(cls: type) -> dict[str, str]:
    """The sentences on the fields under "Attributes:" of a class's docstring."""
    # Python 3.13 strips a docstring's indentation itself; older ones leave it to us.
    text = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}
