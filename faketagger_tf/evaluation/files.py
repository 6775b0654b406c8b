"""What `faketagger tag` calls good, is it read from the file? By format and quality.

    python -m faketagger_tf.evaluation.files --data=photos [--tagger=face128]

Each photo is tagged as `faketagger tag` does it, into every extension that it writes,
by default and with each `--quality` where the format has one, and the file is read as
`faketagger trace` does it. A row is *good* where it says that every face reads. A good
row that is not read is a broken promise.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
import zlib
from collections.abc import Sequence

from tqdm import tqdm

from faketagger_tf.batch import run_parallel
from faketagger_tf.command import run_main
from faketagger_tf.data import find_photos
from faketagger_tf.evaluation.report import markdown_table, write_report
from faketagger_tf.messages import format_payload
from faketagger_tf.options import Checked, define_flags, from_flags, option
from faketagger_tf.photos.photo_file import WRITABLE
from faketagger_tf.presets import DEFAULT_PRESET
from faketagger_tf.tagging.file_jobs import tag_file, trace_file
from faketagger_tf.tagging.tagger import FPR, Tagger

QUALITIES = (60, 75, 85, 95)
LOSSY = (".jpg", ".jpeg", ".webp", ".avif")
Way = tuple[str, int | None]  # Extension and quality; None is the default.


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a photo in one way.

    Attributes:
        refused: the sentence with which it was refused; "" if it was tagged.
        good: the row said that every tag reads.
        read: `trace` found the payload in the file.
        wrong: `trace` found another payload.
        growth: size of the file, in sizes of the input.
    """

    refused: str = ""
    good: bool = False
    read: bool = False
    wrong: bool = False
    growth: float = 0.0


def list_ways(
    extensions: Sequence[str] = WRITABLE, qualities: Sequence[int] = QUALITIES
) -> list[Way]:
    """Every extension by default, and with each quality where it has one.

    Example:
        >>> list_ways([".png", ".jpg"], [60])
        [('.png', None), ('.jpg', None), ('.jpg', 60)]
    """
    return [
        (extension, quality)
        for extension in extensions
        for quality in (None, *(qualities if extension in LOSSY else ()))
    ]


def measure_files(
    tagger: Tagger,
    paths: Sequence[str],
    ways: Sequence[Way],
    *,
    each: int = 0,
    seconds: float = 0,
    threads: int = 1,
    fpr: float = FPR,
) -> dict:
    """Tags photos in every way and reads the files.

    Args:
        tagger: tags and reads; used from many threads.
        paths: photos.
        ways: from `list_ways`.
        each: ways that a photo goes, photos taking turns; 0 for all.
        seconds: no photo is begun after so many; 0 for no limit.
        threads: photos at once.
        fpr: largest p-value of a tag that counts as found.

    Returns:
        A report of plain values: the number of photos; rows, one a way; the broken
        promises and the refusals as lists of [path, extension, quality, ...].
    """
    begun = time.monotonic()

    def waiting():
        for number, path in enumerate(paths):
            if seconds and time.monotonic() - begun > seconds:
                return
            first = number * each
            yield (
                path,
                [ways[(first + i) % len(ways)] for i in range(each or len(ways))],
            )

    def run(item):
        path, own = item
        return path, {way: _run(tagger, path, way, fpr) for way in own}

    outcomes: dict[Way, list[Outcome]] = {way: [] for way in ways}
    broken, refused, done = [], [], 0
    results = run_parallel(run, waiting(), threads, ahead=1)
    for path, now in tqdm(results, total=len(paths), unit="photo", disable=None):
        done += 1
        for way, outcome in now.items():
            outcomes[way].append(outcome)
            if outcome.good and not outcome.read:
                broken.append([path, *way])
            if outcome.refused:
                refused.append([path, *way, outcome.refused])
    rows = [_row(way, group) for way, group in outcomes.items() if group]
    return {"photos": done, "rows": rows, "broken": broken, "refused": refused}


def _run(tagger: Tagger, path: str, way: Way, fpr: float) -> Outcome:
    extension, quality = way
    payload = (
        zlib.crc32(os.path.basename(path).encode()) % 2**tagger.config.payload_bits
    )
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, f"tagged{extension}")
        try:
            row = tag_file(tagger, path, output, payload, quality=quality)
        except ValueError as error:
            return Outcome(refused=str(error))
        found = {r["payload"] for r in trace_file(tagger, output, fpr) if r["found"]}
        own = format_payload(payload, tagger.config.payload_bits)
        return Outcome(
            good=not row["unread_faces"],
            read=own in found,
            wrong=bool(found - {own}),
            growth=os.path.getsize(output) / os.path.getsize(path),
        )


def _row(way: Way, group: Sequence[Outcome]) -> dict:
    written = [outcome for outcome in group if not outcome.refused]
    return {
        "extension": way[0],
        "quality": way[1],
        "photos": len(group),
        "refused": len(group) - len(written),
        "good": sum(outcome.good for outcome in written),
        "good_and_read": sum(outcome.good and outcome.read for outcome in written),
        "read": sum(outcome.read for outcome in written),
        "wrong": sum(outcome.wrong for outcome in written),
        "growth": sum(o.growth for o in written) / max(1, len(written)),
    }


def markdown_files(report: dict) -> str:
    """Returns a report of `measure_files` as a table."""
    titles = {
        "extension": "as",
        "quality": "--quality",
        "photos": "photos",
        "refused": "refused",
        "good": "good rows",
        "good_and_read": "of these read",
        "read": "read in all",
        "wrong": "wrong",
    }
    rows = [
        [
            *("default" if row[key] is None else row[key] for key in titles),
            f"{row['growth']:.2f}",
        ]
        for row in report["rows"]
    ]
    table = markdown_table([*titles.values(), "size / input's"], rows)
    return f"{report['photos']} photos.\n\n{table}"


@dataclasses.dataclass(frozen=True)
class FilesOptions(Checked):
    """What the command can be told."""

    tagger: str = option(DEFAULT_PRESET, "A preset's name or a run's folder.")
    data: str = option("", "Folder of photos.", required=True)
    split: str = option("test", "Split to measure; empty for all.")
    quality: tuple[int, ...] = option(QUALITIES, "Repeat the flag for more.")
    each: int = option(0, "Ways that a photo goes, in turns; 0 for all.", low=0)
    limit: int = option(0, "Photos at most; 0 for all.", low=0)
    seconds: float = option(0.0, "Begin no photo after these; 0 for no limit.", low=0)
    threads: int = option(1, "Photos at once.", low=1)
    fpr: float = option(FPR, "Largest p-value of a tag that counts as found.")
    output: str = option("build/files", "Report to write, without .json and .md.")


def main(argv: list[str]) -> int:
    """Runs the command; exits 1 where a promise is broken."""
    del argv
    options = from_flags(FilesOptions())
    photos = find_photos(options.data, options.split).spread(options.limit)
    report = measure_files(
        Tagger.load(options.tagger),
        [photo.path for photo in photos],
        list_ways(qualities=options.quality),
        each=options.each,
        seconds=options.seconds,
        threads=options.threads,
        fpr=options.fpr,
    )
    table = markdown_files(report)
    write_report(options.output, report, table)
    print(table)
    return 1 if report["broken"] else 0


if __name__ == "__main__":
    define_flags(FilesOptions())
    run_main(main)
