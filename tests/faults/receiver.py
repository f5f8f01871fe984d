"""The receiver of the fault matrix: a server of the OpenLineage API that fails on request."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.child import free_port


class Receiver:
    """A server of the OpenLineage API that fails on request: `mode` is up, slow, hang, reset, flap or a status.

    `cut` is a reset after it took the end of a run: the answer is lost.
    """

    def __init__(self, port: int = 0) -> None:
        self.mode: str | int = "up"
        self.slow_s = 0.2
        self.headers: dict[str, str | Callable[[], str]] = {}
        self.most = 0
        self.answer = b""
        self.garbage: Callable[[dict[str, Any]], bool] | None = None
        self.status: Callable[[dict[str, Any]], int] | None = None
        self.events: list[dict[str, Any]] = []
        self.tried: list[tuple[float, str | None]] = []
        self._seen = 0
        self._now = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = port or free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._open.add(self.connection)

            def finish(self) -> None:
                receiver._open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_POST(self) -> None:
                with receiver._counted():
                    receiver._serve(self)

            def do_GET(self) -> None:
                receiver._reply(self, 404, {}, b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Down: connections are refused, open ones are cut."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """`most` is how many requests were here at a time."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        sent = json.loads(body)
        events = sent if isinstance(sent, list) else [sent]
        with self._lock:
            self._seen += 1
            seen = self._seen
            self.tried += [(time.monotonic(), _run(event)) for event in events]
        mode = self.mode
        if mode == "slow":
            time.sleep(self.slow_s)
        elif mode == "hang":
            while self.mode == "hang" and self._server is not None:
                time.sleep(0.02)
            handler.close_connection = True
            return
        elif mode == "reset" or (mode == "flap" and seen % 3 != 0) or (mode == "cut" and events[0].get("eventType") != "START"):
            if mode == "cut":
                with self._lock:
                    self.events += events
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
            handler.close_connection = True
            return
        if self.garbage is not None and self.garbage(events[0]):
            handler.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            handler.close_connection = True
            return
        status = mode if isinstance(mode, int) else 201
        if self.status is not None:
            status = self.status(events[0])
        if 200 <= status < 300:
            with self._lock:
                self.events += events
        self._reply(handler, status, self.headers if status >= 300 else {}, self.answer if status >= 300 else b"")

    def _reply(self, handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str | Callable[[], str]], body: bytes) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value() if callable(value) else value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def over(self) -> set[str]:
        """Run ids with a terminal event here."""
        with self._lock:
            return {_run(event) or "" for event in self.events if event.get("eventType") in {"COMPLETE", "FAIL", "ABORT"}}

    def in_order(self, *, again: bool = False) -> None:
        """Each run's START came before its terminal event, and nothing but a terminal event after one.

        Args:
            again: A relay was killed: what it had sent in its last moment may have come once more, START and end.
        """
        events: dict[str | None, list[str]] = {}
        with self._lock:
            for event in self.events:
                events.setdefault(_run(event), []).append(event["eventType"])
        for run, kinds in events.items():
            assert kinds[0] == "START", (run, kinds)
            assert kinds[-1] != "START", (run, kinds)
            # An answer that was lost on its way makes the same event come again, before the next one of its run.
            end = next(number for number, kind in enumerate(kinds) if kind != "START")
            assert again or "START" not in kinds[end:], (run, kinds)


def _run(event: Mapping[str, Any]) -> str | None:
    return (event.get("run") or {}).get("runId")
