"""`faketagger tag`: tags a photo, all photos of a folder, or a clip."""

from __future__ import annotations

import functools
import os

from faketagger_tf.cli import common, video
from faketagger_tf.cli.parser import Parser, strength, whole_number
from faketagger_tf.names import one_line, printable
from faketagger_tf.tagging.copies import PROMISES

FORM = "tag IN OUT"
SUMMARY = "Tag a photo, all photos of a folder, or a clip."


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument("source", metavar="IN", help="A photo, a folder, or a clip.")
    parser.add_argument("target", metavar="OUT", help="A file, or a folder.")
    common.add_tagger_flags(parser)
    common.add_batch_flags(parser)
    common.add_quality_flag(parser)
    video.add_coding_flags(parser)
    common.add_overwrite_flag(parser)
    parser.add_argument("--payload", help="The payload in hexadecimal.")
    parser.add_switch(
        "--random-payload",
        False,
        "Draw a payload for each file; the default without --payload.",
    )
    add_tagging_flags(parser)
    common.add_registry_flag(
        parser,
        "Registry that issues each photo's payload, and keeps its record from before "
        "the file is written.",
    )
    add_record_flags(parser)
    parser.add_switch(
        "--sign",
        False,
        "Sign each output with a C2PA manifest that names its tag; with --registry the "
        "manifest is kept on record, too. Needs the extra [c2pa].",
    )
    common.add_signing_flags(parser)
    parser.add_switch("--preserve", False, "Give each output the times of its photo.")
    add_extension_flag(parser)


def add_tagging_flags(parser: Parser) -> None:
    """Flags that say how each photo is tagged."""
    parser.add_argument(
        "--strength",
        type=strength,
        help="How strong the tags are: from 0 (weakest) to 1 (strongest); or auto: "
        "each face's is the weakest that keeps the promise. By default auto where the "
        "tagger's strength is visibility, and else the tagger's own.",
    )
    parser.add_argument(
        "--promise",
        choices=tuple(PROMISES),
        help="What --strength=auto lets a tag survive; by default web. What a face's "
        f"tag cannot survive is named. {_promises()}",
    )
    parser.add_argument(
        "--refine",
        type=whole_number(0),
        default=0,
        help="Steps by which each tag is refined for its photo, 40 for instance: it "
        "survives more at the same strength, and takes about a second a face.",
    )
    parser.add_switch(
        "--check",
        True,
        "Read every face's tag back from the encoded file before it is written. One "
        "that does not read is refined (where the extra [train] is installed), then "
        "made stronger by up to 5 dB unless --strength is a number, then the file is "
        "coded with less loss unless --quality is given; the row names the faces where "
        "nothing helps. If no face reads, the "
        "photo's centred square is tagged. --no-check is nearly twice as fast.",
    )
    parser.add_switch(
        "--retag",
        False,
        "Write over a tag that the photo carries already, which is refused otherwise.",
    )
    parser.add_switch(
        "--strict",
        False,
        "Refuse a photo whose file holds something that OUT cannot keep.",
    )


def add_record_flags(parser: Parser) -> None:
    """Flags that say what goes on record."""
    parser.add_argument("--owner", default="", help="Whose the photos are, on record.")
    parser.add_argument("--note", default="", help="Free text for the record.")
    parser.add_switch("--thumbnail", True, "Keep a small picture on record.")


def add_extension_flag(parser: Parser) -> None:
    """The flag that says which format outputs have."""
    parser.add_argument(
        "--extension",
        help="Format of the outputs of a folder, such as .png; by default each "
        "photo's own, and .jpg for those that are read alone (.jfif, .heic).",
    )


def _promises() -> str:
    """What each promise names, a sentence each."""
    return " ".join(
        f"{name}: {'; '.join(copy.name for copy in copies)}."
        for name, copies in PROMISES.items()
    )


def run(values) -> int:
    """Tags; returns the exit code."""
    if values.payload is not None and values.random_payload:
        raise ValueError("--payload and --random-payload exclude each other.")
    if not os.path.lexists(values.source):
        raise ValueError(f"IN does not exist. Received: {values.source!r}.")
    if video.check_files([values.source]):
        return video.tag(values)
    video.refuse_coding_flags(values)
    plan = _plan(values.source, values.target, values.extension)
    single = not os.path.isdir(values.source)
    if values.registry and values.payload is not None and not single:
        raise ValueError(
            "With --registry every photo has a payload of its own. "
            f"Received: --payload={values.payload} for a folder."
        )
    if single:
        common.check_free(plan[0][1], values.overwrite)
    _check_table(values.csv, plan)
    signer = _signer(values)

    with common.open_registry(values) as registry:
        return _run(values, plan, single, registry, signer)


def _signer(values):
    """What the outputs are signed with; None if they are not."""
    if values.sign:
        return common.make_signer(values)
    flags = ("certificate", "private_key", "tsa", "domain")
    given = [name for name in flags if getattr(values, name) is not None]
    if given:
        name = given[0].replace("_", "-")
        raise ValueError(f"--{name} is for --sign. Received: --{name} without --sign.")
    return None


