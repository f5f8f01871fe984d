"""A collector that only counts: OTLP/HTTP in, `GET /stats` out. Runs in a process of its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_counts: Counter[str] = Counter()
_lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        plain = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        message = ExportTraceServiceRequest.FromString(plain)
        spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
        with _lock:
            _counts.update(posts=1, bytes=len(body), spans=len(spans), attributes=sum(len(span.attributes) for span in spans))
        self._answer("application/x-protobuf", b"")

    def do_GET(self) -> None:
        with _lock:
            body = json.dumps(_counts).encode()
        self._answer("application/json", body)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Sink:
    """The sink as a child process, ended with the `with` block. `url` is its base URL."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()


def stats(url: str) -> dict[str, int]:
    """What the sink at `url` has received: posts, bytes (as sent), spans, attributes."""
    with urllib.request.urlopen(f"{url}/stats", timeout=30) as response:
        return json.loads(response.read())


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
