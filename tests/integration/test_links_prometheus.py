"""From a real Prometheus: an exemplar leads to the run page, a span's attributes lead back to metrics, and an evaluation's dot to its run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

import spanline
from spanline.cli.main import main
from spanline.deploy.links import Places
from spanline.deploy.provisioning import Backends, datasources
from spanline.identity import UrandomIdGenerator
from tests.browser.conftest import serving
from tests.servers.child import eventually
from tests.servers.observability import Prometheus, prometheus


class Stand(NamedTuple):
    url: str
    runtime: Any
    prometheus: Prometheus
    traces: list[str]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    app = FastAPI()
    provider = TracerProvider(id_generator=UrandomIdGenerator(), shutdown_on_exit=False)
    runtime = spanline.instrument(
        app, service="fees", home=tmp_path_factory.mktemp("home"), registry=CollectorRegistry(), tracer_provider=provider
    )

    @app.get("/chat")
    def chat() -> dict[str, str]:
        with spanline.inference("openai", "gpt-4o") as call:
            call.response(model="gpt-4o-1", input_tokens=3, output_tokens=5)
        return {}

    folder = tmp_path_factory.mktemp("prometheus")
    with serving(app) as url, prometheus(folder, {"fees": [url.removeprefix("http://")]}) as server:
        traces = [httpx.get(f"{url}/chat").headers["x-trace-id"] for _ in range(3)]
        server.scraped("fees")
        traces += [httpx.get(f"{url}/chat").headers["x-trace-id"] for _ in range(3)]
        server.scraped("fees")
        eventually(lambda: httpx.get(f"{url}/r/{traces[-1]}", params={"format": "json"}).status_code == 200, 20, "no run page")
        yield Stand(url, runtime, server, traces)
    runtime.close()


def test_exemplars_lead_to_run_pages_by_the_link_that_grafana_gets(stand: Stand) -> None:
    found = eventually(lambda: stand.prometheus.exemplars("llm_latency_seconds_bucket"), 20, "no exemplars")
    (source, *_) = datasources(Places(base=stand.url), Backends())["datasources"]
    (link,) = [entry["url"] for entry in source["jsonData"]["exemplarTraceIdDestinations"] if "url" in entry]
    assert stand.runtime.flush()
    for exemplar in found:
        assert exemplar["labels"]["trace_id"] in stand.traces
        url = link.replace("$${__value.raw}", exemplar["labels"]["trace_id"])
        assert httpx.get(url, params={"format": "json"}).json()["traceId"] == exemplar["labels"]["trace_id"]


def test_trace_to_metrics_returns_series(stand: Stand) -> None:
    """Grafana puts the mapped attributes of one span in place of `$__tags`: the route of a server span, the model of an inference."""
    (_, traces) = datasources(Places(), Backends())["datasources"]
    for query in traces["jsonData"]["tracesToMetrics"]["queries"]:
        tags = 'route="/chat"' if "route" in query["name"] else 'model="gpt-4o-1"'
        expression = re.sub(r"\$\$__tags", tags, query["query"])
        assert stand.prometheus.query(expression), query["name"]


def test_an_evaluation_that_comes_later_has_a_dot_that_leads_to_its_run(stand: Stand) -> None:
    spanline.evaluation(stand.traces[0], "faithfulness", score=0.3, passed=False)
    assert stand.runtime.flush()
    stand.prometheus.scraped("fees")
    (exemplar,) = eventually(lambda: stand.prometheus.exemplars("llm_evaluation_score_bucket"), 20, "no exemplar")
    assert exemplar["labels"]["trace_id"] == stand.traces[0]
    run = httpx.get(f"{stand.url}/r/{stand.traces[0]}", params={"format": "json"}).json()
    assert [(entry["name"], entry["passed"]) for entry in run["evaluations"]] == [("faithfulness", False)]


def test_doctor_finds_nothing_to_mend(stand: Stand) -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"SPANLINE_PROMETHEUS_URL": stand.prometheus.url, "SPANLINE_BASE_URL": stand.url})
    assert done.exit_code == 0
    assert "is a Prometheus and answers" in done.output
    assert "no llm_latency_seconds" not in done.output
    assert "answers with run pages" in done.output
