"""Runs as a ledger tells them, and a ledger that holds nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TRACE = "0af7651916cd43dd8448eb211c80319c"
RUN = "0af76519-16cd-43dd-8448-eb211c80319c"
FIRST = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
BUILD = "5cd8e1a0-94d2-4a31-9f20-31c3f0a5b001"
CHILD = "5f6e2d8c-32d8-5e0a-9b6e-0a2f0c6f7b11"
OLD, NEW = "sha256:" + "12ab" * 16, "sha256:" + "3fa9" * 16
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe{{7*7}}"


def fee_run() -> dict[str, Any]:
    """The bad answer: a prompt that was edited without a new version, and an index that nobody announced."""
    index = {
        "kind": "index",
        "namespace": "indexes",
        "name": "fees_corpus",
        "version": "commit:abc123",
        "digest": NEW,
        "evidence": "observed",
    }
    prompt = {"kind": "prompt", "namespace": "prompts", "name": "fees", "version": "v7", "digest": NEW, "evidence": "declared"}
    model = {"kind": "model", "namespace": "models", "name": "openai/gpt-4o-2024-06-18", "evidence": "observed"}
    corpus = {"kind": "corpus", "namespace": "corpora", "name": "fees", "version": "2026-11-01", "digest": OLD, "evidence": "declared"}
    documents = [
        {"id": "fees/wire-transfer.md#2", "score": 0.8731, "source": "fees/wire-transfer.md", "version": "9c1f", "digest": OLD},
        {
            "id": "staging/fees/wire-transfer-draft.md#1",
            "score": 0.8522,
            "source": "staging/fees/wire-transfer-draft.md",
            "version": "0d11",
        },
        {"id": "fees/sepa.md#4", "score": 0.7419, "source": "fees/sepa.md", "version": "9c1f"},
    ]
    return {
        "runId": RUN, "traceId": TRACE, "job": "fee-assistant.POST /chat", "status": "COMPLETE", "httpStatusCode": 200,
        "startedAt": "2026-11-21T02:58:11.204000Z", "endedAt": "2026-11-21T02:58:13.614000Z", "durationSeconds": 2.41,
        "requestId": "req-8f21", "tags": {"case": "4711", "channel": "web"},
        "answers": {
            "data": [_answer(corpus)], "index": [_answer(index)], "prompt": [_answer(prompt)], "model": [_answer(model)],
            "code": [{"name": "fee-assistant", "version": "8a6d43f0c1d2e3f4a5b6c7d8e9f00112233aabbc", "evidence": "observed"}], "release": [],
        },
        "artifacts": [
            {**corpus, "role": "input", "owner": "pricing team", "uri": "git+https://git.example/pricing/fees"},
            {**index, "role": "input", "madeOf": ["corpus:fees@2026-11-01", "model:e5-small@1"],
             "retrieval": {"topK": 3, "hits": 3, "documents": documents, "spanId": "00f067aa0ba902b7"}},
            {**prompt, "role": "input"}, {**model, "role": "input"},
            {"kind": "model", "namespace": "models", "name": "e5-small", "version": "1", "role": "input", "evidence": "inferred"},
            {"kind": "flow", "namespace": "llm", "name": "responses.fee-assistant", "role": "output", "evidence": "observed"},
        ],
        "operations": [
            {"spanId": "a1", "kind": "workflow", "name": "invoke_workflow answer", "startedAt": "2026-11-21T02:58:11.210000Z", "durationSeconds": 2.39, "rollup": True,
             "usage": {"inputTokens": 812, "outputTokens": 96}},
            {"spanId": "a2", "parentSpanId": "a1", "kind": "embedding", "name": "embeddings e5-small", "responseModel": "e5-small", "startedAt": "2026-11-21T02:58:11.215000Z",
             "durationSeconds": 0.021, "usage": {"embeddingInputTokens": 12}},
            {"spanId": "a3", "parentSpanId": "a1", "kind": "retrieval", "name": "retrieval fees_corpus", "startedAt": "2026-11-21T02:58:11.240000Z", "durationSeconds": 0.094},
            {"spanId": "a4", "parentSpanId": "a1", "kind": "tool", "name": "execute_tool rates", "startedAt": "2026-11-21T02:58:11.340000Z", "durationSeconds": 0.31,
             "errorType": "TimeoutError"},
            {"spanId": "a5", "parentSpanId": "a1", "kind": "inference", "name": "chat gpt-4o", "provider": "openai", "requestModel": "gpt-4o",
             "responseModel": "gpt-4o-2024-06-18", "responseId": "chatcmpl-9xyz", "startedAt": "2026-11-21T02:58:11.660000Z", "durationSeconds": 1.87,
             "timeToFirstTokenSeconds": 0.412, "streamed": True, "finishReasons": ["length"], "usage": {"inputTokens": 812, "outputTokens": 96}},
            {"spanId": "a6", "parentSpanId": "a1", "kind": "guardrail", "name": "guardrail fee-schema", "startedAt": "2026-11-21T02:58:13.540000Z", "durationSeconds": 0.004},
        ],
        "usage": {"inputTokens": 812, "outputTokens": 96, "embeddingInputTokens": 12, "costUsd": 0.00302},
        "guardrails": [
            {"name": "fee-schema", "version": "3", "phase": "output", "outcome": "fail", "action": "flag", "score": 0.31},
            {"name": "no-personal-data", "version": "1", "phase": "input", "outcome": "pass"},
        ],
        "evaluations": [{"name": "faithfulness", "score": 0.42, "passed": False, "evaluator": "judge", "evaluatorVersion": "2",
                         "evaluatedAt": "2026-11-21T03:01:00Z"}],
        "conflicts": [
            {"kind": "prompt", "namespace": "prompts", "name": "fees", "version": "v7", "digest": NEW, "expectedDigest": OLD, "firstSeenRunId": FIRST},
            {"kind": "index", "namespace": "indexes", "name": "fees_corpus", "version": "commit:abc123", "digest": NEW, "expectedDigest": OLD,
             "firstSeenRunId": FIRST},
        ],
        "gaps": [{"missing": "the release", "how": "Set service.version (and container.image.repo_digests) in OTEL_RESOURCE_ATTRIBUTES."}],
        "upstream": [{"runId": BUILD, "job": "fee-assistant.build-index", "ref": "index:fees_corpus@commit:abc123", "how": "has the same version", "evidence": "observed",
                      "endedAt": "2026-11-21T01:12:00Z"}],
        "children": [{"runId": CHILD, "job": "rates.GET /rates/{currency}", "service": "rates", "status": "FAIL", "durationSeconds": 0.3}],
        "parameters": {"temperature": "0.2"},
        "links": {},
    }  # fmt: skip


def hostile_run() -> dict[str, Any]:
    """A run whose every text tries to be markup."""
    run = _poisoned(fee_run())
    return {**run, "runId": RUN, "traceId": TRACE, "links": {}}


def summary(run: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A run as an item of the list."""
    keys = ("runId", "traceId", "job", "status", "startedAt", "durationSeconds", "tags")
    return {**{key: run[key] for key in keys}, "release": "2026.11.3", "conflicts": len(run["conflicts"]), **changes}


