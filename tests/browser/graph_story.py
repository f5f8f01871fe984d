"""A chain over three systems as events: a warehouse table, an exported corpus, an index build, and the answers from it."""

from __future__ import annotations

from functools import cache

from spanline.identity import run_id_of
from spanline.lineage.events import terminal_event
from spanline.record.artifact import Artifact
from spanline.record.run import Release, RunRecord
from spanline.times import parse_rfc3339

EXPORT, BUILD, ANSWER, OTHER = (f"{number:02d}{'5cf92f3577b34da6a3ce929d0e0e47'}" for number in (10, 20, 30, 40))
_START = parse_rfc3339("2026-11-21T02:00:00Z")
_CORPUS, _INDEX, _PROMPT, _EDITED = (f"sha256:{text * 16}" for text in ("c0de", "1dea", "4a11", "bad1"))
_ANSWERS = 12


@cache
def events() -> list[bytes]:
    """The terminal events of all runs."""
    records = [_export(), _build(), _answer(ANSWER, 600, _EDITED), _answer(OTHER, 700, _PROMPT, outcome="FAIL")]
    records += [
        _answer(
            f"{50 + n:02d}{'5cf92f3577b34da6a3ce929d0e0e47'}", 800 + 60 * n, _PROMPT, version="v8", outcome="FAIL" if n == 3 else "COMPLETE"
        )
        for n in range(_ANSWERS)
    ]
    return [terminal_event(record, producer="https://example.com/test", schema_base="https://spanline.dev/schemas") for record in records]


def _record(trace: str, job: str, after_s: int, outcome: str = "COMPLETE") -> RunRecord:
    start = _START + after_s * 1_000_000_000
    return RunRecord(
        run_id=run_id_of(int(trace, 16)), trace_id=trace, span_id="00f067aa0ba902b7", namespace="rag-prod", job=job, service=job.partition(".")[0],
        started_ns=start, ended_ns=start + 2_000_000_000, outcome=outcome, release=Release(release="2026.11.3", code_revision="8a6d43f0" * 5),
    )  # fmt: skip


def _export() -> RunRecord:
    record = _record(EXPORT, "warehouse.export_tariffs", 0)
    record.artifacts = [
        Artifact(kind="dataset", name="warehouse.tariffs", version="2026-11-20", evidence="declared"),
        Artifact(kind="dataset", name="warehouse.countries", version="2026-10-01", evidence="declared"),
        Artifact(kind="corpus", name="fees", version="2026-11-01", digest=_CORPUS, role="output", evidence="observed"),
    ]
    return record


def _build() -> RunRecord:
    record = _record(BUILD, "fee-assistant.build_index", 300)
    record.artifacts = [
        Artifact(kind="corpus", name="fees", version="2026-11-01", digest=_CORPUS, evidence="observed"),
        Artifact(kind="model", name="e5-small", version="1", evidence="declared"),
        Artifact(kind="index", name="fees_corpus", version="build-7", digest=_INDEX, role="output", evidence="observed"),
    ]
    return record


def _answer(trace: str, after_s: int, prompt: str, *, version: str = "v7", outcome: str = "COMPLETE") -> RunRecord:
    record = _record(trace, "fee-assistant.POST /chat", after_s, outcome)
    record.artifacts = [
        Artifact(kind="index", name="fees_corpus", version="build-7", digest=_INDEX, evidence="observed"),
        Artifact(kind="prompt", name="fees", version=version, digest=prompt, evidence="declared"),
        Artifact(kind="model", name="openai/gpt-4o-2024-06-18"),
        Artifact(kind="model", name="e5-small", version="1", evidence="inferred"),
    ]
    return record
