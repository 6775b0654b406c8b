"""The tables, as the newest migration leaves them (a test compares the two)."""

from __future__ import annotations

import datetime

import sqlalchemy as sa


class Utc(sa.types.TypeDecorator):
    """Aware times in UTC to microseconds; SQLite has no zones, so none is stored."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value and value.astimezone(datetime.UTC).replace(tzinfo=None)

    def process_result_value(self, value, dialect):
        return value and value.replace(tzinfo=datetime.UTC)


METADATA = sa.MetaData()

RECORDS = sa.Table(
    "records",
    METADATA,
    sa.Column("payload", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("created", Utc, nullable=False),
    sa.Column("written", Utc),
    sa.Column("revoked", Utc),
    sa.Column("preset", sa.String, nullable=False),
    sa.Column("format_version", sa.Integer, nullable=False),
    sa.Column("key_id", sa.String, nullable=False),
    sa.Column("file", sa.String, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256_original", sa.String, nullable=False),
    sa.Column("sha256_tagged", sa.String, nullable=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("note", sa.String, nullable=False),
    sa.Column("thumbnail", sa.LargeBinary),
    sa.CheckConstraint(
        "state IN ('reserved', 'written', 'abandoned')", name="records_state"
    ),
    sa.Index("records_created", "created", "payload"),
    sa.Index("records_owner", "owner"),
    sa.Index("records_sha256_tagged", "sha256_tagged"),
)

# What a record was made for: who asks for the same again is given the same payload.
REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("request", sa.String, primary_key=True),
    sa.Column(
        "payload",
        sa.String,
        sa.ForeignKey("records.payload", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Index("requests_payload", "payload"),
)

FACES = sa.Table(
    "faces",
    METADATA,
    sa.Column(
        "payload",
        sa.String,
        sa.ForeignKey("records.payload", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("box", sa.JSON, nullable=False),
    sa.Column("landmarks", sa.JSON, nullable=False),
    sa.Column("face", sa.String, nullable=False),
    sa.Column("surroundings", sa.String, nullable=False),
)

# Access keys of a server's users, by the SHA-256 of each.
KEYS = sa.Table(
    "keys",
    METADATA,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("scopes", sa.String, nullable=False),
    sa.Column("created", Utc, nullable=False),
    sa.Column("revoked", Utc),
)

# C2PA manifest stores, which platforms strip from the photos.
MANIFESTS = sa.Table(
    "manifests",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column(
        "payload",
        sa.String,
        sa.ForeignKey("records.payload", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("created", Utc, nullable=False),
    sa.Column("store", sa.LargeBinary, nullable=False),
    sa.Index("manifests_payload", "payload"),
    sa.Index("manifests_binding", "algorithm", "value"),
)
