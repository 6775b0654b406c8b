"""The command line of a program that takes arguments by place, all of them optional."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable


def call(main: Callable[..., None]) -> None:
    """Calls `main` with the command line; --help shows the text of its module."""
    parser = argparse.ArgumentParser(
        description=main.__globals__["__doc__"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(main).parameters.items():
        parser.add_argument(
            name,
            nargs="?",
            default=parameter.default,
            metavar=name.upper(),
            help=f"by default {parameter.default or 'an embedded photo'}",
        )
    try:
        main(**vars(parser.parse_args()))
    except ValueError as error:
        sys.exit(f"Error: {error}")
