"""Spans that go on to the trace exporter with `SPANLINE_SCRUB`: of all recordings no content passes, and the facts of models stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from spanline.settings import Settings
from spanline.tracing.scrub import ScrubbingSpanExporter, scrubbed
from tests.requirements import SHARED, shared

MARKERS = (
    "SYS-MARK", "jane.doe@example.com", "COMPL-MARK", "TMPL-MARK", "VAR-MARK", "DOCTEXT", "Paris-ARG", "TOOLRES", "ERR-ECHO", "TOOLERR",
    "user-u123", "conv-9001",
)  # fmt: skip
FILES = sorted((SHARED / "corpus").glob("*/*.json")) if (SHARED / "corpus").is_dir() else []


def span_of(said: dict[str, Any]) -> ReadableSpan:
    context = SpanContext(int(said["trace_id"], 16), int(said["span_id"], 16), is_remote=False, trace_flags=TraceFlags(1))
    return ReadableSpan(
        said["name"], context, attributes=said["attributes"],
        events=[Event(event["name"], event.get("attributes") or {}, 1) for event in said["events"]],
        status=Status(StatusCode[said["status"]["code"]], said["status"]["description"]) if said["status"]["code"] == "ERROR" else Status(),
        start_time=said["start_time_unix_nano"], end_time=said["end_time_unix_nano"],
        instrumentation_scope=InstrumentationScope(said["scope"]["name"], "1"),
    )  # fmt: skip


@pytest.mark.parametrize("folder", sorted({path.parent.name for path in FILES}) or ["missing"])
def test_no_content_of_any_recording_passes(folder: str) -> None:
    shared("corpus")
    for path in (path for path in FILES if path.parent.name == folder):
        for said in json.loads(Path(path).read_text())["spans"]:
            text = scrubbed(span_of(said)).to_json()
            assert not [marker for marker in MARKERS if marker in text], (path, text)


def test_facts_stay_and_the_span_itself_is_not_touched() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ScrubbingSpanExporter(memory)))
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3, "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.input.messages": "SECRET", "http.route": "/x", "url.query": "SECRET", "openlineage.run.id": "r",
    }  # fmt: skip
    with provider.get_tracer("t").start_as_current_span("SECRET task", attributes=attributes) as span:
        span.add_event("exception", {"exception.type": "E", "exception.message": "SECRET"})
        span.add_event("SECRET text")
        span.set_status(StatusCode.ERROR, "SECRET")
    (exported,) = memory.get_finished_spans()
    assert "SECRET" not in exported.to_json()
    assert exported.name == "chat m"
    assert exported.attributes is not None
    assert set(attributes) - set(exported.attributes) == {"gen_ai.input.messages", "url.query"}
    assert [(event.name, dict(event.attributes or {})) for event in exported.events] == [
        ("exception", {"exception.type": "E"}),
        ("event", {}),
    ]
    assert exported.status.status_code is StatusCode.ERROR
    assert exported.context == span.get_span_context()
    assert span.attributes["gen_ai.input.messages"] == "SECRET"


def test_the_setting_puts_it_around_the_exporter(monkeypatch: pytest.MonkeyPatch, fresh_provider: None) -> None:
    from spanline.runtime.tracing import set_up

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    provider, _ = set_up(Settings.resolve({"scrub": True}))
    processors: Any = provider._active_span_processor
    assert [type(processor.span_exporter) for processor in processors._span_processors if hasattr(processor, "span_exporter")] == [
        ScrubbingSpanExporter
    ]


def test_what_somebody_allowed_stays() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ScrubbingSpanExporter(memory, ["gen_ai.input.messages", "acme.*"])))
    long = "x" * 5000
    with provider.get_tracer("t").start_as_current_span(
        "s", attributes={"gen_ai.input.messages": long, "acme.case": "4711", "secret": "s", "spanline.guardrail.reason": "s"}
    ):
        pass
    (exported,) = memory.get_finished_spans()
    assert dict(exported.attributes or {}) == {"gen_ai.input.messages": long, "acme.case": "4711"}
