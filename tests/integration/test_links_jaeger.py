"""From a trace in a real Jaeger to the run page and back: by the link patterns as the server parsed them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import spanline
from spanline.deploy.links import Places, environment, jaeger_ui
from tests.browser.conftest import serving
from tests.jaeger_links import resolve
from tests.servers.child import eventually, free_port
from tests.servers.observability import Jaeger, jaeger, plain

ROOT = Path(__file__).resolve().parents[2]
FEES = spanline.PromptTemplate("fees", version="v7", text="{question}")
INDEX = spanline.Index("fees/corpus & more", version="commit:abc123")


class Stand(NamedTuple):
    """A service whose traces are in Jaeger."""

    url: str
    jaeger: Jaeger
    runtime: Any
    trace_id: str


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_provider: None) -> Iterator[Stand]:
    port = free_port()
    places = Places(base=f"http://127.0.0.1:{port}", grafana="http://grafana.example:3001", marquez="http://marquez.example:3000")
    with jaeger(tmp_path, jaeger_ui(places)) as store:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", store.otlp_http)
        for name, value in environment(places).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SPANLINE_JAEGER_URL", store.url)
        app = FastAPI()
        runtime = spanline.instrument(app, service="fees/é&x", namespace="rag-prod", registry=CollectorRegistry())

        @app.get("/chat/{case}")
        def chat(case: str) -> dict[str, str]:
            with spanline.retrieval(INDEX, top_k=1) as found:
                found.documents(["a.md#1"])
            with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
                call.response(model="gpt-4o-1", id=f"chatcmpl-{case}", input_tokens=1, output_tokens=1)
            return {}

        with serving(app, port) as url:
            trace_id = httpx.get(f"{url}/chat/4711").headers["x-trace-id"]
            # The response is out before its run is journalled.
            eventually(lambda: httpx.get(f"{url}/r/{trace_id}", params={"format": "json"}).status_code == 200, 20, "no run page")
            assert runtime.flush()
            yield Stand(url, store, runtime, trace_id)
            runtime.close()


def links_of(stand: Stand) -> dict[str, str]:
    """Every link that Jaeger's UI would offer on this trace and its spans, by its text."""
    ui = stand.jaeger.ui_config()
    found: dict[str, str] = {}
    for span in stand.jaeger.spans(stand.trace_id, at_least=3):
        found |= dict(resolve(ui, "tags", {key: str(value) for key, value in plain(span["attributes"]).items()}))
        if "parentSpanId" not in span or not span["parentSpanId"]:
            times = {
                "traceID": span["traceId"],
                "startTime": str(int(span["startTimeUnixNano"]) // 1000),
                "endTime": str(int(span["endTimeUnixNano"]) // 1000),
            }
            found |= dict(resolve(ui, "traces", times))
    return found


def test_the_server_takes_the_patterns_and_they_lead_to_the_run(stand: Stand) -> None:
    assert (
        stand.jaeger.ui_config()["linkPatterns"]
        == jaeger_ui(Places(base=stand.url, grafana="http://grafana.example:3001", marquez="http://marquez.example:3000"))["linkPatterns"]
    )
    found = links_of(stand)
    assert found["Open run page"] == f"{stand.url}/r/{stand.trace_id}"
    for text in ("Open run page", "Open this run's page", "Open the run of this response"):
        assert httpx.get(found[text], params={"format": "json"}).json()["traceId"] == stand.trace_id
    for text in ("Runs with this prompt", "Runs with this index"):
        page = httpx.get(found[text], headers={"accept": "text/html"})
        assert page.status_code == 200
        assert stand.trace_id in page.text, text
    marquez = urlsplit(found["Marquez job fees/é&x.GET /chat/{case}"])
    assert [unquote(part) for part in marquez.path.split("/")] == ["", "lineage", "job", "rag-prod", "fees/é&x.GET /chat/{case}"]
    assert found["Grafana at this time"].startswith("http://grafana.example:3001/d/spanline-incident?from=20")


def test_the_run_page_leads_back_to_the_trace(stand: Stand) -> None:
    run = httpx.get(f"{stand.url}/r/{stand.trace_id}", params={"format": "json"}).json()
    assert run["links"]["jaeger"] == f"{stand.jaeger.url}/trace/{stand.trace_id}"
    assert httpx.get(run["links"]["jaeger"]).status_code == 200
    eventually(lambda: stand.jaeger.knows(run["traceId"]), 20, "not in Jaeger")
    (root,) = [span for span in stand.jaeger.spans(stand.trace_id) if not span.get("parentSpanId")]
    attributes = plain(root["attributes"])
    assert attributes["openlineage.run.id"] == run["runId"]
    assert attributes["spanline.run.url"] == run["links"]["self"]
    assert (attributes["openlineage.job.namespace"], attributes["openlineage.job.name"]) == (run["namespace"], run["job"])


def test_the_committed_file_is_one_that_the_server_takes(tmp_path: Path) -> None:
    committed = json.loads((ROOT / "deploy" / "jaeger" / "ui.json").read_text())
    with jaeger(tmp_path, committed) as store:
        parsed = store.ui_config()
    assert {key: parsed[key] for key in committed} == committed
