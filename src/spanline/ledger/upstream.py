"""Upstream: the runs that made what a run used, over systems that never heard of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, literal_column, or_, select

from spanline.ledger.facts import EVIDENCE, INPUT, OUTPUT, STATUSES, Facts, Used, facts_of
from spanline.ledger.lookup import Row, merged, rows_by_key
from spanline.ledger.schema import artifacts, edges, runs

MAX_DEPTH = 10
MAX_RUNS = 200
_MAX_VERSIONS = 500

HOW = {
    "version": "has the same version",
    "digest": "has the same digest",
    "time": "wrote this name last before it was used",
}
_INFERRED = EVIDENCE.index("inferred")


class Found(NamedTuple):
    """A run that made an input."""

    run: int
    join: str
    evidence: int
    key: int
    """The artifact as its maker named it: the version that an alias or a bare name meant then."""


class Upstream(msgspec.Struct):
    """A run up the chain, and through what."""

    row: Row
    facts: Facts
    artifact: Used
    join: str
    evidence: int
    depth: int
    used_by: bytes
    made: str | None = None
    """What the run made, as it named it."""


def upstream(connection: Connection, start: Sequence[tuple[Row, Facts]]) -> tuple[list[Upstream], set[int]]:
    """The runs that made the inputs of some runs, and of those, to depth 10; no run twice, so that cycles end.

    Joined by version and digest; else by digest; else by time: the last run that finished writing the name before the user started,
    which is inferred, and refused where version or digest speak against it.

    Returns:
        The runs, the nearest first, and the keys of artifacts that some run is known to have made.
    """
    seen = {row.run for row, _ in start}
    made: set[int] = set()
    chain: list[Upstream] = []
    level: list[tuple[Row, Facts, bool]] = [(row, facts, False) for row, facts in start]
    for depth in range(1, MAX_DEPTH + 1):
        reached: dict[int, tuple[Found, Used, bytes, bool]] = {}
        for row, facts, inferred in level:
            for entry in facts.artifacts:
                if entry.role != INPUT or entry.kind == "flow":
                    continue
                found = producer(connection, entry, row)
                if found is None:
                    continue
                made.add(entry.key)
                if found.run not in seen and found.run not in reached and len(chain) + len(reached) < MAX_RUNS:
                    reached[found.run] = (found, entry, row.run_id, inferred or found.evidence == _INFERRED)
        if not reached:
            break
        seen.update(reached)
        rows, documents = rows_by_key(connection, list(reached)), merged(connection, list(reached))
        level = []
        for run, (found, entry, used_by, inferred) in reached.items():
            if run in rows and run in documents:
                facts = facts_of(documents[run])
                evidence = _INFERRED if inferred else found.evidence
                made_ref = next((used.ref for used in facts.artifacts if used.key == found.key and used.role == OUTPUT), None)
                chain.append(Upstream(rows[run], facts, entry, found.join, evidence, depth, used_by, made_ref))
                level.append((rows[run], facts, inferred))
    return chain, made


def producer(connection: Connection, used: Used, user: Row) -> Found | None:
    """The run that made an artifact, as its user saw it."""
    columns = select(artifacts.c.artifact, artifacts.c.version, artifacts.c.digest)
    same_name = (artifacts.c.namespace == used.namespace) & (artifacts.c.name == used.name)
    condition = same_name
    if used.digest:
        condition = or_(same_name, (artifacts.c.digest == used.digest) & (artifacts.c.digest != literal_column("''")))
    by_version: list[int] = []
    by_digest: list[int] = []
    by_time: list[int] = []
    exact: list[int] = []
    for key, version, digest in connection.execute(columns.where(condition).order_by(artifacts.c.first_us.desc()).limit(_MAX_VERSIONS)):
        if used.version and version == used.version and used.digest and digest == used.digest:
            exact.append(key)
        elif used.version and version == used.version and not (used.digest and digest):
            by_version.append(key)
        elif used.digest and digest == used.digest:
            by_digest.append(key)
        elif not (used.version and version) and not (used.digest and digest):
            by_time.append(key)
    for join, keys in (("version", exact), ("version", by_version), ("digest", by_digest), ("time", by_time)):
        found = _writer(connection, keys, user, by_time=join == "time") if keys else None
        if found is not None:
            return Found(found[0], join, _INFERRED if join == "time" else found[1], found[2])
    return None


def _writer(connection: Connection, keys: list[int], user: Row, *, by_time: bool) -> tuple[int, int, int] | None:
    """The last run that wrote one of these before its user started; a name that says itself what it is may come from later (clocks differ)."""
    best: tuple[int, int, int] | None = None
    for key in keys:
        wrote = select(edges.c.run, edges.c.evidence).where(edges.c.artifact == key, edges.c.role == OUTPUT, edges.c.run != user.run)
        before = wrote.where(edges.c.run < user.run).order_by(edges.c.run.desc()).limit(1)
        if by_time:
            before = before.join(runs, runs.c.run == edges.c.run).where(
                runs.c.status == STATUSES.index("COMPLETE"), runs.c.ended_us <= user.started_us
            )
        row: Any = connection.execute(before).first()
        if row is not None and (best is None or row[0] > best[0]):
            best = (row[0], row[1], key)
    if best is None and not by_time:
        for key in keys:
            wrote = select(edges.c.run, edges.c.evidence).where(edges.c.artifact == key, edges.c.role == OUTPUT, edges.c.run > user.run)
            row = connection.execute(wrote.order_by(edges.c.run).limit(1)).first()
            if row is not None and (best is None or row[0] < best[0]):
                best = (row[0], row[1], key)
    return best
