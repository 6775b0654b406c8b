"""Clips made from portraits in motion: tagged, recompressed, changed, and read.

    python -m benchmarks.video --data=portraits --clips=8 --output=build/video

Each clip shows a portrait of the test split that zooms, pans and turns, with sensor
noise; every fourth fades over to another person half way. `--untagged` clips, which are
short and small, are read without a tag. Everything goes through files: what is read was
decoded from what an encoder wrote.

A clip is one line of OUTPUT.jsonl. A run that was stopped goes on after the last one,
and a run with more clips adds to them. `benchmarks.video_speed` measures the time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from benchmarks.video_clips import RATE, MovingPortraits, write_frames
from benchmarks.video_flicker import measure_flicker
from faketagger_tf.data import find_photos
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.files import make_folder
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.tagger import FPR, Tagger
from faketagger_tf.video.container import Clip, Frame, rewrite_clip
from faketagger_tf.video.read import CHANCES, EVERY, read_frames
from faketagger_tf.video.tag import ClipTagger, choose_track_strengths

SWAPS = ("unseen_narrow", "unseen_skips")  # Face-swap models no tagger trained on.
SHARES = 0.1, 0.03, 0.01  # P-values whose shares among untagged tracks are told.
SHORT = 0.8, 360, 4  # Seconds, height and frames between looks of an untagged clip.


def same(frames: Iterable[Frame], _) -> Iterator[Frame]:
    yield from frames


def to_480p(frames: Iterable[Frame], _) -> Iterator[Frame]:
    for frame in frames:
        height, width = frame.pixels.shape[:2]
        size = 2 * round(width * 240 / height), 480
        pixels = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
        yield dataclasses.replace(frame, pixels=pixels)


def without_a_second(frames: Iterable[Frame], start: float) -> Iterator[Frame]:
    return (frame for frame in frames if not start <= frame.time < start + 1)


def mangled(frames: Iterable[Frame], _) -> Iterator[Frame]:
    """15 frames a second, 10% cropped, a caption burnt in."""
    shown = -1
    for frame in frames:
        if int(frame.time * 15 + 1e-6) == shown:
            continue
        shown = int(frame.time * 15 + 1e-6)
        height, width = frame.pixels.shape[:2]
        pixels = frame.pixels[height // 20 : -(height // 20)]
        pixels = pixels[:, width // 20 : -(width // 20)]
        pixels = np.ascontiguousarray(pixels[: len(pixels) // 2 * 2])
        place = (width // 5, len(pixels) - height // 12)
        style = cv2.FONT_HERSHEY_SIMPLEX, height / 500
        text = "a caption burnt into the picture"
        cv2.putText(pixels, text, place, *style, (0, 0, 0), 6, cv2.LINE_AA)
        cv2.putText(pixels, text, place, *style, (255, 255, 255), 2, cv2.LINE_AA)
        yield dataclasses.replace(frame, pixels=pixels)


# Name -> what is changed ("tagged" or the tagged clip "swapped"), ending of the file,
# what happens to its frames, CRF.
CHANGES = {
    "H.264 CRF 23": ("tagged", ".mp4", same, 23),
    "H.264 CRF 28": ("tagged", ".mp4", same, 28),
    "H.264 CRF 33": ("tagged", ".mp4", same, 33),
    "480p, CRF 28": ("tagged", ".mp4", to_480p, 28),
    "unseen swap, CRF 23": ("swapped", ".mp4", same, 23),
    "unseen swap, 480p, CRF 28": ("swapped", ".mp4", to_480p, 28),
    "1 s cut out, CRF 23": ("tagged", ".mp4", without_a_second, 23),
    "15 frames/s, cropped, caption, VP9": ("tagged", ".webm", mangled, 33),
}


@dataclasses.dataclass(frozen=True)
class VideoOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to take portraits from; empty for all.")
    clips: int = option(15, "Clips that are tagged.", low=0)
    untagged: int = option(0, "Clips that are read without a tag.", low=0)
    seconds: float = option(10.0, "Length of a clip.", low=2.0)
    height: int = option(720, "Of a clip; it is 16:9.", low=144)
    promise: str = option("web", "That chooses strengths; empty: the tagger's own.")
    every: int = option(EVERY, "Frames from one look to the next.", low=1)
    changes: tuple[str, ...] = option(tuple(CHANGES), "What happens to the clips.")
    flicker: int = option(3, "Clips whose flicker is measured.", low=0)
    spread: int = option(100, "Portraits that clips are made of, evenly.", low=1)
    output: str = option("build/video", "Report to write, without .jsonl and .md.")

    def __post_init__(self):
        super().__post_init__()
        check_changes(self.changes)


def main(options: VideoOptions) -> None:
    """Runs the command; see the module's docstring."""
    rows = Rows(options.output + ".jsonl", _fixed(options))
    tagger = Tagger.load(options.tagger)
    photos = find_photos(options.data, options.split)
    people = [photo.path for photo in photos.spread(options.spread)]
    swaps = Swaps()
    for number in range(options.clips):
        if not rows.has("tagged", number):
            with tempfile.TemporaryDirectory() as folder:
                row = _measure(tagger, options, people, number, folder, swaps)
            rows.add({"kind": "tagged", "number": number, **row})
    people = [photo.path for photo in photos.spread(max(options.untagged, 1))]
    for number in range(options.untagged):
        if not rows.has("untagged", number):
            tracks = _read_untagged(tagger, people[number % len(people)], number)
            rows.add({"kind": "untagged", "number": number, "tracks": tracks})
    table = markdown(rows.rows)
    report = {"options": dataclasses.asdict(options), "rows": rows.rows}
    write_report(options.output, report, table)
    print(table)


