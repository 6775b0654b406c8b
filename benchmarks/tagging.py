"""Prints how many photos a minute `faketagger tag` and `trace` handle, and why.

    python -m benchmarks.tagging [--data=folder] [--tagger=face128]

Both runtimes, one beside the other: LiteRT, which the command uses, and Keras. Files
are read from disk and written back as their own format. Without --data the photos are
crops of scikit-image's astronaut at the size of a web portrait (335x410). Start-up is
counted in the first two rows alone; the share of each step is that of one photo at a
time.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import skimage.data
from absl import flags

from faketagger_tf import metrics
from faketagger_tf.cli import main as cli
from faketagger_tf.command import run_main
from faketagger_tf.data import find_photos
from faketagger_tf.photos import write_image
from faketagger_tf.photos.faces import detect_faces
from faketagger_tf.photos.photo_file import read_photo_file, write_photo_file
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.tagger import RUNTIMES, Tagger

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Folder of photos; by default crops of one photo.")
flags.DEFINE_string("tagger", DEFAULT_PRESET, "Preset or folder.")
flags.DEFINE_integer("count", 100, "Photos.", lower_bound=1)
flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Photos at once.", lower_bound=1)
flags.DEFINE_integer("refined", 8, "Photos whose tags are refined.", lower_bound=0)

# Answers one command in a process of its own and prints its peak memory in MB. Not
# getrusage's, which on Linux begins with that of the process that started it.
ALONE = """
import pathlib, re, sys
from faketagger_tf.cli.main import main
main(["faketagger", *sys.argv[1:]])
status = pathlib.Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
print("peak", int(peak[1]) / 1024 if peak else "nan")
"""


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


def alone(*arguments) -> tuple[float, float]:
    """Seconds from start to end, and peak memory in MB, of a command's process."""
    times, memory = [], 0.0
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-c", ALONE, *map(str, arguments)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
        memory = float(run.stdout.rsplit("peak", 1)[1])
    return min(times), memory


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
        timed("measure", metrics.measure, photo.pixels, tagged)
        output = folder / f"step{os.path.splitext(path)[1]}"
        timed("write file", write_photo_file, output, photo)
        timed("read tag", tagger.examine, tagged)
        mirrored = np.ascontiguousarray(tagged[:, ::-1])
        timed("read mirrored", tagger.examine, mirrored)
        timed("read no tag", tagger.examine, photo.pixels)
    return {name: 1000 * seconds / len(paths) for name, seconds in total.items()}


def measure(tagger: Tagger, paths: list[str], source: str, root: pathlib.Path) -> dict:
    """Photos a minute of each command, and milliseconds of each step."""
    step_shares(tagger, paths[:2], root)  # Already opened and traced.
    load, Tagger.load = Tagger.load, lambda *_: tagger
    common = [f"--tagger={FLAGS.tagger}", f"--jobs={FLAGS.jobs}"]
    tagged = root / "tagged"
    some = root / "some"
    some.mkdir()
    for path in paths[: FLAGS.refined]:
        os.symlink(os.path.realpath(path), some / os.path.basename(path))
    runs = {
        "tag": (source, tagged),
        "tag --nocheck": (source, root / "unchecked", "--nocheck"),
        "tag --refine=40": (some, root / "refined", "--refine=40"),
    }
    try:
        rates = {
            what: 60 * len(os.listdir(run[0])) / quiet("tag", *run, *common)
            for what, run in runs.items()
            if os.listdir(run[0])
        }
        for what, folder in (("trace (tagged)", tagged), ("trace (no tag)", source)):
            rates[what] = 60 * len(paths) / quiet("trace", folder, *common)
        seconds = quiet("trace", source, "--quick", *common)
        rates["trace --quick"] = 60 * len(paths) / seconds
    finally:
        Tagger.load = load
    return rates | step_shares(tagger, paths[:20], root)


def main(argv: list[str]) -> int:
    """Runs the benchmark; see the module's docstring."""
    del argv
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        source = root / "photos"
        source.mkdir()
        if FLAGS.data:
            for photo in list(find_photos(FLAGS.data))[: FLAGS.count]:
                os.symlink(
                    os.path.abspath(photo.path), source / os.path.basename(photo.path)
                )
        else:
            write_photos(source, FLAGS.count)
        paths = sorted(str(path) for path in source.iterdir())
        results = {}
        for runtime in RUNTIMES:
            folder = root / runtime
            folder.mkdir()
            tagger = Tagger.load(FLAGS.tagger, runtime=runtime)
            results[runtime] = measure(tagger, paths, source, folder)
        one = root / "one.png"
        write_image(one, skimage.data.astronaut())
        quiet("tag", one, root / "one-tagged.png", f"--tagger={FLAGS.tagger}")
        seconds, memory = alone(
            "trace", root / "one-tagged.png", f"--tagger={FLAGS.tagger}"
        )
    print(f"start to answer of trace, one 512 px photo: {seconds:.2f} s")
    print(f"its peak memory: {memory:.0f} MB")
    print(f"{'':17}" + "".join(f"{runtime:>9}" for runtime in RUNTIMES))
    for what in results[RUNTIMES[0]]:
        values = [results[runtime][what] for runtime in RUNTIMES]
        command = what.startswith(("tag", "trace"))
        unit = f"photos a minute, {FLAGS.jobs} at once" if command else "ms"
        digits = 0 if command else 1
        row = "".join(f"{value:9.{digits}f}" for value in values)
        print(f"{what:17}{row}  {unit}")
    return 0


if __name__ == "__main__":
    run_main(main)
