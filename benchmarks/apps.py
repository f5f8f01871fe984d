"""The variants, a table: what stands around the same endpoint."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from benchmarks import feed, workload

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
    loaded: bool = True
    """Under callgrind, what spanline does by the clock happens as rarely as without it; see `as_under_load`."""


SLOWER = 40
"""A process under callgrind runs about so many times slower."""


def as_under_load() -> None:
    """Make what spanline does by the clock as rare as it is at some hundred requests a second, on any machine.

    Left alone, a measured request would bear as much of it as one of a service with a request every 50 ms: the ticker looks around
    every 250 ms, and the relay takes what came in 20 ms. Here the relay takes events at the flush, in its slices of 64 KB.
    """
    from spanline.relay.worker import Worker
    from spanline.runtime import ticker

    def wake(self: Worker) -> None:
        """What it costs its caller, without the effect."""
        _ = self.health.leading and not self._event.is_set()

    def idle(self: Worker) -> None:
        self._event.wait()
        self._event.clear()

    ticker.INTERVAL_S *= SLOWER
    Worker.wake = wake
    Worker._idle = idle


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


def _opentelemetry(*, stages: bool, receive_send: bool = True, metrics: bool = False, emit: str | None = None) -> Bench:
    """opentelemetry-instrumentation-fastapi; `stages` adds the three GenAI spans, `emit` an OpenLineage event by a client's transport."""
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
    client = _emitting(app, emit) if emit else None
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, exclude_spans=None if receive_send else ["receive", "send"])

    def flush() -> None:
        provider.force_flush()
        if emit == "async_http":
            client.transport.wait_for_completion(60)

    return Bench(app, flush)


def _emitting(app: FastAPI, kind: str) -> Any:
    """The recipe that is going round: a middleware builds the event and emits it by the official client before it answers."""
    from openlineage.client import OpenLineageClient

    from benchmarks import naive

    client = OpenLineageClient(config={"transport": {"type": kind, "url": os.environ["BENCH_LINEAGE_URL"]}})
    app.add_middleware(naive.LineageMiddleware, client=client)
    return client


def _native(*, stages: bool, operation_spans: bool) -> Bench:
    """FastAPI's own telemetry; traces only, like the others."""
    provider = _provider()
    app = FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False, "operation_spans": operation_spans})
    if stages:
        workload.traced(app, provider.get_tracer("bench"))
    else:
        workload.bare(app)
    return Bench(app, provider.force_flush)


def _relaying(rate: float = 0.0) -> Bench:
    """The bare app, and a relay thread that posts what comes into a journal; `rate` events a second come from another process."""
    from spanline.relay.consumer import TransportConsumer
    from spanline.relay.relay import Relay
    from spanline.transports.http import HttpTransport

    app = FastAPI()
    workload.bare(app)
    consumer = TransportConsumer("sink", HttpTransport(os.environ["BENCH_LINEAGE_URL"]), {"preset": "spanline", "batch": "none"})
    folder = Path(os.environ["SPANLINE_HOME"]) / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    app.state.relay = Relay(folder, [consumer])
    app.state.relay.start()
    if rate:
        feed.start(folder, rate)
    return Bench(app)


def _spanline() -> Bench:
    """spanline's one line, and the operations by hand; what is on comes from the variant's environment."""
    import spanline

    app = FastAPI()
    workload.operated(app)
    runtime = spanline.instrument(app, service="bench", namespace="bench")
    return Bench(app, lambda: runtime.flush(60.0), lambda: _kept(runtime.settings.journal_dir, runtime.settings.base / "ledger.db"))


def _spanline_bare() -> Bench:
    """A bare endpoint: what the middleware costs alone."""
    import spanline

    app = FastAPI()
    workload.bare(app)
    runtime = spanline.instrument(app, service="bench", namespace="bench")
    return Bench(app, lambda: runtime.flush(60.0))


def _kept(journal: Path, ledger: Path) -> dict[str, int]:
    """Lines of the journal, and runs of the ledger where there is one."""
    kept = {"events": sum(path.read_bytes().count(b"\n") for path in journal.glob("*.ndjson"))}
    if ledger.exists():
        with closing(sqlite3.connect(ledger)) as connection:
            kept["runs"] = connection.execute("select count(*) from runs").fetchone()[0]
    return kept


_FAST = {"SPANLINE_OTLP": "fast"}
_OUTSIDE = {"SPANLINE_RELAY": "off"}
_EMITS = {"BENCH_LINEAGE_URL": "{sink}"}

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
    "F": Variant("E + an event built and emitted in the request, 0 ms backend", lambda: _opentelemetry(stages=True, emit="http"), _EMITS),
    "G": Variant("E + the same by async_http", lambda: _opentelemetry(stages=True, emit="async_http"), _EMITS),
    "A_relay": Variant("A, and a relay thread with nothing to send", _relaying, _EMITS, loaded=False),
    "A_relayed": Variant(
        "the same while 1000 events a second come in and are posted", lambda: _relaying(feed.RATE / SLOWER), _EMITS, loaded=False
    ),
    "S_metrics": Variant("spanline, metrics only, no operations", _spanline_bare, {"SPANLINE_FEATURES": "metrics"}),
    "S_span": Variant("spanline, one span only, no operations", _spanline_bare, {"SPANLINE_FEATURES": "traces", **_FAST, **_OUTSIDE}),
    "S_nolineage": Variant("spanline, spans and metrics", _spanline, {"SPANLINE_FEATURES": "traces,metrics", **_OUTSIDE}),
    "S": Variant("spanline, everything on, relay outside", _spanline, _OUTSIDE),
    "S_fast": Variant("S with SPANLINE_OTLP=fast", _spanline, {**_FAST, **_OUTSIDE}),
    "S_relay": Variant("spanline as shipped: relay thread and SQLite ledger inside", _spanline),
    "S_fast_relay": Variant("the same with SPANLINE_OTLP=fast", _spanline, _FAST),
    "S_fast_relay_1": Variant("the same at some twenty requests a second: an event a transaction", _spanline, _FAST, loaded=False),
}
