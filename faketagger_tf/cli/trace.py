"""`faketagger trace`: reads the tags of photos."""

from __future__ import annotations

import os

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser
from faketagger_tf.names import one_line, printable

FORM = "trace FILES-OR-FOLDERS..."
SUMMARY = "Read the tags of photos. Exits 0 if one was found, 1 if none."


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument(
        "files", metavar="FILES-OR-FOLDERS", nargs="+", help="Photos, or folders."
    )
    common.add_tagger_flags(parser)
    common.add_batch_flags(parser)
    common.add_overwrite_flag(parser)
    common.add_fpr_flag(parser)
    parser.add_switch("--all", False, "Also list faces without a tag.")
    parser.add_argument(
        "--annotate",
        help="Picture of the photo with its readings; a folder for several photos.",
    )
    parser.add_argument(
        "--canvas",
        help="Write the canvas of one photo's best reading, as faketagger_tf.lite "
        "reads it.",
    )


def run(values) -> int:
    """Traces; returns the exit code."""
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

    from faketagger_tf.batch import Gate, reason
    from faketagger_tf.tagging.file_jobs import TRACE_COLUMNS, trace_file

    tagger = common.load_tagger(values)
    gate = Gate()
    report = common.Report(values, TRACE_COLUMNS, _text)

    def trace_one(path: str) -> list[dict]:
        try:
            with gate(path):
                return trace_file(
                    tagger,
                    path,
                    values.fpr,
                    every_face=values.all,
                    picture=pictures.get(path),
                    canvas=values.canvas,
                )
        except Exception as error:
            row = dict.fromkeys(TRACE_COLUMNS) | {"file": path, "found": False}
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
    if not row["found"]:
        return f"{name}  no tag  p {row['p_value']:.2g}{notes}"
    mirrored = "  mirrored" if row["mirrored"] else ""
    return (
        f"{name}  payload {row['payload']}  p {row['p_value']:.2g}  "
        f"{row['corrected_bits']} bits corrected{mirrored}{notes}"
    )
