"""Results as files: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

from faketagger_tf.files import write_atomic


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Returns a Markdown table; floats get four digits, None becomes "-".

    Example:
        >>> print(markdown_table(["chain", "bits"], [["a|b", 0.5]]), end="")
        | chain | bits |
        |---|---|
        | a\\|b | 0.5000 |
    """
    lines = [_line(titles), "|---" * len(titles) + "|"]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(cells: Sequence) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value) -> str:
    if value is None:
        return "-"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


def write_report(path: str | os.PathLike, report, markdown: str) -> None:
    """Writes `path`.json and `path`.md, each whole or not at all.

    Raises:
        ValueError: the folder cannot be written to.
    """
    path = os.fspath(path)
    write_atomic(f"{path}.json", json.dumps(report, indent=2) + "\n")
    write_atomic(f"{path}.md", markdown)
