"""Dashboards: the frame that all boards share, and the list of boards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spanline.deploy.panels import PROMETHEUS, Panel, place
from spanline.deploy.promql import BOARD

SCHEMA_VERSION = 41
"""Grafana's classic model; 42 is the newest, and older servers import what is not newer than they are."""

Row = tuple[str, int, Sequence[tuple[int, Panel]]]

_USED = "llm_artifact_last_used_timestamp_seconds"


def dashboard(
    uid: str, title: str, description: str, rows: Sequence[Row], *, since: str = "now-3h", variables: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """A board: importable by file (it has no `id`) and by provisioning (the data source is a variable)."""
    links = [
        _link("Run pages", "${links_base:raw}/runs"),
        _link("Failed runs", "${links_base:raw}/runs?outcome=fail"),
        _link("Runs with a version conflict", "${links_base:raw}/runs?conflict=true"),
    ]
    boards = {"type": "dashboards", "title": "spanline", "tags": ["spanline"], "asDropdown": True, "includeVars": True, "keepTime": True}
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["spanline", "llm"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "templating": {"list": [*_variables(), *variables]},
        "annotations": {"list": _annotations()},
        "links": [{**boards, "icon": "external link", "tooltip": "", "url": "", "targetBlank": False}, *links],
        "panels": place(rows),
    }


def to_json(board: dict[str, Any]) -> str:
    """As it is committed."""
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


def textbox(name: str, label: str, value: str, description: str) -> dict[str, Any]:
    """A variable that people type."""
    return {"type": "textbox", "name": name, "label": label, "description": description, "hide": 0, **chosen(value)}


def chosen(value: str) -> dict[str, Any]:
    """What a text box holds at first."""
    current = {"text": value, "value": value, "selected": True}
    return {"query": value, "current": current, "options": [current]}


def datasource(name: str, label: str, kind: str) -> dict[str, Any]:
    """A variable that chooses a data source."""
    return {"type": "datasource", "name": name, "label": label, "query": kind, "hide": 0, "refresh": 1, "regex": "", "multi": False}


def choices(name: str, label: str, metric: str, of: str) -> dict[str, Any]:
    """A variable with the values of a label; all at first."""
    query = f"label_values({metric}, {of})"
    return {
        "type": "query", "name": name, "label": label, "datasource": PROMETHEUS, "definition": query,
        "query": {"query": query, "refId": "StandardVariableQuery"}, "refresh": 2, "sort": 1, "hide": 0, "regex": "",
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"], "selected": True},
    }  # fmt: skip


def _variables() -> list[dict[str, Any]]:
    return [
        datasource("datasource", "Prometheus", "prometheus"),
        choices("job", "Service", "llm_requests_in_flight", "job"),
        textbox("links_base", "Run pages at", "http://localhost:8008", "Base URL of `spanline serve`, or of the service itself."),
    ]


def version_changes() -> str:
    """One for each version of a model, prompt or index in its first five minutes; a version of the last day is not new.

    In steps of five minutes: this is asked at each point of a graph, and a day of scrapes at each would be hundreds of millions of samples.
    """
    chosen = BOARD.select(_USED, 'kind=~"model|prompt|index|corpus"')
    return f"count by (kind, artifact) ({chosen}) unless count by (kind, artifact) (last_over_time({chosen}[1d:5m] offset 5m))"


def _annotations() -> list[dict[str, Any]]:
    conflicts = BOARD.risen("spanline_version_conflicts_total", by=("kind",), window="5m")
    return [
        _annotation("New versions", version_changes(), "purple", "New {{kind}}", "{{artifact}}"),
        _annotation("Version conflicts", conflicts, "red", "Version conflict", "{{kind}}: a known version with other content"),
    ]


def _annotation(name: str, expr: str, color: str, title: str, text: str) -> dict[str, Any]:
    return {
        "name": name, "datasource": PROMETHEUS, "enable": True, "hide": False, "iconColor": color, "expr": expr, "step": "60s",
        "titleFormat": title, "textFormat": text, "tagKeys": "", "useValueForTime": False,
    }  # fmt: skip


def _link(title: str, url: str) -> dict[str, Any]:
    return {
        "type": "link", "title": title, "url": url, "targetBlank": True, "icon": "external link", "tooltip": "", "tags": [],
        "asDropdown": False, "includeVars": False, "keepTime": False,
    }  # fmt: skip
