"""What is told of jobs and datasets without a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of version 3."""
    op.create_table(
        "statics",
        sa.Column("subject", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_dataset", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "is_dataset"),
    )
