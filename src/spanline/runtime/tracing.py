"""OpenTelemetry set-up: the user's provider where there is one, else ours by `OTEL_*`."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from spanline._guard import guard, logger, warn_once_a_minute
from spanline.identity import UrandomIdGenerator
from spanline.settings import Settings
from spanline.tracing.processor import LineageSpanProcessor
from spanline.tracing.propagator import LineagePropagator
from spanline.tracing.sampler import LineageSampler

_lock = threading.Lock()
_processors: dict[int, tuple[TracerProvider, LineageSpanProcessor]] = {}
_loggers: dict[int, Any] = {}
"""Logger providers that bear our processor; held, so that no other one gets the id."""


def set_up(settings: Settings, provider: Any = None) -> tuple[TracerProvider, LineageSpanProcessor]:
    """The provider to use, with our processor and propagator on it.

    Args:
        settings: For the service's name and the features.
        provider: A `TracerProvider` of the SDK; without one the global one, or ours when none was set.
    """
    found = provider if provider is not None else trace.get_tracer_provider()
    if not isinstance(found, TracerProvider):
        found = _build(settings)
        trace.set_tracer_provider(found)
    elif settings.scrub and id(found) not in _processors:
        logger.warning(
            "spanline: SPANLINE_SCRUB has no effect on the exporter of a TracerProvider that you build; wrap it: "
            "BatchSpanProcessor(spanline.tracing.scrub.ScrubbingSpanExporter(exporter))"
        )
    if isinstance(found.id_generator, RandomIdGenerator):
        warn_once_a_minute(
            "tracing.ids",
            "spanline: this TracerProvider draws ids from Python's global random; after random.seed() two processes make the same trace ids. "
            "Build it with id_generator=spanline.identity.UrandomIdGenerator()",
        )
    with _lock:
        known = _processors.get(id(found))
        if known is None:
            processor = LineageSpanProcessor()
            found.add_span_processor(processor)
            known = _processors[id(found)] = (found, processor)
    if not isinstance(propagate.get_global_textmap(), LineagePropagator):
        propagate.set_global_textmap(LineagePropagator(propagate.get_global_textmap()))
    with guard("tracing.logs"):
        attach_logs()
    return known


def attach_logs() -> None:
    """Our log processor on the global `LoggerProvider`, as soon as there is one of the SDK; cheap to ask again.

    Where GenAI events are asked for and nobody takes log records, a provider is set that takes them for us alone.
    """
    if "opentelemetry.sdk._logs" not in sys.modules and not _asks_for_events():
        return
    from opentelemetry._logs import NoOpLoggerProvider, get_logger_provider, set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider

    found = get_logger_provider()
    if not isinstance(found, LoggerProvider):
        if isinstance(found, NoOpLoggerProvider) or not _asks_for_events():
            return
        found = LoggerProvider(resource=_processors_now()[0][0].resource if _processors else None)
        set_logger_provider(found)
    with _lock:
        if id(found) in _loggers:
            return
        from spanline.tracing.logs import LineageLogProcessor

        _loggers[id(found)] = found
        found.add_log_record_processor(LineageLogProcessor(lambda: [processor for _, processor in _processors_now()]))


def _asks_for_events() -> bool:
    """The user asks the official GenAI instrumentations for events."""
    return os.environ.get("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT", "").strip().lower() == "true"


def _processors_now() -> list[tuple[TracerProvider, LineageSpanProcessor]]:
    return list(_processors.values())


def _build(settings: Settings) -> TracerProvider:
    sampler = _sampler_from_environment()
    full = settings.sampling == "full"
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: settings.service}),
        sampler=LineageSampler(sampler) if full else sampler,
        id_generator=UrandomIdGenerator(),
    )
    if "traces" in settings.features:
        with guard("tracing.exporter"):
            _export(provider, settings)
    return provider


def export_within(provider: TracerProvider, timeout_s: float) -> bool:
    """Export what waits, and go on at the deadline: the SDK's own flush tries for its exporter's timeout, whatever it is given.

    Args:
        provider: Whose spans.
        timeout_s: Deadline. Unit: seconds.

    Returns:
        All were exported in time.
    """
    done: list[bool] = []

    def flush() -> None:
        with guard("tracing.flush"):
            done.append(provider.force_flush(max(int(timeout_s * 1000), 1)))

    thread = threading.Thread(target=flush, name="spanline-export", daemon=True)
    thread.start()
    thread.join(max(timeout_s, 0.001))
    return bool(done and done[0])


def _export(provider: TracerProvider, settings: Settings) -> None:
    """Exporters by `OTEL_TRACES_EXPORTER` (a list) and `OTEL_EXPORTER_OTLP_*`; with nothing set nothing goes over the network."""
    chosen = [name.strip().lower() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    if not chosen and (os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        chosen = ["otlp"]
    for name in dict.fromkeys(chosen):
        if name == "console":
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

            provider.add_span_processor(SimpleSpanProcessor(_scrubbing(ConsoleSpanExporter(), settings)))
        elif name in {"otlp", "otlp_proto_http", "otlp_proto_grpc"}:
            grpc = name.endswith("grpc") or (name == "otlp" and _protocol() == "grpc")
            exporter = _otlp(grpc=grpc, fast=settings.otlp == "fast")
            if exporter is not None:
                from opentelemetry.sdk.trace.export import BatchSpanProcessor

                provider.add_span_processor(BatchSpanProcessor(_scrubbing(exporter, settings)))
        elif name != "none":
            logger.warning("spanline: OTEL_TRACES_EXPORTER: %r is not one of otlp, console, none; it gets no spans", name)


def _scrubbing(exporter: Any, settings: Settings) -> Any:
    if not settings.scrub:
        return exporter
    from spanline.tracing.scrub import ScrubbingSpanExporter

    return ScrubbingSpanExporter(exporter, settings.allow)


def _protocol() -> str:
    """What `OTEL_*` asks for; what is neither gRPC nor HTTP with protobuf is said, and taken as the latter."""
    asked = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if asked not in {"grpc", "http/protobuf"}:
        logger.warning("spanline: OTEL_EXPORTER_OTLP_PROTOCOL=%s is not one of http/protobuf, grpc; http/protobuf is used", asked)
    return asked


def _otlp(*, grpc: bool, fast: bool) -> Any:
    """An OTLP exporter, which reads endpoint, headers, compression and timeout from the environment; None where one cannot be had."""
    if fast and grpc:
        logger.warning("spanline: SPANLINE_OTLP=fast is for http/protobuf; gRPC keeps OpenTelemetry's own encoding")
    if fast and not grpc:
        from spanline.tracing.exporter import FastSpanExporter

        return FastSpanExporter()
    if not grpc:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter

        return HttpSpanExporter()
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
    except ImportError:
        logger.warning("spanline: OTLP over gRPC needs an exporter: pip install 'spanline[grpc]'; spans are not exported")
        return None
    return GrpcSpanExporter()


def _sampler_from_environment() -> Sampler:
    """`OTEL_TRACES_SAMPLER`, as the SDK reads it; `parentbased_always_on` by default."""
    with guard("tracing.sampler"):
        from opentelemetry.sdk.trace import sampling

        return sampling._get_from_env_or_default()  # pyright: ignore[reportPrivateUsage]
    return DEFAULT_ON
