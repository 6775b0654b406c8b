"""What `tag`, `trace` and `deepfake` do with clips."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser, whole_number
from faketagger_tf.names import one_line, printable
from faketagger_tf.video import EXTENSIONS, is_clip, require_av

# Flags that mean something for photos alone, with what they are where not given.
_TAG_PHOTOS = {
    "refine": 0,
    "quality": None,
    "sign": False,
    "preserve": False,
    "extension": None,
}
_TRACE_PHOTOS = {"canvas": None, "trust": None}


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
    from faketagger_tf.messages import parse_payload
    from faketagger_tf.video.jobs import TAG_COLUMNS, tag_clip

    tagger = common.load_tagger(values)
    options = common.tagging_options(values, tagger)
    payload = values.payload
    if payload is not None:
        payload = parse_payload(payload, tagger.config.payload_bits)
    with common.open_registry(values) as registry:
        tag_one = functools.partial(tag_clip, tagger)
        if registry is not None:
            from faketagger_tf.video.registered import tag_clip_into_registry

            tag_one = functools.partial(
                tag_clip_into_registry,
                tagger,
                registry,
                **common.record_options(values),
            )
        report = common.Report(values, TAG_COLUMNS, _tag_text, append=True)
        row = tag_one(
            values.source,
            values.target,
            payload,
            crf=values.crf,
            preset=values.preset,
            watch=_shown,
            before_writing=lambda temporary, row: report.record(row),
            **options,
        )
    report.show(row)
    report.close()
    return 0


def _tag_text(row: dict) -> str:
    told = [f"may not survive {'; '.join(row['broken'])}"] if row["broken"] else []
    told += [f"lost: {'; '.join(row['lost'])}"] if row["lost"] else []
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
    with common.open_registry(values) as registry:
        return _trace(values, registry)


def _trace(values, registry) -> int:
    from faketagger_tf.batch import reason
    from faketagger_tf.video.jobs import TRACE_COLUMNS, trace_clip

    tagger = common.load_tagger(values)
    trace_one, columns = functools.partial(trace_clip, tagger), TRACE_COLUMNS
    if registry is not None:
        from faketagger_tf.registry.reader import RegisteredReader
        from faketagger_tf.video.registered import COLUMNS, trace_registered_clip

        reader = RegisteredReader(tagger, registry)
        trace_one, columns = functools.partial(trace_registered_clip, reader), COLUMNS
    report = common.Report(values, columns, _trace_text)
    failed, found = [], False
    for path in values.files:
        try:
            rows = trace_one(
                path,
                values.fpr,
                every=values.every,
                every_track=values.all,
                picture=values.annotate,
                watch=_shown,
                quick=values.quick,
            )
        except Exception as error:
            row = dict.fromkeys(columns) | {"file": path, "found": False}
            rows = [row | {"error": reason(error)}]
            failed += rows
        for row in rows:
            report.record(row)
            report.show(row)
            found |= row["found"]
    report.close()
    code = common.finish(len(values.files), failed, 0, len(values.files) == 1)
    return code or (0 if found else 1)


def _trace_text(row: dict) -> str:
    name, notes = printable(row["file"]), "".join(f"  ({n})" for n in row["notes"])
    what = "face" if row["face"] else "middle"
    place = f"{row['start']:.2f}-{row['end']:.2f} s  {what} {row['track']}"
    p_value, looks = common.p_values(row), f"{row['looks']} looks"
    if not row["found"]:
        return f"{name}  {place}  no tag  {p_value}  {looks}{one_line(notes)}"
    mirrored = "  mirrored" if row["mirrored"] else ""
    return (
        f"{name}  {place}  payload {row['payload']}  {p_value}  {looks}  "
        f"{row['corrected_bits']} bits corrected{mirrored}{common.record_text(row)}"
        f"{one_line(notes)}"
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
            raise ValueError(
                f"{flag} is for photos, and not for clips. Received: a clip, and "
                f"{getattr(values, name)!r} for {flag}."
            )


def _shown(frames: Iterable, count: int | None, verb: str) -> Iterator:
    """Frames as they come, below a bar with frames a second and the time left."""
    from faketagger_tf.batch import progress_bar

    with progress_bar(count or 2, "frame") as bar:
        bar.set_description(verb)
        for frame in frames:
            yield frame
            bar.update()
