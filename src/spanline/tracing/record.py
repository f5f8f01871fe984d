"""From an ActiveRun to its RunRecord: identity, request facts, parent, and what the spans said."""

from __future__ import annotations

from typing import Any

from spanline.dialects.assemble import assemble
from spanline.dialects.rollups import Answers
from spanline.identity import run_id_of
from spanline.naming import operation_job
from spanline.record.active import ActiveRun, run_id
from spanline.record.redact import clean_documents
from spanline.record.run import JobRef, Outcome, Release, RunRecord
from spanline.tracing.log_events import joined

ANSWERS = Answers()
"""Responses of models that this process has counted."""


def job_name_of(run: ActiveRun) -> str:
    """The job's name, settled: by the middleware or `job()`, else by the operation at the root, else `<service>.trace`."""
    if run.job is not None:
        return run.job
    if run.name_of is not None:
        return run.name_of(run)
    return root_job(run.sink.settings.service, f"{run.span_id:016x}", run.readings)


def root_job(service: str, root: str, readings: list[Any]) -> str:
    """The job's name of a trace that begins with an operation, or `<service>.trace`.

    Args:
        service: First part of the name.
        root: Span id of the local root, 16 hex.
        readings: What is known of its spans.
    """
    for reading in readings:
        operation = reading.operation
        if operation.span_id == root:
            subject = operation.agent_name or operation.tool_name or operation.request_model
            word = (operation.name or operation.kind).partition(" ")[0]
            return operation_job(service, word, subject)
    return f"{service}.trace"


def outcome_of(run: ActiveRun) -> Outcome | None:
    """COMPLETE, FAIL or ABORT by contract.md; None while the run goes on."""
    if not run.finished:
        return None
    if run.aborted:
        return "ABORT"
    if run.failed or (run.http_status_code or 0) >= 500:
        return "FAIL"
    return "COMPLETE"


def record_of(
    run: ActiveRun, *, release: Release | None, environment: str | None, base_url: str | None, parent: tuple[str, str, str] | None = None
) -> RunRecord:
    """The record of a run, as it is known now.

    Args:
        run: The run; its job name is settled by this call once it has finished.
        release: What is running.
        environment: Deployment environment.
        base_url: Where run pages are reached, without trailing slash.
        parent: `(namespace, job, run id)` of `OPENLINEAGE_PARENT_ID`, for a `job()` that is a root.
    """
    settings = run.sink.settings
    name = job_name_of(run)
    if run.finished:
        run.job = name
    trace_id = f"{run.trace_id:032x}"
    record = RunRecord(
        run_id=run_id(run),
        trace_id=trace_id,
        span_id=f"{run.span_id:016x}",
        namespace=settings.namespace,
        job=name,
        service=settings.service,
        started_ns=run.started_ns,
        # A clock that was set back must not make a run end before it began.
        ended_ns=max(run.ended_ns, run.started_ns) if run.finished else None,
        outcome=outcome_of(run),
        error_type=run.error_type,
        sequence=run.sequence,
        sampled=run.sampled,
        live=not run.is_job,
        environment=run.environment or environment,
        request_id=run.request_id,
        tenant=run.tenant,
        subject=run.subject,
        session=run.session,
        tags=run.tags,
        http_status_code=run.http_status_code,
        run_url=f"{base_url}/r/{trace_id}" if base_url else None,
        release=release,
        evaluations=tuple(run.evaluations),
        parameters=run.parameters,
        metrics=run.metrics,
        source_path=run.source_path,
    )
    family = None if run.owner else run.parent_job(run_id, run_id_of(run.trace_id))
    if family is not None:
        record.parent, record.root = family
    elif parent is not None and run.is_job:
        record.parent = record.root = JobRef(run_id=parent[2], namespace=parent[0], name=parent[1])
    readings = joined(run.readings, run.logs) if run.logs else list(run.readings)
    assemble(record, readings, run.artifacts, run.dropped_operations, ANSWERS)
    record.finite = not (record.evaluations or record.metrics)
    record.artifacts = clean_documents(record.artifacts, run.sink.digest)
    return record
