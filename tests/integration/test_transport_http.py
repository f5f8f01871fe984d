"""The HTTP transport and the relay against real servers that answer, refuse, hang and break."""

from __future__ import annotations

import email.utils
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.journal.writer import JournalWriter
from spanline.relay.consumer import DeliveryError, TransportConsumer
from spanline.relay.parked import parked
from spanline.relay.policy import Policy
from spanline.relay.relay import Relay
from spanline.transports.base import BatchError, MalformedAnswer
from spanline.transports.http import HttpTransport, retry_after_s

pytestmark = pytest.mark.raw_journal

Answer = tuple[int, dict[str, str], bytes]


class Backend:
    """A server of the OpenLineage API; `answer(event)` decides what an event gets."""

    def __init__(self, answer: Callable[[Any], Answer | bytes | None] | None = None, port: int = 0) -> None:
        self.answer = answer or (lambda event: None)
        self.taken: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                backend.connections.add(self.client_address)
                backend.headers.append({key.lower(): value for key, value in self.headers.items()})
                event = json.loads(body)
                answer = backend.answer(event)
                if isinstance(answer, bytes):
                    self.wfile.write(answer)
                    self.close_connection = True
                    return
                status, headers, content = answer or (201, {}, b"")
                if 200 <= status < 300:
                    backend.taken.append(event)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                known = self.path == "/api/v1/namespaces" and backend.marquez
                content = b'{"namespaces": [{"name": "default"}]}' if known else b"{}"
                self.send_response(200 if known else 404)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.marquez = False
        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def event(number: int) -> dict[str, Any]:
    return {"n": number, "eventType": "COMPLETE", "run": {"runId": f"run-{number}"}, "job": {"namespace": "a", "name": "b"}}


def eventually(check: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def test_events_arrive_over_one_connection(backend: Backend) -> None:
    transport = HttpTransport(backend.url, api_key="secret", headers={"x-team": "fees"})
    for number in range(20):
        transport.emit(event(number))
    assert [taken["n"] for taken in backend.taken] == list(range(20))
    assert len(backend.connections) == 1
    assert backend.headers[0]["authorization"] == "Bearer secret"
    assert backend.headers[0]["x-team"] == "fees"
    assert backend.headers[0]["content-type"] == "application/json"
    assert transport.close(1)
    transport.emit(event(20))
    assert len(backend.connections) == 2


def test_gzip(backend: Backend) -> None:
    transport = HttpTransport(backend.url, compress=True)
    transport.emit(event(1))
    assert backend.headers[0]["content-encoding"] == "gzip"
    assert backend.taken == [event(1)]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 422, 429, 500, 501, 503])
def test_one_attempt_and_the_status_is_told(backend: Backend, status: int) -> None:
    backend.answer = lambda event: (status, {"location": "/elsewhere", "retry-after": "7"}, b"a long answer with " + b"x" * 100_000)
    transport = HttpTransport(backend.url)
    with pytest.raises(TransportError) as caught:
        transport.emit(event(1))
    assert caught.value.status == status
    assert caught.value.retry_after_s == 7
    assert len(backend.headers) == 1
    backend.answer = lambda event: None
    transport.emit(event(2))
    assert len(backend.connections) == 1


def test_a_refused_connection(backend: Backend) -> None:
    transport = HttpTransport(f"http://user:secret@127.0.0.1:{free_port()}")
    with pytest.raises(TransportError) as caught:
        transport.emit(event(1))
    assert caught.value.status is None
    assert "secret" not in str(caught.value)


def test_a_server_that_hangs() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        transport = HttpTransport(f"http://127.0.0.1:{server.getsockname()[1]}", read_s=0.3)
        before = time.monotonic()
        with pytest.raises(TransportError, match="no answer") as caught:
            transport.emit(event(1))
        assert 0.2 < time.monotonic() - before < 10
        assert caught.value.status is None
        transport.close(1)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n"])
def test_an_answer_that_is_not_http(backend: Backend, garbage: bytes) -> None:
    backend.answer = lambda event: garbage
    with pytest.raises(MalformedAnswer):
        HttpTransport(backend.url).emit(event(1))


def test_a_connection_that_is_cut_is_no_malformed_answer(backend: Backend) -> None:
    backend.answer = lambda event: b""
    with pytest.raises(TransportError) as caught:
        HttpTransport(backend.url).emit(event(1))
    assert not isinstance(caught.value, MalformedAnswer)
    assert caught.value.status is None


def test_a_batch_is_one_post_of_the_journals_own_bytes(backend: Backend) -> None:
    transport = HttpTransport(backend.url, endpoint="api/v1/lineage/batch")
    consumer = TransportConsumer("server", transport, {"preset": "spanline"})
    lines = [json.dumps(event(number)).encode() for number in range(5)]
    consumer.deliver([Entry("s", number, number + 1, line) for number, line in enumerate(lines)])
    assert backend.taken == [[event(number) for number in range(5)]]


def test_a_batch_that_is_partly_refused(backend: Backend) -> None:
    refused = {"status": "partial_success", "failed_events": [{"index": 1, "reason": "bad", "retriable": False}, {"index": 9}]}
    backend.answer = lambda events: (200, {}, json.dumps(refused).encode())
    transport = HttpTransport(backend.url)
    with pytest.raises(BatchError) as caught:
        transport.emit_batch([json.dumps(event(0)).encode(), event(1)])
    assert caught.value.failed == (1,)
    consumer = TransportConsumer("server", transport, {"preset": "spanline"})
    with pytest.raises(DeliveryError) as failed:
        consumer.deliver([Entry("s", number, number + 1, json.dumps(event(number)).encode()) for number in range(2)])
    assert failed.value.undelivered == (1,)


