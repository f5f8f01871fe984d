"""What stands behind the measured process: OTLP and lineage events over HTTP in, `GET /stats` out. Runs in a process of its own."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_counts: Counter[str] = Counter()
_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Requests of one kept-alive connection. Light, since on a machine of two cores it competes with what is measured."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(_END)) >= 0:
            line, *lines = self._data[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            begin = end + len(_END)
            length = int(headers.get("content-length", "0"))
            if len(self._data) < begin + length:
                return
            body, self._data = self._data[begin : begin + length], self._data[begin + length :]
            self._take(line.split()[1], gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body, length)

    def _take(self, path: str, body: bytes, sent: int) -> None:
        if path.endswith("/lineage"):
            _counts.update(posted=1)
            if self._delay_s:
                asyncio.get_running_loop().call_later(self._delay_s, self._answer, b"201 Created", b"")
            else:
                self._answer(b"201 Created", b"")
        elif path.endswith("/v1/traces"):
            message = ExportTraceServiceRequest.FromString(body)
            spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
            _counts.update(posts=1, bytes=sent, spans=len(spans), attributes=sum(len(span.attributes) for span in spans))
            self._answer(b"200 OK", b"", b"content-type: application/x-protobuf\r\n")
        else:
            self._answer(b"200 OK", json.dumps(_counts).encode(), b"content-type: application/json\r\n")

    def _answer(self, status: bytes, body: bytes, headers: bytes = b"") -> None:
        self._transport.write(b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body))


class Sink:
    """The sink as a child process, ended with the `with` block. `url` is its base URL.

    Args:
        delay_s: How long it takes to answer a lineage event. Unit: seconds.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.sink", str(self._delay_s)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def stats(url: str) -> dict[str, int]:
    """What the sink at `url` has received: posts, bytes (as sent), spans, attributes; posted lineage events."""
    with urllib.request.urlopen(f"{url}/stats", timeout=30) as response:
        return json.loads(response.read())


async def _serve(delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(delay_s), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
