"""Lists: runs, conflicts, gaps and artifacts, a page at a time by keyset; no list reads more than it shows but for filters on top of filters."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select, tuple_, union_all

from spanline.errors import UnknownReference
from spanline.ledger.conflicts import dashed
from spanline.ledger.documents import part
from spanline.ledger.facts import INPUT, OUTPUT, STATUSES, facts_of, term
from spanline.ledger.lookup import Row, chunks, merged, rows_by_key
from spanline.ledger.refs import find, job_keys
from spanline.ledger.schema import artifacts, edges, label_digests, labels, runs, terms
from spanline.ledger.view import gaps_of_document, moment, summary
from spanline.naming import clean
from spanline.times import parse_rfc3339

COUNTED = 10_000
"""Runs are counted up to here."""

_ZERO: ColumnElement[int] = literal_column("0")
_OUTCOMES = {"OK": "COMPLETE", "ERROR": "FAIL", "FAILED": "FAIL", "ABORTED": "ABORT", "START": "RUNNING"}
_decode = msgspec.json.decode

Driver = tuple[Any, list[ColumnElement[bool]]]
"""A column of run keys, and what must hold beside it: read along one index, newest first."""


def runs_page(
    connection: Connection, *, limit: int, after: str | None, job: str | None, outcome: str | None, artifact: str | None, tag: str | None,
    whose: Mapping[str, str],
    conflict: bool | None, since: str | datetime | None, until: str | datetime | None,
) -> dict[str, Any]:  # fmt: skip
    """A page of runs, newest first.

    Raises:
        ValueError: An argument is wrong; the message says which.
    """
    bounds: list[tuple[str, int]] = []
    if after is not None:
        bounds.append(("<", _cursor(after)))
    if since is not None:
        bounds.append((">=", micros_of(since) << 11))
    if until is not None:
        bounds.append(("<", micros_of(until) << 11))
    conditions: list[ColumnElement[bool]] = []
    if outcome is not None:
        status = _OUTCOMES.get(outcome.upper(), outcome.upper())
        if status not in STATUSES:
            raise ValueError(f"outcome is one of {', '.join(STATUSES)}")
        conditions.append(runs.c.status == STATUSES.index(status))
    if conflict is not None:
        conditions.append(runs.c.conflicts > _ZERO if conflict else runs.c.conflicts == _ZERO)
    # What narrows most leads; the others are asked of each run that it leads to.
    drivers: list[Driver] | None = None
    if artifact is not None:
        drivers = _using(connection, artifact)
    named = [term(kind, digest) for kind, digest in whose.items()]
    if tag is not None:
        named.append(term("tag", _tag(tag)))
    for key in named:
        if drivers is None:
            drivers = [(terms.c.run, [terms.c.term == key])]
        else:
            conditions.append(runs.c.run.in_(select(terms.c.run).where(terms.c.term == key)))
    if job is not None:
        keys = _jobs(connection, job)
        if drivers is None:
            drivers = [(runs.c.run, [runs.c.job == key]) for key in keys]
        else:
            conditions.append(runs.c.job.in_(keys))
    if drivers is None:
        drivers = [(runs.c.run, [])]
    return _paged(connection, drivers, conditions, bounds, limit)


def _jobs(connection: Connection, name: str) -> list[int]:
    try:
        return job_keys(connection, name)
    except UnknownReference:
        return []


def page_of(connection: Connection, drivers: Sequence[Driver], *, limit: int, after: str | None) -> dict[str, Any]:
    """A page of the runs that some drivers lead to, newest first."""
    return _paged(connection, drivers, [], [("<", _cursor(after))] if after is not None else [], limit)


def _paged(
    connection: Connection, drivers: Sequence[Driver], conditions: list[ColumnElement[bool]], bounds: list[tuple[str, int]], limit: int
) -> dict[str, Any]:
    keys = newest(connection, drivers, conditions, bounds, limit + 1)
    rows = rows_by_key(connection, keys)
    listed = [rows[key] for key in keys[:limit] if key in rows]
    return {"items": [_item(row) for row in listed], "next": f"{keys[limit - 1]:x}" if len(keys) > limit else None}


def gaps_page(connection: Connection, *, limit: int, after: str | None) -> dict[str, Any]:
    """A page of what is missing, of the newest runs first; `limit` counts runs."""
    bounds = [("<", _cursor(after))] if after is not None else []
    keys = newest(connection, [(runs.c.run, [runs.c.gaps > _ZERO])], [], bounds, limit + 1)
    shown = keys[:limit]
    rows, documents = rows_by_key(connection, shown), merged(connection, shown)
    found = [
        {"runId": dashed(rows[key].run_id), "missing": gap.missing, "how": gap.how, "job": rows[key].job, "startedAt": moment(rows[key].started_us)}
        for key in shown
        if key in rows and key in documents
        for gap in gaps_of_document(rows[key], documents[key], facts_of(documents[key]))
    ]  # fmt: skip
    return {"items": found, "next": f"{keys[limit - 1]:x}" if len(keys) > limit else None}


def conflicts_page(connection: Connection, *, limit: int, after: str | None) -> dict[str, Any]:
    """A page of labels that were seen with more than one digest, the newest conflict first."""
    query = select(labels).where(labels.c.conflicted_us > _ZERO)
    if after is not None:
        at, label = _decoded(after, 2)
        query = query.where(tuple_(labels.c.conflicted_us, labels.c.label) < (int(at), int(label)))
    rows = connection.execute(query.order_by(labels.c.conflicted_us.desc(), labels.c.label.desc()).limit(limit + 1)).all()
    found: list[dict[str, Any]] = []
    for row in rows[:limit]:
        seen = connection.execute(select(label_digests).where(label_digests.c.label == row.label).order_by(label_digests.c.first_us)).all()
        digests = [
            {
                "digest": entry.digest, "firstSeenAt": moment(entry.first_us),
                "firstSeenRunId": dashed(bytes(entry.first_run_id)) if entry.first_run_id is not None else None,
                "runs": _count(connection, row, entry.digest), "acknowledged": entry.acknowledged_us is not None,
            }
            for entry in sorted(seen, key=lambda entry: entry.digest != row.digest)
        ]  # fmt: skip
        found.append({
            "kind": row.kind, "namespace": row.namespace, "name": row.name, "version": row.version, "jobNamespace": row.job_namespace,
            "acknowledged": all(entry["acknowledged"] for entry in digests if entry["digest"] != row.digest), "digests": digests,
        })  # fmt: skip
    return {"items": found, "next": _encoded(rows[limit - 1].conflicted_us, rows[limit - 1].label) if len(rows) > limit else None}


def artifacts_page(connection: Connection, *, limit: int, after: str | None, kind: str | None, name: str | None) -> dict[str, Any]:
    """A page of artifacts by kind and name: every version and digest is one."""
    columns = (artifacts.c.kind, artifacts.c.name, artifacts.c.artifact)
    query = select(artifacts)
    if kind is not None:
        query = query.where(artifacts.c.kind == kind)
    if name is not None:
        query = query.where(artifacts.c.name == name)
    if after is not None:
        last = _decoded(after, 3)
        query = query.where(tuple_(*columns) > (str(last[0]), str(last[1]), int(last[2])))
    rows = connection.execute(query.order_by(*columns).limit(limit + 1)).all()
    found: list[dict[str, Any]] = []
    for row in rows[:limit]:
        used = (
            connection.scalar(select(func.max(edges.c.run)).where(edges.c.artifact == row.artifact, edges.c.role == role))
            for role in (0, 1)
        )
        last_run = max((run for run in used if run is not None), default=None)
        found.append({
            "kind": row.kind, "namespace": row.namespace, "name": row.name, "version": row.version or None, "digest": row.digest or None,
            "ref": f"{row.kind}:{row.name}@{row.version}" if row.version else f"{row.kind}:{row.name}",
            "firstSeenAt": moment(row.first_us), "lastUsedAt": moment(last_run >> 11) if last_run is not None else None,
        })  # fmt: skip
    following = _encoded(*(getattr(rows[limit - 1], column.name) for column in columns)) if len(rows) > limit else None
    return {"items": found, "next": following}


def _item(row: Row) -> dict[str, Any]:
    return {
        "runId": dashed(row.run_id),
        "traceId": row.trace_id.hex() if row.trace_id else None,
        **summary(row),
        "release": row.release or row.image_digest,
        "conflicts": row.conflicts,
        "tags": dict(part(_decode(row.tags))) if row.tags else {},
    }


def _using(connection: Connection, text: str) -> list[Driver]:
    """What a run must be, to have used or made what a reference means: one condition for each version, digest and role."""
    if ":" not in text and "/" not in text:
        raise ValueError(f"not a reference: {clean(text)!r}; expected kind:name@version, such as prompt:fees@v7")
    try:
        target = find(connection, text)
    except UnknownReference:
        return []
    if target.runs:
        raise ValueError(f"{clean(text)} is a run: runs are filtered by an artifact or a release, such as prompt:fees@v7")
    own: list[Driver] = [(runs.c.run, [runs.c.release == key]) for key in target.releases[:500]]
    keys = [entry.key for entry in target.artifacts]
    return own + [(edges.c.run, [edges.c.artifact == key, edges.c.role == role]) for key in keys for role in (INPUT, OUTPUT)]


def newest(
    connection: Connection, drivers: Sequence[Driver], conditions: Sequence[ColumnElement[bool]],
    bounds: list[tuple[str, int]], limit: int,
) -> list[int]:  # fmt: skip
    """Keys of the newest runs that one of the drivers leads to: each is read in order along its index, and stops at the limit."""
    found: set[int] = set()
    for some in chunks(drivers, 100):
        parts: list[Select[Any]] = []
        for column, own in some:
            query = select(column).where(*own)
            if conditions:
                if column.table is not runs:
                    query = query.join(runs, runs.c.run == column)
                query = query.where(*conditions)
            for sign, bound in bounds:
                query = query.where(column < bound if sign == "<" else column >= bound)
            parts.append(query.order_by(column.desc()).limit(limit))
        if len(parts) == 1:
            found.update(connection.scalars(parts[0]))
        else:
            found.update(connection.scalars(union_all(*(select(query.subquery()) for query in parts))))
    return sorted(found, reverse=True)[:limit]


def _count(connection: Connection, label: Any, digest: str) -> int:
    """Runs with a label and digest, to 10,000."""
    key = select(artifacts.c.artifact).where(
        artifacts.c.kind == label.kind, artifacts.c.name == label.name, artifacts.c.version == label.version,
        artifacts.c.namespace == label.namespace, artifacts.c.digest == digest,
    )  # fmt: skip
    total = 0
    for artifact in connection.scalars(key):
        for role in (INPUT, OUTPUT):
            some = select(edges.c.run).where(edges.c.artifact == artifact, edges.c.role == role).limit(COUNTED)
            total += connection.scalar(select(func.count()).select_from(some.subquery())) or 0
    return total


def _tag(text: str) -> str:
    marks = [place for place in (text.find(":"), text.find("=")) if place > 0]
    if not marks:
        raise ValueError("a tag is key:value")
    return f"{text[: min(marks)]}={text[min(marks) + 1 :]}"


def micros_of(value: str | datetime) -> int:
    """Unix microseconds of a time that somebody typed.

    Raises:
        ValueError: It is no RFC 3339 time.
    """
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1e6)
    try:
        return min(max(parse_rfc3339(value) // 1000, 0), (1 << 52) - 1)
    except (ValueError, OverflowError):
        raise ValueError("since and until are RFC 3339 times, such as 2026-11-21T12:00:00Z") from None


def _cursor(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise ValueError("after is what the last page gave as next")
    return value


def _encoded(*values: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def _decoded(text: str, count: int) -> list[Any]:
    try:
        values = _decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(values, list) and len(cast(list[Any], values)) == count:
            return cast(list[Any], values)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        pass
    raise ValueError("after is what the last page gave as next")
