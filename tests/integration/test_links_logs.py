"""From a log line to the very span: lines of both loggers in a file, read by the real Collector, against the real Jaeger and the run page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import spanline
from tests.browser.conftest import serving
from tests.servers.child import eventually
from tests.servers.observability import Collector, Jaeger, plain

FEES = spanline.PromptTemplate("fees", version="v7", text="{question}")


class JsonLines(logging.Formatter):
    """As services write JSON with `logging` alone."""

    def format(self, record: logging.LogRecord) -> str:
        fields = ("trace_id", "span_id", "run_id", "provenance")
        return json.dumps({"event": record.getMessage(), **{name: getattr(record, name) for name in fields}})


def config(path: Path) -> dict[str, Any]:
    trace = {"trace_id": {"parse_from": "attributes.trace_id"}, "span_id": {"parse_from": "attributes.span_id"}}
    parser = {"type": "json_parser", "trace": trace}
    return {
        "extensions": {"health_check": {"endpoint": "${env:HEALTH_ENDPOINT}"}},
        "receivers": {"filelog": {"include": [str(path)], "start_at": "beginning", "poll_interval": "100ms", "operators": [parser]}},
        "exporters": {"file": {"path": "${env:OUTPUT_FOLDER}/logs.jsonl", "flush_interval": "100ms"}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["filelog"], "exporters": ["file"]}},
        },
    }


@pytest.fixture
def app(tmp_path: Path, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch, fresh_provider: None) -> Iterator[tuple[str, Any]]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_http)
    app = FastAPI()
    runtime = spanline.instrument(app, service="fees", registry=CollectorRegistry())
    handler = logging.FileHandler(tmp_path / "service.log")
    handler.addFilter(spanline.LineageFilter())
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("tests.service")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    file = (tmp_path / "service.log").open("a", buffering=1)
    log = structlog.wrap_logger(structlog.WriteLogger(file), processors=[spanline.lineage_processor, structlog.processors.JSONRenderer()])

    @app.get("/chat")
    def chat() -> dict[str, str]:
        with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
            logger.info("by logging")
            call.response(model="gpt-4o-1")
        log.info("by structlog")
        return {}

    with serving(app) as url:
        yield url, runtime
    runtime.close()
    handler.close()
    file.close()


def test_a_line_names_its_span_and_its_run(
    app: tuple[str, Any], jaeger: Jaeger, collector: Callable[..., Collector], tmp_path: Path
) -> None:
    url, runtime = app
    trace_id = httpx.get(f"{url}/chat").headers["x-trace-id"]
    assert runtime.flush()
    read = collector(config(tmp_path / "service.log"))

    def records() -> list[dict[str, Any]]:
        requests = read.lines("logs.jsonl")
        return [
            record
            for it in requests
            for resource in it["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    found = eventually(lambda: lines if len(lines := records()) >= 2 else [], 20, "the Collector read no lines")
    by_event = {plain(record["attributes"])["event"]: record for record in found}
    spans = {span["spanId"]: span for span in jaeger.spans(trace_id, at_least=2)}
    names: dict[str, str] = {}
    for event, record in by_event.items():
        assert record.get("traceId") == trace_id, record
        names[event] = spans[record["spanId"]]["name"]
    assert names == {"by logging": "chat gpt-4o", "by structlog": "GET /chat"}
    run_id = plain(by_event["by logging"]["attributes"])["run_id"]
    page = f"{url}/r/{run_id}?format=json"
    eventually(lambda: httpx.get(page).status_code == 200, 20, "no run page")
    assert httpx.get(page).json()["traceId"] == trace_id
