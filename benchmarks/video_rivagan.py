"""RivaGAN on the clips of `benchmarks.video`: every frame marked, copies read.

    python -m benchmarks.video_rivagan --data=portraits --clips=2 --seconds=2 \
        --python=.venv-rivals/bin/python --output=build/video_rivagan

PYTHON is the interpreter of the rivals' environment, which `make compare` makes.
invisible-watermark marks and reads single frames; here the bits that most looks at a
copy agree on are its reading. It has no test of whether a frame is marked: `right` is
that all 32 bits came back. It takes seconds a frame of 720p, so that clips are short.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile

import numpy as np

from benchmarks.video import CHANGES, Swaps, check_changes, make_copies
from benchmarks.video_clips import RATE, MovingPortraits, write_frames
from faketagger_tf.data import find_photos
from faketagger_tf.evaluation.compare import mark_rival, to_bits
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.evaluation.visibility import mean_of, measure_visibility
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.video.container import Clip, rewrite_clip


@dataclasses.dataclass(frozen=True)
class RivaganOptions(Checked):
    """What the command can be told."""

    data: str = option("", "Folder of photos.", required=True)
    python: str = option("", "Python of the rivals' environment.", required=True)
    split: str = option("test", "Split to take portraits from; empty for all.")
    clips: int = option(2, "Clips that are marked.", low=1)
    seconds: float = option(2.0, "Length of a clip.", low=2.0)
    height: int = option(720, "Of a clip; it is 16:9.", low=144)
    every: int = option(5, "Frames from one look to the next.", low=1)
    changes: tuple[str, ...] = option(tuple(CHANGES), "What happens to the clips.")
    spread: int = option(100, "Portraits that clips are made of, evenly.", low=1)
    output: str = option("build/video_rivagan", "Report to write, without .md.")

    def __post_init__(self):
        super().__post_init__()
        check_changes(self.changes)


def main(options: RivaganOptions) -> None:
    """Runs the command; see the module's docstring."""
    people = [
        p.path for p in find_photos(options.data, options.split).spread(options.spread)
    ]
    swaps, rows, seen = Swaps(), [], []
    for number in range(options.clips):
        photo = read_photo(people[number % len(people)])
        with tempfile.TemporaryDirectory() as folder:
            found, visible = _measure(options, photo, number, folder, swaps)
        rows += found
        seen.append(visible)
    text = markdown(rows)
    figures = mean_of(seen)
    text += f"\n{options.clips} clips of {options.seconds:g} s. Marked frames: "
    text += ", ".join(f"{name} {value:.4g}" for name, value in figures.items()) + ".\n"
    report = {"options": dataclasses.asdict(options), "rows": rows, "seen": figures}
    write_report(options.output, report, text)
    print(text)


def _measure(options, photo, number, folder, swaps) -> tuple[list[dict], dict]:
    """Readings of one clip's copies, and how visible the marks are."""
    paths = {
        name: os.path.join(folder, f"{name}.mp4") for name in ("tagged", "swapped")
    }
    made = MovingPortraits(
        [photo], round(options.seconds * RATE), options.height, number
    )
    frames = list(made.frames())
    rng = np.random.default_rng(number)
    payload = int(rng.integers(2**32))
    pixels = {f"{frame.index:04}": frame.pixels for frame in frames}
    marked = mark_rival(
        options.python, "rivagan", pixels, dict.fromkeys(pixels, payload)
    )
    frames = [
        dataclasses.replace(frame, pixels=marked.photos[f"{frame.index:04}"])
        for frame in frames
    ]
    middle = f"{len(frames) // 2:04}"
    seen = measure_visibility(pixels[middle], marked.photos[middle])
    seen["seconds a frame"] = marked.seconds
    # As `benchmarks.video` writes what faketagger tags.
    write_frames(paths["tagged"], frames, crf=18)
    if any(CHANGES[name][0] == "swapped" for name in options.changes):
        change = swaps.swapper(number).change
        rewrite_clip(paths["tagged"], paths["swapped"], change, 8, "veryfast")
    start = float(rng.uniform(0, options.seconds - 1))
    rows = []
    for name, copy in make_copies(paths, options.changes, start, folder):
        with Clip(copy) as clip:
            looks = {
                f"{number:04}": frame.pixels
                for number, frame in enumerate(clip.frames())
                if number % options.every == 0
            }
        read, seconds = marked.read(looks)
        every = np.array([bits for bits, _ in read.values()])
        # Where the looks are divided, the first one decides.
        votes = np.mean(every, axis=0) + (every[0] - 0.5) / 100
        wanted = to_bits(payload)
        rows.append(
            {
                "change": name,
                "clip": number,
                "looks": len(read),
                "look_bits": float(np.mean(every == wanted)),
                "bits": float(np.mean((votes > 0.5) == wanted)),
                "seconds a look": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows, seen


def markdown(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = []
    for name in dict.fromkeys(row["change"] for row in rows):
        part = [row for row in rows if row["change"] == name]
        right = sum(row["bits"] == 1 for row in part)
        bits = np.mean([row["bits"] for row in part])
        single = np.mean([row["look_bits"] for row in part])
        lines.append([name, f"{right} of {len(part)}", f"{bits:.3f}", f"{single:.3f}"])
    titles = ["RivaGAN", "all 32 bits right", "bits, by majority", "bits of one look"]
    return markdown_table(titles, lines)


if __name__ == "__main__":
    run_command(RivaganOptions(), main)
