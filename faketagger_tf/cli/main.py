"""The command `faketagger`.

    faketagger tag IN OUT [--payload=HEX | --random-payload]
    faketagger trace FILES-OR-FOLDERS...
    faketagger verify ORIGINAL SUSPECT [--output=PICTURE]
    faketagger deepfake IN OUT --model=NAME-OR-FOLDER
    faketagger registry ACTION --registry=URL
    faketagger serve --registry=URL

`faketagger COMMAND --help` lists a command's flags; `--flagfile=FILE` reads flags from
a file. Exit codes: 0 done (trace, verify: a tag was found), 1 trace and verify found no
tag, registry check found something wrong, 2 an error, or at least one file of a batch
failed.

Where the package argcomplete is installed, `eval "$(register-python-argcomplete
faketagger)"` completes commands, flags and files in bash and zsh.
"""

from __future__ import annotations

import argparse
import os
import sys

from absl import flags

from faketagger_tf.cli import deepfake, registry, serve, tag, trace, verify
from faketagger_tf.cli.parser import Parser, add_extras, did_you_mean
from faketagger_tf.command import quiet_tensorflow
from faketagger_tf.names import one_line

# Each defines its flags and runs; what is heavy is imported once a command runs.
COMMANDS = {
    "tag": tag,
    "trace": trace,
    "verify": verify,
    "deepfake": deepfake,
    "registry": registry,
    "serve": serve,
}
_END = "--flagfile=FILE reads flags from a file."


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """Returns the parser of `faketagger`, and those of its commands by name."""
    lines = [
        f"  faketagger {command.FORM:<26} {command.SUMMARY}"
        for command in COMMANDS.values()
    ]
    parser = Parser(
        prog="faketagger",
        usage="faketagger COMMAND ...",
        description="\n".join(lines),
        epilog="`faketagger COMMAND --help` lists the command's flags.",
    )
    group = parser.add_subparsers(dest="command", help=argparse.SUPPRESS)
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = group.add_parser(
            name,
            prog=f"faketagger {name}",
            usage=f"faketagger {command.FORM} [flags]",
            description=command.SUMMARY,
            epilog=_END,
        )
        command.define(parsers[name])
    return parser, parsers


def main(argv: list[str]) -> int:
    """Runs `faketagger` with the arguments `argv[1:]`; returns the exit code."""
    parser, parsers = make_parser()
    if len(argv) < 2 or argv[1] == "help":
        parser.print_help(sys.stderr if len(argv) < 2 else sys.stdout)
        return 2 if len(argv) < 2 else 0
    try:
        if not argv[1].startswith("-") and argv[1] not in COMMANDS:
            raise ValueError(
                f"The command must be one of {', '.join(COMMANDS)}. "
                f"Received: {argv[1]!r}.{did_you_mean(argv[1], COMMANDS)}"
            )
        values, extras = parser.parse_known_args(argv[1:])
        # A command that has commands of its own names the parser of the one given.
        command = getattr(values, "parser", parsers.get(values.command, parser))
        add_extras(command, values, extras)
        if not values.command:
            raise ValueError(f"A command must be given: {', '.join(COMMANDS)}.")
        with quiet_tensorflow():
            return COMMANDS[values.command].run(values)
    except BrokenPipeError:
        raise
    except (ValueError, flags.Error, OSError) as error:
        if os.environ.get("FAKETAGGER_TRACEBACK"):
            raise
        # absl begins some of its sentences with a word of its own.
        sentence = str(error).strip().removeprefix("ERROR:: ")
        print(f"Error: {one_line(sentence)}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse's way to end after --help.
        return stop.code or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def run() -> None:
    """The console script."""
    if "_ARGCOMPLETE" in os.environ:  # A shell asks how to go on; see the top.
        import argcomplete

        argcomplete.autocomplete(make_parser()[0])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        code = main(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be flushed to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
