"""How long tagging and tracing a clip take, on a clip of one moving face.

    python -m benchmarks.video_speed [--portrait=face.jpg]

Tagging is timed on frames in memory: neither decoding nor encoding is counted. Tracing
is timed from the file to the reading, decoding included. Unless a photo is given, the
face is drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time

import numpy as np

from benchmarks.video_clips import RATE, MovingPortraits, write_frames
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.tagger import Tagger
from faketagger_tf.video.container import Clip, rewrite_clip
from faketagger_tf.video.read import read_frames
from faketagger_tf.video.tag import ClipTagger, choose_track_strengths

HELD = 100  # Frames that are held in memory and tagged, 2.8 MB each at 720p.


@dataclasses.dataclass(frozen=True)
class SpeedOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    portrait: str = option("", "A photo of one face; unless given, it is drawn.")
    seconds: float = option(10.0, "Length of the clip.", low=1.0)
    height: int = option(720, "Of the clip; it is 16:9.", low=144)


class Clock:
    """Seconds that went by and seconds of one or more processors, added up."""

    def __init__(self):
        self.wall = self.busy = 0.0

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self._start[0]
        self.busy += time.process_time() - self._start[1]

    def __str__(self) -> str:
        return f"{self.wall:.2f} s, {self.busy:.2f} s of processors"


def main(options: SpeedOptions) -> None:
    """Runs the benchmark; see the module's docstring."""
    tagger = Tagger.load(options.tagger)
    if options.portrait:
        photo = read_photo(options.portrait)
    else:
        photo, *_ = draw_photo(identity_from_seed(3), np.random.default_rng(3), 512)
    count = round(options.seconds * RATE)
    made = MovingPortraits([photo], count, options.height)
    payload = 0x1F2E3D4C
    tagging, tracing, choosing = Clock(), Clock(), Clock()
    held = list(itertools.islice(made.frames(), HELD))
    next(ClipTagger(tagger, payload).change(iter(held)))  # Networks are loaded.
    with tagging:
        for _ in ClipTagger(tagger, payload).change(iter(held)):
            pass
    count, faces = len(held), len(tagger.find_faces(held[0].pixels))
    del held
    with tempfile.TemporaryDirectory() as folder:
        source, target = (os.path.join(folder, f"{n}.mp4") for n in ("a", "b"))
        write_frames(source, made.frames())
        change = ClipTagger(tagger, payload).change
        rewrite_clip(source, target, change, preset="veryfast")
        with tracing, Clip(target) as clip:
            tracks = read_frames(tagger, clip.frames())
        with choosing, Clip(source) as clip:
            choose_track_strengths(tagger, clip.frames(), payload)
    found = [track.reading.payload == payload for track in tracks]
    print(
        f"{made.count} frames of {made.width}x{made.height}, {faces} face(s), read: "
        f"{all(found)}; {os.cpu_count()} processors\n"
        f"tagging: {count / tagging.wall:.1f} frames/s ({tagging})\n"
        f"tracing: {tracing}\nchoosing strengths: {choosing}"
    )


if __name__ == "__main__":
    run_command(SpeedOptions(), main)
