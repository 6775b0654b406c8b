"""The command line's parser: absl's argparse, with our sentences for mistakes."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterable

from absl import flags
from absl.flags import argparse_flags

_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")


class Parser(argparse_flags.ArgumentParser):
    """Reads flags as both argparse and absl spell them; a mistake is a ValueError.

    `--random_payload` is `--random-payload`, `--nocheck` and `--check=false` are
    `--no-check`, and `--flagfile` reads flags from a file.
    """

    def __init__(self, **options):
        # absl's global flags are not ours: they are those of whoever imports us.
        options.setdefault("inherited_absl_flags", flags.FlagValues())
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        self.flag_names: list[str] = []
        self._switches: set[str] = set()
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names, **options) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.flag_names.extend(action.option_strings)
        if isinstance(action, argparse.BooleanOptionalAction):
            self._switches.add(action.option_strings[0])
        return action

    def add_switch(self, name: str, default: bool, help: str) -> None:
        """Adds `--name` and `--no-name`."""
        self.add_argument(
            name, action=argparse.BooleanOptionalAction, default=default, help=help
        )

    def parse_known_args(self, args=None, namespace=None):
        """See argparse. Parsers of commands come here with their flagfiles read."""
        args = list(args or ())
        end = args.index("--") if "--" in args else len(args)
        args[:end] = map(self._as_argparse_has_it, args[:end])
        return super().parse_known_args(args, namespace)

    def _as_argparse_has_it(self, argument: str) -> str:
        if not argument.startswith("--"):
            return argument
        name, equals, value = argument.partition("=")
        name = "--" + name[2:].replace("_", "-")
        if not equals and name.startswith("--no") and f"--{name[4:]}" in self._switches:
            return f"--no-{name[4:]}"
        if equals and name in self._switches:
            if value.lower() not in _TRUE + _FALSE:
                self.error(f"{name} must be true or false. Received: {value!r}.")
            return name if value.lower() in _TRUE else f"--no-{name[2:]}"
        return name + equals + value

    def error(self, message: str):
        """Raises argparse's message as a sentence."""
        chosen = re.fullmatch(
            r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)", message
        )
        if chosen:
            # Python 3.12 and later quote the choices no more.
            choices = [word.strip("'") for word in chosen[3].split(", ")]
            hint = did_you_mean(chosen[2].strip("'"), choices)
            raise ValueError(
                f"{chosen[1]} must be one of {', '.join(choices)}. "
                f"Received: {chosen[2]}.{hint}"
            )
        sentence = re.sub(r"^argument (\S+): ", r"\1 ", message)
        sentence = sentence[:1].upper() + sentence[1:]
        if not sentence.endswith("."):
            sentence += f". Accepted: {self.usage}."
        raise ValueError(sentence)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Returns a question that names the word most alike, or nothing.

    Example:
        >>> did_you_mean("trcae", ["tag", "trace"])
        " Did you mean 'trace'?"
    """
    close = difflib.get_close_matches(word, list(words), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def add_extras(
    command: Parser, values: argparse.Namespace, extras: Iterable[str]
) -> None:
    """Judges what a command's parser left over.

    argparse gives a list of files up at the first flag, so that the files after it are
    left over; they are added to the list. All else is a mistake.

    Raises:
        ValueError: a flag that there is not, or an argument too many.
    """
    flags_end = False
    for extra in extras:
        if extra == "--" and not flags_end:
            flags_end = True
        elif extra.startswith("-") and extra != "-" and not flags_end:
            name = extra.partition("=")[0]
            raise ValueError(
                f"There is no flag {name}."
                f"{did_you_mean(name, command.flag_names)} "
                f"`{command.prog} --help` lists the flags."
            )
        elif hasattr(values, "files"):
            values.files.append(extra)
        else:
            raise ValueError(
                f"An argument too many. Received: {extra!r}. Accepted: {command.usage}."
            )


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Returns a type of flag: whole numbers from `low` to `high`."""
    accepted = f"from {low} to {high}" if high is not None else f"of at least {low}"

    def convert(text: str) -> int:
        value = int(text) if re.fullmatch(r"\s*[-+]?\d+\s*", text) else None
        if value is None or value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(
                f"must be a whole number {accepted}. Received: {text!r}."
            )
        return value

    return convert


def number(text: str) -> float:
    """A type of flag: a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number. Received: {text!r}."
        ) from None


def strength(text: str) -> str | float:
    """A type of flag: "auto", or a number from 0 (weakest) to 1 (strongest)."""
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(
            f"must be auto, or a number from 0 to 1. Received: {text!r}."
        )
    return value


def probability(text: str) -> float:
    """A type of flag: a number between 0 and 1, both excluded."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"must lie between 0 and 1. Received: {text!r}."
        )
    return value
