"""Calibrates a tagger's p-values on photos without a tag.

    python -m trainers.calibrate --tagger=face128 --data=untagged --split=train

Reads every face of the photos as `Tagger.examine` does, all of its places both ways,
fits the tail of the surprises (see `messages.presence`) and writes `presence.json`. Let
the photos be of all the kinds that will be traced, and keep the test split out:
`--data` may be given more than once. A preset's `decoder.tflite` holds the calibration
too; `export.preset` writes it anew.
"""

from __future__ import annotations

import collections
import os
import pathlib
from concurrent import futures

from absl import flags
from tqdm import tqdm

from faketagger_tf.command import run_main
from faketagger_tf.data import find_photos
from faketagger_tf.messages.presence import Presence
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET, save_presence, tagger_folder
from faketagger_tf.tagging.tagger import Tagger

FLAGS = flags.FLAGS


def read_surprises(tagger: Tagger, paths: list[str], jobs: int = 0) -> list[float]:
    """Returns the surprise of every face of untagged photos.

    A photo that cannot be read is named and passed over.

    Args:
        tagger: reads the photos.
        paths: their files.
        jobs: photos read at once; 0 takes one per processor.
    """

    def examine(path: str) -> list[float]:
        try:
            return [r.surprise for r in tagger.examine(read_photo(path))]
        except ValueError as error:
            tqdm.write(f"Skipped: {error}")
            return []

    surprises: list[float] = []
    with futures.ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        for found in tqdm(pool.map(examine, paths), total=len(paths), disable=None):
            surprises += found
    return surprises


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    if not FLAGS.data:
        raise ValueError("--data must be given. Received: nothing.")
    paths = [
        photo.path for data in FLAGS.data for photo in find_photos(data, FLAGS.split)
    ]
    twice = [path for path, n in collections.Counter(paths).items() if n > 1]
    if twice:
        raise ValueError(f"A photo must be given once. Received twice: {twice[0]!r}.")
    tagger = Tagger.load(FLAGS.tagger)
    presence = Presence.fit(read_surprises(tagger, paths))
    folder = pathlib.Path(FLAGS.output or tagger_folder(FLAGS.tagger))
    save_presence(folder, presence)
    print(f"{folder}: {presence}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", DEFAULT_PRESET, "Preset or folder to calibrate.")
    flags.DEFINE_multi_string("data", None, "Folder of photos without a tag.")
    flags.DEFINE_string("split", "", "Use this split of the data; empty for all.")
    flags.DEFINE_string(
        "output", None, "Folder to write to; by default the tagger's own."
    )
    run_main(main)
