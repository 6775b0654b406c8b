"""Files and folders: the one atomic writer and the one folder walk.

Standard library alone, so that every other module can use it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import secrets
from collections.abc import Callable, Sequence

_KEPT = 20  # Characters of a name's end that its temporary name keeps.


def write_atomic(
    path: str | os.PathLike, content: str | bytes | Callable[[str], object]
) -> None:
    """Writes a file such that a killed run leaves the old one or the new one.

    Folders on the way to it are made. The file gets the permissions that any new file
    of the user gets. Safe to use from many threads.

    Args:
        path: the file.
        content: text (stored as UTF-8), bytes, or a function that is given a temporary
            path with the same suffix and writes there.

    Raises:
        ValueError: the folder cannot be made or written to.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> write_atomic(f"{folder}/new/note.txt", "tagged")
        >>> pathlib.Path(folder, "new", "note.txt").read_text()
        'tagged'
    """
    path = pathlib.Path(path)
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(
            f"Cannot write {str(path)!r}: {str(path.parent)!r} is not a folder."
        )
    # Keras checks the suffix of a weights file, so the temporary name keeps it.
    name = f".partial-{secrets.token_hex(8)}-{path.name[-_KEPT:]}"
    temporary = path.parent / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file that is made here, rather than by `tempfile`, gets its permissions from
        # the operating system. Python cannot ask for the umask: it can only change it,
        # for every thread at once.
        with open(temporary, "xb") as file:
            if not callable(content):
                file.write(content.encode() if isinstance(content, str) else content)
        if callable(content):
            content(str(temporary))
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"Cannot write {str(path)!r}: {error.strerror or error}."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike) -> None:
    """Makes the folder that the file `path` is to lie in.

    Raises:
        ValueError: the folder cannot be made.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Cannot make the folder {folder!r}: {error.strerror}."
        ) from None


@dataclasses.dataclass(frozen=True)
class FoundFiles:
    """What a folder holds.

    Attributes:
        paths: the files that were looked for, sorted.
        others: visible files with other extensions, sorted.
        links: links to folders, which were not followed, sorted.
        unreadable: folders that could not be listed, sorted.
    """

    paths: list[str]
    others: list[str]
    links: list[str]
    unreadable: list[str]


def find_files(folder: str | os.PathLike, extensions: Sequence[str]) -> FoundFiles:
    """Finds the files below a folder that end in one of `extensions`.

    Hidden files and folders are left out. Links to files are files; links to folders
    are not followed, because they may lead back or out of the folder.

    Args:
        folder: the folder; may itself be a link.
        extensions: lower case, with their dots; a file's own case does not matter.

    Raises:
        ValueError: the folder does not exist or is not a folder.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("b.PNG", "a.png", "notes.txt", ".hidden.png"):
        ...     write_atomic(f"{folder}/{name}", b"")
        >>> [os.path.basename(path) for path in find_files(folder, [".png"]).paths]
        ['a.png', 'b.PNG']
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise ValueError(f"The folder of photos does not exist. Received: {root!r}.")
    found = FoundFiles([], [], [], [])
    endings = tuple(extensions)
    for parent, folders, files in os.walk(
        root, onerror=lambda error: found.unreadable.append(error.filename)
    ):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = (os.path.join(parent, name) for name in folders)
        found.links.extend(path for path in inside if os.path.islink(path))
        for name in files:
            if not name.startswith("."):
                wanted = name.lower().endswith(endings)
                group = found.paths if wanted else found.others
                group.append(os.path.join(parent, name))
    for group in (found.paths, found.others, found.links, found.unreadable):
        group.sort()
    return found