def check_changes(names: tuple[str, ...]) -> None:
    """Raises a ValueError where one is not among `CHANGES`."""
    for name in names:
        if name not in CHANGES:
            raise ValueError(
                f"There is no change {name!r}. Accepted: {'; '.join(CHANGES)}."
            )


def _fixed(options: VideoOptions) -> dict:
    """What the clips of one file have in common."""
    fixed = dataclasses.asdict(options) | {"chances": CHANCES}
    for name in ("clips", "untagged", "flicker", "output"):
        del fixed[name]
    return json.loads(json.dumps(fixed))


class Rows:
    """A file of one row a clip, below a line that says how they were made.

    Args:
        path: of the file; rows that it has are kept.
        fixed: how rows are made.

    Raises:
        ValueError: the file's rows were made otherwise.
    """

    def __init__(self, path: str, fixed: dict):
        self.path, self.rows = path, []
        make_folder(path)
        whole = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                # A run that was killed may have left a part of a line.
                whole = [line for line in file if line.endswith("\n")]
        if whole and json.loads(whole[0]) != fixed:
            raise ValueError(
                f"The rows of {path!r} were made with other options. "
                f"Received: {fixed}. Accepted: {whole[0].strip()}, or another output."
            )
        self.rows = [json.loads(line) for line in whole[1:]]
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(whole or [json.dumps(fixed) + "\n"])

    def has(self, kind: str, number: int) -> bool:
        return any((r["kind"], r["number"]) == (kind, number) for r in self.rows)

    def add(self, row: dict) -> None:
        self.rows.append(row)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


