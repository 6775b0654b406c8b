"""Clips made from portraits in motion: tagged, recompressed, changed, and read.

    python -m benchmarks.video --data=portraits --clips=8 --output=build/video

Each clip shows a portrait of the test split that zooms, pans and turns, with sensor
noise; every fourth fades over to another person half way. `--untagged` clips are read
without a tag, with one look and with all of them. Everything goes through files: what
is read was decoded from what an encoder wrote.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

from faketagger_tf.data import find_photos
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.evaluation.visibility import flip
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos import read_photo
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.tagger import FPR, Tagger
from faketagger_tf.video.container import Clip, Frame, rewrite_clip
from faketagger_tf.video.read import EVERY, read_frames
from faketagger_tf.video.tag import ClipTagger

RATE = 25
NOISE = 2.0  # Standard deviation of the sensor's noise, of 255.
FADE = 12  # Frames of a cross-fade.
FLICKERING = 8  # Frames whose flicker is measured: FLIP is slow.


def moving_portraits(
    photos: list[np.ndarray], frames: int, width: int, height: int, seed: int
) -> Iterator[Frame]:
    """Frames in which portraits zoom, pan and turn, one after the other."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.1, 0.35, 4)
    each = -(-frames // len(photos))
    for index in range(frames):
        wave = np.sin(2 * np.pi * speeds * index / RATE + phases)
        shot = index // each
        pixels = _posed(photos[shot], width, height, wave)
        left = (shot + 1) * each - index
        if shot + 1 < len(photos) and left <= FADE:
            then = _posed(photos[shot + 1], width, height, wave)
            share = 1 - left / (FADE + 1)
            pixels = cv2.addWeighted(then, share, pixels, 1 - share, 0)
        noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(NOISE)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
        yield Frame(index, index, index / RATE, pixels)


def _posed(photo: np.ndarray, width: int, height: int, wave: np.ndarray) -> np.ndarray:
    scale = height / photo.shape[0] * (1.1 + 0.15 * wave[0])
    matrix = cv2.getRotationMatrix2D(
        (photo.shape[1] / 2, photo.shape[0] / 2), 6 * wave[1], scale
    )
    shift = np.array([0.12, 0.05]) * height * wave[2:]
    middle = np.array([width, height]) / 2 - np.array(photo.shape[1::-1]) / 2
    matrix[:, 2] += middle + shift
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101
    return cv2.warpAffine(
        photo, matrix, (width, height), flags=flags, borderMode=border
    )


def write_frames(path: str, frames: Iterable[Frame]) -> None:
    """Writes frames as H.264 of high quality, BT.709."""
    with av.open(path, "w") as output:
        stream = output.add_stream(
            "libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"}
        )
        for frame in frames:
            if not frame.index:
                stream.height, stream.width = frame.pixels.shape[:2]
                stream.codec_context.colorspace = 1
                stream.codec_context.color_primaries = 1
                stream.codec_context.color_trc = 1
            image = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            image = image.reformat(format="yuv420p", dst_colorspace=1)
            image.pts, image.time_base = frame.index, Fraction(1, RATE)
            output.mux(stream.encode(image))
        output.mux(stream.encode(None))


def same(frames: Iterable[Frame]) -> Iterator[Frame]:
    yield from frames


def to_480p(frames: Iterable[Frame]) -> Iterator[Frame]:
    for frame in frames:
        height, width = frame.pixels.shape[:2]
        size = 2 * round(width * 240 / height), 480
        pixels = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
        yield dataclasses.replace(frame, pixels=pixels)


