"""Events: a run record as OpenLineage run events (core schema 2-0-2), encoded."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from spanline.lineage.datasets import MadeDataset, datasets_of
from spanline.lineage.encoding import encode
from spanline.lineage.facets import Stamp, stamp
from spanline.lineage.location import SourceLocation, source_location
from spanline.lineage.run_facets import parent_facet, run_facets
from spanline.naming import clean_namespace, fit
from spanline.record.run import RunRecord
from spanline.times import rfc3339

SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

_MILLISECOND_NS = 1_000_000


class _Run(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    run_id: str
    facets: dict[str, Any] = {}


class _Job(msgspec.Struct, omit_defaults=True, gc=False):
    namespace: str
    name: str
    facets: dict[str, Any] = {}


class _RunEvent(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    event_time: str
    event_type: str
    run: _Run
    job: _Job
    inputs: list[MadeDataset]
    outputs: list[MadeDataset]
    producer: str
    schema_url: str = msgspec.field(default=SCHEMA_URL, name="schemaURL")


def terminal_event(record: RunRecord, *, producer: str, schema_base: str, job_facets: bool | Callable[[Hashable], bool] = True) -> bytes:
    """The event that ends a run and holds all that is known of it.

    Args:
        record: The run. Event n of a run (`sequence`) is n ms later than its end. Without an outcome it is COMPLETE.
        producer: URI of the producer.
        schema_base: Base of `_schemaURL` of our facets.
        job_facets: Whether other job facets than `sourceCodeLocation` come along. A function is asked with what they belong to (job,
            names of inputs and outputs, code location), and says whether this is the first event of it.

    Returns:
        JSON without line end.
    """
    mark = stamp(producer, schema_base)
    ended_ns = max(record.started_ns, record.ended_ns or 0)
    inputs, outputs = datasets_of(record, mark, statistics=True)
    location = _location(record)
    if callable(job_facets):
        about = record.namespace, record.job, bool(record.operations), frozenset(inputs), frozenset(outputs), location
        job_facets = job_facets(about)
    return encode(
        _RunEvent(
            event_time=rfc3339(ended_ns + record.sequence * _MILLISECOND_NS),
            event_type=record.outcome or "COMPLETE",
            run=_Run(record.run_id, run_facets(record, mark)),
            job=_Job(clean_namespace(record.namespace), fit(record.job), _job_facets(record, mark, location, first=job_facets)),
            inputs=[*inputs.values()],
            outputs=[*outputs.values()],
            producer=producer,
        ),
        finite=record.finite,
    )


def start_event(record: RunRecord, *, producer: str, schema_base: str) -> bytes:
    """The START of a run: its inputs and outputs as far as known, and no run facet but `parent`."""
    mark = stamp(producer, schema_base)
    inputs, outputs = datasets_of(record, mark, statistics=False)
    return encode(
        _RunEvent(
            event_time=rfc3339(record.started_ns),
            event_type="START",
            run=_Run(record.run_id, parent_facet(record, mark)),
            job=_Job(clean_namespace(record.namespace), fit(record.job)),
            inputs=[*inputs.values()],
            outputs=[*outputs.values()],
            producer=producer,
        )
    )


def start_from_terminal(event: Mapping[str, Any]) -> dict[str, Any]:
    """The START that belongs to a terminal event of ours: same inputs and outputs, at the start time.

    The facts of the run about a dataset (`inputFacets`, `outputFacets`) stay with the terminal event, which is not changed.

    Raises:
        ValueError: The event does not say when its run started (it is not ours).
    """
    run = event["run"]
    facets: Mapping[str, Any] = run.get("facets") or {}
    trace: Mapping[str, Any] = facets.get("spanline_trace") or {}
    started_at = trace.get("startedAt")
    if not started_at:
        raise ValueError("no spanline_trace.startedAt: not a terminal event of spanline")
    start_run: dict[str, Any] = {"runId": run["runId"]}
    if "parent" in facets:
        start_run["facets"] = {"parent": facets["parent"]}
    job = event["job"]
    return {
        "eventTime": started_at,
        "eventType": "START",
        "run": start_run,
        "job": {"namespace": job["namespace"], "name": job["name"]},
        "inputs": [_plain(dataset) for dataset in event.get("inputs") or ()],
        "outputs": [_plain(dataset) for dataset in event.get("outputs") or ()],
        "producer": event["producer"],
        "schemaURL": event["schemaURL"],
    }


def _plain(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in dataset.items() if key not in {"inputFacets", "outputFacets"}}


def _location(record: RunRecord) -> SourceLocation | None:
    release = record.release
    return source_location(release.repository, release.code_revision, record.source_path) if release else None


def _job_facets(record: RunRecord, mark: Stamp, location: SourceLocation | None, *, first: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if first:
        found["jobType"] = mark.standard(
            "jobType",
            processingType="SERVICE" if record.live else "BATCH",
            integration="SPANLINE",
            jobType="REQUEST" if record.live else "JOB",
        )
    if location is not None:
        found["sourceCodeLocation"] = _code(location, mark)
    return found


@lru_cache(64)
def _code(location: SourceLocation, mark: Stamp) -> msgspec.Raw:
    """Encoded once: it is the same in every run of a release."""
    facet = mark.standard("sourceCodeLocation", type="git", url=location.url, repoUrl=location.repo_url)
    if location.version:
        facet["version"] = location.version
    if location.path:
        facet["path"] = location.path
    return msgspec.Raw(msgspec.json.encode(facet))
