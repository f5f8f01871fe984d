"""The incident as events: an index build, a good answer, and the bad answer after a silent rebuild and a silent edit."""

from __future__ import annotations

from functools import cache

from spanline.identity import run_id_of
from spanline.lineage.events import terminal_event
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.run import Evaluation, GuardrailOutcome, Operation, Release, RunRecord, Usage
from spanline.times import parse_rfc3339, rfc3339

BUILD, GOOD, BAD = (f"{number:02d}{'4bf92f3577b34da6a3ce929d0e0e47'}" for number in (10, 20, 30))
_SECOND = 1_000_000_000
_START = parse_rfc3339("2026-11-21T02:00:00Z")
_OLD, _NEW = "sha256:" + "12ab34cd" * 8, "sha256:" + "3fa9be07" * 8


@cache
def events() -> list[bytes]:
    """The terminal events of the three runs."""
    records = [_build(), _answer(GOOD, 10, _OLD, "fees/wire-transfer.md#2"), _answer(BAD, 3500, _NEW, "staging/fees-draft.md#1")]
    return [terminal_event(record, producer="https://example.com/test", schema_base="https://spanline.dev/schemas") for record in records]


def _record(trace: str, job: str, after_s: int, seconds: float) -> RunRecord:
    start = _START + after_s * _SECOND
    return RunRecord(
        run_id=run_id_of(int(trace, 16)), trace_id=trace, span_id="00f067aa0ba902b7", namespace="rag-prod", job=job, service="fee-assistant",
        started_ns=start, ended_ns=start + int(seconds * _SECOND), outcome="COMPLETE",
        release=Release(release="2026.11.3", code_revision="8a6d43f0" * 5, pod="fee-assistant-6c9f7d-x2x9p", region="eu-central-1"),
    )  # fmt: skip


def _build() -> RunRecord:
    record = _record(BUILD, "fee-assistant.build_index", 0, 4.2)
    record.live, record.release = False, None  # a gap, and it says how to close it
    record.parameters, record.metrics = {"chunk_size": "400", "embedding_model": "e5-small"}, {"chunks": 128.0, "dimensions": 384.0}
    record.artifacts = [
        Artifact(kind="corpus", name="fees", version="2026-11-01", digest=_OLD, evidence="observed", owner="pricing team"),
        Artifact(kind="index", name="fees_corpus", version="commit:abc123", digest=_OLD, role="output", evidence="declared"),
    ]
    return record


def _answer(trace: str, after_s: int, digest: str, document: str) -> RunRecord:
    bad = trace == BAD
    record = _record(trace, "fee-assistant.POST /chat", after_s, 2.41)
    record.request_id, record.tags, record.http_status_code = f"req-{'bad' if bad else 'good'}", {"case": "4711" if bad else "4700"}, 200
    documents = (Document(document, 0.8731, version="9c1f"), Document("fees/sepa.md#4", 0.7419, version="9c1f"))
    record.artifacts = [
        Artifact(kind="corpus", name="fees", version="2026-11-01", digest=_OLD, evidence="declared"),
        Artifact(
            kind="index", name="fees_corpus", version="commit:abc123", digest=digest, made_of=("corpus:fees@2026-11-01",),
            retrieval=Retrieval(top_k=2, hits=2, documents=documents, span_id="00f067aa0ba90201"),
        ),
        Artifact(kind="prompt", name="fees", version="v7", digest=digest, evidence="declared"),
        Artifact(kind="model", name="openai/gpt-4o-2024-06-18"),
        Artifact(kind="model", name="e5-small", version="1", evidence="inferred"),
    ]  # fmt: skip

    def at(seconds: float) -> str:
        return rfc3339(record.started_ns + int(seconds * _SECOND))

    record.operations = [
        Operation(span_id="00f067aa0ba90200", kind="embedding", name="embeddings e5-small", started_at=at(0.01), duration_seconds=0.021),
        Operation(span_id="00f067aa0ba90201", kind="retrieval", name="retrieval fees_corpus", started_at=at(0.04), duration_seconds=0.094),
        Operation(
            span_id="00f067aa0ba90202", kind="inference", name="chat gpt-4o", provider="openai", request_model="gpt-4o",
            response_model="gpt-4o-2024-06-18", response_id=f"chatcmpl-{'bad' if bad else 'good'}", finish_reasons=["stop"], streamed=True,
            time_to_first_token_seconds=0.412, started_at=at(0.2), duration_seconds=2.1, usage=Usage(input_tokens=812, output_tokens=96),
        ),
        Operation(span_id="00f067aa0ba90203", kind="guardrail", name="guardrail fee-schema", started_at=at(2.35), duration_seconds=0.004),
    ]  # fmt: skip
    record.usage = Usage(input_tokens=812, output_tokens=96, embedding_input_tokens=12, cost_usd=0.00302)
    record.guardrails = [
        GuardrailOutcome(name="fee-schema", version="3", phase="output", outcome="fail" if bad else "pass", action="flag" if bad else None)
    ]
    record.evaluations = [
        Evaluation(name="faithfulness", score=0.42 if bad else 0.97, passed=not bad, evaluator="judge", evaluator_version="2")
    ]
    return record
