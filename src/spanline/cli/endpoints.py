"""Whether what is configured answers as it should: all are asked at once, and each within seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

from spanline.cli import probes
from spanline.cli.asking import Asker
from spanline.cli.checks import Finding, Level
from spanline.cli.otlp_probe import otlp, target
from spanline.errors import ConfigurationError
from spanline.settings import Settings
from spanline.transports.config import SERVER
from spanline.transports.http import HttpTransport


class Endpoint(NamedTuple):
    """What is asked: its name, its address, how bad it is when nothing of it is to be seen, and the questions."""

    name: str
    url: str
    level: Level
    probe: probes.Probe


def endpoints(settings: Settings, environ: Mapping[str, str]) -> list[Endpoint]:
    """Everything that is configured."""
    found = _consumers(settings)
    if settings.server_url:
        found.append(Endpoint("SPANLINE_SERVER_URL", settings.server_url, "broken", probes.server(settings)))
    spans = target(environ)
    if spans is not None and "traces" in settings.features and not settings.disabled:
        found.append(Endpoint(spans.variable, spans.given, "broken", otlp(spans, environ)))
    # People open these in their browser; this host need not reach them. What it reaches must be what it should be.
    for name, url, probe in (
        ("SPANLINE_JAEGER_URL", settings.jaeger_url, probes.jaeger),
        ("SPANLINE_GRAFANA_URL", settings.grafana_url, probes.grafana),
        ("SPANLINE_MARQUEZ_URL", settings.marquez_url, probes.marquez_ui),
        ("SPANLINE_BASE_URL", settings.base_url, probes.base_url),
        ("SPANLINE_PROMETHEUS_URL", settings.prometheus_url, probes.prometheus),
    ):
        if url:
            found.append(Endpoint(name, url, "warn", probe(url)))
    if settings.mlflow_url:
        found.append(Endpoint("SPANLINE_MLFLOW_URL", settings.mlflow_url, "warn", probes.other("SPANLINE_MLFLOW_URL", settings.mlflow_url)))
    return found


def _consumers(settings: Settings) -> list[Endpoint]:
    """Where lineage goes over HTTP or to Kafka; nothing where it is switched off."""
    if settings.openlineage_disabled or settings.disabled:
        return []
    from spanline.transports.config import configured

    try:
        transports = configured(settings)
    except ConfigurationError:
        return []  # reported by another check
    source = settings.openlineage_config
    found: list[Endpoint] = []
    for name, transport, _ in transports:
        label = "OPENLINEAGE_URL" if source is None else f"{source.name}: {name}"
        if isinstance(transport, HttpTransport) and name != SERVER:
            probe = probes.openlineage(label, transport.base, transport.headers, transport.url.removeprefix(transport.base))
            found.append(Endpoint(label, transport.base, "broken", probe))
        elif transport.kind == "kafka":
            from spanline.cli.kafka_probe import kafka
            from spanline.transports.kafka import KafkaTransport

            topic = cast(KafkaTransport, transport)
            found.append(Endpoint(label, topic.brokers, "broken", kafka(label, topic)))
        transport.close(0.1)
    return found


def check_endpoints(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Ask every endpoint, and say which is not what it should be and how to mend it."""
    wanted = endpoints(settings, environ)
    if not wanted:
        return
    asker = Asker()

    def ask(it: Endpoint) -> list[Finding]:
        return probes.asked(asker, it.name, it.url, it.level, it.probe)

    with ThreadPoolExecutor(len(wanted)) as threads:
        for findings in threads.map(ask, wanted):
            yield from findings
    asker.close()
