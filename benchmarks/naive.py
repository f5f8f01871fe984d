"""The naive recipe of variants F and G: a middleware that builds the event with the official classes and emits it in the request."""

from __future__ import annotations

import time
import uuid
from typing import Any

from opentelemetry import trace
from starlette.middleware.base import BaseHTTPMiddleware

from benchmarks import workload
from benchmarks.official import event
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.run import GuardrailOutcome, ModelUsage, Operation, Parameters, RunRecord, Usage
from spanline.times import rfc3339

# What a request reads is the same each time; the event has what spanline's has.
_ARTIFACTS = [
    Artifact(
        kind="index", name="fees_corpus", version="commit:abc123", digest=f"sha256:{'9f' * 32}", made_of=("corpus:fees@2026-11-01", "model:e5-small@1"),
        retrieval=Retrieval(
            top_k=4, hits=4, span_id="891bd612604a0c83",
            documents=tuple(Document(id=name, score=score) for name, score in zip(workload.DOCUMENTS, workload.SCORES, strict=True)),
        ),
    ),
    Artifact(kind="corpus", name="fees", version="2026-11-01", evidence="declared"),
    Artifact(kind="model", name="e5-small", version="1", evidence="declared"),
    Artifact(kind="prompt", name="fees", version="v7", digest=f"sha256:{'f9' * 32}"),
    Artifact(kind="model", name="openai/gpt-4o-2024-06-18"),
]  # fmt: skip
_TOKENS = {"input_tokens": workload.INPUT_TOKENS, "output_tokens": workload.OUTPUT_TOKENS}


class LineageMiddleware(BaseHTTPMiddleware):
    """Emits one COMPLETE after the answer is made and before it is sent."""

    def __init__(self, app: Any, client: Any) -> None:
        super().__init__(app)
        self._client = client

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        """Serve, then emit."""
        started = time.time_ns()
        response = await call_next(request)
        context = trace.get_current_span().get_span_context()
        self._client.emit(event(_record(context.trace_id, f"{context.span_id:016x}", started)))
        return response


def _record(trace_id: int, span_id: str, started: int) -> RunRecord:
    now = rfc3339(started)
    common = {"parent_span_id": span_id, "started_at": now, "duration_seconds": 0.001, "dialect": "spanline"}
    return RunRecord(
        run_id=str(uuid.UUID(int=trace_id)), trace_id=f"{trace_id:032x}", span_id=span_id, namespace="bench", job="bench.POST /v1/answer",
        service="bench", started_ns=started, ended_ns=time.time_ns(), outcome="COMPLETE", sampled=True, request_id="5f2c9a7e0b1d4c8f",
        http_status_code=200, artifacts=_ARTIFACTS,
        operations=[
            Operation(span_id="891bd612604a0c83", kind="retrieval", name="retrieval fees_corpus", **common),
            Operation(
                span_id="e3b561bf7afe1417", kind="inference", name="chat gpt-4o", provider="openai", request_model="gpt-4o",
                response_model="gpt-4o-2024-06-18", response_id="chatcmpl-9f86d081884c", finish_reasons=["stop"],
                parameters=Parameters(temperature=0.2, top_p=1.0, max_tokens=512), usage=Usage(**_TOKENS), **common,
            ),
            Operation(span_id="d691f1dea67cd206", kind="guardrail", name="guardrail fee-schema", **common),
        ],
        usage=Usage(**_TOKENS, by_model=[ModelUsage(provider="openai", model="gpt-4o-2024-06-18", operation="inference", **_TOKENS)]),
        guardrails=[GuardrailOutcome(name="fee-schema", version="3", phase="output", outcome="pass", span_id="d691f1dea67cd206")],
    )  # fmt: skip
