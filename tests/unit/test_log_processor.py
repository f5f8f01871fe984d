"""The log processor: GenAI events joined by span, trace or response; late ones make a second terminal event; no content is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider

from spanline._guard import internal_errors
from spanline.tracing.log_events import DETAILS, EVALUATION, EXCEPTION
from spanline.tracing.logs import LineageLogProcessor
from tests.support import MemorySink

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}
SECRETS = {
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "SECRET-QUESTION"}]}],
    "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "SECRET-ANSWER"}]}],
}


@pytest.fixture
def logger(sink: MemorySink) -> Iterator[Any]:
    """A logger of a provider that bears our processor."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(LineageLogProcessor(lambda: [sink.processor]))
    yield provider.get_logger("test")
    provider.shutdown()


def emit(logger: Any, name: str, attributes: dict[str, Any], context: trace.SpanContext | None = None, *, old: bool = False) -> None:
    """As the SDKs do: the event's name beside the attributes, or among them."""
    logger.emit(
        LogRecord(
            timestamp=time.time_ns(), body="SECRET-BODY", event_name=None if old else name,
            attributes={**attributes, "event.name": name} if old else attributes,
            trace_id=context.trace_id if context else 0, span_id=context.span_id if context else 0,
        )
    )  # fmt: skip


def test_details_fill_what_the_span_does_not_say(sink: MemorySink, logger: Any) -> None:
    with sink.tracer.start_as_current_span("root"):
        span = sink.tracer.start_span("chat m", attributes={**CHAT, "gen_ai.usage.input_tokens": 3})
        emit(
            logger,
            DETAILS,
            {**CHAT, **SECRETS, "gen_ai.response.id": "r1", "gen_ai.usage.input_tokens": 99, "gen_ai.usage.output_tokens": 5},
            span.get_span_context(),
        )
        span.end()
    (operation,) = sink.record.operations
    assert operation.response_id == "r1"
    assert operation.usage is not None
    assert (operation.usage.input_tokens, operation.usage.output_tokens) == (3, 5)
    assert sink.record.usage is not None
    assert sink.record.usage.input_tokens == 3
    assert b"SECRET" not in msgspec.json.encode(sink.record)


@pytest.mark.parametrize("old", [False, True])
def test_details_of_a_span_that_says_nothing_are_its_operation(sink: MemorySink, logger: Any, old: bool) -> None:
    with sink.tracer.start_as_current_span("root"), sink.tracer.start_as_current_span("POST /v1/chat") as span:
        emit(logger, DETAILS, {**CHAT, "gen_ai.response.id": "r1"}, span.get_span_context(), old=old)
    (operation,) = sink.record.operations
    assert (operation.kind, operation.request_model, operation.span_id) == ("inference", "m", f"{span.get_span_context().span_id:016x}")


def test_a_late_event_makes_a_second_terminal_event(sink: MemorySink, logger: Any) -> None:
    with sink.tracer.start_as_current_span("root"):
        span = sink.tracer.start_span("chat m", attributes={**CHAT, "gen_ai.response.id": "r1"})
        span.end()
    assert len(sink.records) == 1
    emit(logger, EVALUATION, {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5}, span.get_span_context())
    sink.processor.force_flush()
    first, second = sink.records
    assert (first.sequence, second.sequence, second.run_id) == (0, 1, first.run_id)
    (evaluation,) = second.evaluations
    assert (evaluation.name, evaluation.score, evaluation.passed) == ("relevance", 0.5, None)


def test_an_evaluation_is_joined_by_its_response_from_a_trace_of_its_own(sink: MemorySink, logger: Any) -> None:
    with sink.tracer.start_as_current_span("root"):
        sink.tracer.start_span("chat m", attributes={**CHAT, "gen_ai.response.id": "r1"}).end()
    with sink.tracer.start_as_current_span("judge") as judge:
        emit(
            logger,
            EVALUATION,
            {
                "gen_ai.evaluation.name": "toxicity", "gen_ai.evaluation.score.label": "Fail", "gen_ai.response.id": "r1",
                "gen_ai.evaluation.explanation": "SECRET-WHY",
            },
            judge.get_span_context(),
        )  # fmt: skip
    sink.processor.force_flush()
    (evaluation,) = sink.records[-1].evaluations
    assert sink.records[-1].run_id == sink.records[0].run_id
    assert (evaluation.label, evaluation.passed) == ("Fail", False)
    assert b"SECRET" not in msgspec.json.encode(sink.records)


def test_an_evaluation_of_a_run_that_is_forgotten_is_looked_up(sink: MemorySink, logger: Any) -> None:
    asked: list[tuple[str, str]] = []
    sink.evaluate = lambda run, evaluation: asked.append((run, evaluation.name))
    emit(logger, EVALUATION, {"gen_ai.evaluation.name": "x", "gen_ai.response.id": "r-gone"})
    assert asked == [("r-gone", "x")]


def test_an_exception_gives_its_type_and_not_its_text(sink: MemorySink, logger: Any) -> None:
    with sink.tracer.start_as_current_span("root"):
        span = sink.tracer.start_span("chat m", attributes=CHAT)
        span.set_status(trace.StatusCode.ERROR)
        emit(logger, EXCEPTION, {"exception.type": "RateLimitError", "exception.message": "SECRET"}, span.get_span_context())
        span.end()
    (operation,) = sink.record.operations
    assert operation.error_type == "RateLimitError"


@pytest.mark.parametrize("attributes", [None, {}, {"gen_ai.evaluation.name": 7}, {"gen_ai.evaluation.name": ""}, {"gen_ai.response.id": 1}])
@pytest.mark.parametrize("name", [DETAILS, EVALUATION, EXCEPTION, "", "app.event", None])
def test_odd_records_are_passed_over(sink: MemorySink, logger: Any, name: str | None, attributes: dict[str, Any] | None) -> None:
    with sink.tracer.start_as_current_span("root"):
        context = trace.get_current_span().get_span_context()
        logger.emit(LogRecord(event_name=name, attributes=attributes, trace_id=context.trace_id, span_id=context.span_id))
    assert sink.records == []
    assert internal_errors() == {}
