"""OTLP out of the app: both protocols, all of `OTEL_*`, into the real Collector with the configuration that is shipped."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

import spanline
from spanline.identity import run_id_of
from spanline.record.active import SINKS
from tests.requirements import server
from tests.servers.child import eventually
from tests.servers.observability import Collector, Jaeger, plain

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "spanline.yaml"
BASE = "http://pages.test"
OTLP = "OTEL_EXPORTER_OTLP_"

pytestmark = pytest.mark.timeout(120)
MakeCollector = Callable[..., Collector]


@pytest.fixture(autouse=True)
def clean(fresh_provider: None) -> Iterator[None]:
    yield
    for sink in list(SINKS):
        sink.close()


@pytest.fixture
def shipped(collector: MakeCollector, jaeger: Jaeger) -> Collector:
    """The configuration as it is shipped, before a real Jaeger; a decision takes a second instead of ten."""
    return collector(SHIPPED, JAEGER_OTLP=jaeger.otlp_http, DECISION_WAIT="1s", KEEP_PERCENT=0)


class App:
    """An instrumented app in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        self.service = f"otlp-{uuid.uuid4().hex[:8]}"
        self.app = FastAPI()
        self.runtime = spanline.instrument(
            self.app, service=self.service, namespace="ns", base_url=BASE, relay="off", registry=CollectorRegistry()
        )

        @self.app.post("/chat/{kind}")
        def chat(kind: str) -> str:
            with spanline.inference("openai", "gpt-4o") as call:
                call.response(model="gpt-4o-2024-06-18", input_tokens=8, output_tokens=2)
                _content(trace.get_current_span())
            if kind == "broken":
                raise RuntimeError("the customer said: my card is 4111111111111111")
            return "ok"

    def post(self, kind: str = "good") -> str:
        """Ask; returns the trace id."""
        return asked(self.app, f"/chat/{kind}").headers["x-trace-id"]


def asked(app: Any, path: str) -> Any:
    """The response of the app, in this process."""
    from starlette.testclient import TestClient

    return TestClient(app, raise_server_exceptions=False).post(path)


def _content(span: trace.Span) -> None:
    """What foreign instrumentations put on spans unasked."""
    span.set_attribute("gen_ai.input.messages", '[{"content": "SECRET prompt"}]')
    span.set_attribute("llm.input_messages.0.message.content", "SECRET prompt")
    span.set_attribute("traceloop.entity.output", "SECRET answer")
    span.set_attribute("url.full", "http://llm.test/v1/chat?key=SECRET")
    span.set_attribute("note", "SECRET under a name that nobody knows")
    span.set_attribute("url.path", "/mail/jane.doe@example.com/key/sk-abcdefgh12345678/card/4111111111111111")
    span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": "SECRET prompt"})
    span.record_exception(ValueError("SECRET text"))


