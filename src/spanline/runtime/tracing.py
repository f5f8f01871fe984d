"""OpenTelemetry set-up: the user's provider where there is one, else ours by `OTEL_*`."""

from __future__ import annotations

import os
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
    elif isinstance(found.id_generator, RandomIdGenerator):
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
    return known


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
            _export(provider)
    return provider


def _export(provider: TracerProvider) -> None:
    """Exporter by `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_OTLP_*`; with nothing set nothing goes over the network."""
    chosen = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if chosen == "none" or (not chosen and not endpoint):
        return
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    if chosen == "console":
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
        return
    if chosen not in {"", "otlp", "otlp_proto_http", "otlp_proto_grpc"}:
        logger.warning("spanline: OTEL_TRACES_EXPORTER=%r is not one of otlp, console, none; spans are not exported", chosen)
        return
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "grpc" or chosen == "otlp_proto_grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # pyright: ignore[reportMissingImports]
                OTLPSpanExporter,  # pyright: ignore[reportUnknownVariableType]
            )
        except ImportError:
            logger.warning("spanline: OTLP over gRPC needs an exporter: pip install 'spanline[grpc]'; spans are not exported")
            return
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # pyright: ignore[reportUnknownArgumentType]
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter

    provider.add_span_processor(BatchSpanProcessor(HttpSpanExporter()))


def _sampler_from_environment() -> Sampler:
    """`OTEL_TRACES_SAMPLER`, as the SDK reads it; `parentbased_always_on` by default."""
    with guard("tracing.sampler"):
        from opentelemetry.sdk.trace import sampling

        return sampling._get_from_env_or_default()  # pyright: ignore[reportPrivateUsage]
    return DEFAULT_ON