def without_a_second(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Leaves out the second that begins at 0.6 s."""
    return (frame for frame in frames if not 0.6 <= frame.time < 1.6)


def mangled(frames: Iterable[Frame]) -> Iterator[Frame]:
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


# Name -> ending of the file, what happens to its frames, CRF.
CHANGES = {
    "H.264 CRF 23": (".mp4", same, 23),
    "H.264 CRF 28": (".mp4", same, 28),
    "H.264 CRF 33": (".mp4", same, 33),
    "480p, CRF 28": (".mp4", to_480p, 28),
    "1 s cut out, CRF 23": (".mp4", without_a_second, 23),
    "15 frames/s, cropped, caption, VP9": (".webm", mangled, 33),
}


@dataclasses.dataclass(frozen=True)
class VideoOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to take portraits from; empty for all.")
    clips: int = option(8, "Clips that are tagged.", low=0)
    untagged: int = option(0, "Clips that are read without a tag.", low=0)
    seconds: float = option(10.0, "Length of a clip.", low=0.2)
    height: int = option(720, "Of a clip; it is 16:9.", low=144)
    strength: float = option(0.0, "In dB; 0 takes the tagger's own.")
    every: int = option(EVERY, "Frames from one look to the next.", low=1)
    changes: tuple[str, ...] = option(tuple(CHANGES), "What happens to the clips.")
    flicker: int = option(1, "Clips whose flicker is measured.", low=0)
    output: str = option("build/video", "Report to write, without .json and .md.")


def main(options: VideoOptions) -> None:
    """Runs the command; see the module's docstring."""
    tagger = Tagger.load(options.tagger)
    photos = find_photos(options.data, options.split)
    wanted = options.clips + options.untagged + 1
    photos = [read_photo(photo.path) for photo in photos.spread(wanted)]
    rows, speeds, flickers, surprises = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(min(options.clips, len(photos) - 1)):
            result = _measure(tagger, options, photos, number, folder)
            for name, values in zip((rows, speeds, flickers), result, strict=True):
                name.extend(values)
            print(f"Clip {number + 1}:", speeds[-1], flush=True)
        for number in range(options.clips, len(photos) - 1):
            path = os.path.join(folder, "untagged.mp4")
            make_clip(path, options, photos, number)
            for every in (options.every, round(RATE * options.seconds)):
                with Clip(path) as clip:
                    tracks = read_frames(tagger, clip.frames(), every)
                surprises += [
                    {
                        "looks": track.looks,
                        "surprise": track.reading.surprise,
                        "p_value": track.reading.p_value,
                        "found": track.reading.found,
                    }
                    for track in tracks
                ]
    report = {
        "options": dataclasses.asdict(options),
        "rows": rows,
        "speeds": speeds,
        "flicker": flickers,
        "untagged": surprises,
    }
    table = markdown(report)
    write_report(options.output, report, table)
    print(table)


def make_clip(path: str, options, photos: list[np.ndarray], number: int) -> None:
    """Writes clip `number`; every fourth fades over to the next person."""
    shown = photos[number : number + (2 if number % 4 == 3 else 1)]
    count, width = round(options.seconds * RATE), options.height * 16 // 18 * 2
    write_frames(
        path, moving_portraits(shown, count, width, options.height, seed=number)
    )


def _measure(tagger, options, photos, number, folder) -> tuple[list, list, list]:
    """Rows of what was read, (frames a second of tagging, seconds of tracing), FLIP."""
    source = os.path.join(folder, "source.mp4")
    tagged = os.path.join(folder, "tagged.mp4")
    make_clip(source, options, photos, number)
    payload = tagger.random_payload()
    strength = options.strength or None
    clip_tagger = ClipTagger(tagger, payload, strength)
    busy = 0.0

    def change(frames):
        # The clock runs while frames are tagged, not while they are coded.
        nonlocal busy
        changed = clip_tagger.change(_pulled(frames, waits))
        while True:
            start, waited = time.perf_counter(), sum(waits)
            frame = next(changed, None)
            busy += time.perf_counter() - start - (sum(waits) - waited)
            if frame is None:
                return
            yield frame

    waits: list[float] = []
    written = rewrite_clip(source, tagged, change, preset="veryfast")
    rows = []
    start = time.perf_counter()
    rows.append(_row(tagger, options, tagged, "as tagged, CRF 18", payload))
    speeds = [(written.frames / busy, time.perf_counter() - start)]
    for name in options.changes:
        ending, alter, crf = CHANGES[name]
        copy = os.path.join(folder, "copy" + ending)
        preset = None if ending == ".webm" else "veryfast"
        rewrite_clip(tagged, copy, alter, crf, preset)
        rows.append(_row(tagger, options, copy, name, payload))
    flickers = []
    if number < options.flicker:
        flickers.append(measure_flicker(tagger, source, payload, strength))
        print(flickers[-1], flush=True)
    return rows, speeds, flickers


def _pulled(frames, waits: list[float]) -> Iterator[Frame]:
    frames = iter(frames)
    while True:
        start = time.perf_counter()
        frame = next(frames, None)
        waits.append(time.perf_counter() - start)
        if frame is None:
            return
        yield frame


def _row(tagger, options, path: str, change: str, payload: int) -> dict:
    with Clip(path) as clip:
        tracks = read_frames(tagger, clip.frames(), options.every)
    found = [t.reading.payload for t in tracks if t.reading.found]
    row = {
        "change": change,
        "found": payload in found,
        "wrong": any(value != payload for value in found),
        "p_value": min(t.reading.p_value for t in tracks),
        "tracks": len(tracks),
        "bytes": os.path.getsize(path),
    }
    print(row, flush=True)
    return row


def measure_flicker(tagger, source: str, payload: int, strength) -> dict[str, float]:
    """Mean FLIP between the residuals of neighbouring frames: ours, and frame by frame.

    Residuals are shown on grey. FLIP is of the middle square of the first `FLICKERING`
    frames, before encoding.
    """

    def alone(frames):
        for frame in frames:
            pixels = tagger.embed(frame.pixels, payload, strength)
            yield dataclasses.replace(frame, pixels=pixels)

    means = {}
    ways = {"carried": ClipTagger(tagger, payload, strength).change, "alone": alone}
    for name, change in ways.items():
        with Clip(source) as clip:
            covers = [f for f, _ in zip(clip.frames(), range(FLICKERING), strict=False)]
        greys = [
            np.clip(t.pixels.astype(np.int16) - c.pixels + 128, 0, 255).astype(np.uint8)
            for c, t in zip(covers, change(iter(covers)), strict=True)
        ]
        height, width = greys[0].shape[:2]
        middle = np.s_[height // 4 : -height // 4, (width - height // 2) // 2 :]
        greys = [np.ascontiguousarray(g[middle][:, : height // 2]) for g in greys]
        pairs = itertools.pairwise(greys)
        means[name] = float(np.mean([flip(a, b).mean() for a, b in pairs]))
    return means


def markdown(report: dict) -> str:
    """The report as tables."""
    text = ""
    names = list(dict.fromkeys(row["change"] for row in report["rows"]))
    if names:
        lines = []
        for name in names:
            rows = [row for row in report["rows"] if row["change"] == name]
            found = sum(row["found"] for row in rows)
            p_values = sorted(row["p_value"] for row in rows)
            lines.append(
                [
                    name,
                    f"{found} of {len(rows)}",
                    sum(row["wrong"] for row in rows),
                    f"{p_values[len(p_values) // 2]:.0e}",
                    f"{p_values[-1]:.0e}",
                ]
            )
        titles = [f"read at p <= {FPR:g}", "found", "wrong", "median p", "largest p"]
        text += markdown_table(titles, lines) + "\n"
    if report["speeds"]:
        tag, trace = np.median(report["speeds"], axis=0)
        text += (
            f"Tagging: {tag:.1f} frames/s, coding not counted. Tracing a clip: "
            f"{trace:.1f} s. Medians.\n"
        )
    for each in report["flicker"]:
        text += (
            f"Mean FLIP between neighbouring residuals: {each['carried']:.5f}, tagged "
            f"frame by frame {each['alone']:.5f}.\n"
        )
    for several in (False, True):
        rows = [r for r in report["untagged"] if (r["looks"] > 1) == several]
        if rows:
            x = np.array([row["surprise"] for row in rows])
            p = [row["p_value"] for row in rows]
            text += (
                f"Untagged, {'several looks' if several else 'one look'}: {len(x)} "
                f"tracks, {sum(row['found'] for row in rows)} found, smallest p "
                f"{min(p):.1e}; surprise: mean {x.mean():.2f}, 90% "
                f"{np.quantile(x, 0.9):.2f}, largest {x.max():.2f}.\n"
            )
    return text


if __name__ == "__main__":
    run_command(VideoOptions(), main)
