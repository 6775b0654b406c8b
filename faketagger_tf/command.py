"""What every command of the project does the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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

    app.run(guarded)
