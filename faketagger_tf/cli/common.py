"""What the commands share: their flags, their report, their checks of outputs."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from faketagger_tf import DEFAULT_PRESET
from faketagger_tf.cli.parser import Parser, probability, whole_number
from faketagger_tf.files import make_folder
from faketagger_tf.names import csv_cell, one_line, printable

# Pictures that a folder may hold and that are passed over, with a word about it, where
# a command does not read them.
OTHER_FORMATS = (".gif", ".jp2", ".j2k", ".jxl", ".dng")
_BOM = "\ufeff"
REGISTRY_VARIABLE = "FAKETAGGER_REGISTRY"


def add_tagger_flags(parser: Parser) -> None:
    parser.add_argument(
        "--tagger",
        default=DEFAULT_PRESET,
        help="Name of a preset, or a folder with a tagger (%(default)s).",
    )
    parser.add_argument(
        "--key-file",
        help="File with the secret of keyed tags; see faketagger_tf/messages/keys.py.",
    )


def add_batch_flags(parser: Parser) -> None:
    add_json_flag(parser)
    parser.add_argument(
        "--csv",
        help="Also write a table. `tag` adds to one that exists; the last row of an "
        "output counts, and a row with an error means that nothing was written.",
    )
    parser.add_switch(
        "--csv-excel",
        False,
        "Begin a new table with a byte-order mark, which Excel needs to read UTF-8.",
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1),
        default=os.cpu_count() or 1,
        help="Photos that are handled at once (%(default)s).",
    )


def add_json_flag(parser: Parser) -> None:
    parser.add_switch("--json", False, "Print JSON, one object a line.")


def add_quality_flag(parser: Parser) -> None:
    parser.add_argument(
        "--quality",
        type=whole_number(1, 100),
        help="Quality of JPEG, WebP and AVIF files, 1 to 100; by default IN's own "
        "where it has one, else 95 for JPEG, lossless for WebP and 90 for AVIF.",
    )


def add_overwrite_flag(parser: Parser) -> None:
    parser.add_switch("--overwrite", False, "Replace existing files.")


def add_fpr_flag(parser: Parser) -> None:
    parser.add_argument(
        "--fpr",
        type=probability,
        default=1e-6,
        help="Largest p-value of a tag that counts as found, per face (%(default)s).",
    )


def add_registry_flag(parser: Parser, help: str) -> None:
    parser.add_argument(
        "--registry",
        metavar="URL",
        default=os.environ.get(REGISTRY_VARIABLE),
        help=f"{help} sqlite:///tags.db or postgresql://user@host/database; by default "
        f"the environment variable {REGISTRY_VARIABLE}.",
    )


def add_signing_flags(parser: Parser) -> None:
    parser.add_argument(
        "--certificate", help="The signer's certificate chain, a PEM file."
    )
    parser.add_argument("--private-key", help="The certificate's key, a PEM file.")
    parser.add_argument(
        "--tsa", help="URL of a time-stamp authority, which is asked for every photo."
    )
    parser.add_argument(
        "--domain",
        help="Your domain, reversed, for the algorithm's name in the manifest; by "
        "default org.example, which is nobody's.",
    )


def add_trust_flag(parser: Parser) -> None:
    parser.add_argument(
        "--trust",
        metavar="FILE",
        help="Certificates to trust, a PEM file such as C2PA's trust list: whether the "
        "signer of a manifest on record leads to one of them is told.",
    )


def anchors_of(values) -> str:
    """The certificates that `--trust` names as PEM; none if it names no file."""
    if values.trust is None:
        return ""
    if not values.registry:
        raise ValueError(
            "--trust is for manifests on record, which need --registry. "
            f"Received: --trust={values.trust} without --registry."
        )
    from faketagger_tf.provenance import require_c2pa

    require_c2pa()
    from faketagger_tf.provenance.certificates import load_anchors

    return load_anchors(values.trust)


def domain_of(values) -> str:
    """The domain that the flag names; refuses what is none."""
    from faketagger_tf.provenance.binding import DOMAIN, algorithm_name

    domain = DOMAIN if values.domain is None else values.domain
    algorithm_name("", domain)
    return domain


def make_signer(values):
    """What photos are signed with, as the flags name it."""
    if not (values.certificate and values.private_key):
        raise ValueError(
            "Signing needs --certificate and --private-key. Received: "
            f"{values.certificate!r} and {values.private_key!r}. "
            "`faketagger registry dev-certificate` makes both for tests."
        )
    from faketagger_tf.provenance import require_c2pa

    require_c2pa()
    from faketagger_tf.provenance.certificates import load_credentials
    from faketagger_tf.provenance.signing import PhotoSigner

    domain = domain_of(values)  # Refused before anything is tagged.
    credentials = load_credentials(values.certificate, values.private_key, values.tsa)
    return PhotoSigner(credentials, domain)


def require_registry() -> None:
    """Raises a ValueError where the packages of the extra [registry] are missing."""
    try:
        import faketagger_tf.registry.reader  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            "A registry needs the extra [registry]. Received: no module "
            f'{error.name!r}. Accepted: after pip install "faketagger-tf[registry]".'
        ) from None


def open_registry(values):
    """Opens the registry that the flag names, or nothing if there is none."""
    if not values.registry:
        return contextlib.nullcontext()
    require_registry()
    from faketagger_tf.registry import open_registry

    return open_registry(values.registry)


def load_tagger(values):
    """Loads the tagger that the flags name, with its key."""
    from faketagger_tf.messages.keys import read_key
    from faketagger_tf.tagging.tagger import Tagger

    key = None if values.key_file is None else read_key(values.key_file)
    return Tagger.load(values.tagger, key)


def choose_strength(values, tagger) -> tuple[float | None, str | None]:
    """The strength in dB, or the promise that chooses it; neither for the tagger's."""
    if isinstance(values.strength, float):
        if values.promise:
            raise ValueError(
                "--promise chooses the strength, so that --strength must be auto. "
                f"Received: --strength={values.strength:g}."
            )
        return tagger.decibels(values.strength), None
    automatic = tagger.config.strength == "visibility"
    if values.strength == "auto" or values.promise or automatic:
        tagger.check_strength(tagger.config.strongest)
        return None, values.promise or "web"
    return None, None


