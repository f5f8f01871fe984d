"""Panels of Grafana's classic dashboard JSON, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Panel = dict[str, Any]

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
"""The data source that a board's variable names."""

TRACES = {"type": "jaeger", "uid": "${traces}"}
"""The trace store, where somebody has one in Grafana."""

RUN_URL = "${links_base:raw}/r/${__value.raw}"
"""A run page. Links carry hex ids only: some Grafana builds decode a whole URL, and names with `/` or spaces then lead elsewhere."""

WIDTH = 24
"""Columns of Grafana's grid."""


class Query(NamedTuple):
    """One query of a panel: expression, legend, and whether exemplars (dots that lead to runs) come with it."""

    expr: str
    legend: str = ""
    exemplar: bool = False


def timeseries(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str = "short",
    stacked: bool = False,
    bars: bool = False,
    top: float | None = None,
    threshold: float | None = None,
    empty: str = "",
) -> Panel:
    """A graph over time; `top` fixes the axis' upper end, `threshold` draws a red line, `empty` is said where there is nothing."""
    custom: dict[str, Any] = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 1,
        "fillOpacity": 60 if bars else 15 if stacked else 0,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if threshold is not None else "off"},
    }
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "custom": custom, "thresholds": _steps((threshold, "red"))}
    if top is not None:
        defaults["max"] = top
    if empty:
        defaults["noValue"] = empty
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, [_range(query) for query in queries], defaults, options)


def stat(
    title: str, description: str, query: Query, *, unit: str = "short", steps: Sequence[tuple[float | None, str]] = (), empty: str = "0"
) -> Panel:
    """One number, coloured by `steps` (from this value on, this colour)."""
    defaults = {"unit": unit, "noValue": empty, "thresholds": _steps(*steps)}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background" if steps else "none",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    }
    return _panel("stat", title, description, [_instant(query, "time_series")], defaults, options)


def heatmap(title: str, description: str, query: Query, *, unit: str = "s") -> Panel:
    """A histogram over time; the query gives buckets by `le`."""
    target = {**_range(query), "format": "heatmap"}
    options: dict[str, Any] = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "exponent": 0.5, "fill": "dark-orange", "reverse": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "cellGap": 1,
        "yAxis": {"unit": unit, "axisPlacement": "left", "reverse": False},
        "tooltip": {"mode": "single", "yHistogram": False},
        "legend": {"show": True},
    }
    return _panel("heatmap", title, description, [target], {"custom": {}}, options)


def timeline(title: str, description: str, query: Query) -> Panel:
    """States over time: 1 is in use, 0 is idle."""
    mapping = {"1": {"text": "in use", "color": "green", "index": 0}, "0": {"text": "idle", "color": "transparent", "index": 1}}
    defaults: dict[str, Any] = {
        "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False},
        "mappings": [{"type": "value", "options": mapping}],
        "noValue": "none seen",
    }
    options = {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": list[str]()},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", title, description, [_range(query)], defaults, options)


def table(
    title: str,
    description: str,
    query: Query,
    *,
    columns: Sequence[tuple[str, str]],
    unit: str = "short",
    empty: str = "none",
    value: str = "",
) -> Panel:
    """The newest value of each series as rows; `columns` are labels and their titles, `value` heads the number, which is hidden without."""
    indexes = {label: place for place, (label, _) in enumerate(columns)} | {"Value": len(columns)}
    renamed = dict(columns) | ({"Value": value} if value else {})
    excluded = {"Time": True, "__name__": True} | ({} if value else {"Value": True})
    organize = {"id": "organize", "options": {"excludeByName": excluded, "indexByName": indexes, "renameByName": renamed}}
    defaults: dict[str, Any] = {"unit": unit, "noValue": empty, "custom": {"align": "left", "cellOptions": {"type": "auto"}}}
    panel = _panel("table", title, description, [_instant(query, "table")], defaults, {"showHeader": True, "cellHeight": "sm"})
    panel["transformations"] = [organize]
    return panel


def runs(title: str, description: str, *, tags: str = "", slower_than: str = "") -> Panel:
    """Traces from the trace store as rows, each with a link to its run page."""
    target = {
        "refId": "A", "datasource": TRACES, "queryType": "search", "service": "$service", "operation": "",
        "tags": tags, "minDuration": slower_than, "maxDuration": "", "limit": 20,
    }  # fmt: skip
    links = [
        {"title": "Open run", "url": RUN_URL, "targetBlank": True},
        {"title": "Open trace", "url": "${jaeger_base:raw}/trace/${__value.raw}", "targetBlank": True},
    ]
    defaults: dict[str, Any] = {"noValue": "none", "custom": {"align": "left", "cellOptions": {"type": "auto"}}}
    panel = _panel("table", title, description, [target], defaults, {"showHeader": True, "cellHeight": "sm"})
    panel["datasource"] = TRACES
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byRegexp", "options": "/^trace ?ID$/i"}, "properties": [{"id": "links", "value": links}]}
    ]
    return panel


def text(title: str, content: str) -> Panel:
    """Markdown."""
    options = {"mode": "markdown", "content": content}
    return {"type": "text", "title": title, "description": "", "options": options, "fieldConfig": {"defaults": {}, "overrides": []}}


def place(rows: Sequence[tuple[str, int, Sequence[tuple[int, Panel]]]]) -> list[Panel]:
    """Panels with ids and places: rows of a title, a height and panels with their widths; what does not fit goes below."""
    placed: list[Panel] = []
    y = 0
    for title, height, members in rows:
        header: Panel = {"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
        placed.append(header)
        y += 1
        x = 0
        for width, panel in members:
            if x + width > WIDTH:
                x, y = 0, y + height
            placed.append({**panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
            x += width
        y += height
    for number, panel in enumerate(placed, 1):
        panel["id"] = number
    return placed


def _panel(kind: str, title: str, description: str, targets: list[Panel], defaults: Panel, options: Panel) -> Panel:
    for place_, target in enumerate(targets):
        target["refId"] = chr(ord("A") + place_)
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": PROMETHEUS,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _range(query: Query) -> Panel:
    target: Panel = {
        "datasource": PROMETHEUS,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
        "instant": False,
    }
    return {**target, "exemplar": query.exemplar, "format": "time_series", "editorMode": "code"}


def _instant(query: Query, shape: str) -> Panel:
    target: Panel = {
        "datasource": PROMETHEUS,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": False,
        "instant": True,
    }
    return {**target, "exemplar": False, "format": shape, "editorMode": "code"}


def _steps(*steps: tuple[float | None, str]) -> Panel:
    known = [{"value": value, "color": color} for value, color in steps if value is not None and math.isfinite(value)]
    first = next((color for value, color in steps if value is None), "green")
    return {"mode": "absolute", "steps": [{"value": None, "color": first}, *known]}
