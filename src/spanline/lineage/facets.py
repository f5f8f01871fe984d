"""Facets: ours as msgspec structs over the parts of the record, the standard ones as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from spanline.record.artifact import Document
from spanline.record.run import Conflict, Evaluation, GuardrailOutcome, JobRef, Operation, Release, Usage
from spanline.version import VERSION as RELEASE

VERSION = "1-0-0"
"""SchemaVer of all our facets so far (model-revision-addition)."""

CLASSES: dict[str, str] = {
    "spanline_trace": "SpanlineTraceRunFacet",
    "spanline_release": "SpanlineReleaseRunFacet",
    "spanline_operations": "SpanlineOperationsRunFacet",
    "spanline_usage": "SpanlineUsageRunFacet",
    "spanline_guardrails": "SpanlineGuardrailsRunFacet",
    "spanline_conflicts": "SpanlineConflictsRunFacet",
    "spanline_evaluations": "SpanlineEvaluationsRunFacet",
    "spanline_metrics": "SpanlineMetricsRunFacet",
    "spanline_artifact": "SpanlineArtifactDatasetFacet",
    "spanline_retrieval": "SpanlineRetrievalInputDatasetFacet",
}
"""Facet key to the class name in its schema."""

_SPEC = "https://openlineage.io/spec/facets"
STANDARD: dict[str, str] = {
    "parent": f"{_SPEC}/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "processing_engine": f"{_SPEC}/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "externalQuery": f"{_SPEC}/1-0-2/ExternalQueryRunFacet.json#/$defs/ExternalQueryRunFacet",
    "errorMessage": f"{_SPEC}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "executionParameters": f"{_SPEC}/1-0-0/ExecutionParametersRunFacet.json#/$defs/ExecutionParametersRunFacet",
    "tags": f"{_SPEC}/1-0-0/TagsRunFacet.json#/$defs/TagsRunFacet",
    "test": f"{_SPEC}/1-0-1/TestRunFacet.json#/$defs/TestRunFacet",
    "jobType": f"{_SPEC}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "sourceCodeLocation": f"{_SPEC}/1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet",
    "version": f"{_SPEC}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "inputStatistics": f"{_SPEC}/1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet",
}
"""Standard facet key to its schema URL. Source: OpenLineage specification, core 2-0-2."""


class Stamp:
    """What every facet of one process bears: its producer, and where its schema is."""

    __slots__ = ("engine", "producer", "urls")

    def __init__(self, producer: str, schema_base: str) -> None:
        self.producer = producer
        self.urls = {key: f"{schema_base}/{key}/{VERSION}#/$defs/{name}" for key, name in CLASSES.items()}
        self.engine = msgspec.Raw(msgspec.json.encode(self.standard("processing_engine", name="spanline", version=RELEASE)))

    def standard(self, key: str, **properties: Any) -> dict[str, Any]:
        """A standard facet as plain data."""
        return {"_producer": self.producer, "_schemaURL": STANDARD[key], **properties}


@lru_cache(maxsize=16)
def stamp(producer: str, schema_base: str) -> Stamp:
    """The stamp of a producer and schema base, made once."""
    return Stamp(producer, schema_base.rstrip("/"))


class Facet(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """Base of our facets: unknown is left out."""

    producer: str = msgspec.field(name="_producer")
    schema_url: str = msgspec.field(name="_schemaURL")


class TraceFacet(Facet, kw_only=True):
    """`spanline_trace`: who asked, when, with what outcome on the wire."""

    trace_id: str
    span_id: str
    sampled: bool
    service: str
    environment: str | None = None
    started_at: str
    duration_seconds: float | None = None
    request_id: str | None = None
    tenant: str | None = None
    subject: str | None = None
    session: str | None = None
    tags: dict[str, str] | None = None
    http_status_code: int | None = None
    run_url: str | None = None


class ReleaseFacet(Release, kw_only=True):
    """`spanline_release`: what was running."""

    producer: str = msgspec.field(name="_producer")
    schema_url: str = msgspec.field(name="_schemaURL")


class OperationsFacet(Facet, kw_only=True):
    """`spanline_operations`: the operations of the run, and how many more there were."""

    operations: tuple[Operation, ...]
    dropped: int | None = None


class UsageFacet(Usage, kw_only=True):
    """`spanline_usage`: tokens and cost of the run."""

    producer: str = msgspec.field(name="_producer")
    schema_url: str = msgspec.field(name="_schemaURL")


class GuardrailsFacet(Facet, kw_only=True):
    """`spanline_guardrails`: the verdicts of the guardrails."""

    outcomes: list[GuardrailOutcome]


class ConflictsFacet(Facet, kw_only=True):
    """`spanline_conflicts`: labels that showed another digest than first seen."""

    conflicts: tuple[Conflict, ...]


class EvaluationsFacet(Facet, kw_only=True):
    """`spanline_evaluations`: scores and verdicts on the run."""

    evaluations: tuple[Evaluation, ...]


class MetricsFacet(Facet, kw_only=True):
    """`spanline_metrics`: results of a `job()`, such as a loss or a row count."""

    metrics: dict[str, float]


class ArtifactFacet(Facet, kw_only=True):
    """`spanline_artifact`: what the dataset is, the part it played, and how that is known."""

    kind: str
    name: str
    version: str | None = None
    digest: str | None = None
    role: str
    evidence: str
    owner: str | None = None
    stage: str | None = None
    uri: str | None = None
    made_of: tuple[str, ...] | None = None


class RetrievalFacet(Facet, kw_only=True):
    """`spanline_retrieval`: what was fetched from the index."""

    top_k: int | None = None
    hits: int | None = None
    documents: tuple[Document, ...] | None = None
    span_id: str | None = None


def parent(mark: Stamp, ref: JobRef, root: JobRef | None) -> dict[str, Any]:
    """The standard `parent` facet; job names must be the parent's own, word for word."""
    properties = _link(ref)
    if root is not None:
        properties["root"] = _link(root)
    return mark.standard("parent", **properties)


def test(mark: Stamp, evaluations: Iterable[Evaluation]) -> dict[str, Any] | None:
    """The standard `test` facet: evaluations with a verdict. A bare score is no test."""
    tests: list[dict[str, Any]] = []
    for evaluation in evaluations:
        if evaluation.passed is None:
            continue
        entry: dict[str, Any] = {"name": evaluation.name, "status": "pass" if evaluation.passed else "fail", "type": "evaluation"}
        if evaluation.score is not None:
            entry["actual"] = str(evaluation.score)
        elif evaluation.label is not None:
            entry["actual"] = evaluation.label
        tests.append(entry)
    return mark.standard("test", tests=tests) if tests else None


def _link(ref: JobRef) -> dict[str, Any]:
    return {"run": {"runId": ref.run_id}, "job": {"namespace": ref.namespace, "name": ref.name}}
