"""SPANLINE_OTLP=fast over HTTP: the stock exporter's settings, retries and gzip, our bytes; a real server receives them."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import spanline


class Receiver(ThreadingHTTPServer):
    """Keeps requests; answers the statuses it is told, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("retry-after", "0")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def one_span(runtime) -> None:
    with trace.get_tracer("t").start_as_current_span("work", attributes={"k": "v", "n": 5}):
        pass
    assert runtime.flush(20)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_spans_arrive_with_the_stock_settings(receiver, monkeypatch, fresh_provider, compression):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    with spanline.configure(service="fees", otlp="fast", ledger=False) as runtime:
        one_span(runtime)
    path, headers, body = receiver.requests[0]
    assert (path, headers["x-tenant"], headers["content-type"]) == ("/v1/traces", "acme", "application/x-protobuf")
    message = ExportTraceServiceRequest.FromString(gzip.decompress(body) if compression else body)
    (span,) = message.resource_spans[0].scope_spans[0].spans
    assert span.name == "work"
    assert {a.key: a.value.string_value or a.value.int_value for a in span.attributes}["n"] == 5


def test_a_busy_collector_is_asked_again(receiver, monkeypatch, fresh_provider):
    receiver.statuses = [503]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    with spanline.configure(service="fees", otlp="fast", ledger=False) as runtime:
        one_span(runtime)
    assert len(receiver.requests) == 2
    assert receiver.requests[0][2] == receiver.requests[1][2]


def test_grpc_says_that_it_keeps_its_encoding(monkeypatch, fresh_provider, caplog):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    spanline.configure(service="fees", otlp="fast", ledger=False).close(0.2)
    assert "gRPC keeps OpenTelemetry's own encoding" in caplog.text