class Swaps:
    """Swaps the faces of clips with the models of `SWAPS` in turn."""

    def __init__(self):
        self._loaded: dict = {}

    def swapper(self, number: int):
        from faketagger_tf.presets import load_faceswap
        from faketagger_tf.video.swap import ClipSwapper

        name = SWAPS[number % len(SWAPS)]
        if name not in self._loaded:
            self._loaded[name] = load_faceswap(name)
        config, model = self._loaded[name]
        identities = config.identities
        identity = identities[number // len(SWAPS) % len(identities)]
        return ClipSwapper(config, model, identity)


def _measure(tagger, options, people, number, folder, swaps) -> dict:
    """What became of one clip."""
    paths = {
        name: os.path.join(folder, f"{name}.mp4")
        for name in ("source", "tagged", "swapped")
    }
    shown = people[number % len(people) :][: 2 if number % 4 == 3 else 1]
    photos = [read_photo(path) for path in shown]
    count = round(options.seconds * RATE)
    made = MovingPortraits(photos, count, options.height, number)
    write_frames(paths["source"], made.frames())
    rng = np.random.default_rng(number)
    payload = int(rng.integers(2**tagger.config.payload_bits))
    strengths = None
    if options.promise:
        with Clip(paths["source"]) as clip:
            choices = choose_track_strengths(
                tagger, clip.frames(), payload, options.promise
            )
        strengths = {track: choice.strength for track, choice in choices.items()}
    change = ClipTagger(tagger, payload, strengths).change
    rewrite_clip(paths["source"], paths["tagged"], change, preset="veryfast")
    row = {"people": len(photos), "strengths": strengths}
    row["readings"] = [_read(tagger, options, paths["tagged"], "CRF 18", payload)]
    if any(CHANGES[name][0] == "swapped" for name in options.changes):
        # Nearly lossless: coding is the change's.
        swapper = swaps.swapper(number)
        rewrite_clip(paths["tagged"], paths["swapped"], swapper.change, 8, "veryfast")
        row["swapped"] = swapper.swapped
    start = float(rng.uniform(0, options.seconds - 1))
    for name, copy in make_copies(paths, options.changes, start, folder):
        row["readings"].append(_read(tagger, options, copy, name, payload))
    if number < options.flicker and len(photos) == 1:
        row["flicker"] = measure_flicker(tagger, made, payload)
    return row


def make_copies(
    paths: dict[str, str], changes: Iterable[str], start: float, folder: str
) -> Iterator[tuple[str, str]]:
    """Writes the changed copies of a clip one after the other, over each other.

    Args:
        paths: the files "tagged" and, where a change asks for it, "swapped".
        changes: names of `CHANGES`.
        start: where a second is cut out.
        folder: receives a copy.

    Yields:
        The change's name and the copy's path.
    """
    for name in changes:
        source, ending, alter, crf = CHANGES[name]
        copy = os.path.join(folder, "copy" + ending)
        preset = None if ending == ".webm" else "veryfast"

        def changed(frames, alter=alter):
            return alter(frames, start)

        rewrite_clip(paths[source], copy, changed, crf, preset)
        yield name, copy


def _read(tagger, options, path: str, change: str, payload: int) -> dict:
    with Clip(path) as clip:
        tracks = read_frames(tagger, clip.frames(), options.every)
    found = [t.reading.payload for t in tracks if t.reading.found]
    right = [t.reading.p_value for t in tracks if t.reading.payload == payload]
    return {
        "change": change,
        "found": payload in found,
        "wrong": any(value != payload for value in found),
        "p_value": min(right, default=1.0),
        "tracks": [t.looks for t in tracks],
        "bytes": os.path.getsize(path),
    }


def _read_untagged(tagger, path: str, number: int) -> list[dict]:
    """Tracks of a short clip without a tag."""
    seconds, height, every = SHORT
    made = MovingPortraits([read_photo(path)], round(seconds * RATE), height, number)
    with tempfile.TemporaryDirectory() as folder:
        clip_path = os.path.join(folder, "untagged.mp4")
        write_frames(clip_path, made.frames(), crf=23)
        with Clip(clip_path) as clip:
            tracks = read_frames(tagger, clip.frames(), every)
    return [
        {
            "looks": track.looks,
            "surprise": track.reading.surprise,
            "p_value": track.reading.p_value,
            "found": track.reading.found,
        }
        for track in tracks
    ]


def markdown(rows: list[dict]) -> str:
    """The rows as tables."""
    readings = [r for row in rows if row["kind"] == "tagged" for r in row["readings"]]
    text = _reach(readings) if readings else ""
    flickers = [row["flicker"] for row in rows if row.get("flicker")]
    for name in flickers[0] if flickers else ():
        ways = flickers[0][name]
        means = {way: np.mean([f[name][way] for f in flickers]) for way in ways}
        told = ", ".join(f"{way} {mean:.4f}" for way, mean in means.items())
        text += f"{name}, {len(flickers)} clips: {told}.\n"
    clips = [row["tracks"] for row in rows if row["kind"] == "untagged"]
    if clips:
        part = [track for tracks in clips for track in tracks]
        x = np.array([row["surprise"] for row in part])
        p = np.array([row["p_value"] for row in part])
        shares = ", ".join(f"{np.mean(p <= at):.3f} at {at:g}" for at in SHARES)
        text += (
            f"Untagged: {len(clips)} clips, {len(part)} tracks, "
            f"{sum(row['found'] for row in part)} found, smallest p {p.min():.1e}. "
            f"Share of p-values: {shares}. Surprise: mean {x.mean():.2f}, 90% "
            f"{np.quantile(x, 0.9):.2f}, largest {x.max():.2f}.\n"
        )
    return text


def _reach(readings: list[dict]) -> str:
    lines = []
    for name in dict.fromkeys(row["change"] for row in readings):
        part = [row for row in readings if row["change"] == name]
        p_values = sorted(row["p_value"] for row in part)
        lines.append(
            [
                name,
                f"{sum(row['found'] for row in part)} of {len(part)}",
                sum(row["wrong"] for row in part),
                f"{p_values[len(p_values) // 2]:.0e}",
                f"{p_values[-1]:.0e}",
            ]
        )
    titles = [f"read at p <= {FPR:g}", "found", "wrong", "median p", "largest p"]
    return markdown_table(titles, lines) + "\n"


if __name__ == "__main__":
    run_command(VideoOptions(), main)
