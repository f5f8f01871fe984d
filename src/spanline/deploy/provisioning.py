"""Grafana's provisioning: data sources that lead from metrics, traces and logs to one another and to run pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from spanline.deploy.links import Places
from spanline.errors import ConfigurationError

Traces = Literal["jaeger", "tempo"]

RUN = "Open run page"
_SHIFT = {"spanStartTimeShift": "-5m", "spanEndTimeShift": "5m"}
_ID = r"[0-9a-f]{32}"


@dataclass(frozen=True, kw_only=True)
class Backends:
    """Where Grafana's server finds each store; the names are those of `deploy/compose`.

    Args:
        traces: Which trace store there is.
        loki: None where logs are elsewhere.
    """

    prometheus: str = "http://prometheus:9090"
    traces: Traces = "jaeger"
    jaeger: str = "http://jaeger:16686"
    tempo: str = "http://tempo:3200"
    loki: str | None = None

    def __post_init__(self) -> None:
        if self.traces not in {"jaeger", "tempo"}:
            raise ConfigurationError(f"traces {self.traces!r}: expected jaeger or tempo")


def datasources(places: Places, backends: Backends) -> dict[str, Any]:
    """The file for `provisioning/datasources`. Links carry hex ids only: names are looked up by the run page.

    Source: Grafana's documentation of the Prometheus, Jaeger, Tempo and Loki data sources and of external correlations (12 and later;
    an older one refuses correlations of the type `external`).
    """
    found = [_prometheus(places, backends), _traces(places, backends)]
    if backends.loki is not None:
        found.append(_loki(places, backends))
    return {"apiVersion": 1, "datasources": cast("list[dict[str, Any]]", _escaped(found))}


def dashboard_provider(folder: str = "/var/lib/grafana/dashboards/spanline") -> dict[str, Any]:
    """The file for `provisioning/dashboards`. `folder` is where `grafana-dashboards/` is mounted."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "spanline", "orgId": 1, "folder": "spanline", "type": "file", "disableDeletion": True, "allowUiUpdates": False,
                "updateIntervalSeconds": 30, "options": {"path": folder, "foldersFromFilesStructure": False},
            }
        ],
    }  # fmt: skip


def _prometheus(places: Places, backends: Backends) -> dict[str, Any]:
    word = "Trace in Jaeger" if backends.traces == "jaeger" else "Trace in Tempo"
    return {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": backends.prometheus,
        "isDefault": True,
        "jsonData": {
            "httpMethod": "POST",
            "timeInterval": "15s",
            # Two entries for one label: both links are shown, in this order.
            "exemplarTraceIdDestinations": [
                {"name": "trace_id", "datasourceUid": backends.traces, "urlDisplayLabel": word},
                {"name": "trace_id", "url": f"{places.base}/r/${{__value.raw}}", "urlDisplayLabel": RUN},
            ],
        },
    }


def _traces(places: Places, backends: Backends) -> dict[str, Any]:
    tempo = backends.traces == "tempo"
    data: dict[str, Any] = {"tracesToMetrics": _to_metrics(), "nodeGraph": {"enabled": True}}
    data["spanBar"] = {"type": "Tag", "tag": "gen_ai.response.model"}
    if backends.loki is not None:
        query = '{service_name="${__span.tags["service.name"]}"} | trace_id="${__trace.traceId}"'
        data["tracesToLogsV2"] = {"datasourceUid": "loki", **_SHIFT, "customQuery": True, "query": query}
    if tempo:
        data |= {"serviceMap": {"datasourceUid": "prometheus"}, "traceQuery": {"timeShiftEnabled": True, **_SHIFT}}
    return {
        "name": "Tempo" if tempo else "Jaeger",
        "uid": backends.traces,
        "type": backends.traces,
        "access": "proxy",
        "url": backends.tempo if tempo else backends.jaeger,
        "jsonData": data,
        # A link on every span. The type stands here, not in the configuration, and both texts must be there.
        "correlations": [
            {
                "type": "external", "label": RUN, "description": "What made this answer",
                "config": {"field": "traceID", "target": {"url": f"{places.base}/r/${{__data.fields.traceID}}"}},
            }
        ],
    }  # fmt: skip


def _to_metrics() -> dict[str, Any]:
    def query(name: str, expr: str) -> dict[str, str]:
        return {"name": name, "query": expr}

    return {
        "datasourceUid": "prometheus",
        **_SHIFT,
        # A server span bears the route, an inference the model: each query is of one of them.
        "tags": [{"key": "http.route", "value": "route"}, {"key": "gen_ai.response.model", "value": "model"}],
        "queries": [
            query("p95 of this route", "histogram_quantile(0.95, sum by (le) (rate(llm_latency_seconds_bucket{$__tags}[5m])))"),
            query("Outcomes of this route", "sum by (outcome) (rate(llm_latency_seconds_count{$__tags}[5m]))"),
            query("p95 of this model", "histogram_quantile(0.95, sum by (le) (rate(llm_operation_duration_seconds_bucket{$__tags}[5m])))"),
            query("Tokens of this model", "sum by (role) (rate(llm_tokens_total{$__tags}[5m]))"),
        ],
    }


def _loki(places: Places, backends: Backends) -> dict[str, Any]:
    word = "Trace in Jaeger" if backends.traces == "jaeger" else "Trace in Tempo"
    found: list[dict[str, str]] = []
    # By OTLP or a JSON parser the id is a label; in a plain line it is found by its name.
    for kind, matcher in (("label", "trace_id"), ("regex", rf'trace_id"?[=:] ?"?({_ID})')):
        own = "" if kind == "label" else " in the line"
        match = {"matcherType": kind, "matcherRegex": matcher}
        found += [
            {"name": f"trace{own}", **match, "datasourceUid": backends.traces, "url": "${__value.raw}", "urlDisplayLabel": word},
            {"name": f"run{own}", **match, "url": f"{places.base}/r/${{__value.raw}}", "urlDisplayLabel": RUN},
        ]
    return {"name": "Loki", "uid": "loki", "type": "loki", "access": "proxy", "url": backends.loki, "jsonData": {"derivedFields": found}}


def _escaped(value: Any) -> Any:
    """Grafana expands `$NAME` of the environment in provisioning files; `$$` stays a dollar."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in cast("dict[str, Any]", value).items()}
    return value
