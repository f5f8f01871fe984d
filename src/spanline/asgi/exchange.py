"""Exchange: one request and its response, from the first byte to the last; all state of a request lives here."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

import spanline.semconv as s
from spanline._guard import report
from spanline.asgi.route import METHODS, route_template
from spanline.asgi.server import is_of_server, waiting
from spanline.asgi.types import Message, Receive, Scope, Send
from spanline.errors import error_type
from spanline.naming import request_job, websocket_job
from spanline.record.active import PROVENANCE, ActiveRun, mark_root, provenance, run_id
from spanline.record.attributes import set_clean

ABNORMAL_CLOSURE = 1006
"""WebSocket close code of a connection that broke (RFC 6455, 7.4.1)."""


class Exchange:
    """The state machine of one request. Made by the middleware, dropped with the request.

    Args:
        scope: The ASGI scope as it is passed down.
        run: The run that this request is; without identity when nothing records it.
        span: The server span; made by us or found. None: nothing makes one (metrics only), the run is handed over here.
        adopted: The span is somebody else's: it is not ended here.
        trace_hex: Trace id as 32 hex, for the response.
    """

    __slots__ = (
        "_early", "_marked", "_provenance", "_receiving", "_trailers", "adopted", "disconnected", "ended", "receive_", "run", "scope", "send_", "span", "status", "trace_hex",
        "url_header", "websocket",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, run: ActiveRun, span: trace.Span | None, *, adopted: bool, trace_hex: str
    ) -> None:
        self.scope = scope
        self.receive_ = receive
        self.send_ = send
        self.run = run
        self.span = span
        self.adopted = adopted
        self.trace_hex = trace_hex
        self.websocket = scope["type"] == "websocket"
        self.status: int | None = None
        self.ended = False
        self.disconnected = False
        self._trailers = False
        self._marked = False
        self._early: list[Message] = []
        """Messages that were there when we looked, for the app."""
        self._receiving = False
        settings = run.sink.settings
        self._provenance = settings.provenance == "header"
        self.url_header = f'<{settings.base_url}/r/{trace_hex}>; rel="describedby"'.encode("latin-1") if settings.base_url else None
        run.name_of = partial(_job_name, scope, scope.get("root_path") or "")

    async def receive(self) -> Message:
        """Pass a message on; note that the client went away."""
        if self._early:
            message = self._early.pop(0)
        else:
            self._receiving = True
            try:
                message = await self.receive_()
            finally:
                self._receiving = False
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        """Note that the client went away. A WebSocket session ends so, unless the connection broke."""
        if message["type"] in ("http.disconnect", "websocket.disconnect") and not self.ended:
            self.disconnected = True
            self.run.aborted = not self.websocket or message.get("code") == ABNORMAL_CLOSURE

    async def send(self, message: Message) -> None:
        """Pass a message on at once; add our headers to the first, end the run after the last."""
        kind = message["type"]
        if kind == "http.response.body":
            last = not message.get("more_body", False)
            if last:
                self._look()
            await self.send_(message)
            if last and not self._trailers:
                self._answered()
            return
        if kind == "http.response.start" or kind == "websocket.http.response.start":
            self.status = self.run.http_status_code = message["status"]
            self._trailers = bool(message.get("trailers", False))
            self._add_headers(message)
        elif kind == "websocket.accept":
            self._add_headers(message)
        await self.send_(message)
        if kind == "http.response.pathsend" or (kind == "http.response.trailers" and not message.get("more_trailers", False)):
            self._answered()

    def _look(self) -> None:
        """Before the last byte: most apps do not ask whether their client is still there."""
        if self._receiving or self._early or self.status is None or self.status >= 500:
            return
        try:
            self._early = waiting(self.receive_)
            for ready in self._early:
                self._note(ready)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("asgi.receive", error)

    def _answered(self) -> None:
        """The last byte has been handed over."""
        # Inside an exception handler that answers (ServerErrorMiddleware), the exception is still the one being handled.
        error = sys.exc_info()[1] if self.status is not None and self.status >= 500 else None
        self.end(error)

    @property
    def unanswered(self) -> bool:
        """A client waits for an answer that has not begun."""
        return not self.websocket and self.status is None and not self.disconnected

    @property
    def answerable(self) -> bool:
        """We may answer for the app: outside of us is the server, which would answer without our header."""
        return self.unanswered and is_of_server(self.send_)

    async def fail(self) -> None:
        """Answer for an app that left with an exception, as its server would, so that this answer bears our header too."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
        if str(self.scope.get("http_version", "")).startswith("1"):
            # The server closes the connection after an exception; a client that knows does not ask on it again.
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    def _add_headers(self, message: Message) -> None:
        try:
            headers = list(message.get("headers", ()))
            headers.append((b"x-trace-id", self.trace_hex.encode()))
            if self.url_header is not None:
                headers.append((b"link", self.url_header))
            if self._provenance:
                known = provenance(self.run)
                if known:
                    value = ", ".join(f"{kind}={known[kind]}" for kind in PROVENANCE if kind in known)
                    headers.append((b"x-lineage", value.encode("ascii", "replace")[:1024]))
            message["headers"] = headers
            if self.adopted:
                # Whoever made the span may end it before the last byte; by now its route is known.
                self._mark()
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("asgi.headers", error)

    def _mark(self) -> None:
        """Write the run's identity on the server span, while it is open."""
        run = self.run
        if self._marked or run.span is None:
            return
        self._marked = True
        base = run.sink.settings.base_url
        mark_root(run, run_id(run), f"{base}/r/{self.trace_hex}" if base else None)

    def end(self, error: BaseException | None = None) -> None:
        """End the run; the first call counts."""
        if self.ended:
            return
        self.ended = True
        try:
            self._end(error)
        except Exception as ours:  # noqa: BLE001  the guard, written out (ADR 3)
            report("asgi.end", ours)

    def _end(self, error: BaseException | None) -> None:
        run = self.run
        status = self.status
        cancelled = error is not None and not isinstance(error, Exception)
        closed = self.websocket and (error is None or _is_disconnect(error))
        if cancelled:
            run.aborted = True
        if error is not None and not closed and not run.aborted:
            run.error_type = error_type(error)
            run.failed = True
        elif status is not None and status >= 500:
            run.error_type = str(status)
            run.failed = True
        elif run.aborted:
            run.error_type = error_type(error) if cancelled and error is not None else "client_disconnected"
        span = self.span
        if span is None:
            run.ended_ns = time.time_ns()
            run.sink.finish(run)
            return
        if run.name_of is not None:
            name = run.name_of(run)  # notes the route, too
            run.job = run.job or name
        if span.is_recording():
            self._describe(span, run.route, status)
        self._mark()
        if not self.adopted:
            span.end()

    def _describe(self, span: trace.Span, route: str | None, status: int | None) -> None:
        """Put what the request turned out to be on the server span."""
        run = self.run
        attributes: dict[str, Any] = {}
        if route is not None:
            attributes["http.route"] = route
        if status is not None:
            attributes["http.response.status_code"] = status
        if run.error_type is not None:
            attributes[s.ERROR_TYPE] = run.error_type
        set_clean(span, attributes)
        if run.failed:
            span.set_status(Status(StatusCode.ERROR))
        if not self.adopted:
            word = "WS" if self.websocket else _method(self.scope)
            span.update_name(f"{word} {route}" if route else word)


def _job_name(scope: Scope, base: str, run: ActiveRun) -> str:
    """The job's name as far as the route is known, which is noted on the run."""
    service = run.sink.settings.service
    route = run.route = run.route or route_template(scope, base)
    return websocket_job(service, route) if scope["type"] == "websocket" else request_job(service, _method(scope), route)


def _method(scope: Scope) -> str:
    """The HTTP method, `HTTP` for one that the conventions do not know."""
    method = scope.get("method", "")
    return method if method in METHODS else "HTTP"


def _is_disconnect(error: BaseException) -> bool:
    """A WebSocket handler that was left by its client: every framework has its own class, the name is common."""
    return type(error).__name__ in {"WebSocketDisconnect", "ClientDisconnect", "ConnectionClosed", "ConnectionClosedOK"}