def tagging_options(values, tagger) -> dict:
    """How photos and clips are tagged, as `tag_file` and `tag_clip` take it."""
    strength, promise = choose_strength(values, tagger)
    return {
        "strength": strength,
        "promise": promise,
        "check": values.check,
        "retag": values.retag,
        "strict": values.strict,
    }


def photo_options(values, tagger) -> dict:
    """The same, and what is for photos alone."""
    return {
        **tagging_options(values, tagger),
        "refine": values.refine,
        "quality": values.quality,
    }


def record_options(values) -> dict:
    """What goes on record, as everything that tags into a registry takes it."""
    return {
        "owner": values.owner,
        "note": values.note,
        "thumbnail": values.thumbnail,
    }


def list_photos(folder: str, extensions: Sequence[str]) -> list[str]:
    """The photos below a folder; says on standard error what was passed over."""
    from faketagger_tf.files import find_files

    found = find_files(folder, extensions)
    unread = tuple(e for e in OTHER_FORMATS if e not in extensions)
    others = [path for path in found.others if path.lower().endswith(unread)]
    passed_over = (
        (others, f"have formats that are not read ({', '.join(unread)})"),
        (found.links, "are links to folders, which are not followed"),
        (found.unreadable, "are folders that cannot be listed"),
    )
    for paths, what in passed_over:
        if paths:
            print(f"{len(paths)} entries of {folder!r} {what}.", file=sys.stderr)
    return found.paths


def check_extension(what: str, path: str, extensions: Sequence[str]) -> None:
    """Raises a ValueError for an output whose format cannot be written."""
    if not path.lower().endswith(tuple(extensions)):
        raise ValueError(
            f"{what} must end in one of {', '.join(extensions)}. Received: {path!r}."
        )


def check_distinct(what: str, paths: Sequence[str]) -> None:
    """Raises a ValueError for outputs that are one file, be it on some disks only."""
    from faketagger_tf.names import colliding

    groups = colliding(paths)
    if groups:
        raise ValueError(
            f"{what} must be different files on every disk, also on one that does not "
            "tell upper from lower case or the spellings of an accent. Received: "
            f"{' and '.join(map(repr, groups[0]))}"
            + (f", and {len(groups) - 1} more such groups." if groups[1:] else ".")
        )


def check_free(path: str, overwrite: bool) -> None:
    """Raises a ValueError for an output that would be replaced unasked."""
    if os.path.lexists(path) and not overwrite:
        raise ValueError(f"The output {path!r} exists; --overwrite would replace it.")


