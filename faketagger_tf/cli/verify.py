"""`faketagger verify`: is the tag still there, and what has changed?"""

from __future__ import annotations

import json

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser
from faketagger_tf.names import one_line

FORM = "verify ORIGINAL SUSPECT"
SUMMARY = "Is the tag of ORIGINAL still in SUSPECT, and what has changed?"


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument("original", metavar="ORIGINAL", help="The tagged photo.")
    parser.add_argument("suspect", metavar="SUSPECT", help="What has become of it.")
    common.add_tagger_flags(parser)
    common.add_overwrite_flag(parser)
    common.add_fpr_flag(parser)
    common.add_json_flag(parser)
    parser.add_argument(
        "--output",
        help="Picture with the original, the suspect and the heat map of each face.",
    )


def run(values) -> int:
    """Compares; returns the exit code."""
    from faketagger_tf.photos import EXTENSIONS, write_image

    if values.output:
        common.check_free(values.output, values.overwrite)
        common.check_extension("--output", values.output, EXTENSIONS)

    from faketagger_tf.photos.photo_file import read_photo_file
    from faketagger_tf.photos.suspect import read_suspect
    from faketagger_tf.tagging.compare import draw_comparisons, verify
    from faketagger_tf.tagging.file_jobs import comparison_row

    original = read_photo_file(values.original).pixels
    suspect = read_suspect(values.suspect)
    tagger = common.load_tagger(values)
    faces = verify(tagger, original, suspect.pixels, values.fpr)
    if values.output:
        write_image(values.output, draw_comparisons(faces))
    rows = [comparison_row(face, tagger.config.payload_bits) for face in faces]
    intact = all(face.intact for face in faces)
    if values.json:
        about = {"intact": intact, "faces": rows, "notes": list(suspect.notes)}
        print(json.dumps(about))
    else:
        for note in suspect.notes:
            print(f"SUSPECT: {one_line(note)}")
        for row in rows:
            state = "still there" if row["intact"] else "gone"
            if row["other_payload"]:
                state += f", another tag in its place: {row['other_payload']}"
            print(
                f"payload {row['payload']}  {state}  changed: "
                f"{row['changed_face']:.0%} of the face, "
                f"{row['changed_around']:.0%} around it"
            )
    return 0 if intact else 1
