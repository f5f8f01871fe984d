"""Whether what is configured answers: one request to each, all at once, a second each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from spanline.cli.checks import Finding, Level
from spanline.errors import ConfigurationError
from spanline.settings import Settings
from spanline.transports.config import SERVER
from spanline.transports.http import HttpTransport

if TYPE_CHECKING:
    import urllib3

TIMEOUT_S = 1.0


def endpoints(settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, str, Level]]:
    """`(name, URL, level when it does not answer)` of everything that is configured."""
    otlp = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    found: list[tuple[str, str | None, Level]] = [
        *_consumers(settings),
        ("SPANLINE_SERVER_URL", settings.server_url and f"{settings.server_url}/healthz", "broken"),
        ("OTLP endpoint", otlp, "broken"),
        # People open these in their browser; this host need not reach them.
        ("SPANLINE_JAEGER_URL", settings.jaeger_url, "warn"),
        ("SPANLINE_GRAFANA_URL", settings.grafana_url, "warn"),
        ("SPANLINE_MARQUEZ_URL", settings.marquez_url, "warn"),
        ("SPANLINE_MLFLOW_URL", settings.mlflow_url, "warn"),
        ("SPANLINE_BASE_URL", settings.base_url, "warn"),
    ]
    return [(name, url, level) for name, url, level in found if url]


def _consumers(settings: Settings) -> list[tuple[str, str | None, Level]]:
    """Where lineage goes over HTTP; nothing where it is switched off."""
    if settings.openlineage_disabled or settings.disabled:
        return []
    if settings.openlineage_config is None:
        return [("OPENLINEAGE_URL", settings.openlineage_url, "broken")]
    from spanline.transports.config import configured

    try:
        transports = configured(settings)
    except ConfigurationError:
        return []  # reported by another check
    found: list[tuple[str, str | None, Level]] = []
    for name, transport, _ in transports:
        if isinstance(transport, HttpTransport) and name != SERVER:
            found.append((f"{settings.openlineage_config.name}: {name}", transport.base, "broken"))
        transport.close(0.1)
    return found


def check_endpoints(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Ask every endpoint for one answer; any status below 500 is one."""
    import urllib3

    asked = endpoints(settings, environ)
    if not asked:
        return
    timeout = urllib3.Timeout(total=TIMEOUT_S)
    with (
        urllib3.PoolManager(timeout=timeout, retries=False, headers={"user-agent": "spanline-doctor"}) as pool,
        ThreadPoolExecutor(len(asked)) as threads,
    ):
        yield from threads.map(partial(_ask, pool), asked)


def _ask(pool: urllib3.PoolManager, endpoint: tuple[str, str, Level]) -> Finding:
    import urllib3

    name, url, level = endpoint
    parts = urlsplit(url)
    # Credentials in a URL are not shown.
    where = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    if parts.scheme not in {"http", "https"}:
        return Finding("endpoints", "note", f"{name} ({where}): not asked, only http and https are")
    try:
        status = pool.request("GET", url, redirect=False).status
    except urllib3.exceptions.HTTPError as error:
        cause = getattr(error, "reason", None) or error
        return Finding(
            "endpoints", level, f"{name} ({where}) does not answer: {type(cause).__name__}", "is it running, and is the address right?"
        )
    if status >= 500:
        return Finding("endpoints", level, f"{name} ({where}) answers with status {status}")
    return Finding("endpoints", "ok", f"{name} ({where}) answers")
