"""What `tag`, `trace` and `deepfake` do with clips."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser, whole_number
from faketagger_tf.names import one_line, printable
from faketagger_tf.video import EXTENSIONS, is_clip, require_av

TAG_COLUMNS = (
    *("file", "output", "payload", "faces", "tracks", "frames", "seconds"),
    *("frames_per_second", "p_value", "lost", "notes", "error"),
)
TRACE_COLUMNS = (
    *("file", "track", "face", "start", "end", "looks", "found", "payload"),
    *("p_value", "bit_error_estimate", "corrected_bits", "mirrored", "box"),
    *("notes", "error"),
)
# Flags that mean something for photos alone, with what they are where not given.
_TAG_PHOTOS = {
    "registry": None,
    "refine": 0,
    "quality": None,
    "promise": None,
    "sign": False,
    "preserve": False,
    "extension": None,
}
_TRACE_PHOTOS = {"registry": None, "canvas": None}


def add_coding_flags(parser: Parser) -> None:
    parser.add_argument(
        "--crf",
        type=whole_number(0, 63),
        help="Quality of a clip: 0 (best) to 51 for H.264, by default 18; to 63 for "
        "VP9 in WebM files, by default 24.",
    )
    parser.add_argument(
        "--preset",
        help="How long H.264 takes for a smaller clip: x264's presets, from ultrafast "
        "to veryslow, by default medium.",
    )


def refuse_coding_flags(values) -> None:
    """Raises a ValueError for a clip's flag that was given for a photo."""
    for name in ("crf", "preset"):
        if getattr(values, name) is not None:
            raise ValueError(
                f"--{name} is for clips ({', '.join(EXTENSIONS)}). "
                f"Received: --{name} for a photo or a folder."
            )


def check_files(paths: Iterable[str]) -> bool:
    """Whether files are clips; raises a ValueError where some are and some are not."""
    paths = list(paths)
    clips = [path for path in paths if is_clip(path) and not os.path.isdir(path)]
    if clips and len(clips) < len(paths):
        raise ValueError(
            "Clips and photos are traced in runs of their own. "
            f"Received: {clips[0]!r} among {len(paths)} files."
        )
    return bool(clips)


def tag(values) -> int:
    """Tags a clip; returns the exit code."""
    _refuse(values, _TAG_PHOTOS)
    _check_target(values)
    if values.strength == "auto":
        raise ValueError(
            "--strength must be a number for a clip: one strength is kept for all "
            "frames. Received: auto. Accepted: from 0 (weakest) to 1 (strongest)."
        )
    from faketagger_tf.messages import format_payload, parse_payload
    from faketagger_tf.video.container import Clip, rewrite_clip
    from faketagger_tf.video.read import read_frames
    from faketagger_tf.video.tag import ClipTagger

    report = common.Report(values, TAG_COLUMNS, _tag_text, append=True)
    tagger = common.load_tagger(values)
    bits = tagger.config.payload_bits
    payload = (
        tagger.random_payload()
        if values.payload is None
        else parse_payload(values.payload, bits)
    )
    decibels = None if values.strength is None else tagger.decibels(values.strength)
    clip_tagger = ClipTagger(tagger, payload, decibels, values.retag)
    p_values = []

    def read_back(temporary: str, _) -> None:
        with Clip(temporary) as clip:
            frames = _shown(clip.frames(), clip.count, "read back")
            tracks = read_frames(tagger, frames)
        read = [t.reading for t in tracks if t.reading.found]
        p_values.extend(r.p_value for r in read if r.payload == payload)
        if not p_values:
            raise ValueError(
                "The tag does not read back from the clip, which was not written. "
                f"Received: {len(tracks)} faces or squares. Accepted: a larger "
                "--strength, a smaller --crf, or --no-check."
            )

    with Clip(values.source) as clip:  # For what it declares; it is opened again.
        count = clip.count
    started = time.perf_counter()
    written = rewrite_clip(
        values.source,
        values.target,
        lambda frames: clip_tagger.change(_shown(frames, count, "tagged")),
        values.crf,
        values.preset,
        values.strict,
        read_back if values.check else None,
    )
    elapsed = time.perf_counter() - started
    row = {
        "file": values.source,
        "output": values.target,
        "payload": format_payload(payload, bits),
        "faces": clip_tagger.faces,
        "tracks": clip_tagger.tracks,
        "frames": written.frames,
        "seconds": round(written.seconds, 3),
        "frames_per_second": round(written.frames / elapsed, 1),
        "p_value": min(p_values, default=None),
        "lost": written.lost,
        "notes": [written.fault] if written.fault else [],
        "error": "",
    }
    report.record(row)
    report.show(row)
    report.close()
    return 0


