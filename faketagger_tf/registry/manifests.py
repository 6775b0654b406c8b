"""C2PA manifest stores in the registry: platforms strip them, the payload finds them.

    store_manifest(registry, manifest)            # before the photo's file is written
    manifest = recover_manifest(registry, "0x1F2E3D4C")

They are opaque here; `provenance.claims` reads what they say. A manifest goes with its
record: it is not given out where that was abandoned or revoked, and is deleted where
the payload is issued again.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime

import sqlalchemy as sa

from faketagger_tf.registry.records import ABANDONED, utc
from faketagger_tf.registry.store import Registry
from faketagger_tf.registry.tables import MANIFESTS, RECORDS


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A manifest store and the watermark that leads to it.

    Attributes:
        id: label of its active manifest, "urn:c2pa:...".
        payload: of its record.
        algorithm, value: the soft binding's name and bytes.
        store: the manifest store by itself, "application/c2pa".
        created: UTC; None takes the time when it is stored.
    """

    id: str
    payload: str
    algorithm: str
    value: bytes
    store: bytes = dataclasses.field(repr=False)
    created: datetime.datetime | None = None

    def to_dict(self) -> dict:
        """Returns the manifest as JSON types; `from_dict` gets the same one back."""
        return dataclasses.asdict(self) | {
            "value": base64.b64encode(self.value).decode(),
            "store": base64.b64encode(self.store).decode(),
            "created": self.created and self.created.isoformat(),
        }

    @classmethod
    def from_dict(cls, fields: dict) -> Manifest:
        """Reads what `to_dict` returns.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        try:
            manifest = cls(
                **fields
                | {
                    "value": base64.b64decode(fields["value"], validate=True),
                    "store": base64.b64decode(fields["store"], validate=True),
                    "created": utc(datetime.datetime.fromisoformat(fields["created"])),
                }
            )
        except (TypeError, KeyError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise ValueError(f"A manifest has a bad field: {reason}.") from None
        for name in ("id", "payload", "algorithm"):
            if not isinstance(getattr(manifest, name), str):
                raise ValueError(
                    f"A manifest's {name} must be text. "
                    f"Received: {getattr(manifest, name)!r}."
                )
        return manifest


def store_manifest(registry: Registry, manifest: Manifest) -> None:
    """Stores a manifest of a record that is there.

    Raises:
        RegistryError: the payload has no record, the id is taken, or the database
            fails.
    """
    with registry.begin() as connection:
        insert_manifest(connection, manifest)


def insert_manifest(connection: sa.Connection, manifest: Manifest) -> None:
    """Stores a manifest as it is, within the caller's transaction."""
    values = dataclasses.asdict(manifest)
    values["created"] = manifest.created or datetime.datetime.now(datetime.UTC)
    connection.execute(sa.insert(MANIFESTS), values)


def recover_manifest(registry: Registry, payload: str) -> Manifest | None:
    """Returns the newest manifest of a payload; None if there is none to be given out.

    Args:
        registry: where the photo was tagged into.
        payload: as `messages.format_payload` writes it.
    """
    found = _select(registry, MANIFESTS.c.payload == payload, limit=1)
    return found[0] if found else None


def get_manifest(registry: Registry, manifest_id: str) -> Manifest | None:
    """Returns a manifest by its active manifest's label; None if there is none."""
    found = _select(registry, MANIFESTS.c.id == manifest_id, limit=1)
    return found[0] if found else None


def find_manifests(
    registry: Registry, algorithm: str, value: bytes, limit: int
) -> list[Manifest]:
    """Returns the manifests with a soft binding, newest first, at most `limit`."""
    binding = (MANIFESTS.c.algorithm == algorithm) & (MANIFESTS.c.value == value)
    return _select(registry, binding, limit)


def list_algorithms(registry: Registry) -> list[str]:
    """Returns the algorithms that stored manifests name, sorted."""
    query = sa.select(MANIFESTS.c.algorithm).distinct()
    with registry.connect() as connection:
        return sorted(connection.scalars(query))


def select_manifests(connection: sa.Connection, payload: str) -> list[Manifest]:
    """Returns all manifests of a payload, whatever its record's state, by id."""
    query = sa.select(MANIFESTS).where(MANIFESTS.c.payload == payload)
    rows = connection.execute(query.order_by(MANIFESTS.c.id)).mappings()
    return [Manifest(**row) for row in rows]


def _select(registry: Registry, condition, limit: int) -> list[Manifest]:
    query = (
        sa.select(MANIFESTS)
        .join(RECORDS, RECORDS.c.payload == MANIFESTS.c.payload)
        .where(condition, RECORDS.c.state != ABANDONED, RECORDS.c.revoked.is_(None))
        .order_by(MANIFESTS.c.created.desc(), MANIFESTS.c.id)
        .limit(limit)
    )
    with registry.connect() as connection:
        return [Manifest(**row) for row in connection.execute(query).mappings()]
