"""SpanlineMiddleware: a pure ASGI middleware that makes every request a span and, with lineage, a run."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, SpanKind

from spanline._guard import guard, report
from spanline.asgi.exchange import Exchange
from spanline.asgi.headers import HeaderReader, server_address
from spanline.asgi.route import METHODS
from spanline.asgi.types import ASGIApp, Receive, Scope, Send
from spanline.patterns import listed
from spanline.record.active import CURRENT, RUN_OF_SPAN, SEED, ActiveRun, Sink, apply_facts
from spanline.settings import Settings


class AsgiRuntime(Sink, Protocol):
    """What the middleware needs of the runtime."""

    def page(self, scope: Scope) -> ASGIApp | None:
        """The page of ours that answers this request, e.g. `/metrics`; None when the app does."""
        ...

    def in_flight(self, delta: int) -> None:
        """Count requests that are being served."""
        ...

    def begin(self) -> None:
        """The app serves: start what must run in this process."""
        ...

    def close(self, timeout_s: float = 5.0) -> bool:
        """The app shuts down."""
        ...


class _Carrier(Getter[Mapping[str, list[str]]]):
    def get(self, carrier: Mapping[str, list[str]], key: str) -> list[str] | None:
        return carrier.get(key.lower())

    def keys(self, carrier: Mapping[str, list[str]]) -> list[str]:
        return list(carrier)


_CARRIER = _Carrier()


class SpanlineMiddleware:
    """Wraps any ASGI app. Nothing of a request is kept here: each has its own `Exchange`.

    Put it outermost, so that error responses bear `x-trace-id` too. Bodies pass unbuffered and undelayed; exceptions and
    cancellation pass untouched; lifespan passes through and its shutdown flushes.

    Args:
        app: The app to wrap.
        runtime: From `spanline.configure()`.
    """

    def __init__(self, app: ASGIApp, runtime: AsgiRuntime) -> None:
        self.app = app
        self.runtime = runtime
        settings: Settings = runtime.settings
        self._excluded = listed(settings.excluded) if settings.excluded else None
        self._trust = settings.trust_remote == "always"
        self._tracing = "traces" in settings.features or "lineage" in settings.features
        self._headers = HeaderReader(settings, propagate.get_global_textmap().fields)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if self.runtime.settings.disabled:
            await self.app(scope, receive, send)
            return
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        page: ASGIApp | None = None
        try:
            page = self.runtime.page(scope) if kind == "http" else None
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("asgi.page", error)
        if page is not None:
            await page(scope, receive, send)
            return
        if self._excluded is not None and self._excluded(scope["path"]):
            await self.app(scope, receive, send)
            return
        exchange: Exchange | None = None
        try:
            exchange = self._begin(scope, receive, send)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("asgi.begin", error)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        token = None if exchange.adopted or exchange.span is None else otel_context.attach(trace.set_span_in_context(exchange.span))
        current = CURRENT.set(exchange.run)
        self.runtime.in_flight(1)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if isinstance(error, Exception) and exchange.answerable:
                with guard("asgi.fail"):
                    await exchange.fail()
            exchange.end(error)
            raise
        finally:
            if not exchange.ended:
                exchange.end(_Unanswered() if exchange.unanswered else None)
            self.runtime.in_flight(-1)
            CURRENT.reset(current)
            if token is not None:
                otel_context.detach(token)

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> Exchange | None:
        if scope.get("spanline") is not None:
            # A sub-app that is instrumented too: the request has its run.
            return None
        scope["spanline"] = True
        # FastAPI ≥ 0.165 makes a server span of its own; inside of us it looks for this key and lets it be, in sub-apps too.
        scope.setdefault("fastapi.telemetry", None)
        present = trace.get_current_span()
        adopted = CURRENT.get() is None and present.is_recording() and getattr(present, "kind", None) is SpanKind.SERVER
        run: ActiveRun | None = RUN_OF_SPAN.get(present.get_span_context().span_id) if adopted else None
        if run is None:
            run = ActiveRun(self.runtime)
        else:
            run.sink = self.runtime
        headers = scope["headers"]
        if self._tracing or adopted:
            carrier, facts, others = self._headers.read(headers)
            span = present if adopted else self._server_span(scope, run, carrier, others)
            context = span.get_span_context()
            trace_hex = f"{context.trace_id:032x}" if context.is_valid else os.urandom(16).hex()
            if not run.trace_id:
                # Nobody records it (the sampler dropped it): what the app asks of `current()` is true all the same.
                run.trace_id, run.span_id, run.sampled = int(trace_hex, 16), context.span_id, bool(context.trace_flags & 1)
        else:
            # Metrics only: the request is measured without a span of its own; operations inside find the run by context.
            facts = self._headers.facts(headers)
            span, drawn = None, os.urandom(16)
            trace_hex = drawn.hex()
            run.trace_id, run.span_id, run.started_ns, run.sampled = int.from_bytes(drawn), 1, time.time_ns(), False
        run.request_id = facts.pop("request_id", None)
        if facts:
            apply_facts(run, facts)
        return Exchange(scope, receive, send, run, span, adopted=adopted, trace_hex=trace_hex)

    def _server_span(self, scope: Scope, run: ActiveRun, carrier: Mapping[str, list[str]], others: Mapping[bytes, bytes]) -> trace.Span:
        remote = propagate.extract(carrier, Context(), getter=_CARRIER) if carrier else Context()
        links: list[Link] = []
        if carrier and not self._trust:
            caller = trace.get_current_span(remote).get_span_context()
            links = [Link(caller)] if caller.is_valid else []
            remote = Context()
        websocket = scope["type"] == "websocket"
        method = scope.get("method", "")
        attributes: dict[str, Any] = {"url.path": scope["path"], "url.scheme": scope.get("scheme", "ws" if websocket else "http")}
        if websocket:
            attributes["network.protocol.name"] = "websocket"
        elif method in METHODS:
            attributes["http.request.method"] = method
        else:
            attributes["http.request.method"] = "_OTHER"
            attributes["http.request.method_original"] = method[:32]
        if "http_version" in scope:
            attributes["network.protocol.version"] = scope["http_version"]
        attributes.update(server_address(scope, others.get(b"host")))
        agent = others.get(b"user-agent")
        if agent is not None:
            attributes["user_agent.original"] = agent.decode("latin-1")
        seed = SEED.set(run)
        try:
            name = "WS" if websocket else method if method in METHODS else "HTTP"
            span = self.runtime.tracer.start_span(name, context=remote, kind=SpanKind.SERVER, attributes=attributes, links=links)
        finally:
            SEED.reset(seed)
        return span

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass through; after the app has shut down, flush within a deadline (uvicorn runs no atexit)."""

        async def around(message: Any) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await _in_thread(self.runtime.close)
            elif message["type"] == "lifespan.startup.complete":
                with guard("asgi.lifespan"):
                    self.runtime.begin()
            await send(message)

        await self.app(scope, receive, around)


class _Unanswered(RuntimeError):
    """The app returned without an answer."""


async def _in_thread(function: Callable[[], Any]) -> None:
    """Run a blocking flush beside the event loop."""
    try:
        await asyncio.to_thread(function)
    except Exception as error:  # noqa: BLE001  what the flush raises is ours, and must not stop the app's shutdown
        report("asgi.lifespan", error)
