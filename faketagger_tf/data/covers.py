"""Writes and reads a file of canvases, for trainers without TensorFlow.

    python -m faketagger_tf.data.covers --data=photos --output=covers.npz

writes the training split's canvases, cut as the product cuts them, as one array, uint8
[N, S, S, 3], that `trainers.joint_xla` puts into a GPU's memory: 10,000 canvases of 128
pixels are 0.5 GB.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile

import numpy as np
from absl import logging

from faketagger_tf.config import OUTSIDES
from faketagger_tf.data.photos import SPLITS
from faketagger_tf.files import write_atomic
from faketagger_tf.options import Checked, option, run_command

_ENDINGS = (".npz", ".npy")


def write_covers(path: str | os.PathLike, canvases: np.ndarray) -> None:
    """Writes canvases, uint8 `[N, S, S, 3]`, as .npz (compressed) or .npy.

    Raises:
        ValueError: the file's name has another ending, or it cannot be written.
    """
    ending = _ending(path)

    def write(name: str) -> None:
        if ending == ".npz":
            np.savez_compressed(name, covers=canvases)
        else:
            np.save(name, canvases)

    write_atomic(path, write)


def read_covers(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Reads a file of canvases: uint8 `[N, image_size, image_size, 3]`.

    Args:
        path: a .npy file, or a .npz file with one array.
        image_size: the side that the canvases must have.

    Raises:
        ValueError: the file is missing or damaged, or holds something else.
    """
    name, ending = os.fspath(path), _ending(path)
    try:
        with open(name, "rb") as file:
            covers = np.load(file)
            if ending == ".npz":
                covers = covers[covers.files[0]] if len(covers.files) == 1 else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"Cannot read the covers {name!r}: {reason}.") from None
    shape = getattr(covers, "shape", ())
    wanted = len(shape) == 4 and shape[0] and shape[1:] == (image_size, image_size, 3)
    if not wanted or covers.dtype != np.uint8:
        found = "no single array"
        if covers is not None:
            found = f"{covers.dtype} {list(shape)}"
        raise ValueError(
            f"The covers {name!r} must be one array, uint8 [N, {image_size}, "
            f"{image_size}, 3], as python -m faketagger_tf.data.covers writes it. "
            f"Received: {found}."
        )
    return covers


def _ending(path: str | os.PathLike) -> str:
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in _ENDINGS:
        raise ValueError(
            f"A file of covers must end in {' or '.join(_ENDINGS)}. "
            f"Received: {os.fspath(path)!r}."
        )
    return ending


@dataclasses.dataclass(frozen=True)
class CoversOptions(Checked):
    """What the command can be told."""

    data: str = option(
        "drawn",
        "'drawn' for the embedded drawn faces, or folders of photos, joined by commas.",
    )
    output: str = option("", "The file, .npz or .npy.", required=True)
    split: str = option("train", "Which photos.", choices=SPLITS)
    image_size: int = option(128, "Side of the canvas in pixels.", low=16)
    canvas_scale: float = option(1.9, "Side of the canvas over the face box's.")
    outside: str = option(
        "black", "What lies beyond a photo's border.", choices=OUTSIDES
    )


def main(options: CoversOptions) -> None:
    """Runs the command; see the module's docstring."""
    _ending(options.output)  # Before an hour of reading photos.
    # What finds and cuts the photos brings TensorFlow with it; reading does not.
    from faketagger_tf.data.load import load_split

    canvases, _ = load_split(
        options.data,
        options.split,
        image_size=options.image_size,
        canvas_scale=options.canvas_scale,
        outside=options.outside,
    )
    write_covers(options.output, canvases)
    logging.info("%d canvases in %s.", len(canvases), options.output)


if __name__ == "__main__":
    run_command(CoversOptions(), main)
