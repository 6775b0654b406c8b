"""C2PA manifest stores."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manifests",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column(
            "payload",
            sa.String,
            sa.ForeignKey("records.payload", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("algorithm", sa.String, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("store", sa.LargeBinary, nullable=False),
    )
    op.create_index("manifests_payload", "manifests", ["payload"])
    op.create_index("manifests_binding", "manifests", ["algorithm", "value"])
