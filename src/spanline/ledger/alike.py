"""Alike: artifacts that may be the same thing under another key, and the runs that wrote or used many artifacts, one statement for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, and_, cast, func, literal_column, null, or_, select, union_all

from spanline.ledger.facts import OUTPUT, STATUSES, Used
from spanline.ledger.given import given, rows_of, rows_text
from spanline.ledger.lookup import chunks
from spanline.ledger.refs import used_of
from spanline.ledger.schema import artifacts, edges, runs

_MAX_VERSIONS = 500
"""Newest artifacts of a name that are looked at where no version says which is meant."""

_MAX_BARE = 25
"""Forms of a name without version or digest that are looked at."""

_MANY = 500
_ARMS = 50
# What unites a literal with all columns of a table has a type that nobody can follow.
_select: Any = select
_NOTHING: ColumnElement[str] = literal_column("''")


class Wrote(NamedTuple):
    """The run that wrote an artifact last before another began, else the first after it."""

    run: int
    evidence: int
    before: bool


def alike(connection: Connection, some: Iterable[Used]) -> dict[int, list[Used]]:
    """Artifacts of the same name whose version does not speak against it, and those of the same digest; itself among them.

    Returns:
        By the key of each that was asked about, the newest first.
    """
    wanted = {entry.key: entry for entry in some}
    found: dict[int, dict[int, Used]] = {key: {} for key in wanted}
    for part in chunks(list(wanted.values()), _MANY):
        asked = [
            {"n": entry.key, "namespace": entry.namespace, "name": entry.name, "version": entry.version, "digest": entry.digest}
            for entry in part
        ]
        for row in rows_of(connection, _alike(connection.dialect.name), {"asked": rows_text(asked)}):
            found[row.n].setdefault(row.artifact, used_of(row))
    # A name without version is all versions of it, of which there may be thousands.
    bare = [entry for entry in wanted.values() if not entry.version]
    for part in chunks(bare, _ARMS):
        arms: list[Any] = [
            _select(literal_column(str(place)).label("place"), artifacts)
            .where(artifacts.c.namespace == entry.namespace, artifacts.c.name == entry.name)
            .order_by(artifacts.c.first_us.desc())
            .limit(_MAX_VERSIONS)
            for place, entry in enumerate(part)
        ]
        for row in rows_of(connection, _together(arms)):
            found[part[int(row.place)].key].setdefault(row.artifact, used_of(row))
    return {key: list(entries.values()) for key, entries in found.items()}


def same(artifact: Used, kin: Sequence[Used]) -> list[Used]:
    """The same thing under other keys: the same digest, or the same label of which one side has no digest."""
    return [
        entry
        for entry in kin
        if entry.key != artifact.key
        and (
            (artifact.digest and entry.digest == artifact.digest)
            or (
                artifact.version
                and (entry.namespace, entry.name, entry.version) == (artifact.namespace, artifact.name, artifact.version)
                and not (artifact.digest and entry.digest)
            )
        )
    ]


def unversioned(artifact: Used, kin: Sequence[Used]) -> list[Used]:
    """The same name as it is known without version or digest: its users are joined by time."""
    known = {artifact.key, *(entry.key for entry in same(artifact, kin))}
    named = bool(artifact.version or artifact.digest)
    found = [
        entry
        for entry in kin
        if entry.key not in known
        and (entry.namespace, entry.name) == (artifact.namespace, artifact.name)
        and not (named and entry.version and entry.digest)
        and not (named and entry.version not in ("", artifact.version))
        and not (entry.digest and artifact.digest and entry.digest != artifact.digest)
    ]
    return found[:_MAX_BARE]


def newest_runs(connection: Connection, wanted: Sequence[tuple[int, int, int | None]], limit: int) -> list[list[tuple[int, int]]]:
    """Runs with an artifact, and the evidence of it.

    Args:
        connection: For reading.
        wanted: Key of an artifact, its role, and None for its newest runs or the key of a run for the first ones after that.
        limit: Most runs of each.
    """
    found: list[list[tuple[int, int]]] = [[] for _ in wanted]
    for start in range(0, len(wanted), _ARMS):
        arms: list[Any] = []
        for place, (artifact, role, after) in enumerate(wanted[start : start + _ARMS], start):
            arm: Any = _select(literal_column(str(place)).label("place"), edges.c.run, edges.c.evidence)
            arm = arm.where(edges.c.artifact == artifact, edges.c.role == role)
            arm = arm.order_by(edges.c.run.desc()) if after is None else arm.where(edges.c.run > after).order_by(edges.c.run)
            arms.append(arm.limit(limit))
        for place, run, evidence in rows_of(connection, _together(arms)):
            found[int(place)].append((run, evidence))
    return found


def sole_writers(connection: Connection, keys: Iterable[int]) -> dict[int, int]:
    """Of some artifacts those that one run alone wrote, and that run."""
    found: dict[int, int] = {}
    for part in chunks(sorted(set(keys)), _MANY):
        asked = rows_text([{"artifact": key} for key in part])
        ends = rows_of(connection, _ends(connection.dialect.name), {"asked": asked})
        found.update((artifact, first) for artifact, first, last in ends if first is not None and first == last)
    return found


def writers(connection: Connection, wanted: Sequence[tuple[int, int, int]], *, by_time: bool) -> list[Wrote | None]:
    """Who wrote an artifact, as a run saw it.

    Args:
        connection: For reading.
        wanted: Key of an artifact, and key and start (Unix microseconds) of the run that used it.
        by_time: Only what was complete before the user began; else a later run will do too, as clocks differ.
    """
    found: list[Wrote | None] = [None] * len(wanted)
    statement = (_writers_by_time if by_time else _writers)(connection.dialect.name)
    for start in range(0, len(wanted), _MANY):
        asked = [
            {"n": place, "artifact": artifact, "run": run, "started": started}
            for place, (artifact, run, started) in enumerate(wanted[start : start + _MANY], start)
        ]
        for place, before, after, evidence in rows_of(connection, statement, {"asked": rows_text(asked)}):
            run = before if before is not None else after
            if run is not None:
                found[place] = Wrote(run, evidence or 0, before is not None)
    return found


def _together(arms: Sequence[Any]) -> Any:
    return arms[0] if len(arms) == 1 else union_all(*(select(arm.subquery()) for arm in arms))


@cache
def _alike(dialect: str) -> Any:
    asked = given(dialect, "asked", n=BigInteger, namespace=Text, name=Text, version=Text, digest=Text)
    same_name = and_(
        asked.c.version != _NOTHING,
        artifacts.c.namespace == asked.c.namespace,
        artifacts.c.name == asked.c.name,
        or_(artifacts.c.version == asked.c.version, artifacts.c.version == _NOTHING),
    )
    # The last is the condition of the index, word for word, without which it is not used.
    same_digest = and_(asked.c.digest != _NOTHING, artifacts.c.digest == asked.c.digest, artifacts.c.digest != _NOTHING)
    return union_all(*(select(asked.c.n, artifacts).join_from(asked, artifacts, same) for same in (same_name, same_digest)))


@cache
def _ends(dialect: str) -> Any:
    asked = given(dialect, "asked", artifact=BigInteger)
    made = (edges.c.artifact == asked.c.artifact) & (edges.c.role == OUTPUT)
    return select(asked.c.artifact, *(select(end(edges.c.run)).where(made).scalar_subquery() for end in (func.min, func.max)))


@cache
def _writers(dialect: str) -> Any:
    asked = given(dialect, "asked", n=BigInteger, artifact=BigInteger, run=BigInteger)
    made = (edges.c.artifact == asked.c.artifact) & (edges.c.role == OUTPUT)
    before = select(func.max(edges.c.run)).where(made, edges.c.run < asked.c.run).scalar_subquery()
    after = select(func.min(edges.c.run)).where(made, edges.c.run > asked.c.run).scalar_subquery()
    return _with_evidence(asked, before, after)


@cache
def _writers_by_time(dialect: str) -> Any:
    asked = given(dialect, "asked", n=BigInteger, artifact=BigInteger, run=BigInteger, started=BigInteger)
    made = (edges.c.artifact == asked.c.artifact) & (edges.c.role == OUTPUT)
    complete = (runs.c.status == STATUSES.index("COMPLETE")) & (runs.c.ended_us <= asked.c.started)
    before = select(edges.c.run).join(runs, runs.c.run == edges.c.run).where(made, edges.c.run < asked.c.run, complete)
    return _with_evidence(asked, before.order_by(edges.c.run.desc()).limit(1).scalar_subquery(), cast(null(), BigInteger))


def _with_evidence(asked: Any, before: Any, after: Any) -> Any:
    found = select(asked.c.n, asked.c.artifact, before.label("before"), after.label("after")).subquery()
    of = edges.alias()
    wrote = (of.c.run == func.coalesce(found.c.before, found.c.after)) & (of.c.artifact == found.c.artifact) & (of.c.role == OUTPUT)
    return select(found.c.n, found.c.before, found.c.after, select(of.c.evidence).where(wrote).scalar_subquery())
