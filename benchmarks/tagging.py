"""Prints how many photos a minute `faketagger tag` and `trace` handle, and why.

    python -m benchmarks.tagging [--data=folder] [--tagger=portrait128]

Files are read from disk and written back as their own format. Without --data the photos
are crops of scikit-image's astronaut at the size of a web portrait (335x410). Start-up
is not counted; the share of each step is that of one photo at a time.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pathlib
import tempfile
import time

import cv2
import numpy as np
import skimage.data
from absl import flags

from faketagger_tf.cli import main as cli
from faketagger_tf.command import run_main
from faketagger_tf.data import find_photos
from faketagger_tf.metrics import measure
from faketagger_tf.photos import write_image
from faketagger_tf.photos.faces import detect_faces
from faketagger_tf.photos.photo_file import read_photo_file, write_photo_file
from faketagger_tf.tagging.tagger import Tagger

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Folder of photos; by default crops of one photo.")
flags.DEFINE_string("tagger", "portrait128", "Preset or folder.")
flags.DEFINE_integer("count", 100, "Photos.", lower_bound=1)
flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Photos at once.", lower_bound=1)


def write_photos(folder: pathlib.Path, count: int) -> None:
    """Writes `count` different JPEG portraits."""
    rng = np.random.default_rng(0)
    astronaut = skimage.data.astronaut()
    for i in range(count):
        left, top = rng.integers(60, 110), rng.integers(0, 30)
        crop = astronaut[top : top + 300, left : left + 245]
        photo = cv2.resize(crop, (335, 410), interpolation=cv2.INTER_CUBIC)
        write_image(folder / f"{i:04}.jpg", photo)


def quiet(*arguments) -> float:
    """Runs the command without its output; returns the seconds."""
    start = time.perf_counter()
    streams = contextlib.redirect_stdout(io.StringIO())
    with streams, contextlib.redirect_stderr(io.StringIO()):
        cli.main(["faketagger", *map(str, arguments)])
    return time.perf_counter() - start


def step_shares(tagger: Tagger, paths: list[str], folder: pathlib.Path) -> dict:
    """Mean milliseconds of each step of one photo."""
    total = collections.Counter()

    def timed(name, function, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        total[name] += time.perf_counter() - start
        return result

    for path in paths:
        photo = timed("read file", read_photo_file, path)
        timed("find faces", detect_faces, photo.pixels)
        canvases = tagger.find_canvases(photo.pixels)
        tagged = timed("embed", tagger.embed, photo.pixels, 1, None, canvases)
        timed("measure", measure, photo.pixels, tagged)
        output = folder / f"step{os.path.splitext(path)[1]}"
        timed("write file", write_photo_file, output, photo)
        timed("read tag", tagger.examine, tagged)
        timed("read no tag", tagger.examine, photo.pixels)
    return {name: 1000 * seconds / len(paths) for name, seconds in total.items()}


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    tagger = Tagger.load(FLAGS.tagger)
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        source, tagged = root / "photos", root / "tagged"
        source.mkdir()
        if FLAGS.data:
            for photo in list(find_photos(FLAGS.data))[: FLAGS.count]:
                os.symlink(
                    os.path.abspath(photo.path), source / os.path.basename(photo.path)
                )
        else:
            write_photos(source, FLAGS.count)
        paths = sorted(str(path) for path in source.iterdir())
        # One model for both runs, already traced.
        step_shares(tagger, paths[:2], root)
        Tagger.load = lambda *_: tagger
        common = [f"--tagger={FLAGS.tagger}", f"--jobs={FLAGS.jobs}"]
        runs = {
            "tag": quiet("tag", source, tagged, *common),
            "tag --nocheck": quiet(
                "tag", source, root / "unchecked", "--nocheck", *common
            ),
            "tag --refine=40": quiet(
                "tag", source, root / "refined", "--refine=40", *common
            ),
            "trace (tagged)": quiet("trace", tagged, *common),
            "trace (no tag)": quiet("trace", source, *common),
        }
        for what, seconds in runs.items():
            rate = 60 * len(paths) / seconds
            print(f"{what:15} {rate:7.0f} photos a minute, {FLAGS.jobs} at once")
        for step, milliseconds in step_shares(tagger, paths[:20], root).items():
            print(f"  {step:13} {milliseconds:7.1f} ms")
    return 0


if __name__ == "__main__":
    run_main(main)