def _run(values, plan: list[tuple[str, str]], single: bool, registry, signer) -> int:
    from faketagger_tf.batch import Gate, reason
    from faketagger_tf.messages import parse_payload
    from faketagger_tf.tagging.file_jobs import TAG_COLUMNS, tag_file

    tagger = common.load_tagger(values)
    options = common.photo_options(values, tagger)
    payload = values.payload
    if payload is not None:
        payload = parse_payload(payload, tagger.config.payload_bits)
    if registry is None:
        tag, done = functools.partial(tag_file, tagger), os.path.lexists
    else:
        from faketagger_tf.registry.jobs import recorded, tag_into_registry

        tag = functools.partial(
            tag_into_registry, tagger, registry, **common.record_options(values)
        )

        def done(output: str) -> bool:
            # What cannot be read has no record, and is an error of its own.
            readable = os.path.isfile(output) and os.access(output, os.R_OK)
            return readable and recorded(registry, output) is not None

    waiting = [
        (path, output) for path, output in plan if values.overwrite or not done(output)
    ]
    gate = Gate()
    report = common.Report(values, TAG_COLUMNS, _text, append=True)
    written: set[tuple[int, int] | None] = set()

    def before_writing(row: dict) -> None:
        # Some disks hold two names for one more than `names.colliding` knows of.
        if _identity(row["output"]) in written - {None}:
            raise ValueError(
                f"The output {row['output']!r} is a file of this run by another name."
            )
        common.check_free(row["output"], values.overwrite)
        report.record(row)

    def tag_one(item: tuple[str, str]) -> list[dict]:
        path, output = item
        try:
            with gate(path):
                if registry and not values.overwrite and os.path.lexists(output):
                    raise ValueError(
                        f"The output {output!r} exists and has no record; --overwrite "
                        "would replace it."
                    )
                row = tag(
                    path,
                    output,
                    payload=payload,
                    preserve=values.preserve,
                    signer=signer,
                    before_writing=before_writing,
                    **options,
                )
                written.add(_identity(output))
        except Exception as error:
            row = dict.fromkeys(TAG_COLUMNS) | {"file": path, "output": output}
            row["error"] = reason(error)
            report.record(row)
        return [row]

    rows = common.run_all(tag_one, waiting, values.jobs, report)
    failed = [row for row in rows if row["error"]]
    report.close()
    return common.finish(len(waiting), failed, len(plan) - len(waiting), single)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _text(row: dict) -> str:
    unread = row["unread_faces"]
    told = [
        one_line(f"{what}: {'; '.join(row[what])}")
        for what in ("lost", "changed")
        if row[what]
    ]
    broken = [f"may not survive {'; '.join(row['broken'])}"] if row["broken"] else []
    tagged = f"{row['faces']} face(s)" if row["faces"] else "tagged in its middle"
    if unread:
        more = "more " if row["faces"] else "face(s) "
        tagged += f", {len(unread)} {more}without a tag that reads"
    return "  ".join(
        [
            f"{printable(row['output'])}  payload {row['payload']}",
            f"PSNR {row['psnr']:.2f} dB  SSIM {row['ssim']:.4f}",
            tagged,
            *broken,
            *told,
        ]
    )


def _plan(source: str, target: str, extension: str | None) -> list[tuple[str, str]]:
    """(input, output) of every file of a run."""
    from faketagger_tf.photos.photo_file import READABLE, WRITABLE

    if not os.path.isdir(source):
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(source))
        if extension:
            raise ValueError(
                "--extension is for folders; name OUT's own extension instead. "
                f"Received: {extension!r} and OUT {target!r}."
            )
        common.check_extension("OUT", target, WRITABLE)
        if os.path.realpath(source) == os.path.realpath(target):
            raise ValueError(
                "OUT must be another file than IN, which stays as it is. "
                f"Received: {target!r} for both."
            )
        return [(source, target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise ValueError(f"OUT must be a folder if IN is one. Received: {target!r}.")
    inside, outside = os.path.realpath(target), os.path.realpath(source)
    if os.path.commonpath([inside, outside]) == outside:
        raise ValueError(
            f"OUT must lie outside of the folder IN. Received: {target!r} in "
            f"{source!r}."
        )
    check_extension(extension)
    plan = []
    for path in common.list_photos(source, READABLE):
        output = os.path.join(target, os.path.relpath(path, source))
        plan.append((path, with_extension(output, extension)))
    if not plan:
        raise ValueError(
            f"The folder must hold at least one photo ({', '.join(READABLE)}). "
            f"Received: {source!r}."
        )
    common.check_distinct("The outputs", [output for _, output in plan])
    return plan


def check_extension(extension: str | None) -> None:
    """Raises a ValueError for a format that no photo can be written in."""
    from faketagger_tf.photos.photo_file import WRITABLE

    if extension and extension.lower() not in WRITABLE:
        raise ValueError(
            f"--extension must be one of {', '.join(WRITABLE)}. "
            f"Received: {extension!r}."
        )


def with_extension(output: str, extension: str | None) -> str:
    """Gives an output that is named like its photo the extension it is written with."""
    from faketagger_tf.photos.photo_file import WRITABLE

    stem, own = os.path.splitext(output)
    if extension or own.lower() not in WRITABLE:
        return stem + (extension or ".jpg")
    return output


def _check_table(table: str | None, plan: list[tuple[str, str]]) -> None:
    if not table:
        return
    place = os.path.realpath(table)
    for path in (path for pair in plan for path in pair):
        if os.path.realpath(path) == place:
            raise ValueError(
                f"--csv must be another file than the photos. Received: {table!r}."
            )
