"""mem://, an object store in this process, as Beam's filesystems know them.

It has no folders, shows an object once it is closed, and replaces what is there: the
contract that gs:// and s3:// keep.
"""

import io

from apache_beam.io.filesystem import (
    BeamIOError,
    CompressionTypes,
    FileMetadata,
    FileSystem,
)

OBJECTS: dict[str, bytes] = {}


class _Writer(io.BytesIO):
    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def close(self):
        if not self.closed:
            OBJECTS[self._path] = self.getvalue()
        super().close()


class MemoryFiles(FileSystem):
    """Registered by being defined: Beam asks every subclass for its scheme."""

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, data in sorted(OBJECTS.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        return _Writer(path)

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        if path not in OBJECTS:
            raise BeamIOError(f"{path} is not there")
        return io.BytesIO(OBJECTS[path])

    def copy(self, source_file_names, destination_file_names):
        for old, new in zip(source_file_names, destination_file_names, strict=True):
            OBJECTS[new] = OBJECTS[old]

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        return path in OBJECTS

    def size(self, path):
        return len(OBJECTS[path])

    def last_updated(self, path):
        return 0.0

    def checksum(self, path):
        return str(hash(OBJECTS[path]))

    def metadata(self, path):
        return FileMetadata(path, len(OBJECTS[path]))

    def delete(self, paths):
        for path in paths:
            for found in [p for p in OBJECTS if p == path or p.startswith(f"{path}/")]:
                del OBJECTS[found]
