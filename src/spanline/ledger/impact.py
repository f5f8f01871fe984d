"""Impact: which runs, jobs and releases used an artifact, and what was made from it, however far down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from spanline.ledger.facts import INPUT, OUTPUT, Used
from spanline.ledger.graph import edges_of, node_id
from spanline.ledger.listing import COUNTED, page_of
from spanline.ledger.lookup import MAX_FAMILY, chunks, family
from spanline.ledger.refs import Target, artifacts_by_key, same_content
from spanline.ledger.schema import derivations, edges, jobs, releases, runs, uses
from spanline.ledger.view import moment

MAX_ARTIFACTS = 1000
MAX_DEPTH = 50
_MAX_ROWS = 2000


def impact(connection: Connection, target: Target, *, limit: int, after: str | None) -> dict[str, Any]:
    """What an artifact (or what a run made) went into.

    Args:
        connection: For reading.
        target: What is asked about; a name means all its versions, a release all its runs.
        limit: Most runs of the page.
        after: `next` of the page before.

    Returns:
        `{ref, runs: {count, items, next}, jobs, releases, artifacts, truncated}`: `runs` used it itself; `artifacts` were made from it, at first
        or later hand; `jobs` and `releases` used it or one of those (`direct` tells).
    """
    if target.releases and not target.artifacts:
        return _of_release(connection, target, limit, after)
    start = target.artifacts or _made_by(connection, target)
    keys = [entry.key for entry in start]
    made, truncated = _made_from(connection, start)
    page = page_of(connection, [(edges.c.run, [edges.c.artifact == key, edges.c.role == INPUT]) for key in keys], limit=limit, after=after)
    every = [*keys, *made]
    return {
        "ref": target.ref,
        "runs": {**_count(connection, keys), **page},
        "jobs": _jobs(connection, every, set(keys)),
        "releases": _releases(connection, every, set(keys)),
        "artifacts": _artifacts(connection, made),
        "truncated": truncated,
    }


def _made_by(connection: Connection, target: Target) -> list[Used]:
    rows = [target.runs[0], *family(connection, target.runs[0])][:MAX_FAMILY]
    found = {edge.artifact.key: edge.artifact for edge in edges_of(connection, [row.run for row in rows], OUTPUT)}
    return [entry for entry in found.values() if entry.kind != "flow"]


def _made_from(connection: Connection, start: Sequence[Used]) -> tuple[dict[int, tuple[int, str]], bool]:
    """Keys of all that was made from some artifacts, each with how far down it is and how that is known; no key twice, so that cycles end."""
    seen = {entry.key for entry in start}
    found: dict[int, tuple[int, str]] = {}
    level = list(start)
    for depth in range(1, MAX_DEPTH + 1):
        reached: dict[int, str] = {}
        for key in same_content(connection, level):
            reached.setdefault(key, "inferred")
        sources = [*(entry.key for entry in level), *reached]
        for some in chunks(sources):
            query = select(derivations.c.product).where(derivations.c.source.in_(some)).distinct().limit(MAX_ARTIFACTS + 1)
            for product in connection.scalars(query):
                reached[product] = "observed"
        new = {key: how for key, how in reached.items() if key not in seen}
        if not new:
            return found, False
        room = MAX_ARTIFACTS - len(found)
        for key, how in list(new.items())[:room]:
            seen.add(key)
            found[key] = (depth, how)
        if len(new) > room:
            return found, True
        level = list(artifacts_by_key(connection, new).values())
    return found, True


def _count(connection: Connection, keys: Sequence[int]) -> dict[str, Any]:
    """Runs that used one of some artifacts: exact to 10,000, beyond that from the tallies (where a run that used two of them counts twice)."""
    known = sum(
        int(total or 0)
        for some in chunks(keys)
        for total in connection.scalars(select(func.sum(uses.c.runs)).where(uses.c.artifact.in_(some), uses.c.role == INPUT))
    )
    if known > COUNTED:
        return {"count": known, "approximate": True}
    if len(keys) == 1:
        return {"count": known}
    seen: set[int] = set()
    for some in chunks(keys):
        seen.update(connection.scalars(select(edges.c.run).where(edges.c.artifact.in_(some), edges.c.role == INPUT)))
    return {"count": len(seen)}


def _jobs(connection: Connection, keys: Sequence[int], direct: set[int]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in _tallied(connection, keys, uses.c.job):
        entry = found.setdefault(row[1], {"runs": 0, "first": row[3], "last": row[4], "direct": False})
        _add(entry, row, direct)
    names: dict[int, Any] = {}
    for some in chunks(sorted(found)):
        names.update((row.job, row) for row in connection.execute(select(jobs).where(jobs.c.job.in_(some))))
    ordered = sorted((key for key in found if key in names), key=lambda key: -found[key]["last"])
    return [
        {"job": names[key].name, "namespace": names[key].namespace, "offline": names[key].offline == 1, **_told(found[key])}
        for key in ordered
    ]


def _releases(connection: Connection, keys: Sequence[int], direct: set[int]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in _tallied(connection, keys, uses.c.release):
        if row[1]:
            _add(found.setdefault(row[1], {"runs": 0, "first": row[3], "last": row[4], "direct": False}), row, direct)
    names: dict[int, Any] = {}
    for some in chunks(sorted(found)):
        names.update((row.release, row) for row in connection.execute(select(releases).where(releases.c.release.in_(some))))
    ordered = sorted((key for key in found if key in names), key=lambda key: -found[key]["last"])
    return [
        {
            "release": names[key].name or names[key].image_digest or names[key].code_revision, "service": names[key].service,
            "environment": names[key].environment, "codeRevision": names[key].code_revision, "imageDigest": names[key].image_digest,
            **_told(found[key]),
        }
        for key in ordered
    ]  # fmt: skip


def _tallied(connection: Connection, keys: Sequence[int], by: Any) -> Iterable[Any]:
    """`(artifact, job or release, runs, first, last)` of uses as input."""
    for some in chunks(keys):
        query = select(uses.c.artifact, by, func.sum(uses.c.runs), func.min(uses.c.first_run), func.max(uses.c.last_run))
        yield from connection.execute(
            query.where(uses.c.artifact.in_(some), uses.c.role == INPUT).group_by(uses.c.artifact, by).limit(_MAX_ROWS)
        )


def _add(entry: dict[str, Any], row: Any, direct: set[int]) -> None:
    entry["runs"] += int(row[2])
    entry["first"], entry["last"] = min(entry["first"], row[3]), max(entry["last"], row[4])
    entry["direct"] = entry["direct"] or row[0] in direct


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "runs": entry["runs"], "firstUsedAt": moment(entry["first"] >> 11), "lastUsedAt": moment(entry["last"] >> 11), "direct": entry["direct"],
    }  # fmt: skip


def _artifacts(connection: Connection, made: dict[int, tuple[int, str]]) -> list[dict[str, Any]]:
    counts: dict[int, int] = {}
    for some in chunks(sorted(made)):
        query = (
            select(uses.c.artifact, func.sum(uses.c.runs)).where(uses.c.artifact.in_(some), uses.c.role == INPUT).group_by(uses.c.artifact)
        )
        counts.update((key, int(total)) for key, total in connection.execute(query))
    known = artifacts_by_key(connection, made)
    return [
        {
            "id": node_id(known[key]), "ref": known[key].ref, "kind": known[key].kind, "namespace": known[key].namespace, "name": known[key].name,
            "version": known[key].version or None, "digest": known[key].digest or None, "depth": depth, "evidence": how, "runs": counts.get(key, 0),
        }
        for key, (depth, how) in made.items()
        if key in known
    ]  # fmt: skip


def _of_release(connection: Connection, target: Target, limit: int, after: str | None) -> dict[str, Any]:
    """A release or revision went into its runs, and into what they made."""
    keys = target.releases
    page = page_of(connection, [(runs.c.run, [runs.c.release == key]) for key in keys], limit=limit, after=after)
    count = 0
    for key in keys:
        some = select(runs.c.run).where(runs.c.release == key).limit(COUNTED + 1)
        count += connection.scalar(select(func.count()).select_from(some.subquery())) or 0
    made: dict[int, None] = {}
    by_job: dict[int, dict[str, Any]] = {}
    by_release: dict[int, dict[str, Any]] = {}
    for some in chunks(keys):
        for row in connection.execute(select(uses).where(uses.c.release.in_(some), uses.c.role == OUTPUT).limit(_MAX_ROWS)):
            made[row.artifact] = None
            for group, key in ((by_job, row.job), (by_release, row.release)):
                entry = group.setdefault(key, {"runs": 0, "first": row.first_run, "last": row.last_run, "direct": True})
                entry["runs"] = max(entry["runs"], row.runs)
                entry["first"], entry["last"] = min(entry["first"], row.first_run), max(entry["last"], row.last_run)
    start = [entry for entry in artifacts_by_key(connection, made).values() if entry.kind != "flow"]
    later, truncated = _made_from(connection, start)
    everything = {**{entry.key: (0, "observed") for entry in start}, **later}
    named = connection.execute(select(jobs).where(jobs.c.job.in_(list(by_job)[:_MAX_ROWS]))).all()
    rows = connection.execute(select(releases).where(releases.c.release.in_(keys))).all()
    return {
        "ref": target.ref,
        "runs": {"count": min(count, COUNTED) if count > COUNTED else count, **({"approximate": True} if count > COUNTED else {}), **page},
        "jobs": [{"job": row.name, "namespace": row.namespace, "offline": row.offline == 1, **_told(by_job[row.job])} for row in named],
        "releases": [
            {
                "release": row.name or row.image_digest or row.code_revision, "service": row.service, "environment": row.environment,
                "codeRevision": row.code_revision, "imageDigest": row.image_digest, **(_told(by_release[row.release]) if row.release in by_release else {}),
            }
            for row in rows
        ],
        "artifacts": _artifacts(connection, everything),
        "truncated": truncated,
    }  # fmt: skip
