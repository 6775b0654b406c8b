"""Files through Beam's filesystems: local ones, and gs://, s3:// ... with their extras.

Local files go through the library's own reader and writer, which refuse pipes and
devices, keep permissions and never leave half a file. An object store shows an object
once it is whole, so that there nothing has to be added.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem

from faketagger_tf.files import find_files
from faketagger_tf.photos import codec
from faketagger_tf.photos.photo_file import write_like

_WILD = "*?["
# Beam would unpack what it takes for compressed by its name.
AS_IT_IS = CompressionTypes.UNCOMPRESSED


def is_local(path: str) -> bool:
    """Whether a path names a file of this machine.

    Raises:
        ValueError: no filesystem is installed for it.
    """
    try:
        return isinstance(FileSystems.get_filesystem(path), LocalFileSystem)
    except ValueError:
        scheme = path.partition("://")[0]
        raise ValueError(
            f"There is no filesystem for {scheme}://. Received: {path!r}. Accepted: a "
            "local path; gs:// after pip install 'apache-beam[gcp]', s3:// after "
            "'apache-beam[aws]', and what else Beam has filesystems for."
        ) from None


def root_of(pattern: str) -> str:
    """The folder that names of outputs are relative to.

    Example:
        >>> root_of("gs://bucket/2024/*/IMG*.jpg"), root_of("photos/")
        ('gs://bucket/2024', 'photos')
    """
    places = [pattern.find(letter) for letter in _WILD if letter in pattern]
    if places:
        return pattern[: min(places)].rpartition("/")[0]
    return pattern.rstrip("/") or "/"


def list_files(pattern: str, extensions: tuple[str, ...]) -> Iterator[str]:
    """Yields the visible files of a folder, or that a glob matches, below `root_of`.

    Args:
        pattern: a folder, or a glob in which `**` stands for any number of folders.
        extensions: lower case; a file's own case does not matter.

    Raises:
        ValueError: the folder does not exist, or cannot be listed.
    """
    if os.path.isdir(pattern):
        yield from find_files(pattern, extensions).paths
        return
    root = root_of(pattern)
    wanted = pattern if root != pattern.rstrip("/") else f"{root}/**"
    try:
        (found,) = FileSystems.match([wanted])
    except BeamIOError as error:
        raise ValueError(f"Cannot list {pattern!r}: {error}.") from None
    for about in found.metadata_list:
        inside = about.path.removeprefix(root)
        hidden = any(part.startswith(".") for part in inside.split("/"))
        if not hidden and about.path.lower().endswith(extensions):
            yield about.path


def read(path: str) -> bytes:
    """Reads a photo's file whole.

    Raises:
        ValueError: it is missing, too large, or cannot be read.
    """
    if is_local(path):
        return codec.read_bytes(path)
    try:
        with FileSystems.open(path, compression_type=AS_IT_IS) as file:
            data = file.read(codec.MAX_BYTES + 1)
    except (BeamIOError, OSError) as error:
        raise ValueError(f"Cannot read the photo {path!r}: {error}.") from None
    if len(data) > codec.MAX_BYTES:
        raise ValueError(
            f"The photo {path!r} is too large. Received: more than {codec.MAX_BYTES} "
            f"bytes. Accepted: up to {codec.MAX_BYTES} bytes."
        )
    return data


def read_if_there(path: str) -> bytes | None:
    """`read`; None where there is no such file."""
    there = os.path.lexists(path) if is_local(path) else FileSystems.exists(path)
    return read(path) if there else None


def write(path: str, data: bytes, photo: str) -> None:
    """Writes a tagged file, whole or not at all.

    Args:
        path: the file.
        data: its content.
        photo: what it was made of; a local file has its permissions, less the umask.

    Raises:
        ValueError: it cannot be written.
    """
    if is_local(path):
        mode = os.stat(photo).st_mode & 0o777 if is_local(photo) else None
        write_like(path, data, mode)
        return
    try:
        with FileSystems.create(path, compression_type=AS_IT_IS) as file:
            file.write(data)
    except (BeamIOError, OSError) as error:
        raise ValueError(f"Cannot write {path!r}: {error}.") from None
