"""`faketagger registry`: the records of what was tagged, and the keys to them."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Iterator

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser, number
from faketagger_tf.names import one_line

FORM = "registry ACTION"
SUMMARY = "Keep and show the records of tagged photos."
_DIGITS = 8  # Of a payload of 32 bits, as the shipped presets have.


def define(parser: Parser) -> None:
    """Defines the actions, their arguments and flags."""
    group = _actions(parser, "action")
    _action(group, "init", _init, "Make the tables, or bring them up to date.")

    show = _action(group, "show PAYLOAD", _show, "Show a payload's record.")
    _add_payload(show)
    common.add_json_flag(show)
    show.add_argument("--thumbnail", help="Write the photo's small picture there.")
    common.add_overwrite_flag(show)

    listed = _action(group, "list", _list, "List records, oldest first.")
    _add_filters(listed)
    common.add_json_flag(listed)

    export = _action(group, "export FILE.jsonl", _export, "Write records as JSON.")
    export.add_argument("file", metavar="FILE.jsonl", help="A file.")
    _add_filters(export)
    common.add_overwrite_flag(export)

    imported = _action(
        group, "import FILE.jsonl", _import, "Store exported records: all or none."
    )
    imported.add_argument("file", metavar="FILE.jsonl", help="A file.")

    revoke = _action(
        group, "revoke PAYLOAD", _revoke, "Say of a record that it no longer holds."
    )
    _add_payload(revoke)

    check = _action(
        group, "check", _check, "Compare records with files. Exits 1 if they differ."
    )
    _add_folder(check)
    common.add_json_flag(check)

    reclaim = _action(
        group, "reclaim", _reclaim, "Settle the records that killed runs left behind."
    )
    _add_folder(reclaim)
    reclaim.add_argument(
        "--age",
        type=number,
        default=60.0,
        help="Minutes for which a record may be waiting for its file (%(default)g).",
    )

    keys = group.add_parser(
        "keys",
        prog="faketagger registry keys",
        usage="faketagger registry keys ACTION [flags]",
        description="Keys with which users come to `faketagger serve`.",
        help="Make, list and revoke the keys of a server's users.",
    )
    keys.set_defaults(parser=keys, act=None)
    group = _actions(keys, "keys_action")
    add = _action(group, "add", _keys_add, "Make a key, which is shown once.", "keys ")
    add.add_argument("--name", help="Whose it is.")
    add.add_argument(
        "--scope", help="What it opens: trace, tag, admin, or several with commas."
    )
    listed = _action(group, "list", _keys_list, "List the keys there are.", "keys ")
    common.add_json_flag(listed)
    revoke = _action(
        group, "revoke NAME", _keys_revoke, "Make a key open nothing.", "keys "
    )
    revoke.add_argument("name", metavar="NAME", help="Whose key it is.")


def run(values) -> int:
    """Acts; returns the exit code."""
    if values.act is None:
        raise ValueError(f"An action must be given. Accepted: {values.parser.usage}.")
    if not values.registry:
        raise ValueError(
            "--registry must be given, or the environment variable "
            f"{common.REGISTRY_VARIABLE} set. Received: neither."
        )
    common.require_registry()
    return values.act(values) or 0


def _actions(parser: Parser, dest: str):
    parser.set_defaults(parser=parser, act=None)
    return parser.add_subparsers(dest=dest, metavar="ACTION")


def _action(group, form: str, act, summary: str, above: str = "") -> Parser:
    name = form.partition(" ")[0]
    parser = group.add_parser(
        name,
        prog=f"faketagger registry {above}{name}",
        usage=f"faketagger registry {above}{form} [flags]",
        description=summary,
        help=summary,
    )
    parser.set_defaults(parser=parser, act=act)
    common.add_registry_flag(parser, "The registry:")
    return parser


def _add_payload(parser: Parser) -> None:
    parser.add_argument(
        "payload",
        metavar="PAYLOAD",
        help="In hexadecimal, as `faketagger trace` shows it.",
    )


def _add_folder(parser: Parser) -> None:
    parser.add_argument(
        "--folder", default="", help="Folder that files on record are relative to."
    )


def _add_filters(parser: Parser) -> None:
    parser.add_argument(
        "--since",
        type=_time,
        help="Records made then or later: 2026-05-01, or 2026-05-01T12:00+02:00. "
        "UTC where no zone is given.",
    )
    parser.add_argument("--owner", help="Records of that owner.")


def _time(text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a date or time such as 2026-05-01. Received: {text!r}."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _init(values) -> None:
    from faketagger_tf.registry import init_registry

    with init_registry(values.registry) as registry:
        print(f"{one_line(registry.name)}  ready")


def _show(values) -> None:
    from faketagger_tf.files import write_atomic

    if values.thumbnail:
        common.check_extension("--thumbnail", values.thumbnail, (".jpg", ".jpeg"))
        common.check_free(values.thumbnail, values.overwrite)
    with common.open_registry(values) as registry:
        record = _find(registry, values.payload)
    if values.thumbnail:
        if record.thumbnail is None:
            raise ValueError(
                f"The record of {record.payload} has no thumbnail. "
                f"Received: --thumbnail={values.thumbnail}."
            )
        write_atomic(values.thumbnail, record.thumbnail)
    fields = record.to_dict()
    if values.json:
        print(json.dumps(fields))
        return
    fields["thumbnail"] = f"{len(record.thumbnail)} bytes" if record.thumbnail else ""
    fields["faces"] = "; ".join(
        f"{face.box[2]:.0f}x{face.box[3]:.0f} at {face.box[0]:.0f}, {face.box[1]:.0f}"
        for face in record.faces
    )
    for name, value in fields.items():
        if value not in ("", None) and name != "version":
            print(f"{name.replace('_', ' '):<16} {one_line(str(value))}")


def _find(registry, text: str):
    """The record of a payload as users write it."""
    from faketagger_tf.messages import parse_payload

    value = parse_payload(text, 1024)
    digits = re.sub("^0[xX]", "", text.strip())
    for length in (len(digits), _DIGITS):
        record = registry.show(f"0x{value:0{length}X}")
        if record is not None:
            return record
    raise ValueError(
        f"The registry {registry.name!r} has no record of that payload. "
        f"Received: {text!r}."
    )


def _list(values) -> None:
    with common.open_registry(values) as registry:
        for record in registry.find(since=values.since, owner=values.owner):
            if values.json:
                fields = record.to_dict()
                del fields["thumbnail"]
                print(json.dumps(fields))
                continue
            told = [
                record.payload,
                record.created.isoformat(timespec="seconds"),
                "revoked" if record.revoked else record.state,
                repr(record.file),
            ]
            if record.owner:
                told.append(f"owner {record.owner!r}")
            print(one_line("  ".join(told)))


def _export(values) -> None:
    from faketagger_tf.files import write_atomic
    from faketagger_tf.registry import export_records

    common.check_free(values.file, values.overwrite)
    count = 0

    def lines(registry) -> Iterator[str]:
        nonlocal count
        for line in export_records(registry, since=values.since, owner=values.owner):
            count += 1
            yield line

    def write(path: str) -> None:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(registry))

    with common.open_registry(values) as registry:
        write_atomic(values.file, write)
    print(f"{count} records exported")


def _import(values) -> None:
    from faketagger_tf.registry import import_records

    try:
        with (
            open(values.file, encoding="utf-8") as file,
            common.open_registry(values) as registry,
        ):
            stored, known = import_records(registry, file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"Cannot read {values.file!r}: {reason}.") from None
    print(f"{stored} records stored, {known} were there already")


def _revoke(values) -> None:
    with common.open_registry(values) as registry:
        record = _find(registry, values.payload)
        registry.revoke(record.payload)
        print(f"{record.payload}  revoked")


def _check(values) -> int:
    count = 0
    with common.open_registry(values) as registry:
        for problem in registry.check(values.folder):
            count += 1
            if values.json:
                print(json.dumps(vars(problem)))
            else:
                told = f"{problem.payload}  {problem.kind}  {problem.file!r}"
                print(one_line(told))
    if count:
        print(f"{count} records differ from their files.", file=sys.stderr)
    return 1 if count else 0


def _reclaim(values) -> None:
    age = datetime.timedelta(minutes=values.age)
    with common.open_registry(values) as registry:
        completed, abandoned = registry.reclaim(values.folder, age)
    print(f"{len(completed)} records completed, {len(abandoned)} abandoned")


def _keys_add(values) -> None:
    from faketagger_tf.registry.access import add_key

    if not values.name or not values.scope:
        raise ValueError(
            "--name and --scope must be given. Received: "
            f"name {values.name!r}, scope {values.scope!r}."
        )
    scopes = [scope.strip() for scope in values.scope.split(",")]
    with common.open_registry(values) as registry:
        print(add_key(registry, values.name, scopes))
    print("This key is not shown again.", file=sys.stderr)


def _keys_list(values) -> None:
    from faketagger_tf.registry.access import list_keys

    with common.open_registry(values) as registry:
        for key in list_keys(registry):
            created = key.created.isoformat(timespec="seconds")
            revoked = key.revoked and key.revoked.isoformat(timespec="seconds")
            if values.json:
                fields = vars(key) | {"created": created, "revoked": revoked}
                print(json.dumps(fields))
                continue
            state = f"  revoked {revoked}" if revoked else ""
            print(one_line(f"{key.name!r}  {', '.join(key.scopes)}  {created}{state}"))


def _keys_revoke(values) -> None:
    from faketagger_tf.registry.access import revoke_key

    with common.open_registry(values) as registry:
        revoke_key(registry, values.name)
    print(one_line(f"{values.name!r}  revoked"))
