"""What every command of the project does the same way."""

from __future__ import annotations

import contextlib
import logging as python_logging
import os
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging

FLAGS = flags.FLAGS


def require_flag(name: str) -> str:
    """Returns a flag's value, or stops with one sentence if it is not set."""
    value = FLAGS[name].value
    if value in (None, ""):
        raise ValueError(f"--{name} must be given. Received: nothing.")
    return value


def run_main(main: Callable[[list[str]], int | None]) -> None:
    """`app.run` for all our commands: a user's mistake gives one line and exit 2."""

    def guarded(argv: list[str]) -> int | None:
        logging.use_absl_handler()
        logging.set_verbosity(logging.INFO)
        if len(argv) > 1:
            print(f"Error: unexpected argument {argv[1]!r}.", file=sys.stderr)
            return 2
        try:
            return main(argv)
        except ValueError as error:
            if os.environ.get("FAKETAGGER_TRACEBACK"):
                raise
            print(f"Error: {error}", file=sys.stderr)
            return 2

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, but with one line and exit 2 for a bad flag, and 0 for --help."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        print(f"Error: {str(error).strip()}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        # absl ends a run that asked for help with 1.
        sys.exit(0 if stop.code == 1 else stop.code)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps native libraries' chatter off standard error; ours still gets there.

    TensorFlow, libpng and others write to the file descriptor itself, some of them
    before any setting can stop them. A user who gets one sentence about a mistake
    should not have to look for it among their lines.
    """
    if os.environ.get("FAKETAGGER_TRACEBACK"):
        yield
        return
    python_logging.getLogger("tensorflow").setLevel(python_logging.ERROR)
    sys.stderr.flush()
    ours, shown = os.dup(2), sys.stderr
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
    direct = getattr(shown, "fileno", None)
    try:
        try:
            redirected = direct is not None and direct() == 2
        except (OSError, ValueError):  # A stream without a descriptor.
            redirected = False
        if redirected:
            sys.stderr = os.fdopen(os.dup(ours), "w", buffering=1)
        yield
    finally:
        if sys.stderr is not shown:
            sys.stderr.close()
            sys.stderr = shown
        os.dup2(ours, 2)
        os.close(ours)
