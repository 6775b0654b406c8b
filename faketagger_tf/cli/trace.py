"""`faketagger trace`: reads the tags of photos, or of clips."""

from __future__ import annotations

import functools
import os

from faketagger_tf.cli import common, video
from faketagger_tf.cli.parser import Parser, whole_number
from faketagger_tf.names import one_line, printable

FORM = "trace FILES-OR-FOLDERS..."
SUMMARY = "Read the tags of photos or clips. Exits 0 if one was found, 1 if none."


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument(
        "files",
        metavar="FILES-OR-FOLDERS",
        nargs="+",
        help="Photos, folders of photos, or clips.",
    )
    common.add_tagger_flags(parser)
    common.add_batch_flags(parser)
    common.add_overwrite_flag(parser)
    common.add_fpr_flag(parser)
    common.add_registry_flag(
        parser,
        "Registry whose payloads are read for, too, and whose record is shown.",
    )
    common.add_trust_flag(parser)
    parser.add_switch(
        "--quick",
        False,
        "Read faces where they are found and search no further: about ten times as "
        "many photos without a tag a minute. Misses tags whose faces a deepfake or a "
        "heavy distortion has moved.",
    )
    parser.add_switch("--all", False, "Also list faces without a tag.")
    parser.add_argument(
        "--annotate",
        help="Picture of the photo with its readings; a folder for several photos; for "
        "a clip, a clip.",
    )
    parser.add_argument(
        "--every",
        type=whole_number(1),
        default=5,
        help="Frames of a clip from one look to the next (%(default)s).",
    )
    parser.add_argument(
        "--canvas",
        help="Write the canvas of one photo's best reading, as faketagger_tf.lite "
        "reads it.",
    )


def run(values) -> int:
    """Traces; returns the exit code."""
    anchors = common.anchors_of(values)
    if video.check_files(values.files):
        return video.trace(values)
    from faketagger_tf.photos.suspect import EXTENSIONS

    paths = []
    for name in values.files:
        inside = common.list_photos(name, EXTENSIONS) if os.path.isdir(name) else [name]
        paths += inside
    if not paths:
        raise ValueError(
            "The folders hold no photo. "
            f"Received: {', '.join(map(repr, values.files))}."
        )
    pictures = _pictures(values, paths)
    with common.open_registry(values) as registry:
        return _run(values, paths, pictures, registry, anchors)


def _run(values, paths: list[str], pictures: dict, registry, anchors: str) -> int:
    from faketagger_tf.batch import Gate, reason
    from faketagger_tf.tagging.file_jobs import TRACE_COLUMNS, trace_file

    tagger = common.load_tagger(values)
    if registry is None:
        trace, columns = functools.partial(trace_file, tagger), TRACE_COLUMNS
    else:
        from faketagger_tf.registry.reader import COLUMNS, RegisteredReader

        reader = RegisteredReader(tagger, registry, anchors=anchors)
        trace, columns = reader.trace_file, COLUMNS
    gate = Gate()
    report = common.Report(values, columns, _text)

    def trace_one(path: str) -> list[dict]:
        try:
            with gate(path):
                return trace(
                    path,
                    values.fpr,
                    every_face=values.all,
                    picture=pictures.get(path),
                    canvas=values.canvas,
                    quick=values.quick,
                )
        except Exception as error:
            row = dict.fromkeys(columns) | {"file": path, "found": False}
            return [row | {"error": reason(error)}]

    failed, found = [], False
    for row in common.run_all(trace_one, paths, values.jobs, report):
        report.record(row)
        found |= row["found"]
        if row["error"]:
            failed.append(row)
    report.close()
    code = common.finish(len(paths), failed, 0, len(paths) == 1)
    return code or (0 if found else 1)


def _pictures(values, paths: list[str]) -> dict[str, str]:
    """Photo -> picture to draw, all of whose places are free and have their folders."""
    from faketagger_tf.files import make_folder
    from faketagger_tf.photos import EXTENSIONS

    single = len(paths) == 1
    pictures: dict[str, str] = {}
    if values.canvas and not single:
        raise ValueError(
            f"--canvas is for a single photo. Received: {len(paths)} photos."
        )
    if values.annotate and single:
        pictures[paths[0]] = values.annotate
    elif values.annotate:
        if os.path.isfile(values.annotate):
            raise ValueError(
                "--annotate must be a folder for several photos. "
                f"Received: the file {values.annotate!r}."
            )
        folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
        root = os.path.commonpath(folders)
        for path in paths:
            inside = os.path.relpath(os.path.abspath(path), root)
            pictures[path] = os.path.join(values.annotate, f"{inside}.png")
    wanted = [*pictures.values(), *([values.canvas] if values.canvas else [])]
    for path in wanted:
        common.check_extension("A picture", path, EXTENSIONS)
    common.check_distinct("Pictures", wanted)
    photos = set(map(os.path.realpath, paths))
    for path in [*wanted, *([values.csv] if values.csv else [])]:
        if os.path.realpath(path) in photos:
            raise ValueError(f"The output {path!r} is one of the photos.")
        common.check_free(path, values.overwrite)
    for path in wanted:
        make_folder(path)
    return pictures


def _text(row: dict) -> str:
    name = printable(row["file"])
    notes = "".join(f"  ({one_line(note)})" for note in row["notes"])
    p_values = common.p_values(row)
    if not row["found"]:
        return f"{name}  no tag  {p_values}{notes}"
    # What is on record says so itself, among the rest.
    mirrored = "  mirrored" if row["mirrored"] and not row.get("handling") else ""
    return (
        f"{name}  payload {row['payload']}  {p_values}  "
        f"{row['corrected_bits']} bits corrected{mirrored}{common.record_text(row)}"
        f"{notes}"
    )
