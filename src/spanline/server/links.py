"""Links from a run to the other tools: allow-listed bases from the settings, and ids, quoted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from spanline.identity import run_id_of, trace_id_of
from spanline.record.redact import without_user
from spanline.settings import Settings
from spanline.times import parse_rfc3339, rfc3339

INCIDENT_DASHBOARD = "spanline-incident"
"""Uid of the dashboard that a Grafana link opens when no trace data source is configured."""

_MARGIN_MS = 5 * 60 * 1000
_REVISION = re.compile(r"[0-9a-f]{7,64}\Z")
_MLFLOW_RUN = re.compile(r"runs:/([0-9a-f]{32})(?:/|\Z)")
_MLFLOW_MODEL = re.compile(r"models:/([^/@]+)/(\d+)\Z")


def links(run: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Links of one run: `{jaeger, grafana, marquez, mlflow, repository, self}`.

    Args:
        run: The JSON of a run.
        settings: Where the tools are; a link whose base is not set, or whose id the run lacks, is absent.

    Returns:
        Absolute URLs, without the credentials of a base. Nothing of the run but ids, names and times goes into them, percent-encoded.
    """
    trace = trace_id_of(str(run.get("traceId") or ""))
    trace_hex = f"{trace:032x}" if trace else None
    found = {
        "jaeger": f"{settings.jaeger_url}/trace/{trace_hex}" if settings.jaeger_url and trace_hex else None,
        "grafana": _grafana(run, settings, trace_hex),
        "marquez": _marquez(run, settings),
        "mlflow": _mlflow(run, settings),
        "repository": _repository(run, settings),
        "self": _self(run, settings, trace),
    }
    return {name: without_user(url) for name, url in found.items() if url}


def marquez_event(run: Mapping[str, Any], settings: Settings) -> str | None:
    """Marquez' events page at the two milliseconds of this run's terminal events.

    Source: research on Marquez 0.51: `dateFrom` inclusive, `dateTo` exclusive, `Z` required; it has no page of a run.
    """
    ended = _ms(run.get("endedAt"))
    if not settings.marquez_url or ended is None:
        return None
    return f"{without_user(settings.marquez_url)}/events?dateFrom={_iso_ms(ended)}&dateTo={_iso_ms(ended + 2)}"


def job_of(run: Mapping[str, Any], settings: Settings) -> tuple[str, str]:
    """Namespace and name of the run's job, whether the ledger says it as text or as an object."""
    job = run.get("job")
    if isinstance(job, Mapping):
        parts = cast("Mapping[str, Any]", job)
        return str(parts.get("namespace") or settings.namespace), str(parts.get("name") or "")
    return str(run.get("namespace") or run.get("jobNamespace") or settings.namespace), str(job or "")


def _self(run: Mapping[str, Any], settings: Settings, trace: int | None) -> str | None:
    base = settings.base_url or settings.server_url
    run_id = str(run.get("runId") or "")
    if not base or not run_id:
        return None
    # A child run of the trace has a page of its own.
    own = f"{trace:032x}" if trace and run_id_of(trace) == run_id else run_id
    return f"{base}/r/{quote(own, safe='')}"


def _marquez(run: Mapping[str, Any], settings: Settings) -> str | None:
    namespace, name = job_of(run, settings)
    if not settings.marquez_url or not name:
        return None
    drawer = urlencode({"tableLevelNode": f"job:{namespace}:{name}"}, quote_via=quote, safe="", errors="replace")
    return f"{settings.marquez_url}/lineage/job/{_quoted(namespace)}/{_quoted(name)}?{drawer}"


def _grafana(run: Mapping[str, Any], settings: Settings, trace_hex: str | None) -> str | None:
    if not settings.grafana_url:
        return None
    started, ended = _ms(run.get("startedAt")), _ms(run.get("endedAt"))
    start = started if started is not None else ended
    end = ended if ended is not None else started
    window = {"from": str(start - _MARGIN_MS), "to": str(end + _MARGIN_MS)} if start is not None and end is not None else None
    if settings.tempo_datasource and trace_hex:
        uid = settings.tempo_datasource
        query = {"refId": "A", "datasource": {"type": "tempo", "uid": uid}, "queryType": "traceql", "query": trace_hex}
        pane = {"datasource": uid, "queries": [query], "range": window or {"from": "now-6h", "to": "now"}}
        panes = json.dumps({"a": pane}, separators=(",", ":"))
        return f"{settings.grafana_url}/explore?{urlencode({'schemaVersion': '1', 'orgId': '1', 'panes': panes}, quote_via=quote, safe='')}"
    at = f"?{urlencode(window)}" if window else ""
    return f"{settings.grafana_url}/d/{INCIDENT_DASHBOARD}{at}"


def _repository(run: Mapping[str, Any], settings: Settings) -> str | None:
    if not settings.repository_url:
        return None
    for code in _entries(_mapping(run.get("answers")).get("code")):
        revision = str(code.get("version") or "")
        if _REVISION.match(revision):
            base = settings.repository_url.removesuffix(".git")
            host = urlsplit(base).hostname or ""
            part = "-/commit" if "gitlab" in host else "commits" if "bitbucket" in host else "commit"
            return f"{base}/{part}/{revision}"
    return None


def _mlflow(run: Mapping[str, Any], settings: Settings) -> str | None:
    """A registered model version, else the MLflow run that an artifact came from; the routes of MLflow's own UI."""
    if not settings.mlflow_url:
        return None
    uris = [str(artifact.get("uri") or "") for artifact in _entries(run.get("artifacts"))]
    for uri in uris:
        if model := _MLFLOW_MODEL.match(uri):
            return f"{settings.mlflow_url}/#/models/{_quoted(model[1])}/versions/{model[2]}"
    for uri in uris:
        if own := _MLFLOW_RUN.match(uri):
            return f"{settings.mlflow_url}/#/runs/{own[1]}"
    return None


def _quoted(text: str) -> str:
    # A lone dot or two would be a path step, which browsers resolve even when it is percent-encoded.
    return quote(text, safe="", errors="replace") if text.strip(".") else "_"


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [_mapping(entry) for entry in cast("list[object]", value)] if isinstance(value, list) else []


def _ms(value: object) -> int | None:
    try:
        return parse_rfc3339(str(value)) // 1_000_000 if value else None
    except (ValueError, OverflowError):
        return None


def _iso_ms(ms: int) -> str:
    return f"{rfc3339(ms * 1_000_000)[:23]}Z"
