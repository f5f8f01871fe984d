"""Tables of the ledger: one definition for SQLite and PostgreSQL.

Keys are made, never handed out: a run's key is its start time and a few bits of its id, so that order by key is order
by time, and every table that grows with the runs can be cut (and partitioned) by a range of keys; the keys of jobs,
artifacts, releases and labels are digests of what they name, so that any number of writers on any number of hosts agree
without asking. Everything but `events` can be made again from `events`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

metadata = MetaData()

# SQLite keeps a row under its INTEGER PRIMARY KEY itself; BIGINT would get an index beside the table.
Key = BigInteger().with_variant(Integer(), "sqlite")
Uuid = LargeBinary(16)

runs = Table(
    "runs",
    metadata,
    Column("run", Key, primary_key=True, autoincrement=False, comment="started_us << 11 | 11 bits of the run id"),
    Column("run_id", Uuid, nullable=False),
    Column("trace_id", Uuid, comment="of the spanline_trace facet; the run id itself for the run of a trace"),
    Column("parent_id", Uuid, comment="run id of the parent facet"),
    Column("job", BigInteger, nullable=False),
    Column("release", BigInteger),
    Column("status", SmallInteger, nullable=False, comment="facts.STATUSES"),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("offline", SmallInteger, nullable=False, comment="1: a job, kept longer; 0: a request"),
    Column("conflicts", SmallInteger, nullable=False),
    Column("blocked", SmallInteger, nullable=False, comment="guardrails that found something"),
    Column("gaps", Integer, nullable=False, comment="bits of gaps.py"),
    Column("tags", Text, comment="JSON object of strings"),
)
Index("runs_by_id", runs.c.run_id, unique=True)
# A trace's own run is found by its run id; here are the other runs of traces only.
_OTHERS = runs.c.trace_id != runs.c.run_id
Index("runs_by_trace", runs.c.trace_id, sqlite_where=_OTHERS, postgresql_where=_OTHERS)
_CHILDREN = runs.c.parent_id.isnot(None)
Index("runs_by_parent", runs.c.parent_id, sqlite_where=_CHILDREN, postgresql_where=_CHILDREN)
Index("runs_by_job", runs.c.job, runs.c.run)
Index("runs_by_status", runs.c.status, runs.c.run)
Index("runs_by_release", runs.c.release, runs.c.run)
Index("runs_in_conflict", runs.c.run, sqlite_where=runs.c.conflicts > 0, postgresql_where=runs.c.conflicts > 0)
Index("runs_with_gaps", runs.c.run, sqlite_where=runs.c.gaps > 0, postgresql_where=runs.c.gaps > 0)

events = Table(
    "events",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", BigInteger, primary_key=True, autoincrement=False, comment="of the event's bytes: the same event is kept once"),
    Column("event_us", BigInteger, nullable=False),
    Column("dictionary", BigInteger, comment="in `dictionaries`; none: the one of codec.py alone"),
    Column("body", LargeBinary, nullable=False, comment="the event, codec.py"),
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("dictionary", Key, primary_key=True, autoincrement=False),
    Column("job", BigInteger, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="what events of this job say alike, without ids and people"),
)
Index("dictionaries_by_job", dictionaries.c.job, dictionaries.c.made_us)

jobs = Table(
    "jobs",
    metadata,
    Column("job", Key, primary_key=True, autoincrement=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("offline", SmallInteger, comment="what its jobType facet said last; later events of a process bear none"),
)
Index("jobs_by_name", jobs.c.name)

releases = Table(
    "releases",
    metadata,
    Column("release", Key, primary_key=True, autoincrement=False),
    Column("service", Text, nullable=False),
    Column("environment", Text),
    Column("name", Text, comment="service.version"),
    Column("code_revision", Text),
    Column("repository", Text),
    Column("image_digest", Text),
    Column("first_us", BigInteger, nullable=False),
)
Index("releases_by_service", releases.c.service, releases.c.first_us)
Index("releases_by_repository", releases.c.repository)
Index("releases_by_name", releases.c.name)
Index("releases_by_revision", releases.c.code_revision)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact", Key, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False, comment="without version"),
    Column("version", Text, nullable=False, comment="'' where unknown"),
    Column("digest", Text, nullable=False, comment="'' where unknown"),
    Column("first_us", BigInteger, nullable=False),
)
Index("artifacts_by_name", artifacts.c.kind, artifacts.c.name)
Index("artifacts_by_dataset", artifacts.c.namespace, artifacts.c.name, artifacts.c.version)
_DIGESTED = artifacts.c.digest != ""
Index("artifacts_by_digest", artifacts.c.digest, sqlite_where=_DIGESTED, postgresql_where=_DIGESTED)

edges = Table(
    "edges",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("artifact", BigInteger, primary_key=True, autoincrement=False),
    Column("role", SmallInteger, primary_key=True, autoincrement=False, comment="0 input, 1 output"),
    Column("evidence", SmallInteger, nullable=False, comment="facts.EVIDENCE"),
    Column("top_k", Integer, comment="of an index: what was asked for"),
    Column("hits", Integer, comment="of an index: documents found"),
    sqlite_with_rowid=False,
)
Index("edges_by_artifact", edges.c.artifact, edges.c.role, edges.c.run)

terms = Table(
    "terms",
    metadata,
    Column("term", BigInteger, primary_key=True, autoincrement=False, comment="digest of what a run is found by, facts.term()"),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

labels = Table(
    "labels",
    metadata,
    Column("label", Key, primary_key=True, autoincrement=False),
    Column("job_namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False, comment="the first seen"),
    Column("conflicted_us", BigInteger, nullable=False, comment="when a second digest was last seen for the first time; 0: never"),
)
_CONFLICTED = labels.c.conflicted_us > 0
Index("labels_in_conflict", labels.c.conflicted_us, labels.c.label, sqlite_where=_CONFLICTED, postgresql_where=_CONFLICTED)
Index("labels_by_name", labels.c.kind, labels.c.name)

label_digests = Table(
    "label_digests",
    metadata,
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, primary_key=True),
    Column("first_us", BigInteger, nullable=False),
    Column("first_run_id", Uuid, comment="kept when the run itself has gone"),
    Column("acknowledged_us", BigInteger),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, primary_key=True),
    Column("expected", Text, nullable=False),
    sqlite_with_rowid=False,
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("evaluation", BigInteger, primary_key=True, autoincrement=False, comment="digest of name, evaluator, evaluation set and time"),
    Column("name", Text, nullable=False),
    Column("score", Float),
    Column("label", Text),
    Column("passed", SmallInteger),
    Column("evaluator", Text),
    Column("evaluator_version", Text),
    Column("eval_set", Text),
    Column("eval_set_version", Text),
    Column("evaluated_at", Text),
    Column("job", BigInteger, comment="of the run"),
    Column("release", BigInteger, comment="of the run; 0: none"),
)

# What speaks for and against a release is found by it, however many others there are.
_JUDGED, _BLOCKED, _IN_CONFLICT = evaluations.c.passed.isnot(None), runs.c.blocked > 0, runs.c.conflicts > 0
Index(
    "evaluations_judged", evaluations.c.job, evaluations.c.release, evaluations.c.passed, evaluations.c.run,
    sqlite_where=_JUDGED, postgresql_where=_JUDGED,
)  # fmt: skip
Index("runs_blocked", runs.c.release, runs.c.run, sqlite_where=_BLOCKED, postgresql_where=_BLOCKED)
Index("releases_in_conflict", runs.c.release, runs.c.run, sqlite_where=_IN_CONFLICT, postgresql_where=_IN_CONFLICT)

uses = Table(
    "uses",
    metadata,
    Column("artifact", BigInteger, primary_key=True, autoincrement=False),
    Column("role", SmallInteger, primary_key=True, autoincrement=False),
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("release", BigInteger, primary_key=True, autoincrement=False, comment="0: none"),
    Column("runs", BigInteger, nullable=False, comment="how many are in the ledger"),
    Column("first_run", BigInteger, nullable=False, comment="keys of runs: times, kept when the runs have gone"),
    Column("last_run", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("uses_by_job", uses.c.job, uses.c.release, uses.c.role)
Index("uses_by_release", uses.c.release, uses.c.role)

derivations = Table(
    "derivations",
    metadata,
    Column("source", BigInteger, primary_key=True, autoincrement=False, comment="an artifact that a run used …"),
    Column("product", BigInteger, primary_key=True, autoincrement=False, comment="… and one that the same run made"),
    Column("first_run", BigInteger, nullable=False),
    Column("last_run", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

statics = Table(
    "statics",
    metadata,
    Column("subject", BigInteger, primary_key=True, autoincrement=False, comment="digest of the namespace and name of a job or dataset"),
    Column("is_dataset", SmallInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False, comment="all its JobEvents or DatasetEvents as one, codec.py"),
)

OF_RUNS = (edges, terms, conflicts, evaluations)
"""Tables whose rows are made from the events of one run."""
