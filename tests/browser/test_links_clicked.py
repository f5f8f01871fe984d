"""Every link out of a run page, clicked in Chromium: it arrives where it should, whatever the job is called, and tells nobody where it came from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import pytest
from selenium.webdriver.common.by import By
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from spanline.ledger import Ledger
from spanline.lineage.events import terminal_event
from spanline.lineage.producer import PRODUCER
from spanline.record.artifact import Artifact
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.conftest import Browser
from tests.browser.incident import BAD, _record
from tests.servers.observability import Jaeger

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "fees.POST /a&b?c=d#e/../%2F\"'<img src=x onerror=alert(1)>${HOME}#{x}@€;"
REVISION = "8a6d43f0" * 5


class Visit(NamedTuple):
    """One request, as it came over the wire."""

    path: str
    query: str
    referer: str | None


class Tools:
    """Stands for Jaeger, Grafana, Marquez, MLflow and a repository: takes any path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.app = Starlette(routes=[Route("/{path:path}", self.answer)])

    async def answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode().partition("?")[0]
        if "favicon" not in path:
            self.visits.append(Visit(path, request.scope["query_string"].decode(), request.headers.get("referer")))
        return HTMLResponse("<!doctype html><title>arrived</title>", headers={"content-security-policy": "default-src 'none'"})


class Stand(NamedTuple):
    url: str
    tools: Tools
    base: str


@pytest.fixture(params=["fees.POST /chat", HOSTILE], ids=["plain", "hostile"])
def job(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[None, "tempo"], ids=["dashboard", "explore"])
def stand(request: pytest.FixtureRequest, job: str, serve: Callable[[Any], str], tmp_path: Path) -> Iterator[Stand]:
    tools = Tools()
    base = serve(tools.app)
    record = _record(BAD, job, 0, 2.0)
    record.namespace = "rag/prod"
    record.artifacts = [
        Artifact(kind="model", name="fees", version="3", uri="models:/fees/3"),
        Artifact(kind="code", name="fees", version=REVISION),
    ]
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest([terminal_event(record, producer=PRODUCER, schema_base="https://spanline.dev/schemas")])
    settings = Settings.resolve(
        {
            "jaeger_url": f"{base}/jaeger", "grafana_url": f"{base}/grafana", "tempo_datasource": request.param, "marquez_url": f"{base}/marquez",
            "mlflow_url": f"{base}/mlflow", "repository_url": f"{base}/acme/fees.git",
        },
        {},
    )  # fmt: skip
    yield Stand(serve(build_app(ledger, settings, api=True, require_loopback=True)), tools, base)
    ledger.close()


def click_all(browser: Browser, stand: Stand) -> dict[str, tuple[Visit, str]]:
    """Click each link of the page: the request that came, and the address the browser shows."""
    browser.open(f"{stand.url}/r/{BAD}")
    home = browser.driver.current_window_handle
    found: dict[str, tuple[Visit, str]] = {}
    for link in browser.driver.find_elements(By.CSS_SELECTOR, "nav.out a"):
        name, seen = link.text.rstrip(" ↗"), len(stand.tools.visits)
        link.click()
        (other,) = set(browser.driver.window_handles) - {home}
        browser.driver.switch_to.window(other)
        deadline = time.monotonic() + 10
        while browser.driver.title != "arrived" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert browser.script("return window.opener === null && document.referrer === ''")
        (visit,) = stand.tools.visits[seen:]
        found[name] = visit, browser.driver.current_url
        browser.driver.close()
        browser.driver.switch_to.window(home)
    return found


def test_every_link_arrives(browser: Browser, stand: Stand, job: str, request: pytest.FixtureRequest) -> None:
    found = click_all(browser, stand)
    assert all(visit.referer is None for visit, _ in found.values())
    assert list(found) == ["Jaeger trace", "Grafana at this time", "Marquez job", "MLflow", "Code at this commit", "Marquez event"]
    assert found["Jaeger trace"][0].path == f"/jaeger/trace/{BAD}"
    assert found["MLflow"][1] == f"{stand.base}/mlflow/#/models/fees/versions/3"
    assert found["Code at this commit"][0].path == f"/acme/fees/commit/{REVISION}"
    marquez = found["Marquez job"][0]
    assert [unquote(part) for part in marquez.path.split("/")] == ["", "marquez", "lineage", "job", "rag/prod", job]
    assert parse_qs(marquez.query) == {"tableLevelNode": [f"job:rag/prod:{job}"]}
    assert parse_qs(found["Marquez event"][0].query) == {"dateFrom": ["2026-11-21T02:00:02.000Z"], "dateTo": ["2026-11-21T02:00:02.002Z"]}
    grafana = found["Grafana at this time"][0]
    window = {"from": "1795226100000", "to": "1795226702000"}
    if "explore" in request.node.name:
        assert grafana.path == "/grafana/explore"
        (pane,) = json.loads(parse_qs(grafana.query)["panes"][0]).values()
        assert (pane["range"], pane["queries"][0]["query"]) == (window, BAD)
    else:
        assert grafana.path == "/grafana/d/spanline-incident"
        assert {key: value for key, (value,) in parse_qs(grafana.query).items()} == window
    assert not [visit for visit, _ in found.values() if "grafana" in visit.path and "fees" in visit.path + visit.query], (
        "no name in a link to Grafana"
    )


def test_the_page_itself_asks_nobody(browser: Browser, stand: Stand) -> None:
    browser.look(390)
    browser.open(f"{stand.url}/r/{BAD}", "links-phone")
    assert stand.tools.visits == []
    assert browser.script("return document.querySelectorAll('img, iframe').length") == 0


def test_into_a_real_jaeger(browser: Browser, jaeger: Jaeger, serve: Callable[[Any], str], tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest([terminal_event(_record(BAD, "fees.POST /chat", 0, 2.0), producer=PRODUCER, schema_base="https://spanline.dev/schemas")])
    url = serve(build_app(ledger, Settings.resolve({"jaeger_url": jaeger.url}, {}), api=True, require_loopback=True))
    browser.open(f"{url}/r/{BAD}")
    home = browser.driver.current_window_handle
    browser.driver.find_element(By.CSS_SELECTOR, "nav.out a").click()
    (other,) = set(browser.driver.window_handles) - {home}
    browser.driver.switch_to.window(other)
    try:
        deadline = time.monotonic() + 10
        while "Jaeger" not in browser.driver.page_source and time.monotonic() < deadline:
            time.sleep(0.02)
        assert browser.driver.current_url == f"{jaeger.url}/trace/{BAD}"
        assert "Jaeger" in browser.driver.page_source
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(home)
        browser.complaints()
    ledger.close()
