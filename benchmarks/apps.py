"""The variants, a table: what stands around the same endpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from benchmarks import workload

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

# Imports of what a variant uses stand in its builder: a process measures one variant and loads nothing else.


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Bench:
    """A built variant: the app, what hands out everything that is buffered, and what has been kept so far (counts by name)."""

    app: workload.AsgiApp
    flush: Callable[[], Any] = _nothing
    kept: Callable[[], dict[str, int]] = dict


@dataclass(frozen=True)
class Variant:
    """A row: its title, how it is built, and the environment of its process."""

    title: str
    build: Callable[[], Bench]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def _provider() -> TracerProvider:
    """The SDK as its manual sets it up: a batch processor and OTLP over HTTP (endpoint from `OTEL_EXPORTER_OTLP_ENDPOINT`)."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _bare() -> Bench:
    app = FastAPI()
    workload.bare(app)
    return Bench(app)


def _noop_middleware() -> Bench:
    class Noop:
        def __init__(self, app: workload.AsgiApp) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app = FastAPI()
    workload.bare(app)
    app.add_middleware(Noop)
    return Bench(app)


def _opentelemetry(*, stages: bool, receive_send: bool = True, metrics: bool = False) -> Bench:
    """opentelemetry-instrumentation-fastapi; `stages` adds the three GenAI spans."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    provider = _provider()
    app = FastAPI()
    if stages:
        workload.traced(app, provider.get_tracer("bench"))
    else:
        workload.bare(app)
    if metrics:
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app).expose(app)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, exclude_spans=None if receive_send else ["receive", "send"])
    return Bench(app, provider.force_flush)


def _native(*, stages: bool, operation_spans: bool) -> Bench:
    """FastAPI's own telemetry; traces only, like the others."""
    provider = _provider()
    app = FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False, "operation_spans": operation_spans})
    if stages:
        workload.traced(app, provider.get_tracer("bench"))
    else:
        workload.bare(app)
    return Bench(app, provider.force_flush)


def _spanline() -> Bench:
    """spanline's one line, and the operations by hand; what is on comes from the variant's environment."""
    import spanline

    app = FastAPI()
    workload.operated(app)
    runtime = spanline.instrument(app, service="bench", namespace="bench")
    return Bench(app, lambda: runtime.flush(60.0), lambda: _kept(runtime.settings.journal_dir, runtime.settings.base / "ledger.db"))


def _spanline_metrics() -> Bench:
    """Metrics of a bare endpoint: what the middleware costs alone."""
    import spanline

    app = FastAPI()
    workload.bare(app)
    spanline.instrument(app, service="bench", namespace="bench")
    return Bench(app)


def _kept(journal: Path, ledger: Path) -> dict[str, int]:
    """Lines of the journal, and runs of the ledger where there is one."""
    kept = {"events": sum(path.read_bytes().count(b"\n") for path in journal.glob("*.ndjson"))}
    if ledger.exists():
        with closing(sqlite3.connect(ledger)) as connection:
            kept["runs"] = connection.execute("select count(*) from runs").fetchone()[0]
    return kept


VARIANTS: dict[str, Variant] = {
    "A": Variant("bare FastAPI", _bare),
    "A2": Variant("A again: the noise", _bare),
    "A_noop": Variant("A + an empty ASGI middleware", _noop_middleware),
    "B": Variant("opentelemetry-instrumentation-fastapi", lambda: _opentelemetry(stages=False)),
    "N": Variant("FastAPI's native telemetry", lambda: _native(stages=False, operation_spans=True)),
    "N_lean": Variant("N without operation spans", lambda: _native(stages=False, operation_spans=False)),
    "E": Variant("B + 3 GenAI spans", lambda: _opentelemetry(stages=True)),
    "EN": Variant("N + 3 GenAI spans", lambda: _native(stages=True, operation_spans=True)),
    "EN_lean": Variant("N_lean + 3 GenAI spans", lambda: _native(stages=True, operation_spans=False)),
    "EC_excl": Variant(
        "E without receive/send spans + prometheus-fastapi-instrumentator",
        lambda: _opentelemetry(stages=True, receive_send=False, metrics=True),
    ),
    "S_metrics": Variant("spanline, metrics only, no operations", _spanline_metrics, {"SPANLINE_FEATURES": "metrics"}),
    "S_nolineage": Variant("spanline, spans and metrics", _spanline, {"SPANLINE_FEATURES": "traces,metrics", "SPANLINE_RELAY": "off"}),
    "S": Variant("spanline, everything on, relay outside", _spanline, {"SPANLINE_RELAY": "off"}),
    "S_fast": Variant("S with SPANLINE_OTLP=fast", _spanline, {"SPANLINE_RELAY": "off", "SPANLINE_OTLP": "fast"}),
    "S_relay": Variant("spanline as shipped: relay thread and SQLite ledger inside", _spanline),
}
