"""Links lead to the configured bases only, with ids that cannot break out."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from spanline.server.links import links, marquez_event
from spanline.settings import Settings
from tests.browser.samples import FIRST, RUN, TRACE, fee_run

BASES = {
    "jaeger_url": "http://jaeger:16686", "grafana_url": "http://grafana:3000/", "tempo_datasource": "tempo", "marquez_url": "http://marquez:3000",
    "mlflow_url": "http://mlflow:5000", "repository_url": "https://github.com/acme/fees.git", "base_url": "https://runs.acme.test",
}  # fmt: skip


def settings(**given: object) -> Settings:
    return Settings.resolve(given, {})


def test_nothing_configured_nothing_linked() -> None:
    assert links(fee_run(), settings()) == {}
    assert marquez_event(fee_run(), settings()) is None


def test_all_of_them() -> None:
    run = {**fee_run(), "job": {"namespace": "rag-prod", "name": "fee-assistant.POST /chat"}}
    run["artifacts"].append({"kind": "model", "name": "reranker", "uri": "models:/reranker/3"})
    found = links(run, settings(**BASES))
    assert list(found) == ["jaeger", "grafana", "marquez", "mlflow", "repository", "self"]
    assert found["jaeger"] == f"http://jaeger:16686/trace/{TRACE}"
    assert found["marquez"] == (
        "http://marquez:3000/lineage/job/rag-prod/fee-assistant.POST%20%2Fchat?tableLevelNode=job%3Arag-prod%3Afee-assistant.POST%20%2Fchat"
    )
    assert found["mlflow"] == "http://mlflow:5000/#/models/reranker/versions/3"
    assert found["repository"] == "https://github.com/acme/fees/commit/8a6d43f0c1d2e3f4a5b6c7d8e9f00112233aabbc"
    assert found["self"] == f"https://runs.acme.test/r/{TRACE}"
    panes = json.loads(parse_qs(urlsplit(found["grafana"]).query)["panes"][0])["a"]
    assert panes["queries"][0]["query"] == TRACE
    assert int(panes["range"]["to"]) - int(panes["range"]["from"]) == 2410 + 2 * 300_000


def test_a_child_run_links_to_its_own_page() -> None:
    assert links({**fee_run(), "runId": FIRST}, settings(**BASES))["self"].endswith(f"/r/{FIRST}")
    assert links({**fee_run(), "runId": RUN, "traceId": TRACE.upper()}, settings(**BASES))["self"].endswith(f"/r/{TRACE}")


def test_without_trace_data_source_grafana_opens_the_incident_board() -> None:
    url = links(fee_run(), settings(grafana_url="http://grafana:3000"))["grafana"]
    assert url.startswith("http://grafana:3000/d/spanline-incident?from=17")


def test_marquez_event_window() -> None:
    url = marquez_event(fee_run(), settings(marquez_url="http://marquez:3000"))
    assert url == "http://marquez:3000/events?dateFrom=2026-11-21T02:58:13.614Z&dateTo=2026-11-21T02:58:13.616Z"


@pytest.mark.parametrize(("base", "expected"), [
    ("https://gitlab.acme.test/rag/fees", "https://gitlab.acme.test/rag/fees/-/commit/"),
    ("https://bitbucket.org/acme/fees", "https://bitbucket.org/acme/fees/commits/"),
])  # fmt: skip
def test_commit_pages_differ(base: str, expected: str) -> None:
    assert links(fee_run(), settings(repository_url=base))["repository"].startswith(expected)


@pytest.mark.parametrize(
    "evil", ["../../admin", "..", ".", "//evil.test", "a?b#c&d=e", "javascript:alert(1)", "%2e%2e", 'x"><script>', "\ud800", "ü\u202e"]
)
def test_names_stay_one_segment(evil: str) -> None:
    run = {**fee_run(), "job": {"namespace": evil, "name": evil}}
    run["artifacts"] = [{"kind": "model", "name": "m", "uri": f"models:/{evil}/1"}]
    run["answers"]["code"] = [{"name": "c", "version": evil}]
    found = links(run, settings(**BASES))
    marquez = urlsplit(found["marquez"])
    assert marquez.netloc == "marquez:3000"
    segments = marquez.path.split("/")
    assert segments[:3] == ["", "lineage", "job"]
    assert len(segments) == 5
    assert not set(map(unquote, segments[3:])) & {".", ".."}
    assert not marquez.fragment
    assert "repository" not in found
    if "mlflow" in found:
        assert found["mlflow"].startswith("http://mlflow:5000/#/models/")
    assert all(url.isascii() and not set(url) & set("\"<> '") for url in found.values())


@pytest.mark.parametrize("trace", [None, "", "0" * 32, "zz", TRACE + "/../x"])
def test_no_link_without_a_real_trace_id(trace: str | None) -> None:
    assert "jaeger" not in links({**fee_run(), "traceId": trace}, settings(**BASES))


def test_credentials_of_a_base_are_in_no_link() -> None:
    run = {**fee_run(), "job": {"namespace": "rag-prod", "name": "fee-assistant.POST /chat"}}
    some = settings(**{key: url.replace("://", "://ann:secret@") if "://" in url else url for key, url in BASES.items()})
    assert links(run, some) == links(run, settings(**BASES))
    assert marquez_event(run, some) == marquez_event(run, settings(**BASES))
