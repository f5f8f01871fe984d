"""Real ASGI servers: clients that leave a plain answer, and apps that raise."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config

from spanline._guard import internal_errors
from spanline.api.steps import tool
from spanline.asgi.middleware import SpanlineMiddleware
from tests.servers.child import eventually
from tests.support import MemorySink


@contextmanager
def uvicorn_with(protocol: str, app: Any, listener: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", http=protocol))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started, 20, "uvicorn did not start")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def hypercorn_with(app: Any, listener: socket.socket) -> Iterator[None]:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.errorlog = None
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(app, config, shutdown_trigger=lambda: asyncio.to_thread(stop.wait))))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


SERVERS: dict[str, Callable[[Any, socket.socket], Any]] = {
    "uvicorn-h11": lambda app, listener: uvicorn_with("h11", app, listener),
    "uvicorn-httptools": lambda app, listener: uvicorn_with("httptools", app, listener),
    "hypercorn": hypercorn_with,
}


@contextmanager
def serving(server: str, app: Any) -> Iterator[int]:
    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener, SERVERS[server](without_lifespan, listener):
        yield listener.getsockname()[1]


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_left_a_slow_answer_is_an_abort(server: str, sink: MemorySink) -> None:
    """Most apps do not ask whether somebody still waits; where the server knows, so do we."""
    began, gone = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tool("slow"):
            began.set()
            await asyncio.to_thread(gone.wait)
            await asyncio.sleep(0.2)  # for the server to notice
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"a"})

    with serving(server, SpanlineMiddleware(app, sink)) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert began.wait(20)
        gone.set()
        eventually(lambda: sink.records, 20, "no run")
    assert (sink.record.outcome, sink.record.error_type) == ("ABORT", "client_disconnected")
    assert internal_errors() == {}


@pytest.mark.parametrize("server", SERVERS)
def test_an_answer_that_is_waited_for_is_complete(server: str, sink: MemorySink) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tool("x"):
            body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serving(server, SpanlineMiddleware(app, sink)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert [client.post("/", content=b"abc").content for _ in range(2)] == [b"abc", b"abc"]
        eventually(lambda: len(sink.records) == 2, 20, "no runs")
    assert {record.outcome for record in sink.records} == {"COMPLETE"}
    assert internal_errors() == {}


@pytest.mark.parametrize("server", SERVERS)
def test_the_500_of_an_app_that_raised_bears_the_header(server: str, sink: MemorySink) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tool("x"):
            raise KeyError("secret")

    with serving(server, SpanlineMiddleware(app, sink)) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/")
        eventually(lambda: sink.records, 20, "no run")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["x-trace-id"] == sink.record.trace_id
    assert (sink.record.outcome, sink.record.error_type, sink.record.http_status_code) == ("FAIL", "KeyError", 500)
