"""What is asked of a release is found by it: its evaluations, conflicts and guardrail failures; and a version among very many of a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the columns and indexes of version 4; what is there is filled in from the runs."""
    op.add_column("evaluations", sa.Column("job", sa.BigInteger()))
    op.add_column("evaluations", sa.Column("release", sa.BigInteger()))
    op.execute(
        "UPDATE evaluations SET job = (SELECT job FROM runs WHERE runs.run = evaluations.run), "
        "release = (SELECT coalesce(release, 0) FROM runs WHERE runs.run = evaluations.run)"
    )
    for name, table in (("evaluations_failed", "evaluations"), ("evaluations_passed", "evaluations"), ("runs_blocked", "runs")):
        op.drop_index(name, table)
    for name, table, columns, condition in (
        ("evaluations_judged", "evaluations", ["job", "release", "passed", "run"], "passed IS NOT NULL"),
        ("runs_blocked", "runs", ["release", "run"], "blocked > 0"),
        ("releases_in_conflict", "runs", ["release", "run"], "conflicts > 0"),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))
    op.drop_index("artifacts_by_dataset", "artifacts")
    op.create_index("artifacts_by_dataset", "artifacts", ["namespace", "name", "version"])
