"""configure() and instrument(): from settings to a runtime, and into an app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spanline.asgi.install import install
from spanline.errors import ConfigurationError
from spanline.runtime.runtime import Runtime
from spanline.settings import Settings


def configure(**settings: Any) -> Runtime:
    """Configure spanline without an app: scripts, workers, `SpanlineMiddleware` around any ASGI app.

    Args:
        **settings: Names of `spanline.settings.Settings`; beside them `tracer_provider` (an SDK provider to use instead of the
            global one) and `registry` (a Prometheus registry).

    Raises:
        ConfigurationError: An unknown keyword, with the nearest name, or a wrong value.
    """
    return _configured(settings, None)


def instrument(app: Any, **settings: Any) -> Runtime:
    """Instrument a FastAPI or Starlette app: middleware, `/metrics`, `/r/{id}` and `/runs`, with one line.

    Args:
        app: The app, before or after its routes are added. Several `instrument()` calls make several runtimes.
        **settings: As for `configure()`.

    Raises:
        ConfigurationError: As for `configure()`, or the app is neither FastAPI nor Starlette.
    """
    if not callable(getattr(app, "build_middleware_stack", None)):
        raise ConfigurationError(
            f"instrument() takes a FastAPI or Starlette app, got {type(app).__name__}; for other ASGI apps: "
            "SpanlineMiddleware(app, spanline.configure(…))"
        )
    runtime = _configured(settings, app)
    if not runtime.settings.disabled:
        install(app, runtime)
    return runtime


def _configured(given: Mapping[str, Any], app: Any) -> Runtime:
    keywords = dict(given)
    provider = keywords.pop("tracer_provider", None)
    registry = keywords.pop("registry", None)
    settings = Settings.resolve(keywords)
    return Runtime(settings, tracer_provider=provider, registry=registry, app=app)
