"""Clients that send their headers or bodies byte by byte, or without end, at a real uvicorn: given up, and nobody else waits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from spanline.ledger import Ledger
from spanline.server import ingest, patience
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.ledger_events import end, request

HEAD = b"POST /api/v1/lineage HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(params=[HttpToolsProtocol, H11Protocol], ids=["httptools", "h11"])
def port(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server in a thread, that waits half a second for headers and bodies."""
    monkeypatch.setattr(patience, "HEADERS_S", 0.5)
    monkeypatch.setattr(ingest, "BODY_TIMEOUT_S", 0.5)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    app = build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", http=patience.limited_protocol(request.param), lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()
    ledger.close()


def dripped(port: int, data: bytes, *, first: bytes = b"", pause_s: float = 0.02) -> bytes:
    """What is answered to bytes that come one by one, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(first)
        client.settimeout(pause_s)
        answer = b""
        deadline = time.monotonic() + 20
        for byte in data * 10_000:
            try:
                client.sendall(bytes([byte]))
                more = client.recv(4096)
            except TimeoutError:
                assert time.monotonic() < deadline, "the server waits for ever"
                continue
            except OSError:
                return answer
            if not more:
                return answer
            answer += more
    raise AssertionError("the server takes it all")


def test_headers_and_bodies_byte_by_byte_and_nobody_else_waits(port: int) -> None:
    answers: dict[str, bytes] = {}
    cases: dict[str, dict[str, Any]] = {
        "headers": {"data": b"x-slow: 1\r\n", "first": HEAD},
        "body": {"data": b" ", "first": HEAD + b"content-length: 100000\r\n\r\n{"},
        "chunks": {"data": b"1\r\n \r\n", "first": HEAD + b"transfer-encoding: chunked\r\n\r\n"},
    }

    def drip(name: str) -> None:
        answers[name] = dripped(port, **cases[name])

    slow = [threading.Thread(target=drip, args=(name,)) for name in cases]
    for thread in slow:
        thread.start()
    for _ in range(5):
        reply = httpx.post(f"http://127.0.0.1:{port}/api/v1/lineage", content=end(request(0)), headers={"content-type": "application/json"})
        assert reply.status_code == 201
    for thread in slow:
        thread.join()
    assert {name: answer[:13] for name, answer in answers.items()} == dict.fromkeys(cases, b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answers["body"]


def test_silence_is_no_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_headers_without_end(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        answer = b""
        try:
            client.sendall(HEAD)
            for _ in range(200):
                client.sendall(b"x: " + b"y" * 1000 + b"\r\n")
            answer = client.recv(100)
        except OSError:
            return
        assert answer[:13] in (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ", b"")


def test_a_kept_connection_may_rest_and_go_on(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            # Refused before its body is read: the rest of the body is no headers.
            large = client.post("/api/v1/lineage", content=b"{" + b" " * 300_000, headers={"content-type": "text/plain"})
            assert large.status_code == 415
            assert client.get("/healthz").status_code == 200
            threading.Event().wait(0.7)  # longer than headers may take
            assert client.get("/healthz").status_code == 200
