"""Records as JSON lines: a backup, and the way from one database to another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from faketagger_tf.registry.records import Record
from faketagger_tf.registry.store import Registry, insert_record, select_records
from faketagger_tf.registry.tables import RECORDS


def export_records(registry: Registry, **filters) -> Iterator[str]:
    """Yields records as lines of JSON, oldest first.

    Args:
        registry: where from.
        **filters: as `Registry.find` takes them.
    """
    for record in registry.find(**filters):
        yield json.dumps(record.to_dict(), ensure_ascii=False) + "\n"


def import_records(registry: Registry, lines: Iterable[str]) -> tuple[int, int]:
    """Stores exported records, all of them or none.

    Args:
        registry: where to.
        lines: as `export_records` yields them; empty lines are skipped.

    Returns:
        (stored, known): how many are new, and how many were there already, the same in
        every field.

    Raises:
        ValueError: a line is no record, or its payload has another record.
    """
    stored = known = 0
    with registry.begin() as connection:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = Record.from_dict(json.loads(line))
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
    return stored, known
