"""The entry point of `opentelemetry-instrument`: after the user's distro and configurator, before any instrumentation.

There the user's provider is there, and no instrumentation has a tracer yet: a tracer copies the sampler when it is made.
Nothing is replaced: where no distro sets a provider, spanline builds one by `OTEL_*` (ADR 7).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from spanline._guard import guard, logger, report
from spanline.asgi.install import install
from spanline.identity import UrandomIdGenerator
from spanline.record.active import SINKS
from spanline.runtime.configure import configure
from spanline.runtime.runtime import Runtime
from spanline.settings import Settings
from spanline.tracing.sampler import LineageSampler

NAME = "spanline"
_CLASSES = (("starlette.applications", "Starlette"), ("fastapi.applications", "FastAPI"))

_runtime: Runtime | None = None


def pre_instrument() -> None:
    """Configure spanline for this process, and put the middleware into every FastAPI and Starlette app when it is first called.

    Does nothing where `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` names `spanline` or `*`, or `SPANLINE_DISABLED` is set. Never raises.
    """
    global _runtime
    with guard("distro"):
        off = {word.strip() for word in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
        if off & {NAME, "*"} or _runtime is not None:
            return
        settings = Settings.resolve()
        if settings.disabled:
            return
        prepare(trace.get_tracer_provider(), settings)
        _runtime = configure()
        for module, name in _CLASSES:
            _when_imported(module, lambda loaded, name=name: _wrap(getattr(loaded, name)))


def prepare(provider: object, settings: Settings) -> None:
    """Make a provider that no tracer was taken from yet record every trace, with ids from the operating system.

    Args:
        provider: Of the user's distro; anything else than an SDK's is left alone.
        settings: Whether lineage follows sampling.
    """
    if not isinstance(provider, TracerProvider):
        return
    if settings.sampling == "full" and not isinstance(provider.sampler, LineageSampler):
        provider.sampler = LineageSampler(provider.sampler)
    if type(provider.id_generator) is RandomIdGenerator:
        # Two processes that call random.seed(42) would make the same trace ids, and two runs would become one.
        provider.id_generator = UrandomIdGenerator()


def _when_imported(module: str, then: Callable[[Any], None]) -> None:
    """Do it now where the module is loaded, else when it is: a program without a web app does not pay for one."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        then(loaded)
        return
    try:
        from wrapt import register_post_import_hook
    except ImportError:
        # opentelemetry-instrumentation brings wrapt; without it the entry point was called by somebody else.
        logger.warning("spanline: without wrapt web apps are not instrumented by themselves; call spanline.instrument(app)")
        return
    register_post_import_hook(then, module)


def _wrap(kind: type[Any]) -> None:
    """Let the first call of an app put the middleware around all that others have put there."""
    call = kind.__call__

    async def call_with_spanline(self: Any, scope: Any, receive: Any, send: Any) -> None:
        try:
            _enter(self, scope)
        except Exception as error:  # noqa: BLE001  a guard on the request path
            report("distro.enter", error)
        await call(self, scope, receive, send)

    kind.__call__ = call_with_spanline


def _enter(app: Any, scope: Any) -> None:
    state = app.__dict__
    if "_spanline_seen" in state:
        return
    state["_spanline_seen"] = True
    runtime = _runtime
    # Mounted in an app that has it; or the user configured spanline in code, and that counts.
    if runtime is None or scope.get("spanline") is not None or not SINKS or SINKS[-1] is not runtime:
        return
    runtime.pages_of(app)
    install(app, runtime)
