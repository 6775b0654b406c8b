"""File names that are safe to print, to put into a table and to write beside others."""

from __future__ import annotations

import collections
import os
import unicodedata
from collections.abc import Iterable

_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(name: str | bytes | os.PathLike) -> str:
    r"""Returns a file's name such that printing it cannot do anything but show it.

    Control characters, line ends, marks that turn the writing direction and bytes
    that are not UTF-8 are shown as escapes; a backslash is doubled, so that no name
    can look like another one's escape. Other letters of any script stay.

    Example:
        >>> print(printable("portrait\n2 \x1b[31m.jpg"))
        portrait\n2 \x1b[31m.jpg
        >>> print(printable(b"caf\xe9.jpg"))
        caf\xe9.jpg
    """
    return "".join(map(_shown, os.fsdecode(name)))


def one_line(text: str) -> str:
    r"""Returns a message such that printing it cannot do anything but show it.

    As `printable`, but a backslash stays: messages have their names in quotes already.

    Example:
        >>> print(one_line("no such flag: --a\nError: b"))
        no such flag: --a\nError: b
    """
    return "".join(letter if letter == "\\" else _shown(letter) for letter in text)


def _shown(letter: str) -> str:
    code = ord(letter)
    if letter == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # What Python makes of a byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(letter) in _HIDDEN:
        return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
    return letter


def csv_cell(value: object) -> object:
    """Returns a table's cell that no spreadsheet runs as a formula.

    A text that begins with =, +, -, @, a tab or a line end (also after blanks, also in
    its full-width form) gets an apostrophe in front, which spreadsheets do not show.
    Numbers, None and texts that are plain numbers stay as they are.

    Example:
        >>> csv_cell('=HYPERLINK("http://x")'), csv_cell("a.jpg"), csv_cell(-3.5)
        ('\\'=HYPERLINK("http://x")', 'a.jpg', -3.5)
    """
    if not isinstance(value, str):
        return value
    if value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA):
        try:
            float(value)
        except ValueError:
            return "'" + value
    return value


def colliding(paths: Iterable[str | os.PathLike]) -> list[list[str]]:
    """Returns the groups of paths that are one file on some disks.

    Disks of Macs and Windows, memory cards and shares do not tell upper from lower
    case, or store one of several spellings of a letter with an accent. Paths are
    compared without touching the disk, after `os.path.abspath`, so the same path given
    twice is a group too.

    Returns:
        groups of two or more paths as they were given, in their order.

    Example:
        >>> colliding(["out/Ann.jpg", "out/ann.JPG", "out/bob.jpg"])
        [['out/Ann.jpg', 'out/ann.JPG']]
    """
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        name = os.fsdecode(path)
        groups[folded(os.path.abspath(name))].append(name)
    return [group for group in groups.values() if len(group) > 1]


def folded(name: str) -> str:
    """Returns what two paths have in common that are one file on some disks."""
    # Folding may undo the composition and the other way round: Unicode's own recipe.
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    # Windows and its shares drop blanks and dots at the end of a name.
    parts = folded.split(os.sep)
    return os.sep.join(part.rstrip(" .") or part for part in parts)
