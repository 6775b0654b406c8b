"""Writes and reads a file of canvases, for trainers without TensorFlow.

    python -m faketagger_tf.data.covers --data=photos --output=covers.npz

writes the training split's canvases, cut as the product cuts them, as one array, uint8
[N, S, S, 3], that `trainers.joint_xla` puts into a GPU's memory: 10,000 canvases of 128
pixels are 0.5 GB. With `--groups=2` people are gathered into composite identities, and
the file has an array for each, as `trainers.faceswap_xla` takes them.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from faketagger_tf.config import OUTSIDES
from faketagger_tf.data.photos import SPLITS
from faketagger_tf.files import write_atomic
from faketagger_tf.options import Checked, option, run_command

_ENDINGS = (".npz", ".npy")
_SCALE = "_canvas_scale"  # Beside the identities, whose names begin otherwise.


def write_covers(path: str | os.PathLike, canvases: np.ndarray) -> None:
    """Writes canvases, uint8 `[N, S, S, 3]`, as .npz (compressed) or .npy.

    Raises:
        ValueError: the file's name has another ending, or it cannot be written.
    """
    if _ending(path) == ".npz":
        write_atomic(path, lambda name: np.savez_compressed(name, covers=canvases))
    else:
        write_atomic(path, lambda name: np.save(name, canvases))


def write_faces(
    path: str | os.PathLike, canvases: Mapping[str, np.ndarray], canvas_scale: float
) -> None:
    """Writes canvases by identity, uint8 `[N, S, S, 3]` each, as .npz.

    Args:
        path: of the file.
        canvases: by identity; no name begins with an underscore.
        canvas_scale: side of the canvas over the face box's, which is kept with them.

    Raises:
        ValueError: the file's name has another ending, or it cannot be written; a
            name that is not an identity's.
    """
    _ending(path, (".npz",))
    if _SCALE in canvases:
        raise ValueError(f"No identity may be named {_SCALE!r}. Received: one that is.")
    arrays = {**canvases, _SCALE: np.float64(canvas_scale)}
    write_atomic(path, lambda name: np.savez_compressed(name, **arrays))


def read_covers(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Reads a file of canvases: uint8 `[N, image_size, image_size, 3]`.

    Args:
        path: a .npy file, or a .npz file with one array.
        image_size: the side that the canvases must have.

    Raises:
        ValueError: the file is missing or damaged, or holds something else.
    """
    _ending(path)
    arrays = _read_arrays(path)
    if len(arrays) != 1:
        arrays = {"": None}
    (covers,) = arrays.values()
    _check(path, covers, image_size, "one array")
    return covers


def read_faces(
    path: str | os.PathLike, image_size: int, canvas_scale: float
) -> dict[str, np.ndarray]:
    """Reads what `write_faces` wrote: identity -> uint8 `[N, S, S, 3]`, S `image_size`.

    Args:
        path: a .npz file of at least two identities.
        image_size: the side that the canvases must have.
        canvas_scale: what they must have been cut with.

    Raises:
        ValueError: the file is missing or damaged, or holds something else.
    """
    _ending(path, (".npz",))
    faces = _read_arrays(path)
    scale = faces.pop(_SCALE, None)
    if len(faces) < 2:
        raise ValueError(
            f"The faces {os.fspath(path)!r} must be of at least two identities, as "
            "python -m faketagger_tf.data.covers --groups=2 writes them. "
            f"Received: {len(faces)}."
        )
    for canvases in faces.values():
        _check(path, canvases, image_size, "an array an identity")
    known = scale is not None and scale.shape == () and scale.dtype.kind == "f"
    if not known or not np.isclose(scale, canvas_scale):
        received = f"{float(scale):g}" if known else "a file that does not say"
        raise ValueError(
            f"The faces {os.fspath(path)!r} must be cut with --canvas_scale="
            f"{canvas_scale:g}, as the model is to be. Received: {received}. Accepted: "
            "what python -m faketagger_tf.data.covers --groups=2 "
            f"--canvas_scale={canvas_scale:g} writes."
        )
    return faces


def _read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            found = np.load(file)
            if isinstance(found, np.ndarray):
                return {"": found}
            return {key: found[key] for key in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        if "pickle" in str(reason):  # NumPy advises to load it all the same.
            reason = "it is no file of arrays"
        raise ValueError(f"Cannot read the covers {name!r}: {reason}.") from None


def _check(path, canvases: np.ndarray | None, image_size: int, form: str) -> None:
    shape = getattr(canvases, "shape", ())
    wanted = len(shape) == 4 and shape[0] and shape[1:] == (image_size, image_size, 3)
    if not wanted or canvases.dtype != np.uint8:
        found = "no single array"
        if canvases is not None:
            found = f"{canvases.dtype} {list(shape)}"
        raise ValueError(
            f"The covers {os.fspath(path)!r} must be {form}, uint8 [N, {image_size}, "
            f"{image_size}, 3], as python -m faketagger_tf.data.covers "
            f"--image_size={image_size} writes it. Received: {found}."
        )


def _ending(path: str | os.PathLike, accepted: Sequence[str] = _ENDINGS) -> str:
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in accepted:
        raise ValueError(
            f"A file of covers must end in {' or '.join(accepted)}. "
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
        "",
        "What lies beyond a photo's border; by default 'black', which taggers of the "
        "strength 'visibility' are trained on, and 'repeat' with --groups.",
        choices=("", *OUTSIDES),
    )
    groups: int = option(
        0, "Composite identities to gather people into; 0 for one array of all.", low=0
    )
    people_per_group: int = option(0, "People in a group; 0 divides all.", low=0)
    group_seed: int = option(0, "Seed of the grouping of people.")

    def __post_init__(self):
        super().__post_init__()
        if not self.groups and (self.people_per_group or self.group_seed):
            raise ValueError(
                "--people_per_group and --group_seed need --groups. "
                f"Received: {self.people_per_group} and {self.group_seed}."
            )


def main(options: CoversOptions) -> None:
    """Runs the command; see the module's docstring."""
    # Before an hour of reading photos.
    _ending(options.output, (".npz",) if options.groups else _ENDINGS)
    # What finds and cuts the photos brings TensorFlow with it; reading does not.
    from faketagger_tf.data.load import load_identities, load_split

    cut = {
        "image_size": options.image_size,
        "canvas_scale": options.canvas_scale,
        "outside": options.outside or ("repeat" if options.groups else "black"),
    }
    if options.groups:
        grouping = {
            "groups": options.groups,
            "people_per_group": options.people_per_group,
            "group_seed": options.group_seed,
        }
        faces = load_identities(options.data, options.split, **cut, **grouping)
        write_faces(options.output, faces, options.canvas_scale)
        count = sum(map(len, faces.values()))
    else:
        canvases, _ = load_split(options.data, options.split, **cut)
        write_covers(options.output, canvases)
        count = len(canvases)
    logging.info("%d canvases in %s.", count, options.output)


if __name__ == "__main__":
    run_command(CoversOptions(), main)
