"""Run facets of a record: ours and the standard ones, each only when it has content."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec

from spanline.lineage import facets
from spanline.lineage.encoding import encode
from spanline.lineage.facets import Stamp
from spanline.naming import clean, clean_namespace, fit
from spanline.record.redact import without_secrets
from spanline.record.run import MAX_OPERATIONS, GuardrailOutcome, JobRef, Release, RunRecord, Usage
from spanline.times import rfc3339

KEYED_DIGEST = "hmac-sha256:"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_NO_USAGE = msgspec.structs.astuple(Usage())
_PHASES = frozenset({"input", "output", "tool"})
_ACTIONS = frozenset({"block", "redact", "retry", "flag"})


def parent_facet(record: RunRecord, mark: Stamp) -> dict[str, Any]:
    """`{"parent": facet}`, or nothing for the root run of a trace."""
    if record.parent is None:
        return {}
    parent = _job_ref(record.parent)
    root = record.root
    # A parent that owns the trace is the root; above any other one the root is not known.
    if root is not None:
        root = _job_ref(root)
    elif parent.run_id == str(UUID(record.trace_id)):
        root = parent
    return {"parent": facets.parent(mark, parent, root)}


def run_facets(record: RunRecord, mark: Stamp) -> dict[str, Any]:
    """All run facets of the terminal event."""
    found = parent_facet(record, mark)
    found["spanline_trace"] = _trace(record, mark)
    _add_ours(found, record, mark)
    if record.evaluations:
        _add_evaluations(found, record, mark)
    found["processing_engine"] = mark.engine
    found["externalQuery"] = mark.standard("externalQuery", externalQueryId=record.trace_id, source="opentelemetry")
    if record.error_type:
        # The type alone: messages hold prompts and answers.
        found["errorMessage"] = mark.standard("errorMessage", message=fit(record.error_type), programmingLanguage="python")
    if record.parameters or record.metrics:
        _add_work(found, record, mark)
    if record.tags:
        tags = [{"key": fit(key), "value": clean(str(value)), "source": "USER"} for key, value in record.tags.items()]
        found["tags"] = mark.standard("tags", tags=tags)
    return found


def _add_ours(found: dict[str, Any], record: RunRecord, mark: Stamp) -> None:
    producer, urls = mark.producer, mark.urls
    if record.release is not None:
        release = _release(record.release, mark)
        if release is not None:
            found["spanline_release"] = release
    if record.operations or record.operations_dropped:
        dropped = record.operations_dropped + max(0, len(record.operations) - MAX_OPERATIONS)
        found["spanline_operations"] = facets.OperationsFacet(
            producer=producer,
            schema_url=urls["spanline_operations"],
            operations=record.operations[:MAX_OPERATIONS],
            dropped=dropped or None,
        )
    if record.usage is not None:
        usage = (*msgspec.structs.astuple(record.usage)[:-1], record.usage.by_model or None)
        if usage != _NO_USAGE:
            found["spanline_usage"] = facets.UsageFacet(
                *usage,
                producer=producer,
                schema_url=urls["spanline_usage"],  # pyright: ignore[reportCallIssue]  # fields of Usage
            )
    if record.guardrails:
        outcomes = [_outcome(entry) for entry in record.guardrails]
        found["spanline_guardrails"] = facets.GuardrailsFacet(producer=producer, schema_url=urls["spanline_guardrails"], outcomes=outcomes)
    if record.conflicts:
        found["spanline_conflicts"] = facets.ConflictsFacet(
            producer=producer, schema_url=urls["spanline_conflicts"], conflicts=record.conflicts
        )


_releases: dict[int, tuple[Release, Stamp, msgspec.Raw | None]] = {}


def _release(release: Release, mark: Stamp) -> msgspec.Raw | None:
    """The release facet, encoded once: what is running is one object for the life of a process."""
    known = _releases.get(id(release))
    if known is not None and known[0] is release and known[1] is mark:
        return known[2]
    facts = {name: value for name, value in msgspec.structs.asdict(release).items() if value is not None and value != ""}
    if "repository" in facts:
        facts["repository"] = without_secrets(facts["repository"])
    made = None
    if facts:
        facet = facets.ReleaseFacet(**facts, producer=mark.producer, schema_url=mark.urls["spanline_release"])
        made = msgspec.Raw(encode(facet))
    if len(_releases) >= 64:
        _releases.clear()
    _releases[id(release)] = (release, mark, made)
    return made


def _add_evaluations(found: dict[str, Any], record: RunRecord, mark: Stamp) -> None:
    found["spanline_evaluations"] = facets.EvaluationsFacet(
        producer=mark.producer, schema_url=mark.urls["spanline_evaluations"], evaluations=record.evaluations
    )
    tests = facets.test(mark, record.evaluations)
    if tests is not None:
        found["test"] = tests


def _add_work(found: dict[str, Any], record: RunRecord, mark: Stamp) -> None:
    """What a `job()` was given and what came out of it."""
    metrics = {fit(name): value for name, value in record.metrics.items() if isfinite(value)}
    if metrics:
        found["spanline_metrics"] = facets.MetricsFacet(producer=mark.producer, schema_url=mark.urls["spanline_metrics"], metrics=metrics)
    if record.parameters:
        parameters = [{"key": fit(key), "value": clean(str(value), 1024)} for key, value in record.parameters.items()]
        found["executionParameters"] = mark.standard("executionParameters", parameters=parameters)


def _trace(record: RunRecord, mark: Stamp) -> facets.TraceFacet:
    duration = None
    if record.ended_ns is not None:
        duration = max(0, record.ended_ns - record.started_ns) / 1e9
    request_id = record.request_id
    return facets.TraceFacet(
        producer=mark.producer,
        schema_url=mark.urls["spanline_trace"],
        trace_id=record.trace_id,
        span_id=record.span_id,
        sampled=record.sampled,
        service=fit(record.service),
        environment=record.environment or None,
        started_at=rfc3339(record.started_ns),
        duration_seconds=duration,
        request_id=request_id if request_id and _REQUEST_ID.match(request_id) else None,
        tenant=_keyed(record.tenant),
        subject=_keyed(record.subject),
        session=_keyed(record.session),
        tags={fit(key): clean(str(value)) for key, value in record.tags.items()} if record.tags else None,
        http_status_code=record.http_status_code,
        run_url=record.run_url or None,
    )


def _keyed(digest: str | None) -> str | None:
    # People are in events as keyed digests or not at all.
    return digest if digest and digest.startswith(KEYED_DIGEST) else None


def _outcome(entry: GuardrailOutcome) -> GuardrailOutcome:
    phase, action = entry.phase, entry.action
    if (phase is None or phase in _PHASES) and (action is None or action in _ACTIONS):
        return entry
    return msgspec.structs.replace(entry, phase=phase if phase in _PHASES else None, action=action if action in _ACTIONS else None)


def _job_ref(ref: JobRef) -> JobRef:
    return JobRef(run_id=ref.run_id, namespace=clean_namespace(ref.namespace), name=fit(ref.name))