class Report:
    """Writes rows as they come: text or JSON lines on standard output, and a CSV.

    No name of a file can do anything but be shown. JSON has names as they are, but for
    those that are not UTF-8; these, and all names in text and tables, are written as
    `names.printable` shows them.
    """

    def __init__(
        self,
        values,
        columns: Sequence[str],
        text: Callable[[dict], str],
        append: bool = False,
    ):
        self._json, self._text = values.json, text
        self._lock = threading.Lock()
        self._file = self._csv = None
        if values.csv_excel and not values.csv:
            raise ValueError("--csv-excel goes with --csv. Received: no --csv.")
        if values.csv:
            header = ",".join(columns)
            make_folder(values.csv)
            try:
                resumed = append and _begins_with(values.csv, header)
                self._file = open(  # noqa: SIM115
                    values.csv, "a" if resumed else "w", newline="", encoding="utf-8"
                )
            except OSError as error:
                raise ValueError(
                    f"Cannot write the table {values.csv!r}: {error.strerror}."
                ) from None
            self._csv = csv.DictWriter(self._file, columns, extrasaction="ignore")
            if not resumed:
                self._file.write(_BOM * values.csv_excel)
                self._csv.writeheader()

    def record(self, row: dict) -> None:
        """Writes a row to the table. Safe to call from many threads."""
        with self._lock:
            if self._csv:
                self._csv.writerow({key: _cell(key, row[key]) for key in row})
                self._file.flush()

    def show(self, row: dict) -> None:
        """Prints a row: errors as JSON only, since `finish` names them in sentences."""
        if self._json:
            text = json.dumps({k: _sound(v) for k, v in row.items()})
            # The one control character that JSON lets through.
            print(text.replace("\x7f", "\\u007f"), flush=True)
        elif not row["error"] or row.get("found"):
            print(self._text(row), flush=True)

    def close(self) -> None:
        if self._file:
            self._file.close()


def _cell(key: str, value: Any) -> object:
    """A table's cell: one line that no spreadsheet runs."""
    if key in ("lost", "changed", "notes") and not value:
        value = ""
    if isinstance(value, list) and any(isinstance(part, str) for part in value):
        value = "; ".join(value)
    if isinstance(value, str):
        value = printable(value) if key in ("file", "output") else one_line(value)
    return csv_cell(value)


def _sound(value: Any) -> Any:
    """A name that is not UTF-8 has no place in JSON, whose readers refuse it."""
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return printable(value)
    return value


def _begins_with(path: str, header: str) -> bool:
    """Whether a table exists; refuses a file that is not a table of ours."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    with open(path, "rb") as file:
        line = file.readline(1000).decode("utf-8", "replace").strip()
    if line.removeprefix(_BOM) != header:
        raise ValueError(
            f"The file {path!r} is not a table of this command. Received: a first line "
            f"{line[:60]!r}. Accepted: a new file, or one that begins with {header!r}."
        )
    return True


def run_all(
    function: Callable[[Any], list[dict]], items: Sequence, jobs: int, report: Report
) -> Iterator[dict]:
    """Yields the rows of every item in order, each shown as it comes, above a bar."""
    from faketagger_tf.batch import progress_bar, run_parallel

    with progress_bar(len(items)) as bar:
        for rows in run_parallel(function, items, jobs):
            for row in rows:
                with bar.external_write_mode():
                    report.show(row)
                yield row
            bar.update()


def finish(count: int, failed: Sequence[dict], skipped: int, single: bool) -> int:
    """Names what failed on standard error; returns the exit code."""
    if skipped:
        print(f"{skipped} files were there already.", file=sys.stderr)
    for row in failed:
        name = "" if single else f"{printable(row['file'])}: "
        print(f"Error: {name}{one_line(row['error'])}", file=sys.stderr)
    if failed and not single:
        print(f"{len(failed)} of {count} files failed.", file=sys.stderr)
    return 2 if failed else 0


def p_values(row: dict) -> str:
    """What a row of `trace` says of chance."""
    text = f"p {row['p_value']:.2g}"
    if "registered_p_value" in row:
        text += (
            f"  registered p {row['registered_p_value']:.2g} among "
            f"{row['registered_payloads']}"
        )
    return text


def record_text(row: dict) -> str:
    """What is on record."""
    if "record_state" not in row:
        return ""
    if row["record_state"] is None:
        return "  no record"
    told = [
        row["verdict"] or "not compared",
        f"of {row['record_file']!r}",
        f"owner {row['record_owner']!r}" if row["record_owner"] else "",
        f"tagged {row['record_created']}",
        ", ".join(row["handling"] or ()),
        "" if row["record_state"] == "written" else row["record_state"],
        f"revoked {row['record_revoked']}" if row["record_revoked"] else "",
        _manifest_text(row),
    ]
    return "".join(f"  {one_line(part)}" for part in told if part)


def _manifest_text(row: dict) -> str:
    """What is said of the C2PA manifest on record."""
    if row["manifest"] is None:
        return ""
    signer = repr(row["manifest_signer"])
    told = {
        None: "",  # The extra [c2pa] is not installed.
        "unchecked": f" (claimed by {signer}, an identity nobody has checked)",
        "trusted": f" (trusted: signed by {signer})",
        "not trusted": f" (not trusted: claimed by {signer}, who leads to no "
        "certificate of --trust)",
        "invalid": " (invalid, do not rely on it: "
        f"{', '.join(row['manifest_problems'] or ())})",
    }
    return f"manifest {row['manifest']}{told[row['manifest_state']]}"
