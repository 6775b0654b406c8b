"""Publishes a trained run as a preset that ships with the package.

    python -m export.preset --tagger=runs/face128 --name=face128
    python -m export.preset --swap_model=runs/swap_one --name=one
    python -m export.preset --latent_model=runs/latent_one --name=one

The first writes `faketagger_tf/weights/face128/`: configuration, weights of both
networks, `decoder.tflite`, `encoder.tflite` (its weights as halves), which tag and
trace without TensorFlow, and the run's calibrations of blind and registered p-values,
if it has them; the first goes into `decoder.tflite` too, so that it has to be made
before, by

    python -m trainers.calibrate --tagger=runs/face128 --data=photos --split=train

and the second by `python -m faketagger_tf.evaluation.registry --fit=FILE`.

The second writes `faketagger_tf/weights/swaps/one/`, a face-swap model in half
precision, which halves its size; the third `faketagger_tf/weights/latents/one/`, a
latent model, in the same way. A model card (`card.md`) is added by hand;
`--overwrite` leaves it as it is.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import tempfile

import h5py
import numpy as np
from absl import flags

from export.tflite import convert_decoder, convert_encoder, write_model
from faketagger_tf.command import require_flag, run_main
from faketagger_tf.files import write_atomic
from faketagger_tf.models import build_informed_encoder
from faketagger_tf.presets import (
    FACESWAP_CONFIG,
    LATENT_CONFIG,
    LATENTS,
    PRESENCE,
    PRESETS,
    REGISTERED,
    SWAPS,
    faceswap_folder,
    latent_folder,
    load_faceswap,
    load_latent,
    load_presence,
    load_tagger,
    save_presence,
    save_tagger,
)
from faketagger_tf.tagging.networks import DECODER, ENCODER

FLAGS = flags.FLAGS


def export_tagger(source: str, name: str, root: pathlib.Path = PRESETS) -> pathlib.Path:
    """Writes a tagger's preset folder.

    Args:
        source: a trained run's folder, or a preset.
        name: the preset's name.
        root: where presets lie.

    Returns:
        The folder.

    Raises:
        ValueError: there is no such tagger, or the folder cannot be written.
    """
    config, encoder, decoder = load_tagger(source)
    presence, registered = load_presence(source), load_presence(source, REGISTERED)
    config = dataclasses.replace(config, preset=name)
    folder = root / name
    files = {
        DECODER: convert_decoder(config, decoder, presence=presence),
        ENCODER: convert_encoder(
            config, build_informed_encoder(config, encoder, decoder), "float16"
        ),
    }
    # First, so that a killed run never leaves new weights with old p-values, or old
    # .tflite files, which would be preferred to them.
    for file in (PRESENCE, REGISTERED, *files):
        (folder / file).unlink(missing_ok=True)
    save_tagger(folder, config, encoder, decoder)
    # As halves, as in the file that tags; the decoder's are what readers agree on.
    weights = folder / "encoder.weights.h5"
    halve_weights(weights, weights)
    if presence:
        save_presence(folder, presence)
    if registered:
        save_presence(folder, registered, REGISTERED)
    for file, content in files.items():
        write_model(str(folder / file), content, overwrite=True)
    return folder


def export_swap(source: str, name: str, root: pathlib.Path = SWAPS) -> pathlib.Path:
    """Writes a face-swap model's preset folder, its weights as halves.

    Arguments, result and errors as for `export_tagger`.
    """
    config, _ = load_faceswap(source)
    return _export_halved(faceswap_folder(source), root / name, FACESWAP_CONFIG, config)


def export_latent(source: str, name: str, root: pathlib.Path = LATENTS) -> pathlib.Path:
    """Writes a latent model's preset folder, its weights as halves.

    Arguments, result and errors as for `export_tagger`.
    """
    config, _ = load_latent(source)
    return _export_halved(latent_folder(source), root / name, LATENT_CONFIG, config)


def _export_halved(
    source: pathlib.Path, target: pathlib.Path, config_name: str, config
) -> pathlib.Path:
    (weights,) = source.glob("*.weights.h5")
    halve_weights(weights, target / weights.name)
    write_atomic(target / config_name, config.to_json())
    return target


def halve_weights(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes a file of weights anew, as halves; the two may be one file."""
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "weights.h5")
        with h5py.File(source) as old, h5py.File(path, "w") as new:
            copy_halved(old, new)
        write_atomic(target, pathlib.Path(path).read_bytes())


def copy_halved(old: h5py.Group, new: h5py.Group) -> None:
    """Copies an HDF5 tree; float32 arrays become float16."""
    new.attrs.update(old.attrs)
    for key, value in old.items():
        if isinstance(value, h5py.Group):
            copy_halved(value, new.create_group(key))
        else:
            halve = value.dtype == np.float32
            data = value[()].astype(np.float16) if halve else value[()]
            new.create_dataset(key, data=data).attrs.update(value.attrs)


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    name = require_flag("name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"--name may hold letters, digits, '_', '.' and '-'. Received: {name!r}."
        )
    sources = [FLAGS.tagger, FLAGS.swap_model, FLAGS.latent_model]
    if sum(map(bool, sources)) != 1:
        raise ValueError(
            "Exactly one of --tagger, --swap_model and --latent_model must be given. "
            f"Received: {', '.join(map(repr, sources))}."
        )
    root = SWAPS if FLAGS.swap_model else LATENTS if FLAGS.latent_model else PRESETS
    if (root / name).exists() and not FLAGS.overwrite:
        raise ValueError(
            f"The preset {str(root / name)!r} exists; --overwrite would replace it."
        )
    if FLAGS.swap_model:
        folder = export_swap(FLAGS.swap_model, name)
    elif FLAGS.latent_model:
        folder = export_latent(FLAGS.latent_model, name)
    else:
        folder = export_tagger(FLAGS.tagger, name)
    for path in sorted(folder.iterdir()):
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", None, "A trained tagger's folder.")
    flags.DEFINE_string(
        "swap_model", None, "A trained face-swap model's folder, or a shipped one."
    )
    flags.DEFINE_string("latent_model", None, "A trained latent model's folder.")
    flags.DEFINE_string("name", None, "Name of the preset.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing preset.")
    run_main(main)
