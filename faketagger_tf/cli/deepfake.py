"""`faketagger deepfake`: swaps the faces of a photo or a clip."""

from __future__ import annotations

import dataclasses

from faketagger_tf.cli import common, video
from faketagger_tf.cli.parser import Parser
from faketagger_tf.names import one_line, printable

FORM = "deepfake IN OUT"
SUMMARY = "Swap the faces of a photo or a clip, to see what a tag survives."


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument("source", metavar="IN", help="A photo, or a clip.")
    parser.add_argument("target", metavar="OUT", help="A file.")
    common.add_quality_flag(parser)
    video.add_coding_flags(parser)
    common.add_overwrite_flag(parser)
    parser.add_argument(
        "--model",
        # The sharpest of the shipped ones, and one that no preset was trained against.
        default="unseen_skips",
        help="Name of a shipped face-swap model, or a folder with one (%(default)s).",
    )
    parser.add_argument(
        "--identity",
        help="Identity that every face is swapped to; by default the model's last.",
    )


def run(values) -> int:
    """Swaps; returns the exit code."""
    if video.check_files([values.source]):
        return video.deepfake(values)
    video.refuse_coding_flags(values)
    from faketagger_tf.photos.photo_file import (
        WRITABLE,
        read_photo_file,
        write_photo_file,
    )

    common.check_extension("OUT", values.target, WRITABLE)
    common.check_free(values.target, values.overwrite)

    from faketagger_tf.presets import load_faceswap, require_tensorflow

    require_tensorflow("Swapping a face")
    from faketagger_tf.deepfake import swap_faces

    photo = read_photo_file(values.source)
    config, model = load_faceswap(values.model)
    identity = values.identity or config.identities[-1]
    swapped, count = swap_faces(photo.pixels, config, model, identity)
    photo = dataclasses.replace(photo, pixels=swapped)
    told = write_photo_file(values.target, photo, values.quality)
    lost = f"  lost: {'; '.join(told.lost)}" if told.lost else ""
    line = f"{count} face(s) swapped to {identity}{lost}"
    print(f"{printable(values.target)}  {one_line(line)}")
    return 0
