"""Records as JSON lines: a backup, and the way from one database to another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from faketagger_tf.registry.manifests import (
    Manifest,
    insert_manifest,
    list_algorithms,
    select_manifests,
)
from faketagger_tf.registry.records import Record
from faketagger_tf.registry.store import Registry, insert_record, select_records
from faketagger_tf.registry.tables import RECORDS


def export_records(registry: Registry, **filters) -> Iterator[str]:
    """Yields records with their manifests as lines of JSON, oldest first.

    Args:
        registry: where from.
        **filters: as `Registry.find` takes them.
    """
    signed = bool(list_algorithms(registry))
    for record in registry.find(**filters):
        fields = record.to_dict()
        if signed:
            with registry.connect() as connection:
                manifests = select_manifests(connection, record.payload)
            fields["manifests"] = [manifest.to_dict() for manifest in manifests]
        yield json.dumps(fields, ensure_ascii=False) + "\n"


def import_records(registry: Registry, lines: Iterable[str]) -> tuple[int, int]:
    """Stores exported records, all of them or none.

    Args:
        registry: where to.
        lines: as `export_records` yields them; empty lines are skipped.

    Returns:
        (stored, known): how many records are new, and how many were there already, the
        same in every field.

    Raises:
        ValueError: a line is no record, or its payload or a manifest's id has another.
    """
    stored = known = 0
    with registry.begin() as connection:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record, manifests = _parse(line)
            except ValueError as error:
                raise ValueError(f"Line {number} cannot be imported: {error}") from None
            query = sa.select(RECORDS).where(RECORDS.c.payload == record.payload)
            found = select_records(connection, query)
            if not found:
                insert_record(connection, record)
                stored += 1
            elif found == [record]:
                known += 1
            else:
                raise ValueError(
                    f"Line {number} cannot be imported: the registry has another "
                    f"record of {record.payload}."
                )
            there = select_manifests(connection, record.payload)
            for manifest in manifests:
                if manifest not in there:
                    insert_manifest(connection, manifest)
    return stored, known


def _parse(line: str) -> tuple[Record, list[Manifest]]:
    fields = json.loads(line)
    manifests = fields.pop("manifests", []) if isinstance(fields, dict) else []
    record = Record.from_dict(fields)
    if not isinstance(manifests, list):
        raise ValueError("its manifests are not a list.")
    manifests = [Manifest.from_dict(each) for each in manifests]
    for manifest in manifests:
        if manifest.payload != record.payload:
            raise ValueError(
                f"A manifest of {record.payload} names another payload. "
                f"Received: {manifest.payload}."
            )
    return record, manifests
