"""Reads the tags of a photo library, on one machine or many.

    python -m pipelines.trace --input='found/**' --output=report \
        --registry=sqlite:///tags.db --runner=DirectRunner
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator

import apache_beam as beam

from faketagger_tf.cli import common
from faketagger_tf.photos.suspect import EXTENSIONS, decode_suspect
from pipelines.command import main, make_parser
from pipelines.photos import FindPhotos, WorkOnPhotos, count, write_report


class TracePhotos(WorkOnPhotos):
    """Reads each photo as `faketagger trace` does; the flags say how."""

    def __init__(self, values: argparse.Namespace):
        super().__init__()
        self._values = values

    def load(self):
        """Loads the tagger and, with a registry, what was issued."""
        values = self._values
        tagger = common.load_tagger(values)
        if values.registry:
            from faketagger_tf.registry.reader import RegisteredReader

            trace = RegisteredReader(tagger, common.open_registry(values)).trace_file
        else:
            from faketagger_tf.tagging.file_jobs import trace_file

            trace = functools.partial(trace_file, tagger)
        return functools.partial(trace, fpr=values.fpr, every_face=values.all)

    def work(self, trace, data: bytes, path: str, output: str) -> Iterator[dict]:
        """Yields the photo's rows."""
        rows = trace(path, suspect=decode_suspect(data, path))
        count("with_tag" if any(row["found"] for row in rows) else "without_tag")
        yield from rows


def no_output(inside: str) -> str:
    """A trace writes no photos."""
    return ""


def build(values: argparse.Namespace) -> Callable[[beam.Pipeline], None]:
    """Checks the flags; returns what adds the transforms to a pipeline."""
    with common.open_registry(values):
        common.load_tagger(values)

    def add(pipeline: beam.Pipeline) -> None:
        find = FindPhotos(EXTENSIONS, no_output, values.faces_per_bundle)
        bundles, failed = pipeline | beam.Create([values.input]) | find
        traced = bundles | "Trace" >> beam.ParDo(TracePhotos(values)).with_outputs(
            "failed", main="rows"
        )
        write_report(traced.rows, [*failed, traced.failed], values.output)

    return add


def run(argv: list[str]) -> int:
    """Runs the command with its arguments; returns the exit code."""
    parser = make_parser("trace", "Read the tags of a photo library.")
    parser.add_argument(
        "--output",
        required=True,
        help="Folder of rows.jsonl, rows for each photo, and failed.jsonl, a sentence "
        "for each file that could not be read.",
    )
    common.add_tagger_flags(parser)
    common.add_fpr_flag(parser)
    common.add_registry_flag(
        parser,
        "Registry whose payloads are read for, too, and whose records are named.",
    )
    parser.add_switch("--all", False, "Also list faces without a tag.")
    return main(parser, build, argv)


if __name__ == "__main__":
    # What a worker unpickles must have a name that it can import.
    from pipelines import trace

    sys.exit(trace.run(sys.argv[1:]))
