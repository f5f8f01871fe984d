"""Tallies of uses and derivations, and indexes for releases and the last known good one; filled from the edges that are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make and fill the tables of version 2."""
    op.create_table(
        "uses",
        sa.Column("artifact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("role", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("release", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("first_run", sa.BigInteger(), nullable=False),
        sa.Column("last_run", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("artifact", "role", "job", "release"),
        sqlite_with_rowid=False,
    )
    op.create_index("uses_by_job", "uses", ["job", "release", "role"])
    op.create_index("uses_by_release", "uses", ["release", "role"])
    op.create_table(
        "derivations",
        sa.Column("source", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("product", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_run", sa.BigInteger(), nullable=False),
        sa.Column("last_run", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "product"),
        sqlite_with_rowid=False,
    )
    op.create_index("releases_by_service", "releases", ["service", "first_us"])
    op.create_index("releases_by_repository", "releases", ["repository"])
    for name, table, condition in (
        ("evaluations_failed", "evaluations", "passed = 0"),
        ("evaluations_passed", "evaluations", "passed = 1"),
        ("runs_blocked", "runs", "blocked > 0"),
    ):
        op.create_index(name, table, ["run"], sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
    op.execute(
        "INSERT INTO uses SELECT e.artifact, e.role, r.job, coalesce(r.release, 0), count(*), min(e.run), max(e.run) "
        "FROM edges e JOIN runs r ON r.run = e.run GROUP BY 1, 2, 3, 4"
    )
    op.execute(
        "INSERT INTO derivations SELECT i.artifact, o.artifact, min(o.run), max(o.run) FROM edges o "
        "JOIN artifacts made ON made.artifact = o.artifact AND made.kind <> 'flow' "
        "JOIN edges i ON i.run = o.run AND i.role = 0 AND i.artifact <> o.artifact "
        "JOIN artifacts used ON used.artifact = i.artifact AND used.kind <> 'flow' WHERE o.role = 1 GROUP BY 1, 2"
    )
