"""Links between the tools, for given addresses: what Jaeger, Grafana and spanline each are told, so that one id leads everywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from spanline.errors import ConfigurationError
from spanline.record.redact import without_user

INCIDENT = "spanline-incident"
"""Uid of the board that a link with a time opens."""

_BASE = re.compile(r"https?://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*\Z")
_TEN_MINUTES_US = 600_000_000


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where people's browsers find each tool, without a slash at the end; None for what is not there.

    Args:
        base: `spanline serve`, or the service itself.
        grafana: Grafana.
        jaeger: Jaeger's UI.
        marquez: Marquez' web UI (not its API).
        mlflow: MLflow's UI.
        repository: Repository of the service's code.

    Raises:
        ConfigurationError: An address is no plain http(s) URL: user, query, `$`, `#` and the like have a meaning in the files made here.
    """

    base: str = "http://localhost:8008"
    grafana: str | None = "http://localhost:3001"
    jaeger: str | None = "http://localhost:16686"
    marquez: str | None = "http://localhost:3000"
    mlflow: str | None = None
    repository: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: str | None = getattr(self, field.name)
            if value is None:
                continue
            value = value.rstrip("/")
            if not _BASE.match(value):
                raise ConfigurationError(
                    f"{field.name} {without_user(value)!r}: expected http(s)://host[:port][/path], without user, query or fragment"
                )
            object.__setattr__(self, field.name, value)


def environment(places: Places, *, traces: str = "jaeger") -> dict[str, str]:
    """What spanline is told: `SPANLINE_…` for the service and for `spanline serve`.

    Args:
        places: Addresses.
        traces: `tempo` where traces are in Tempo, which Grafana shows.
    """
    found = {
        "SPANLINE_BASE_URL": places.base,
        "SPANLINE_JAEGER_URL": places.jaeger if traces == "jaeger" else None,
        "SPANLINE_GRAFANA_URL": places.grafana,
        "SPANLINE_TEMPO_DATASOURCE": "tempo" if traces == "tempo" else None,
        "SPANLINE_MARQUEZ_URL": places.marquez,
        "SPANLINE_MLFLOW_URL": places.mlflow,
        "SPANLINE_REPOSITORY_URL": places.repository,
    }
    return {name: value for name, value in found.items() if value is not None}


def jaeger_ui(places: Places) -> dict[str, Any]:
    """Jaeger's `ui.json`: links from every trace and from the attributes that spanline puts on spans.

    Jaeger percent-encodes each value, so names may hold anything. The key names are the older ones, which old and new versions take.
    Source: Jaeger UI, `linkPatterns`; `add` must not stand last, or it is applied twice.
    """
    base = places.base
    patterns = [
        _trace(f"{base}/r/#{{traceID | pad_start 32 0}}", "Open run page"),
        _tag("openlineage.run.id", f"{base}/r/#{{openlineage.run.id}}", "Open this run's page"),
        _tag("gen_ai.response.id", f"{base}/r/#{{gen_ai.response.id}}", "Open the run of this response"),
        _tag("gen_ai.prompt.version", _used(base, "prompt", "gen_ai.prompt.name", "gen_ai.prompt.version"), "Runs with this prompt"),
        _tag("spanline.index.version", _used(base, "index", "gen_ai.data_source.id", "spanline.index.version"), "Runs with this index"),
    ]
    menu = [{"label": "Run pages", "url": f"{base}/runs", "anchorTarget": "_blank"}]
    if places.grafana is not None:
        around = "from=#{startTime | add -%d | epoch_micros_to_date_iso}&to=#{endTime | add %d | epoch_micros_to_date_iso}"
        url = f"{places.grafana}/d/{INCIDENT}?{around % (_TEN_MINUTES_US, _TEN_MINUTES_US)}"
        patterns.insert(1, _trace(url, "Grafana at this time"))
        menu.append({"label": "Incident board", "url": f"{places.grafana}/d/{INCIDENT}", "anchorTarget": "_blank"})
    if places.marquez is not None:
        job = "#{openlineage.job.namespace}", "#{openlineage.job.name}"
        url = f"{places.marquez}/lineage/job/{job[0]}/{job[1]}?tableLevelNode=job%3A{job[0]}%3A{job[1]}"
        patterns.append(_tag("openlineage.job.name", url, "Marquez job #{openlineage.job.name}"))
    return {"linkPatterns": patterns, "menu": menu}


def _trace(url: str, text: str) -> dict[str, str]:
    return {"type": "traces", "url": url, "text": text}


def _tag(key: str, url: str, text: str) -> dict[str, str]:
    return {"type": "tags", "key": key, "url": url, "text": text}


def _used(base: str, kind: str, name: str, version: str) -> str:
    return f"{base}/runs?{kind}=#{{{name}}}%40#{{{version}}}"
