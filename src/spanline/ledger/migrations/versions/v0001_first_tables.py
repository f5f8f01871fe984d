"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of version 1."""
    op.create_table(
        "artifacts",
        sa.Column("artifact", KEY, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("artifact"),
    )
    op.create_index("artifacts_by_dataset", "artifacts", ["namespace", "name"])
    op.create_index(
        "artifacts_by_digest", "artifacts", ["digest"], sqlite_where=sa.text("digest != ''"), postgresql_where=sa.text("digest != ''")
    )
    op.create_index("artifacts_by_name", "artifacts", ["kind", "name"])
    op.create_table(
        "conflicts",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("label", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "label", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edges",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("artifact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("role", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("evidence", sa.SmallInteger(), nullable=False),
        sa.Column("top_k", sa.Integer(), nullable=True),
        sa.Column("hits", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("run", "artifact", "role"),
        sqlite_with_rowid=False,
    )
    op.create_index("edges_by_artifact", "edges", ["artifact", "role", "run"])
    op.create_table(
        "evaluations",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("evaluation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("passed", sa.SmallInteger(), nullable=True),
        sa.Column("evaluator", sa.Text(), nullable=True),
        sa.Column("evaluator_version", sa.Text(), nullable=True),
        sa.Column("eval_set", sa.Text(), nullable=True),
        sa.Column("eval_set_version", sa.Text(), nullable=True),
        sa.Column("evaluated_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run", "evaluation"),
    )
    op.create_table(
        "events",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_us", sa.BigInteger(), nullable=False),
        sa.Column("dictionary", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run", "hash"),
    )
    op.create_table(
        "dictionaries",
        sa.Column("dictionary", KEY, autoincrement=False, nullable=False),
        sa.Column("job", sa.BigInteger(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dictionary"),
    )
    op.create_index("dictionaries_by_job", "dictionaries", ["job", "made_us"])
    op.create_table(
        "jobs",
        sa.Column("job", KEY, autoincrement=False, nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("offline", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_index("jobs_by_name", "jobs", ["name"])
    op.create_table(
        "label_digests",
        sa.Column("label", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("first_run_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("acknowledged_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("label", "digest"),
    )
    op.create_table(
        "labels",
        sa.Column("label", KEY, autoincrement=False, nullable=False),
        sa.Column("job_namespace", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("conflicted_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("label"),
    )
    op.create_index("labels_by_name", "labels", ["kind", "name"])
    op.create_index(
        "labels_in_conflict",
        "labels",
        ["conflicted_us", "label"],
        sqlite_where=sa.text("conflicted_us > 0"),
        postgresql_where=sa.text("conflicted_us > 0"),
    )
    op.create_table(
        "releases",
        sa.Column("release", KEY, autoincrement=False, nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("code_revision", sa.Text(), nullable=True),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("image_digest", sa.Text(), nullable=True),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("release"),
    )
    op.create_index("releases_by_name", "releases", ["name"])
    op.create_index("releases_by_revision", "releases", ["code_revision"])
    op.create_table(
        "runs",
        sa.Column("run", KEY, autoincrement=False, nullable=False),
        sa.Column("run_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("parent_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("job", sa.BigInteger(), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("offline", sa.SmallInteger(), nullable=False),
        sa.Column("conflicts", sa.SmallInteger(), nullable=False),
        sa.Column("blocked", sa.SmallInteger(), nullable=False),
        sa.Column("gaps", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_index("runs_by_id", "runs", ["run_id"], unique=True)
    op.create_index("runs_by_job", "runs", ["job", "run"])
    op.create_index(
        "runs_by_parent",
        "runs",
        ["parent_id"],
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index("runs_by_release", "runs", ["release", "run"])
    op.create_index("runs_by_status", "runs", ["status", "run"])
    op.create_index(
        "runs_by_trace", "runs", ["trace_id"], sqlite_where=sa.text("trace_id != run_id"), postgresql_where=sa.text("trace_id != run_id")
    )
    op.create_index("runs_in_conflict", "runs", ["run"], sqlite_where=sa.text("conflicts > 0"), postgresql_where=sa.text("conflicts > 0"))
    op.create_index("runs_with_gaps", "runs", ["run"], sqlite_where=sa.text("gaps > 0"), postgresql_where=sa.text("gaps > 0"))
    op.create_table(
        "terms",
        sa.Column("term", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("term", "run"),
        sqlite_with_rowid=False,
    )
