"""Events for tests of the ledger: real ones through RunRecord, and foreign ones as plain data."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from spanline.identity import UrandomIdGenerator, child_run_id, run_id_of
from spanline.lineage.events import start_event, terminal_event
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.run import JobRef, Operation, Release, RunRecord, Usage
from spanline.times import rfc3339

T0 = 1_790_000_000_000_000_000
"""2026-09-21, Unix nanoseconds."""

SECOND = 1_000_000_000
JOB = "fee-assistant.POST /chat"
_STAMP = {"producer": "https://example.org/producer", "schema_base": "https://spanline.dev/schemas"}
_ids = UrandomIdGenerator()


def sha(text: str) -> str:
    """The digest of a text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def index(version: str | None = "c1", digest: str | None = "c1", **more: Any) -> Artifact:
    """The fee assistant's index."""
    retrieval = Retrieval(top_k=3, hits=2, documents=(Document(id="fees/wire.md", score=0.9), Document(id="fees/cards.md")))
    return Artifact(
        kind="index",
        name="fees_corpus",
        version=version,
        digest=sha(digest) if digest else None,
        retrieval=more.pop("retrieval", retrieval),
        **more,
    )


PROMPT = Artifact(kind="prompt", name="fees", version="v7", digest=sha("prompt v7"))
MODEL = Artifact(kind="model", name="openai/gpt-4o-2024-06-18")
CORPUS = Artifact(kind="corpus", name="fees", version="2026-11-01", evidence="declared")


def request(second: float = 0, *artifacts: Artifact, **fields: Any) -> RunRecord:
    """A request of the fee assistant, `second` seconds after T0."""
    trace_id, span_id = _ids.generate_trace_id(), _ids.generate_span_id()
    response_id = fields.pop("response_id", f"chatcmpl-{uuid.uuid4().hex}")
    started = T0 + round(second * SECOND)
    values: dict[str, Any] = {
        "run_id": run_id_of(trace_id),
        "trace_id": f"{trace_id:032x}",
        "span_id": f"{span_id:016x}",
        "namespace": "rag-prod",
        "job": JOB,
        "service": "fee-assistant",
        "environment": "production",
        "started_ns": started,
        "ended_ns": started + SECOND // 2,
        "outcome": "COMPLETE",
        "request_id": uuid.uuid4().hex,
        "http_status_code": 200,
        "release": Release(release="1.4.2", code_revision="a" * 40, repository="https://github.com/example/fees", image_digest=sha("image")),
        "operations": [
            Operation(span_id="1" * 16, kind="retrieval", name="retrieval fees_corpus"),
            Operation(
                span_id="2" * 16, kind="inference", name="chat gpt-4o", provider="openai", response_model="gpt-4o-2024-06-18",
                response_id=response_id, usage=Usage(input_tokens=812, output_tokens=96),
            ),
        ],
        "usage": Usage(input_tokens=812, output_tokens=96),
        "artifacts": list(artifacts) or [index(), PROMPT, MODEL, CORPUS],
    }  # fmt: skip
    return RunRecord(**{**values, **fields})


def child_of(parent: RunRecord, service: str, **fields: Any) -> RunRecord:
    """A run of another service in the parent's trace."""
    span_id = _ids.generate_span_id()
    ref = JobRef(run_id=parent.run_id, namespace=parent.namespace, name=parent.job)
    values: dict[str, Any] = {
        "run_id": child_run_id(int(parent.trace_id, 16), span_id), "trace_id": parent.trace_id, "span_id": f"{span_id:016x}", "service": service,
        "job": f"{service}.POST /search", "parent": ref, "root": ref, "request_id": None, "started_ns": parent.started_ns + 1000,
    }  # fmt: skip
    return request(0, **{**values, **fields})


def build(second: float, inputs: list[Artifact], outputs: list[Artifact], job: str = "fee-assistant.index", **fields: Any) -> RunRecord:
    """An offline job."""
    made = [Artifact(kind=a.kind, name=a.name, version=a.version, digest=a.digest, role="output") for a in outputs]
    return request(
        second,
        *inputs,
        *made,
        **{"job": job, "live": False, "operations": [], "usage": None, "request_id": None, "http_status_code": None, **fields},
    )


def end(record: RunRecord, *, job_facets: bool = True) -> bytes:
    """The terminal event of a record."""
    return terminal_event(record, job_facets=job_facets, **_STAMP)


def start(record: RunRecord) -> bytes:
    """The START of a record."""
    return start_event(record, **_STAMP)


def foreign(
    second: float, inputs: list[tuple[str, str]], outputs: list[tuple[str, str]], *, run_id: str | None = None, job: str = "fees_raw",
    kind: str = "COMPLETE", versions: dict[str, str] | None = None, **run_facets: Any,
) -> dict[str, Any]:  # fmt: skip
    """An event of some other system: no facet of ours."""

    def dataset(namespace: str, name: str) -> dict[str, Any]:
        version = (versions or {}).get(name)
        return {"namespace": namespace, "name": name, "facets": {"version": {"datasetVersion": version}} if version else {}}

    return {
        "eventType": kind,
        "eventTime": rfc3339(T0 + round(second * SECOND)),
        "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.40.0/integration/dbt",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run_id or str(uuid.uuid4()), "facets": run_facets},
        "job": {"namespace": "dbt", "name": job},
        "inputs": [dataset(*entry) for entry in inputs],
        "outputs": [dataset(*entry) for entry in outputs],
    }
