"""Sides of a comparison: one run, a release, or all runs of a time window, each as what it used, did and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, select

from spanline.ledger.answers import usage
from spanline.ledger.conflicts import dashed
from spanline.ledger.documents import Document, items, part, text
from spanline.ledger.facts import INPUT, STATUSES, Facts, Used, facts_of
from spanline.ledger.given import among, keys_text
from spanline.ledger.listing import Driver, micros_of, newest
from spanline.ledger.lookup import Row, chunks, family, merged
from spanline.ledger.refs import Target, artifacts_by_key, find, job_keys
from spanline.ledger.schema import edges, releases, runs, uses
from spanline.ledger.view import duration, moment

MAX_COUNTED = 500
"""Newest runs of a release or window whose outcome and duration are counted."""

MAX_READ = 20
"""Newest runs of a release or window whose events are read for parameters, documents and tokens."""

_SUMS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "reasoningOutputTokens", "embeddingInputTokens", "costUsd")


class Side(msgspec.Struct):
    """One side. `used` maps kind and name to the versions and digests used under it."""

    about: dict[str, Any]
    used: dict[tuple[str, str], set[tuple[str | None, str | None]]]
    parameters: dict[str, set[str]]
    documents: dict[str, set[str]]
    """Document id to the digests and versions it was seen with."""
    outcomes: dict[str, Any]
    usage: dict[str, Any]
    duration: Any


def side_of(connection: Connection, text: str, *, job: str | None = None) -> Side:
    """A side of a comparison.

    Args:
        connection: For reading.
        text: A run (an id in any form, `run:<id>`), a release (`release:service@1.4.2`, `code:repository@revision`), or a time window
            (`2026-11-21T10:00:00Z/2026-11-21T11:00:00Z`).
        job: Only runs of this job, of a release or window.

    Raises:
        UnknownReference: It means nothing here.
        ValueError: It cannot be compared.
    """
    jobs = job_keys(connection, job) if job else None
    window = _window(text)
    if window is not None:
        return _many(connection, {"ref": text, "type": "window"}, None, window, jobs)
    target = find(connection, text)
    if target.runs:
        return _run(connection, target.runs[0])
    if target.releases:
        rows = connection.execute(
            select(releases).where(releases.c.release.in_(target.releases)).order_by(releases.c.first_us.desc())
        ).all()
        about = {
            "ref": target.ref, "type": "release", "release": rows[0].name or rows[0].image_digest, "service": rows[0].service,
            "codeRevision": rows[0].code_revision, "imageDigest": rows[0].image_digest,
        }  # fmt: skip
        return _many(connection, about, target, None, jobs)
    raise ValueError("what is compared is two runs, two releases (release:service@version) or two time windows (from/to, RFC 3339)")


def _run(connection: Connection, row: Row) -> Side:
    rows = [row, *family(connection, row)]
    documents = merged(connection, [entry.run for entry in rows])
    read = [(documents[entry.run], facts_of(documents[entry.run])) for entry in rows if entry.run in documents]
    about = {
        "ref": f"run:{dashed(row.run_id)}", "type": "run", "runId": dashed(row.run_id), "job": row.job, "namespace": row.namespace,
        "startedAt": moment(row.started_us), "release": row.release or row.image_digest,
    }  # fmt: skip
    used = _used(entry for _, facts in read for entry in facts.artifacts if entry.role == INPUT)
    for _, facts in read:
        _add_release(used, facts.release, facts.service)
    outcomes = {
        "status": STATUSES[row.status],
        "conflicts": row.conflicts,
        "guardrails": {str(entry.get("name")): entry.get("outcome") for _, facts in read for entry in facts.guardrails},
        "evaluations": {
            str(entry.get("name")): {key: entry[key] for key in ("score", "label", "passed") if key in entry}
            for _, facts in read
            for entry in facts.evaluations
        },
        "errors": sorted({str(entry["errorType"]) for _, facts in read for entry in facts.operations if entry.get("errorType")}),
    }
    return Side(
        about,
        used,
        _parameters(read),
        _documents(facts for _, facts in read),
        outcomes,
        usage([document for document, _ in read]),
        duration(row),
    )


def _many(
    connection: Connection, about: dict[str, Any], target: Target | None, window: tuple[int, int] | None, jobs: Sequence[int] | None
) -> Side:
    bounds = [] if window is None else [(">=", window[0] << 11), ("<", window[1] << 11)]
    narrowed: list[ColumnElement[bool]] = [runs.c.job.in_(jobs)] if jobs else []
    drivers: list[Driver]
    if target is not None:
        drivers = [(runs.c.run, [runs.c.release == key]) for key in target.releases]
    else:
        drivers = [(runs.c.run, [runs.c.job == key]) for key in jobs] if jobs else [(runs.c.run, [])]
        narrowed = []
    keys = newest(connection, drivers, narrowed, bounds, MAX_COUNTED)
    statuses: Counter[str] = Counter()
    seconds: list[float] = []
    conflicts = blocked = 0
    names: set[int] = set()
    columns = select(runs.c.status, runs.c.started_us, runs.c.ended_us, runs.c.conflicts, runs.c.blocked, runs.c.release)
    dialect = connection.dialect.name
    for some in chunks(keys):
        told = connection.execute(columns.where(among(dialect, runs.c.run, "keys")), {"keys": keys_text(dialect, some)})
        for status, started, ended, in_conflict, stopped, release in told:
            statuses[STATUSES[status]] += 1
            conflicts += in_conflict > 0
            blocked += stopped > 0
            if release is not None:
                names.add(release)
            if ended is not None and ended > started:
                seconds.append((ended - started) / 1e6)
    documents = merged(connection, keys[:MAX_READ])
    read = [(document, facts_of(document)) for document in documents.values()]
    if target is not None:
        # All that the release ever used, from the tallies: also what its newest runs did not touch.
        query = select(uses.c.artifact).where(uses.c.release.in_(target.releases), uses.c.role == INPUT)
        artifacts = set[int](connection.scalars(query.where(uses.c.job.in_(jobs)) if jobs else query))
    else:
        artifacts = set[int]()
        for some in chunks(keys):
            read_by = select(edges.c.artifact).where(among(dialect, edges.c.run, "keys"), edges.c.role == INPUT).distinct()
            artifacts.update(connection.scalars(read_by, {"keys": keys_text(dialect, some)}))
    used = _used(artifacts_by_key(connection, artifacts).values())
    for some in chunks(sorted(names | set(target.releases if target else ()))):
        for row in connection.execute(select(releases).where(releases.c.release.in_(some))):
            _add_release(used, {"release": row.name, "imageDigest": row.image_digest, "codeRevision": row.code_revision}, row.service)
    total = usage([document for document, _ in read])
    count = max(len(read), 1)
    outcomes = {
        "runs": len(keys),
        "complete": len(keys) < MAX_COUNTED,
        "statuses": dict(statuses),
        "conflicts": conflicts,
        "guardrailFailures": blocked,
    }
    mean = {name: round(total[name] / count, 6) for name in _SUMS if name in total}
    about = {**about, "runs": len(keys), "from": moment(keys[-1] >> 11) if keys else None, "to": moment(keys[0] >> 11) if keys else None}
    return Side(about, used, _parameters(read), _documents(facts for _, facts in read), outcomes, mean, _quantiles(seconds))


def _used(some: Iterable[Used]) -> dict[tuple[str, str], set[tuple[str | None, str | None]]]:
    found: dict[tuple[str, str], set[tuple[str | None, str | None]]] = {}
    for entry in some:
        if entry.kind != "flow":
            found.setdefault((entry.kind, entry.name), set()).add((entry.version or None, entry.digest or None))
    return found


def _add_release(used: dict[tuple[str, str], set[tuple[str | None, str | None]]], release: Mapping[str, Any], service: str | None) -> None:
    name = service or "unknown"
    if release.get("release") or release.get("imageDigest"):
        used.setdefault(("release", name), set()).add((text(release.get("release")), text(release.get("imageDigest"))))
    if release.get("codeRevision"):
        used.setdefault(("code", name), set()).add((text(release.get("codeRevision")), None))


def _parameters(read: Sequence[tuple[Document, Facts]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for document, facts in read:
        for entry in facts.operations:
            for name, value in part(entry.get("parameters")).items():
                # Of an inference by its plain name; two models in one run are rare.
                found.setdefault(name, set()).add(_plain(value))
        for entry in items(part(part(part(document.get("run")).get("facets")).get("executionParameters")).get("parameters")):
            if (name := text(entry.get("key"))) is not None:
                found.setdefault(name, set()).add(_plain(entry.get("value")))
        for entry in facts.artifacts:
            if entry.retrieval.get("topK") is not None:
                found.setdefault("topK", set()).add(_plain(entry.retrieval["topK"]))
    return found


def _documents(some: Iterable[Facts]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for facts in some:
        for artifact in facts.artifacts:
            for entry in items(artifact.retrieval.get("documents")):
                if (name := text(entry.get("id"))) is not None:
                    seen = found.setdefault(name, set())
                    seen.update(value for value in (text(entry.get("digest")), text(entry.get("version"))) if value)
    return found


def _plain(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _quantiles(seconds: list[float]) -> dict[str, Any] | None:
    if not seconds:
        return None
    seconds.sort()
    last = len(seconds) - 1
    return {
        "p50": round(seconds[last // 2], 6),
        "p95": round(seconds[round(last * 0.95)], 6),
        "mean": round(sum(seconds) / len(seconds), 6),
        "runs": len(seconds),
    }


def _window(text: str) -> tuple[int, int] | None:
    start, slash, end = text.strip().partition("/")
    if not slash or not (start[:4].isdigit() and end[:4].isdigit()):
        return None
    found = micros_of(start), micros_of(end)
    if found[0] >= found[1]:
        raise ValueError("a time window ends after it begins: from/to")
    return found
