"""What Grafana's own front-end code makes of our data sources and boards. Optional: `tests/servers/grafana_links/install` gets that code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from spanline.deploy.generate import boards
from spanline.deploy.links import Places
from spanline.deploy.provisioning import Backends, datasources
from tests.browser.conftest import Browser
from tests.servers.child import cache

BUNDLE = cache() / "grafana-links-13.2.1" / "links.bundle.js"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
INCIDENT = boards()["spanline-incident"]
DEFAULTS = {variable["name"]: variable["query"] for variable in INCIDENT["templating"]["list"] if variable["type"] == "textbox"}

Ask = Callable[..., Any]


@pytest.fixture
def grafana(browser: Browser, serve: Callable[[Any], str]) -> Ask:
    """Calls a function of the bundle in a page of its own."""
    if not BUNDLE.is_file():
        pytest.skip("Grafana's front-end code is missing: tests/servers/grafana_links/install (half a gigabyte; optional, also in CI)")
    empty = Starlette(routes=[Route("/", lambda _: HTMLResponse("<!doctype html><title>x</title>"))])
    browser.driver.get(serve(empty))
    browser.script(Path(BUNDLE).read_text())

    def ask(function: str, **given: Any) -> Any:
        call = "const done = arguments[2]; Promise.resolve(window.spanline[arguments[0]](arguments[1])).then(done, (e) => done('failed: ' + e))"
        return browser.driver.execute_async_script(call, function, given)

    return ask


def test_a_dot_leads_to_the_trace_and_to_the_run(grafana: Ask) -> None:
    provisioned = datasources(Places(), Backends())["datasources"]
    # What Grafana's server makes of $$ when it reads a provisioning file.
    (prometheus,) = json.loads(json.dumps([source for source in provisioned if source["type"] == "prometheus"]).replace("$$", "$"))
    columns = [
        {"name": "Time", "type": "time", "values": [1763712000000]}, {"name": "Value", "values": [0.42]},
        {"name": "trace_id", "values": [TRACE]}, {"name": "span_id", "values": [SPAN]},
    ]  # fmt: skip
    sources = {source["uid"]: {key: source[key] for key in ("uid", "name", "type")} for source in provisioned}
    found = grafana(
        "exemplars", columns=columns, destinations=prometheus["jsonData"]["exemplarTraceIdDestinations"], sources=sources, variables={}
    )
    trace, run = found["trace_id"]
    assert trace["title"].endswith("Trace in Jaeger")
    assert trace["href"].startswith("/explore?")
    assert TRACE in trace["href"]
    assert run["href"] == f"http://localhost:8008/r/{TRACE}"


@pytest.mark.parametrize("title", ["Failed runs", "Slow runs"])
def test_a_row_leads_to_the_run(grafana: Ask, title: str) -> None:
    (panel,) = (panel for panel in INCIDENT["panels"] if panel["title"] == title)
    columns = [  # as Grafana's Jaeger data source names them
        {"name": "traceID", "config": {"displayName": "Trace ID"}, "values": [TRACE]}, {"name": "traceName", "values": ["a: POST /x/y&z"]},
        {"name": "duration", "values": [1.5]},
    ]  # fmt: skip
    found = grafana(
        "rows", columns=columns, fieldConfig={"defaults": {}, "overrides": panel["fieldConfig"]["overrides"]}, variables=DEFAULTS
    )
    assert set(found) == {"traceID"}
    assert [(link["title"], link["href"]) for link in found["traceID"]] == [
        ("Open run", f"http://localhost:8008/r/{TRACE}"),
        ("Open trace", f"http://localhost:16686/trace/{TRACE}"),
    ]


def test_links_of_boards_are_filled_in(grafana: Ask) -> None:
    urls = sorted({link["url"] for board in boards().values() for link in board["links"] if link["url"]})
    filled = grafana("texts", texts=urls, variables=DEFAULTS)
    assert filled == [url.replace("${links_base:raw}", DEFAULTS["links_base"]) for url in urls]
    assert all(re.fullmatch(r"http://localhost:8008/runs(\?[a-z]+=[a-z]+)?", url) for url in filled)


def test_tables_show_what_they_should(grafana: Ask) -> None:
    shown = {}
    for board in boards().values():
        for panel in board["panels"]:
            for transformation in panel.get("transformations", ()):
                labels = [name for name in transformation["options"]["indexByName"] if name != "Value"]
                columns = [
                    {"name": "Time", "type": "time", "values": [1]},
                    *({"name": label, "values": ["x"]} for label in labels),
                    {"name": "Value", "values": [1]},
                ]
                shown[panel["title"]] = grafana("columns", columns=columns, transformation=transformation)
    assert shown["Firing alerts"] == ["Alert", "Severity", "Service"]
    assert shown["New versions"] == ["Kind", "Version", "Last used"]
    assert shown["Verdicts in the range shown"] == ["Rule", "Outcome", "Verdicts"]
