"""What records were made for, so that a photo is given one payload for good."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column(
            "payload",
            sa.String,
            sa.ForeignKey("records.payload", ondelete="CASCADE"),
            nullable=False,
        ),
    )
    op.create_index("requests_payload", "requests", ["payload"])
