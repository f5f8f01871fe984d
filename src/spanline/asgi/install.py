"""Put the middleware outermost into a FastAPI or Starlette app, without importing either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spanline._guard import guard
from spanline.asgi.middleware import AsgiRuntime, SpanlineMiddleware
from spanline.asgi.types import ASGIApp


def install(app: Any, runtime: AsgiRuntime) -> None:
    """Wrap the app's middleware stack: outside of ServerErrorMiddleware, so that the 500 of an unhandled exception bears our header.

    FastAPI ≥ 0.165 makes a server span around the stack once a provider is set. Ours replaces it (ADR 4): its tracing is switched
    off where it can be; where it is on all the same, the middleware adopts its span.

    Args:
        app: FastAPI or Starlette app.
        runtime: The runtime that takes its runs.
    """
    if runtime.settings.server_span == "replace":
        with guard("asgi.install"):
            telemetry = getattr(app, "_telemetry", None)
            if isinstance(telemetry, dict) and "tracing" in telemetry:
                telemetry["tracing"] = False
    build: Callable[[], ASGIApp] = app.build_middleware_stack

    def build_with_spanline() -> ASGIApp:
        return SpanlineMiddleware(build(), runtime)

    app.build_middleware_stack = build_with_spanline
    if getattr(app, "middleware_stack", None) is not None:
        app.middleware_stack = SpanlineMiddleware(app.middleware_stack, runtime)
