"""View: the JSON of a run (contract.md), from its events and what the ledger found about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from spanline.ledger.answers import answers, usage
from spanline.ledger.conflicts import dashed
from spanline.ledger.documents import Document, items, part, text
from spanline.ledger.facts import EVIDENCE, INPUT, STATUSES, Facts, Used, facts_of
from spanline.ledger.gaps import Gap, gaps_of, no_producer
from spanline.ledger.lookup import Row, family, merged
from spanline.ledger.schema import conflicts, label_digests, labels
from spanline.ledger.upstream import HOW, Upstream, upstream
from spanline.times import rfc3339

_Scope = list[tuple[Row, Document, Facts]]


def run_json(connection: Connection, found: Sequence[Row]) -> dict[str, Any] | None:
    """The JSON of a run; it speaks for the run and all runs below it, whose entries bear a `runId`.

    Args:
        connection: For reading.
        found: The run, and others that the same id may mean.

    Returns:
        None when its events have gone in the meantime.
    """
    row = found[0]
    rows = [row, *family(connection, row)]
    documents = merged(connection, [entry.run for entry in rows])
    scope: _Scope = [(entry, documents[entry.run], facts_of(documents[entry.run])) for entry in rows if entry.run in documents]
    if not scope or scope[0][0] is not row:
        return None
    document, facts = scope[0][1:]
    chain, made = upstream(connection, [(entry, each) for entry, _, each in scope])
    facets = part(part(document.get("run")).get("facets"))
    trace = part(facets.get("spanline_trace"))
    parent = part(facets.get("parent"))
    operations = part(facets.get("spanline_operations"))
    return {
        "runId": dashed(row.run_id),
        "traceId": row.trace_id.hex() if row.trace_id else None,
        "job": row.job,
        "namespace": row.namespace,
        "status": STATUSES[row.status],
        "outcome": STATUSES[row.status] if row.status else None,
        "startedAt": moment(row.started_us),
        "endedAt": moment(row.ended_us),
        "durationSeconds": duration(row),
        "answers": answers([each for _, _, each in scope], [each for _, each, _ in scope], chain),
        "artifacts": [_artifact(entry) | mark for entry, mark in _artifacts(scope)],
        "operations": _gathered(scope, lambda each: each.operations),
        "operationsDropped": operations.get("dropped") or 0,
        "usage": usage([each for _, each, _ in scope]),
        "guardrails": _gathered(scope, lambda each: each.guardrails),
        "evaluations": _gathered(scope, lambda each: each.evaluations),
        "conflicts": _conflicts(connection, scope),
        "gaps": _gaps(scope, made),
        "upstream": [_upstream(up) for up in chain],
        "links": {},
        "requestId": text(trace.get("requestId")),
        "spanId": text(trace.get("spanId")),
        "service": facts.service,
        "environment": facts.environment,
        "release": dict(facts.release),
        "tags": facts.tags,
        "tenant": text(trace.get("tenant")),
        "subject": text(trace.get("subject")),
        "session": text(trace.get("session")),
        "sampled": trace.get("sampled"),
        "httpStatusCode": trace.get("httpStatusCode"),
        "errorType": text(part(facets.get("errorMessage")).get("message")) if facts.ours else None,
        "parameters": _parameters(facets),
        "metrics": dict(part(part(facets.get("spanline_metrics")).get("metrics"))),
        "parent": _link(parent),
        "root": _link(part(parent.get("root"))),
        "children": [
            {"runId": dashed(entry.run_id), **summary(entry), "service": each.service, "usage": usage([doc])}
            for entry, doc, each in scope[1:]
        ],
        "others": [dashed(other.run_id) for other in found[1:]],
    }


def summary(row: Row) -> dict[str, Any]:
    """What every list says of a run, but for its id."""
    return {
        "job": row.job,
        "namespace": row.namespace,
        "status": STATUSES[row.status],
        "startedAt": moment(row.started_us),
        "durationSeconds": duration(row),
    }


def moment(micros: int | None) -> str | None:
    """Unix microseconds as RFC 3339."""
    return None if micros is None else rfc3339(micros * 1000)


def duration(row: Row) -> float | None:
    """Seconds from start to end."""
    # Of a run that told its end alone the start is not known.
    return (row.ended_us - row.started_us) / 1e6 if row.ended_us is not None and row.ended_us > row.started_us else None


def gaps_of_document(row: Row, document: Document, facts: Facts) -> list[Gap]:
    """The gaps of one run; a run whose events bear another id was re-keyed."""
    claimed = text(part(document.get("run")).get("runId")) or ""
    return gaps_of(facts, rekeyed=claimed.replace("-", "").lower() != row.run_id.hex())


def _mark(number: int, row: Row) -> dict[str, Any]:
    return {"runId": dashed(row.run_id)} if number else {}


def _gathered(scope: _Scope, of: Callable[[Facts], list[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [{**_plain(entry), **_mark(number, row)} for number, (row, _, facts) in enumerate(scope) for entry in of(facts)]


def _artifacts(scope: _Scope) -> list[tuple[Used, dict[str, Any]]]:
    found: dict[tuple[int, int], tuple[Used, dict[str, Any]]] = {}
    for number, (row, _, facts) in enumerate(scope):
        for entry in facts.artifacts:
            before = found.get((entry.key, entry.role))
            if before is None or (entry.retrieval and not before[0].retrieval):
                found[entry.key, entry.role] = (entry, _mark(number, row))
    return list(found.values())


def _artifact(entry: Used) -> dict[str, Any]:
    known: dict[str, Any] = {
        "kind": entry.kind,
        "namespace": entry.namespace,
        "name": entry.name,
        "version": entry.version or None,
        "digest": entry.digest or None,
        "role": "input" if entry.role == INPUT else "output",
        "evidence": EVIDENCE[entry.evidence],
        "ref": entry.ref,
    }
    known.update({name: entry.facet[name] for name in ("owner", "stage", "uri", "madeOf", "symlinkOf") if entry.facet.get(name)})
    if entry.retrieval:
        known["retrieval"] = _plain(entry.retrieval)
    return known


def _conflicts(connection: Connection, scope: _Scope) -> list[dict[str, Any]]:
    places = {row.run: number for number, (row, _, _) in enumerate(scope)}
    expected = label_digests.alias()
    query = (
        select(
            conflicts.c.run, labels.c.kind, labels.c.namespace, labels.c.name, labels.c.version, conflicts.c.digest, conflicts.c.expected,
            label_digests.c.acknowledged_us, expected.c.first_run_id, expected.c.first_us,
        )
        .join(labels, labels.c.label == conflicts.c.label)
        .outerjoin(label_digests, (label_digests.c.label == conflicts.c.label) & (label_digests.c.digest == conflicts.c.digest))
        .outerjoin(expected, (expected.c.label == conflicts.c.label) & (expected.c.digest == conflicts.c.expected))
        .where(conflicts.c.run.in_(list(places)))
        .order_by(conflicts.c.run, labels.c.kind, labels.c.name)
    )  # fmt: skip
    return [
        {
            "kind": kind, "namespace": namespace, "name": name, "version": version, "digest": digest, "expectedDigest": first,
            "firstSeenRunId": dashed(bytes(run_id)) if run_id is not None else None, "firstSeenAt": moment(first_us),
            "acknowledged": acknowledged is not None, **_mark(places[run], scope[places[run]][0]),
        }
        for run, kind, namespace, name, version, digest, first, acknowledged, run_id, first_us in connection.execute(query)
    ]  # fmt: skip


def _gaps(scope: _Scope, made: set[int]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number, (row, document, facts) in enumerate(scope):
        gaps = gaps_of_document(row, document, facts)
        for entry in facts.artifacts:
            if entry.kind == "index" and entry.role == INPUT and entry.key not in made:
                gaps.append(no_producer(entry))
        for gap in gaps:
            found.setdefault(gap.missing, {"missing": gap.missing, "how": gap.how, **_mark(number, row)})
    return list(found.values())


def _upstream(up: Upstream) -> dict[str, Any]:
    return {
        "runId": dashed(up.row.run_id),
        **summary(up.row),
        "endedAt": moment(up.row.ended_us),
        "ref": up.artifact.ref,
        "artifact": {
            key: value for key, value in _artifact(up.artifact).items() if key in ("kind", "namespace", "name", "version", "digest")
        },
        "made": up.made,
        "join": up.join,
        "how": HOW[up.join],
        "evidence": EVIDENCE[up.evidence],
        "depth": up.depth,
        "usedBy": dashed(up.used_by),
        "inputs": [_artifact(entry) for entry in up.facts.artifacts if entry.role == INPUT],
    }


def _parameters(facets: Mapping[str, Any]) -> dict[str, Any]:
    listed = items(part(facets.get("executionParameters")).get("parameters"))
    return {key: entry.get("value") for entry in listed if (key := text(entry.get("key"))) is not None}


def _link(link: Mapping[str, Any]) -> dict[str, Any] | None:
    run_id, job = text(part(link.get("run")).get("runId")), part(link.get("job"))
    return {"runId": run_id, "namespace": text(job.get("namespace")), "job": text(job.get("name"))} if run_id else None


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if not key.startswith("_")}
