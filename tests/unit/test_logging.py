"""The logging filter and the structlog processor, with both real libraries, within a run and outside it."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
from collections.abc import Iterator

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

import spanline

pytestmark = pytest.mark.usefixtures("fresh_provider")
FEES = spanline.PromptTemplate("fees", version="v7", text="{question}")


class Lines:
    """A logger of its own whose lines are kept."""

    def __init__(self, pattern: str) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(spanline.LineageFilter())
        self.handler.setFormatter(logging.Formatter(pattern))
        self.logger = logging.getLogger("tests.lines")
        self.logger.handlers = [self.handler]
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)

    def __getitem__(self, index: int) -> str:
        return self.stream.getvalue().splitlines()[index]


@pytest.fixture
def runtime() -> Iterator[object]:
    with spanline.configure(service="fees", registry=CollectorRegistry()) as made:
        yield made


def test_in_a_request_every_line_names_its_trace_and_run() -> None:
    lines = Lines("%(levelname)s trace_id=%(trace_id)s span_id=%(span_id)s run_id=%(run_id)s provenance=%(provenance)s %(message)s")
    app = FastAPI()
    spanline.instrument(app, service="fees", registry=CollectorRegistry())

    @app.get("/chat")
    def chat() -> dict[str, str]:
        with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
            lines.logger.info("inside")
            call.response(model="gpt-4o-1")
        lines.logger.info("after")
        return {}

    with TestClient(app) as http:
        trace_id = http.get("/chat").headers["x-trace-id"]
    run_id = f"{trace_id[:8]}-{trace_id[8:12]}-{trace_id[12:16]}-{trace_id[16:20]}-{trace_id[20:]}"
    for number, word in ((0, "inside"), (1, "after")):
        assert lines[number].startswith(f"INFO trace_id={trace_id} span_id=")
        assert f" run_id={run_id} " in lines[number]
        assert lines[number].endswith(word)
    assert lines[0].split()[2] != lines[1].split()[2], "the span is the innermost one"
    assert "provenance={'prompt': 'fees@v7', 'model': 'openai/gpt-4o-1'}" in lines[1]


def test_outside_a_run_the_fields_are_there_and_empty() -> None:
    lines = Lines("[%(trace_id)s|%(span_id)s|%(run_id)s|%(provenance)s] %(message)s")
    lines.logger.info("alone")
    assert lines[0] == "[|||{}] alone"


def test_within_a_span_without_a_run_the_trace_is_named() -> None:
    lines = Lines("%(trace_id)s %(span_id)s [%(run_id)s]")
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        lines.logger.info("")
    context = span.get_span_context()
    assert lines[0] == f"{context.trace_id:032x} {context.span_id:016x} []"


def test_what_the_caller_says_stays(runtime: object) -> None:
    lines = Lines("%(trace_id)s")
    with spanline.job("j"):
        lines.logger.info("", extra={"trace_id": "mine"})
    assert lines[0] == "mine"


def test_a_queue_keeps_what_was_known_when_it_was_logged(runtime: object) -> None:
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    handler = logging.handlers.QueueHandler(records)
    handler.addFilter(spanline.LineageFilter())
    logger = logging.getLogger("tests.queue")
    logger.handlers, logger.propagate = [handler], False
    with spanline.job("j"):
        logger.warning("x")
        expected = spanline.current().run_id
    assert records.get_nowait().run_id == expected


def test_structlog(runtime: object) -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.WriteLogger(out),
        processors=[spanline.lineage_processor, structlog.processors.JSONRenderer()],
        cache_logger_on_first_use=False,
    )
    with spanline.job("j"):
        with spanline.inference("openai", "gpt-4o", prompt=FEES):
            pass
        current = spanline.current()
        log.info("inside", case="4711")
        log.info("given", trace_id="mine")
    log.info("outside")
    inside, given, outside = (json.loads(line) for line in out.getvalue().splitlines())
    span_id = current.traceparent.split("-")[2]
    assert inside == {
        "event": "inside", "case": "4711", "trace_id": current.trace_id, "span_id": span_id, "run_id": current.run_id,
        "provenance": {"prompt": "fees@v7", "model": "openai/gpt-4o"},
    }  # fmt: skip
    assert given["trace_id"] == "mine"
    assert outside == {"event": "outside"}


def test_structlog_over_logging(runtime: object) -> None:
    """structlog's formatter for the lines of libraries that use `logging` takes the same processor."""
    lines = Lines("")
    lines.handler.filters.clear()
    lines.handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[spanline.lineage_processor], processor=structlog.processors.JSONRenderer())
    )
    with spanline.job("j"):
        lines.logger.info("foreign")
        expected = spanline.current().trace_id
    assert json.loads(lines[0])["trace_id"] == expected


def test_disabled_it_does_nothing() -> None:
    with spanline.configure(disabled=True), spanline.job("j"):
        lines = Lines("[%(run_id)s]")
        lines.logger.info("x")
    assert lines[0] == "[]"
