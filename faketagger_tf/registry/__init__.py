"""Whose photo is it? The record of every payload that was issued.

    registry = init_registry("sqlite:///tags.db")
    record = registry.reserve(Record(preset="face128", file="out.png"), 32)
    ... tag the photo with record.payload and encode it as `data` ...
    registry.publish(record.payload, data, lambda data: write_atomic("out.png", data))

One implementation on SQLAlchemy 2 Core serves SQLite and PostgreSQL; Alembic keeps the
tables. Needs the packages of `requirements-registry.txt`; no TensorFlow.
"""

from faketagger_tf.registry.records import FaceRecord, Record
from faketagger_tf.registry.store import (
    Problem,
    Registry,
    RegistryError,
    init_registry,
    open_registry,
)
from faketagger_tf.registry.transfer import export_records, import_records

__all__ = [
    "FaceRecord",
    "Problem",
    "Record",
    "Registry",
    "RegistryError",
    "export_records",
    "import_records",
    "init_registry",
    "open_registry",
]