def _tag_text(row: dict) -> str:
    told = [f"lost: {'; '.join(row['lost'])}"] if row["lost"] else []
    told += [f"({note})" for note in row["notes"]]
    if row["p_value"] is not None:
        told.insert(0, f"reads at p {row['p_value']:.2g}")
    return "  ".join(
        [
            f"{printable(row['output'])}  payload {row['payload']}",
            f"{row['frames']} frames  {row['faces']} face(s)",
            f"{row['frames_per_second']} frames/s",
            *map(one_line, told),
        ]
    )


def trace(values) -> int:
    """Traces clips; returns the exit code."""
    from faketagger_tf.batch import reason

    _refuse(values, _TRACE_PHOTOS)
    require_av()
    if values.annotate:
        if len(values.files) > 1:
            raise ValueError(
                f"--annotate is for a single clip. Received: {len(values.files)} clips."
            )
        from faketagger_tf.video.container import check_encoder

        check_encoder(values.annotate, None, None)
        common.check_free(values.annotate, values.overwrite)
        if os.path.realpath(values.annotate) == os.path.realpath(values.files[0]):
            raise ValueError(f"The output {values.annotate!r} is the clip.")
    report = common.Report(values, TRACE_COLUMNS, _trace_text)
    tagger = common.load_tagger(values)
    failed, found = [], False
    for path in values.files:
        try:
            rows = _trace_clip(tagger, path, values)
        except Exception as error:
            row = dict.fromkeys(TRACE_COLUMNS) | {"file": path, "found": False}
            rows = [row | {"error": reason(error)}]
            failed += rows
        for row in rows:
            report.record(row)
            report.show(row)
            found |= row["found"]
    report.close()
    code = common.finish(len(values.files), failed, 0, len(values.files) == 1)
    return code or (0 if found else 1)


def _trace_clip(tagger, path: str, values) -> list[dict]:
    from faketagger_tf.tagging.file_jobs import reading_row
    from faketagger_tf.video.container import Clip
    from faketagger_tf.video.read import read_frames

    with Clip(path) as clip:
        frames = _shown(clip.frames(), clip.count, "read")
        tracks = read_frames(tagger, frames, values.every, values.fpr)
        notes = [clip.fault] if clip.fault else []
    if values.annotate:
        _annotate(tagger, path, tracks, values)
    best = min(tracks, key=lambda t: (not t.reading.found, t.reading.p_value))
    shown = [t for t in tracks if t.reading.found or values.all] or [best]
    return [
        {
            "file": path,
            "track": each.track,
            "face": each.face,
            "start": round(each.start, 3),
            "end": round(each.end, 3),
            "looks": each.looks,
            **reading_row(each.reading, tagger.config.payload_bits),
            "notes": notes,
            "error": "",
        }
        for each in shown
    ]


