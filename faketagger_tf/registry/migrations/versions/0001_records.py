"""Records and their faces."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("payload", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("written", sa.DateTime),
        sa.Column("revoked", sa.DateTime),
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
    )
    op.create_index("records_created", "records", ["created", "payload"])
    op.create_index("records_owner", "records", ["owner"])
    op.create_index("records_sha256_tagged", "records", ["sha256_tagged"])
    op.create_table(
        "faces",
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
