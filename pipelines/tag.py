"""Tags a photo library, on one machine or many.

    python -m pipelines.tag --input='photos/**' --output=tagged \
        --registry=sqlite:///tags.db --runner=DirectRunner

Every photo has its record in the registry before its file is written, and its payload
is issued to the digest of its file: a bundle that is begun anew, a run that was killed,
and a library that holds a photo twice give no photo a second payload. The same command
goes on where a killed one stopped. docs/scale.md has the lines for clusters.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator

import apache_beam as beam

from faketagger_tf.cli import common
from faketagger_tf.cli import tag as command
from faketagger_tf.photos.photo_file import READABLE
from pipelines import storage
from pipelines.command import main, make_parser
from pipelines.photos import (
    FindPhotos,
    WorkOnPhotos,
    count,
    same_folder_or_inside,
    write_report,
)


class TagPhotos(WorkOnPhotos):
    """Tags each photo as `registry.jobs.tag_once` does; the flags say how."""

    def __init__(self, values: argparse.Namespace):
        super().__init__()
        self._values = values

    def load(self):
        """Loads the tagger and opens the registry."""
        values = self._values
        tagger, registry = common.load_tagger(values), common.open_registry(values)
        from faketagger_tf.registry.jobs import tag_once

        return functools.partial(
            tag_once,
            tagger,
            registry,
            read=storage.read_if_there,
            **common.record_options(values),
            **common.photo_options(values, tagger),
        )

    def work(self, tag, data: bytes, path: str, output: str) -> Iterator[dict]:
        """Yields the photo's row."""

        def write(tagged: bytes) -> None:
            storage.write(output, tagged, photo=path)

        done, row = tag(data, path, output, write=write)
        count(done)
        count("faces", row["faces"])
        yield row


def build(values: argparse.Namespace) -> Callable[[beam.Pipeline], None]:
    """Checks the flags; returns what adds the transforms to a pipeline."""
    if not values.registry:
        raise ValueError("--registry must be given. Received: nothing.")
    command.check_extension(values.extension)
    root, target = storage.root_of(values.input), values.output.rstrip("/")
    if same_folder_or_inside(target, root):
        raise ValueError(
            "--output must lie outside of the photos' folder. "
            f"Received: {target!r} in {root!r}."
        )
    # Mistakes are told here, rather than by every worker.
    with common.open_registry(values):
        common.choose_strength(values, common.load_tagger(values))

    def output(inside: str) -> str:
        return f"{target}/{command.with_extension(inside, values.extension)}"

    def add(pipeline: beam.Pipeline) -> None:
        find = FindPhotos(READABLE, output, values.faces_per_bundle)
        bundles, failed = pipeline | beam.Create([values.input]) | find
        tagged = bundles | "Tag" >> beam.ParDo(TagPhotos(values)).with_outputs(
            "failed", main="rows"
        )
        folder = values.report or f"{target}-report"
        write_report(tagged.rows, [*failed, tagged.failed], folder)

    return add


def run(argv: list[str]) -> int:
    """Runs the command with its arguments; returns the exit code."""
    parser = make_parser("tag", "Tag a photo library; files that are there stay.")
    parser.add_argument("--output", required=True, help="Folder of the tagged photos.")
    parser.add_argument(
        "--report",
        help="Folder of rows.jsonl, a row for each photo, and failed.jsonl, a sentence "
        "for each file that was not tagged; by default --output with -report behind.",
    )
    common.add_tagger_flags(parser)
    common.add_quality_flag(parser)
    command.add_tagging_flags(parser)
    common.add_registry_flag(
        parser, "Registry that issues each photo's payload, open to every worker."
    )
    command.add_record_flags(parser)
    command.add_extension_flag(parser)
    return main(parser, build, argv)


if __name__ == "__main__":
    # What a worker unpickles must have a name that it can import.
    from pipelines import tag

    sys.exit(tag.run(sys.argv[1:]))