@dataclass
class Rejected:
    index: int
    reason: str


@dataclass
class Report:
    rejected: list[Rejected]


@dataclass
class Fake:
    """A ledger of given runs. It stands for `spanline.ledger.Ledger` where a test needs data that no ledger would hold."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    error: Exception | None = None
    graph: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *runs: dict[str, Any]) -> Fake:
        return cls({form: run for run in runs for form in (run["runId"], run["traceId"], str(run.get("requestId")))})

    def run(self, id: str) -> dict[str, Any] | None:
        if self.error:
            raise self.error
        return copy.deepcopy(self.known.get(id) or self.known.get(id.lower()))

    def resolve(self, id: str) -> str | None:
        run = self.run(id)
        return run["runId"] if run else None

    def runs(self, **asked: Any) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.asked.append(("runs", asked))
        if asked.get("after") == "broken":
            raise ValueError("after is no cursor of this list")
        unique = {run["runId"]: run for run in self.known.values()}
        return {"items": [summary(run) for run in unique.values()], "next": "c2" if not asked.get("after") else None}

    def conflicts(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(("conflicts", asked))
        return {"items": [], "next": None}

    def gaps(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(("gaps", asked))
        return {"items": [], "next": None}

    def artifacts(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(("artifacts", asked))
        return {"items": [], "next": None}

    def lineage(self, ref: str, **asked: Any) -> dict[str, Any]:
        self.asked.append(("lineage", {"ref": ref, **asked}))
        return copy.deepcopy(self.graph)

    def ingest(self, events: Sequence[Any]) -> Report:
        self.events += events
        return Report([Rejected(i, "run.runId is not a UUID") for i, event in enumerate(events) if b"bad" in bytes(event)])


def _answer(artifact: Mapping[str, Any]) -> dict[str, Any]:
    return {key: artifact[key] for key in ("name", "version", "digest", "evidence") if key in artifact}


def _poisoned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _poisoned(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_poisoned(entry) for entry in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value