def _annotate(tagger, path: str, tracks, values) -> None:
    """Writes the clip with its readings: a second pass that follows the same tracks."""
    from faketagger_tf.tagging.annotate import annotate
    from faketagger_tf.video.container import rewrite_clip
    from faketagger_tf.video.tag import clip_tracker, track_canvas

    readings = {each.track: each.reading for each in tracks}
    size, bits = tagger.config.image_size, tagger.config.payload_bits

    def draw(frames):
        tracker = clip_tracker(tagger, values.every)
        for frame in frames:
            seen = []
            for track in tracker.follow(frame.pixels):
                if track.number in readings:
                    canvas = track_canvas(tagger, track, frame.pixels)
                    reading = readings[track.number]
                    seen.append(
                        dataclasses.replace(reading, corners=canvas.corners(size))
                    )
            yield dataclasses.replace(frame, pixels=annotate(frame.pixels, seen, bits))

    rewrite_clip(path, values.annotate, draw)


def _trace_text(row: dict) -> str:
    name, notes = printable(row["file"]), "".join(f"  ({n})" for n in row["notes"])
    what = "face" if row["face"] else "middle"
    place = f"{row['start']:.2f}-{row['end']:.2f} s  {what} {row['track']}"
    p_value, looks = f"p {row['p_value']:.2g}", f"{row['looks']} looks"
    if not row["found"]:
        return f"{name}  {place}  no tag  {p_value}  {looks}{one_line(notes)}"
    mirrored = "  mirrored" if row["mirrored"] else ""
    return (
        f"{name}  {place}  payload {row['payload']}  {p_value}  {looks}  "
        f"{row['corrected_bits']} bits corrected{mirrored}{one_line(notes)}"
    )


def deepfake(values) -> int:
    """Swaps the faces of a clip; returns the exit code."""
    _refuse(values, {"quality": None})
    _check_target(values)
    from faketagger_tf.presets import load_faceswap, require_tensorflow

    require_tensorflow("Swapping a face")
    from faketagger_tf.deepfake import check_identity
    from faketagger_tf.video.container import Clip, rewrite_clip
    from faketagger_tf.video.swap import ClipSwapper

    config, model = load_faceswap(values.model)
    identity = values.identity or config.identities[-1]
    check_identity(config, identity)
    swapper = ClipSwapper(config, model, identity)
    with Clip(values.source) as clip:
        count = clip.count
    written = rewrite_clip(
        values.source,
        values.target,
        lambda frames: swapper.change(_shown(frames, count, "swapped")),
        values.crf,
        values.preset,
    )
    lost = f"  lost: {'; '.join(written.lost)}" if written.lost else ""
    fault = f"  ({written.fault})" if written.fault else ""
    line = (
        f"{swapper.swapped} of {written.frames} frames swapped to {identity}"
        f"{lost}{fault}"
    )
    print(f"{printable(values.target)}  {one_line(line)}")
    return 0


def _check_target(values) -> None:
    """Raises a ValueError where OUT cannot be written."""
    require_av()
    from faketagger_tf.video.container import check_encoder

    if os.path.isdir(values.target):
        values.target = os.path.join(values.target, os.path.basename(values.source))
    check_encoder(values.target, values.crf, values.preset)
    common.check_free(values.target, values.overwrite)
    if os.path.realpath(values.source) == os.path.realpath(values.target):
        raise ValueError(
            "OUT must be another file than IN, which stays as it is. "
            f"Received: {values.target!r} for both."
        )


def _refuse(values, flags: dict) -> None:
    """Raises a ValueError for a flag that is for photos alone."""
    for name, absent in flags.items():
        if getattr(values, name, absent) not in (absent, ""):
            flag = "--" + name.replace("_", "-")
            where = f" or in {common.REGISTRY_VARIABLE}" if name == "registry" else ""
            raise ValueError(
                f"{flag} is for photos, and not for clips. Received: a clip, and "
                f"{getattr(values, name)!r} for {flag}{where}."
            )


def _shown(frames: Iterable, count: int | None, verb: str) -> Iterator:
    """Frames as they come, below a bar with frames a second and the time left."""
    from faketagger_tf.batch import progress_bar

    with progress_bar(count or 2, "frame") as bar:
        bar.set_description(verb)
        for frame in frames:
            yield frame
            bar.update()
