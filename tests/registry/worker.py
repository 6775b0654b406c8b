"""One of many processes that tag into one registry; see test_load.py.

python worker.py URL FOLDER COUNT NAME
"""

import functools
import hashlib
import pathlib
import sys

from faketagger_tf.registry import FaceRecord, Record, open_registry


def write(path: pathlib.Path, data: bytes) -> None:
    """Whole or not at all, as every writer of the project."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.rename(path)


def main(url: str, folder: str, count: str, name: str) -> None:
    with open_registry(url) as registry:
        for number in range(int(count)):
            path = pathlib.Path(folder, f"{name}-{number}.bin")
            original = f"{name} {number}".encode()
            draft = Record(
                preset="face128",
                file=path.name,
                owner=name,
                sha256_original=hashlib.sha256(original).hexdigest(),
                faces=(FaceRecord((1.5, 2.0, 30.0, 40.0)),) * 2,
            )
            payload = registry.reserve(draft, 32).payload
            data = f"{payload} {name} {number}".encode()
            registry.publish(payload, data, functools.partial(write, path))
            print(payload, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
