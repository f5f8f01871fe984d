"""Last good: the newest release of a job that nothing speaks against, and why each newer one was refused."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from spanline.ledger.conflicts import dashed
from spanline.ledger.facts import INPUT, STATUSES
from spanline.ledger.graph import edges_of
from spanline.ledger.refs import job_keys
from spanline.ledger.schema import conflicts, evaluations, jobs, label_digests, labels, releases, runs, uses
from spanline.ledger.view import moment

MAX_RELEASES = 200
"""Releases of a job that are looked at, from the newest."""

_ZERO: ColumnElement[int] = literal_column("0")
_ONE: ColumnElement[int] = literal_column("1")


class _Release(NamedTuple):
    key: int
    job: int
    first: int
    last: int
    name: str | None


class _Verdict(NamedTuple):
    refused: str | None
    passed: tuple[int, str] | None
    """The newest run with a passed evaluation, and its name."""


def last_good(connection: Connection, job: str) -> dict[str, Any]:
    """The last known good release of a job.

    The newest with at least one passed evaluation, none failed and no conflict that nobody acknowledged; where no release has an evaluation,
    the newest without conflict and guardrail failure.

    Args:
        connection: For reading.
        job: Its name, or `namespace/name`.

    Returns:
        `{job, release, run, artifacts, why, refused: [{release, reason}]}`; `release` and `run` are null where none is good.

    Raises:
        UnknownReference: There is no such job.
    """
    keys = job_keys(connection, job)
    known = _releases(connection, keys)
    evaluated = _evaluated(connection, keys)
    refused: list[dict[str, Any]] = []
    for entry in known:
        verdict = _judge(connection, entry)
        reason = verdict.refused or (None if verdict.passed or not evaluated else "no evaluation passed")
        run = verdict.passed[0] if verdict.passed else None
        if reason is None and not evaluated:
            reason = _guardrail(connection, entry)
        if reason is None and run is None:
            run = _complete(connection, entry)
            reason = None if run is not None else "no run of it completed"
        if reason is not None:
            refused.append({"release": entry.name, "reason": reason, **_when(entry)})
            continue
        why = (
            f"the newest release with a passed evaluation ({verdict.passed[1] if verdict.passed else ''}), none failed and no version conflict"
            if evaluated
            else "no release of this job has an evaluation that passed or failed: the newest without version conflict and guardrail failure"
        )
        if entry.name is None:
            why += "; its runs name no release (set service.version)"
        return _answer(connection, job, entry, run, why, refused)
    why = "no release of this job is good: see what speaks against each" if known else "no finished run of this job is in this ledger"
    return _answer(connection, job, None, None, why, refused)


def _releases(connection: Connection, jobs_: list[int]) -> list[_Release]:
    """Releases by when the job was first run with them, the newest first: a rollback makes an old release no newer."""
    query = (
        select(uses.c.release, uses.c.job, func.min(uses.c.first_run), func.max(uses.c.last_run))
        .where(uses.c.job.in_(jobs_))
        .group_by(uses.c.job, uses.c.release)
    )
    found = connection.execute(query).all()
    names = {
        row.release: row.name or row.image_digest or row.code_revision
        for row in connection.execute(select(releases).where(releases.c.release.in_([row[0] for row in found])))
    }
    some = [_Release(row[0], row[1], row[2], row[3], names.get(row[0])) for row in found]
    return sorted(some, key=lambda entry: -entry.first)[:MAX_RELEASES]


def _of(entry: _Release) -> Any:
    same = runs.c.release == entry.key if entry.key else runs.c.release.is_(None)
    return same & (runs.c.job == entry.job)


def _evaluated(connection: Connection, jobs_: list[int]) -> bool:
    """Whether any evaluation of these jobs passed or failed."""
    for job in jobs_:
        query = select(evaluations.c.run).where(evaluations.c.job == job, evaluations.c.passed.isnot(None))
        # In the order of the index, so that nothing else is read where there is none.
        ordered = query.order_by(evaluations.c.release, evaluations.c.passed, evaluations.c.run)
        if connection.scalar(ordered.limit(1)) is not None:
            return True
    return False


def _judge(connection: Connection, entry: _Release) -> _Verdict:
    judged = select(evaluations.c.run, evaluations.c.name).where(evaluations.c.job == entry.job, evaluations.c.release == entry.key)
    judged = judged.order_by(evaluations.c.run.desc()).limit(1)
    # The second is the condition of the index, word for word.
    failed, passed = (
        connection.execute(judged.where(evaluations.c.passed == value, evaluations.c.passed.isnot(None))).first() for value in (_ZERO, _ONE)
    )
    if failed is not None:
        return _Verdict(f"evaluation {failed[1]} failed on run {_run_id(connection, failed[0])}", _pair(passed))
    in_conflict = (
        select(runs.c.run, labels.c.kind, labels.c.name, labels.c.version)
        .join(conflicts, conflicts.c.run == runs.c.run)
        .join(labels, labels.c.label == conflicts.c.label)
        .outerjoin(label_digests, (label_digests.c.label == conflicts.c.label) & (label_digests.c.digest == conflicts.c.digest))
        .where(_of(entry), runs.c.conflicts > _ZERO, label_digests.c.acknowledged_us.is_(None))
    )
    conflict = connection.execute(in_conflict.order_by(runs.c.run.desc()).limit(1)).first()
    if conflict is not None:
        label = f"{conflict[1]}:{conflict[2]}@{conflict[3]}"
        return _Verdict(f"version conflict of {label} on run {_run_id(connection, conflict[0])}", _pair(passed))
    return _Verdict(None, _pair(passed))


def _guardrail(connection: Connection, entry: _Release) -> str | None:
    query = select(runs.c.run).where(_of(entry), runs.c.blocked > _ZERO).order_by(runs.c.run.desc()).limit(1)
    run = connection.scalar(query)
    return f"a guardrail failed on run {_run_id(connection, run)}" if run is not None else None


def _complete(connection: Connection, entry: _Release) -> int | None:
    query = select(runs.c.run).where(_of(entry), runs.c.status == STATUSES.index("COMPLETE"))
    return connection.scalar(query.order_by(runs.c.run.desc()).limit(1))


def _run_id(connection: Connection, run: int) -> str:
    raw = connection.scalar(select(runs.c.run_id).where(runs.c.run == run))
    return dashed(bytes(raw)) if raw is not None else "unknown"


def _pair(row: Any) -> tuple[int, str] | None:
    return (row[0], row[1]) if row is not None else None


def _when(entry: _Release) -> dict[str, Any]:
    return {"firstUsedAt": moment(entry.first >> 11), "lastUsedAt": moment(entry.last >> 11)}


def _answer(
    connection: Connection, job: str, entry: _Release | None, run: int | None, why: str, refused: list[dict[str, Any]]
) -> dict[str, Any]:
    name = connection.scalar(select(jobs.c.name).where(jobs.c.job == entry.job)) if entry else job
    used = [edge for edge in edges_of(connection, [run], INPUT) if edge.artifact.kind != "flow"] if run is not None else []
    return {
        "job": name,
        "release": entry.name if entry else None,
        "run": _run_id(connection, run) if run is not None else None,
        "artifacts": [
            {
                "kind": edge.artifact.kind, "namespace": edge.artifact.namespace, "name": edge.artifact.name,
                "version": edge.artifact.version or None, "digest": edge.artifact.digest or None, "ref": edge.artifact.ref,
            }
            for edge in used
        ],
        "why": why,
        "refused": refused,
        **(_when(entry) if entry else {}),
    }  # fmt: skip