def spans_of(collector: Collector, trace_id: str, at_least: int) -> list[dict[str, Any]]:
    """Spans of a trace in the Collector's record, once there are that many."""

    def found() -> list[dict[str, Any]]:
        spans = [
            {**span, "resource": plain(resource["resource"]["attributes"])}
            for line in collector.lines("traces.jsonl")
            for resource in line["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
            if span["traceId"] == trace_id
        ]
        return spans if len(spans) >= at_least else []

    return eventually(found, 20.0, f"{trace_id} did not reach the Collector")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_root_spans_link_without_us(shipped: Collector, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    endpoint = f"http://{shipped.otlp_grpc}" if protocol == "grpc" else shipped.otlp_http
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": endpoint, f"{OTLP}PROTOCOL": protocol})
    trace_id = app.post("broken")
    assert app.runtime.flush()
    expected = {
        "openlineage.run.id": run_id_of(int(trace_id, 16)),
        "openlineage.job.namespace": "ns",
        "openlineage.job.name": f"{app.service}.POST /chat/{{kind}}",
        "spanline.run.url": f"{BASE}/r/{trace_id}",
    }
    for spans in (spans_of(shipped, trace_id, 2), jaeger.spans(trace_id, at_least=2)):
        (root,) = [span for span in spans if not span.get("parentSpanId")]
        assert expected.items() <= plain(root["attributes"]).items()
        assert root["resource"]["service.name"] == app.service


def test_shipped_configuration_takes_content_out(shipped: Collector, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": shipped.otlp_http})
    trace_id = app.post("broken")
    app.runtime.flush()
    for spans in (spans_of(shipped, trace_id, 2), jaeger.spans(trace_id, at_least=2)):
        text = json.dumps(spans)
        for content in ("SECRET", "jane.doe", "sk-abcdefgh", "4111111111111111", "the customer said"):
            assert content not in text
        (call,) = [span for span in spans if span.get("parentSpanId")]
        kept = plain(call["attributes"])
        assert kept["gen_ai.response.model"] == "gpt-4o-2024-06-18"
        assert kept["gen_ai.usage.input_tokens"] == 8
        assert kept["url.full"] == "http://llm.test/v1/chat"
        assert "note" not in kept
        assert kept["url.path"] == "/mail/****/key/****/card/****"


def test_shipped_configuration_leaves_ids_and_versions(shipped: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": shipped.otlp_http})
    prompt = spanline.PromptTemplate("fees", version="v7.txt", digest="sha256:" + "4111111111111111" * 4)
    with spanline.inference("openai", "gpt-4o", prompt=prompt) as call:
        call.response(id="chatcmpl@x.example")
        trace_id = spanline.current().trace_id
    app.runtime.flush()
    (span,) = spans_of(shipped, trace_id, 1)
    attributes = plain(span["attributes"])
    assert attributes["gen_ai.prompt.name"] == "fees"
    assert attributes["gen_ai.response.id"] == "chatcmpl@x.example"
    assert "4111111111111111" * 4 in json.dumps(attributes)
    assert "****" not in json.dumps(attributes)


def test_shipped_configuration_records_all_and_samples_what_matters(
    shipped: Collector, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": shipped.otlp_http})
    good, broken = [app.post() for _ in range(5)], [app.post("broken") for _ in range(3)]
    with spanline.guardrail("fee-schema") as guard:
        guard.failed()
        guarded = spanline.current().trace_id
    app.runtime.flush()
    for trace_id in (*good, *broken):
        assert len(spans_of(shipped, trace_id, 2)) == 2
    for trace_id in (*broken, guarded):
        assert jaeger.spans(trace_id)
    # All were decided in one sweep, and those that are kept have arrived.
    assert not [trace_id for trace_id in good if jaeger.knows(trace_id)]


def test_shipped_configuration_takes_content_out_of_logs(shipped: Collector) -> None:
    trace_id = uuid.uuid4().hex
    names = {
        "event.name": "gen_ai.evaluation.result",
        "gen_ai.evaluation.name": "faithful",
        "gen_ai.evaluation.explanation": "SECRET reason",
    }
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in names.items()]
    records = [
        {"traceId": trace_id, "spanId": "eee19b7ec3c1b174", "body": {"stringValue": "SECRET body"}, "attributes": attributes},
        {"traceId": trace_id, "eventName": "gen_ai.user.message", "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "SECRET"}}]}}},
        {"traceId": trace_id, "body": {"stringValue": "token Bearer abcdefgh12345678 of jane.doe@example.com"}},
    ]  # fmt: skip
    request = {"resourceLogs": [{"resource": {"attributes": []}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}
    httpx.post(f"{shipped.otlp_http}/v1/logs", json=request).raise_for_status()
    (line,) = eventually(lambda: shipped.lines("logs.jsonl"), 20.0, "no logs arrived")
    kept = [record for resource in line["resourceLogs"] for scope in resource["scopeLogs"] for record in scope["logRecords"]]
    assert [record["traceId"] for record in kept] == [trace_id] * 3
    assert plain(kept[0]["attributes"]) == {name: value for name, value in names.items() if "explanation" not in name}
    for content in ("SECRET", "abcdefgh12345678", "jane.doe"):
        assert content not in json.dumps(line)


def test_shipped_configuration_is_whole_without_any_setting() -> None:
    done = subprocess.run([str(server("collector")), "validate", "--config", str(SHIPPED)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Seen:
    """An OTLP endpoint that looks at what arrives."""

    def __init__(self, status: int = 200, delay_s: float = 0.0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                seen.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                seen.released.wait(delay_s)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def endpoint() -> Iterator[Callable[..., Seen]]:
    made: list[Seen] = []

    def make(**more: Any) -> Seen:
        made.append(Seen(**more))
        return made[-1]

    yield make
    for seen in made:
        seen.close()


@pytest.mark.parametrize(
    ("variable", "path", "arrives"),
    [
        ("ENDPOINT", "", "/v1/traces"),
        ("ENDPOINT", "/", "/v1/traces"),
        ("ENDPOINT", "/collector/otlp", "/collector/otlp/v1/traces"),
        ("TRACES_ENDPOINT", "/custom", "/custom"),
    ],
)
def test_endpoint_with_a_path_or_without(
    endpoint: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch, variable: str, path: str, arrives: str
) -> None:
    seen = endpoint()
    app = App(monkeypatch, **{f"{OTLP}{variable}": seen.url + path})
    app.post()
    assert app.runtime.flush()
    assert {request[0] for request in seen.requests} == {arrives}


def test_headers_and_compression(endpoint: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = endpoint()
    app = App(
        monkeypatch, **{f"{OTLP}ENDPOINT": seen.url, f"{OTLP}HEADERS": "x-team=rag,authorization=Basic%20abc", f"{OTLP}COMPRESSION": "gzip"}
    )
    trace_id = app.post()
    assert app.runtime.flush()
    _, headers, body = seen.requests[0]
    assert (headers["x-team"], headers["authorization"], headers["content-encoding"]) == ("rag", "Basic abc", "gzip")
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
    spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {trace_id}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_headers_and_compression_through_the_collector(collector: MakeCollector, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    listening = {"include_metadata": True}
    it = collector(
        {
            "extensions": {"health_check": {"endpoint": "${env:HEALTH_ENDPOINT}"}},
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": "${env:OTLP_GRPC_ENDPOINT}", **listening},
                        "http": {"endpoint": "${env:OTLP_HTTP_ENDPOINT}", "traces_url_path": "/otlp/v1/traces", **listening},
                    }
                }
            },
            "processors": {"attributes": {"actions": [{"key": "team", "from_context": "metadata.x-team", "action": "insert"}]}},
            "exporters": {"file": {"path": "${env:OUTPUT_FOLDER}/traces.jsonl", "flush_interval": "50ms"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["attributes"], "exporters": ["file"]}},
            },
        }
    )
    address = f"http://{it.otlp_grpc}" if protocol == "grpc" else f"{it.otlp_http}/otlp"
    app = App(
        monkeypatch,
        **{f"{OTLP}ENDPOINT": address, f"{OTLP}PROTOCOL": protocol, f"{OTLP}HEADERS": "x-team=rag", f"{OTLP}COMPRESSION": "gzip"},
    )
    trace_id = app.post()
    assert app.runtime.flush()
    assert {plain(span["attributes"])["team"] for span in spans_of(it, trace_id, 2)} == {"rag"}


@pytest.mark.parametrize("problem", ["down", "refusing", "silent"])
def test_app_does_not_notice_a_bad_endpoint(
    endpoint: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    caplog.set_level(logging.CRITICAL)
    seen = endpoint(status=400, delay_s=30.0 if problem == "silent" else 0.0)
    url = "http://127.0.0.1:9" if problem == "down" else seen.url
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": url, f"{OTLP}TIMEOUT": "1"})
    started = time.monotonic()
    assert asked(app.app, "/chat/good").json() == "ok"
    assert time.monotonic() - started < 5.0
    app.runtime.flush(timeout_s=1.0)
    assert time.monotonic() - started < 10.0


def test_grpc_without_its_extra_is_said_and_harmless(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": "http://127.0.0.1:9", f"{OTLP}PROTOCOL": "grpc"})
    assert "spanline[grpc]" in caplog.text
    assert len(app.post()) == 32


def exporters(app: App) -> list[str]:
    """What the provider hands its spans to, beside our own processor."""
    processors = app.runtime._provider._active_span_processor._span_processors
    return [type(processor.span_exporter).__name__ for processor in processors if hasattr(processor, "span_exporter")]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({f"{OTLP}ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console,none"}, ["ConsoleSpanExporter"]),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, []),
    ],
)
def test_exporters_by_name(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: list[str]) -> None:
    assert exporters(App(monkeypatch, **environ)) == expected


def test_unknown_protocol_is_said(endpoint: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    seen = endpoint()
    app = App(monkeypatch, **{f"{OTLP}ENDPOINT": seen.url, f"{OTLP}PROTOCOL": "http/json"})
    assert "http/json is not one of" in caplog.text
    app.post()
    assert app.runtime.flush()
    assert seen.requests[0][1]["content-type"] == "application/x-protobuf"
