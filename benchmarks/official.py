"""The same event by openlineage-python: attrs classes, as its manual has them, and its Serde; and the seeds of variants F and G."""

# ruff: noqa: N815  fields are named as in JSON
from __future__ import annotations

from typing import Any

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    RunFacet,
    dataset_version_dataset,
    external_query_run,
    input_statistics_input_dataset,
    job_type_job,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from spanline.record.artifact import Artifact
from spanline.record.run import RunRecord
from spanline.times import rfc3339
from spanline.version import VERSION

# Facets of one's own are attrs classes with the names that they have in JSON. Unknown is None, which Serde leaves out.


@attr.define
class TraceFacet(RunFacet):
    traceId: str
    spanId: str
    sampled: bool
    service: str
    startedAt: str
    durationSeconds: float
    requestId: str | None = None
    httpStatusCode: int | None = None


@attr.define
class ReleaseFacet(RunFacet):
    codeRevision: str | None = None


@attr.define
class Parameters:
    temperature: float | None = None
    topP: float | None = None
    maxTokens: int | None = None


@attr.define
class Tokens:
    inputTokens: int | None = None
    outputTokens: int | None = None


@attr.define
class Operation:
    spanId: str
    parentSpanId: str | None
    kind: str
    name: str
    startedAt: str
    durationSeconds: float
    dialect: str
    provider: str | None = None
    requestModel: str | None = None
    responseModel: str | None = None
    responseId: str | None = None
    finishReasons: list[str] | None = None
    parameters: Parameters | None = None
    usage: Tokens | None = None


@attr.define
class OperationsFacet(RunFacet):
    operations: list[Operation]


@attr.define
class ModelTokens:
    provider: str
    model: str
    operation: str
    inputTokens: int | None = None
    outputTokens: int | None = None


@attr.define
class UsageFacet(RunFacet):
    inputTokens: int | None = None
    outputTokens: int | None = None
    byModel: list[ModelTokens] | None = None


@attr.define
class Outcome:
    name: str
    outcome: str
    version: str | None = None
    phase: str | None = None
    spanId: str | None = None


@attr.define
class GuardrailsFacet(RunFacet):
    outcomes: list[Outcome]


@attr.define
class ArtifactFacet(DatasetFacet):
    kind: str
    name: str
    role: str
    evidence: str
    version: str | None = None
    digest: str | None = None
    madeOf: list[str] | None = None


@attr.define
class Document:
    id: str
    score: float | None = None


@attr.define
class RetrievalFacet(InputDatasetFacet):
    topK: int | None = None
    hits: int | None = None
    documents: list[Document] | None = None
    spanId: str | None = None


def event(record: RunRecord) -> RunEvent:
    """The COMPLETE of a run of the benchmark's endpoint."""
    found: list[InputDataset] = [_input(artifact) for artifact in record.artifacts]
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=rfc3339(record.ended_ns),
        run=Run(record.run_id, facets=_run_facets(record)),
        job=Job(record.namespace, record.job, facets={"jobType": job_type_job.JobTypeJobFacet("SERVICE", "SPANLINE", "REQUEST")}),
        inputs=[*found, InputDataset("llm", f"requests.{record.service}")],
        outputs=[OutputDataset("llm", f"responses.{record.service}")],
        producer="https://example.com/bench",
    )


def encoded(record: RunRecord) -> bytes:
    """The same, as what is posted."""
    return Serde.to_json(event(record)).encode()


def _run_facets(record: RunRecord) -> dict[str, RunFacet]:
    usage = record.usage
    assert usage is not None
    return {
        "spanline_trace": TraceFacet(
            record.trace_id, record.span_id, record.sampled, record.service, rfc3339(record.started_ns),
            (record.ended_ns - record.started_ns) / 1e9, record.request_id, record.http_status_code,
        ),
        **({"spanline_release": ReleaseFacet(record.release.code_revision)} if record.release else {}),
        "spanline_operations": OperationsFacet([_operation(each) for each in record.operations]),
        "spanline_usage": UsageFacet(
            usage.input_tokens, usage.output_tokens,
            [ModelTokens(e.provider or "", e.model, e.operation, e.input_tokens, e.output_tokens) for e in usage.by_model or ()],
        ),
        "spanline_guardrails": GuardrailsFacet([Outcome(e.name, e.outcome, e.version, e.phase, e.span_id) for e in record.guardrails]),
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(VERSION, "spanline"),
        "externalQuery": external_query_run.ExternalQueryRunFacet(record.trace_id, "opentelemetry"),
    }  # fmt: skip


def _operation(each: Any) -> Operation:
    parameters, usage = each.parameters, each.usage
    return Operation(
        each.span_id, each.parent_span_id, each.kind, each.name, each.started_at, each.duration_seconds, each.dialect,
        each.provider, each.request_model, each.response_model, each.response_id, each.finish_reasons,
        Parameters(parameters.temperature, parameters.top_p, parameters.max_tokens) if parameters else None,
        Tokens(usage.input_tokens, usage.output_tokens) if usage else None,
    )  # fmt: skip


def _input(artifact: Artifact) -> InputDataset:
    facets: dict[str, DatasetFacet] = {
        "spanline_artifact": ArtifactFacet(
            artifact.kind, artifact.name, artifact.role, artifact.evidence, artifact.version, artifact.digest,
            list(artifact.made_of) or None,
        )
    }  # fmt: skip
    if artifact.version:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(artifact.version)
    namespace, name = artifact.dataset
    found = InputDataset(namespace, name, facets=facets)
    retrieval = artifact.retrieval
    if retrieval is not None:
        documents = [Document(each.id, each.score) for each in retrieval.documents or ()]
        found.inputFacets = {
            "spanline_retrieval": RetrievalFacet(retrieval.top_k, retrieval.hits, documents, retrieval.span_id),
            "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=retrieval.hits),
        }
    return found