def test_retry_after_as_seconds_and_as_a_date() -> None:
    assert retry_after_s("120") == 120
    date = email.utils.formatdate(time.time() + 90, usegmt=True)
    assert 85 < (retry_after_s(date) or 0) <= 90
    assert retry_after_s(email.utils.formatdate(0, usegmt=True)) == 0
    for nonsense in (None, "", "soon", "-5", "1.5", "٣"):
        assert retry_after_s(nonsense) is None
    assert retry_after_s("99999999") == 3600


@pytest.mark.parametrize(("marquez", "parents"), [(True, "drop"), (False, "keep")])
def test_auto_asks_the_other_end_once(backend: Backend, marquez: bool, parents: str) -> None:
    backend.marquez = marquez
    consumer = TransportConsumer("openlineage", HttpTransport(backend.url), {"preset": "auto"})
    consumer.deliver([Entry("s", 0, 1, json.dumps(event(1)).encode())])
    assert consumer.preset.parents == parents
    assert len(backend.taken) == 1


def test_auto_waits_for_an_end_that_is_away() -> None:
    consumer = TransportConsumer("openlineage", HttpTransport(f"http://127.0.0.1:{free_port()}"), {"preset": "auto"})
    with pytest.raises(TransportError) as caught:
        consumer.deliver([Entry("s", 0, 1, json.dumps(event(1)).encode())])
    assert caught.value.status is None


def write(directory: Path, numbers: range) -> None:
    writer = JournalWriter(directory)
    for number in numbers:
        writer.write(json.dumps(event(number)).encode())
    writer.close()


def relay_to(directory: Path, url: str, **options: Any) -> Relay:
    consumer = TransportConsumer("openlineage", HttpTransport(url, read_s=1.0), {"preset": "openlineage", **options})
    return Relay(directory, [consumer], policy=Policy(first_s=0.01, cap_s=0.1, server_error_s=0.05))


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path, range(30))
    relay = relay_to(tmp_path, f"http://127.0.0.1:{port}")
    assert not relay.flush(0.5)
    backend = Backend(port=port)
    try:
        assert relay.flush(10)
        # Runs may overtake each other while it is tried whether the other end is back; nothing comes twice.
        assert sorted(taken["n"] for taken in backend.taken) == list(range(30))
        assert parked(tmp_path) == []
        assert relay.close(5)
    finally:
        backend.stop()


def test_a_poison_event_and_a_broken_connection_among_good_ones(backend: Backend, tmp_path: Path) -> None:
    reset = iter([b"", b"", b""])

    def answer(sent: Any) -> Answer | bytes | None:
        if sent["n"] == 5:
            return 500, {}, b"boom"
        if sent["n"] == 7:
            return 422, {}, b'{"errors": ["run.runId must not be null"]}'
        return next(reset, None) if sent["n"] == 9 else None

    backend.answer = answer
    write(tmp_path, range(12))
    relay = relay_to(tmp_path, backend.url)
    assert relay.close(10)
    assert [taken["n"] for taken in backend.taken] == [n for n in range(12) if n not in {5, 7}]
    assert [(item.run_id, item.status, item.attempts) for item in parked(tmp_path)] == [("run-5", 500, 2), ("run-7", 422, 1)]
    assert all("errors" not in item.reason for item in parked(tmp_path))


def test_an_event_that_breaks_the_server_every_time_is_parked(backend: Backend, tmp_path: Path) -> None:
    backend.answer = lambda sent: b"" if sent["n"] == 2 else None
    write(tmp_path, range(8))
    relay = relay_to(tmp_path, backend.url)
    assert relay.close(10)
    assert sorted(taken["n"] for taken in backend.taken) == [0, 1, 3, 4, 5, 6, 7]
    assert [item.run_id for item in parked(tmp_path)] == ["run-2"]


def test_a_server_that_flaps(backend: Backend, tmp_path: Path) -> None:
    calls = iter(range(10_000))
    backend.answer = lambda sent: (503, {"retry-after": "0"}, b"") if next(calls) % 3 else None
    write(tmp_path, range(30))
    relay = relay_to(tmp_path, backend.url)
    assert relay.close(20)
    assert [taken["n"] for taken in backend.taken] == list(range(30))
    assert parked(tmp_path) == []


def test_a_forked_child_opens_its_own_connection(backend: Backend) -> None:
    transport = HttpTransport(backend.url)
    transport.emit(event(0))
    transport._pid = -1  # what a child finds
    transport.emit(event(1))
    assert len(backend.connections) == 2


def test_a_dead_kept_alive_connection_is_replaced_at_once() -> None:
    """The other end answers one request a connection, and hangs up when it hears a second one."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answers in (1, 1, 0):
            with listener.accept()[0] as connection, connection.makefile("rb") as request:
                for number in range(answers + 1):
                    lines = iter(lambda: request.readline().strip().lower(), b"")
                    length = next(int(line.split()[1]) for line in list(lines) if line.startswith(b"content-length"))
                    heard.append(request.read(length))
                    if number < answers:
                        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    transport = HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")
    transport.emit(event(1))
    transport.emit(event(2))
    with pytest.raises(TransportError) as refused:
        transport.emit(event(3))
    assert refused.value.status is None
    thread.join(10)
    listener.close()
    assert [json.loads(body)["n"] for body in heard] == [1, 2, 2, 3, 3], (
        "event 2 went again on a new connection; event 3 met a new one that was dead too: no third try"
    )
