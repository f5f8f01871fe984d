"""Every query of every board, against a real Prometheus that scrapes a real service under traffic."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanline.deploy.generate import boards
from tests.board_stand import JOB, Stand, stand
from tests.requirements import server
from tests.servers.child import eventually
from tests.servers.observability import jaeger

pytestmark = pytest.mark.timeout(240)

MACROS = {"$__rate_interval": "15s", "$__range": "5m", "$__interval": "1s", "$job": ".*", "$route": ".*"}


def as_sent(expr: str) -> str:
    for macro, value in MACROS.items():
        expr = expr.replace(macro, value)
    assert "$" not in expr, f"a macro or variable that the test does not know: {expr}"
    return expr


def queries() -> Iterator[Any]:
    for uid, board in boards().items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "expr" in target:
                    yield pytest.param(target, id=f"{uid}/{panel['title']}/{target['refId']}")
        for annotation in board["annotations"]["list"]:
            yield pytest.param(
                {"expr": annotation["expr"], "instant": False, "exemplar": False}, id=f"{uid}/annotation {annotation['name']}"
            )


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("boards")) as running:
        running.once()
        with running.traffic():
            yield running


@pytest.mark.parametrize("target", list(queries()))
def test_the_query_returns_series_and_its_exemplars_lead_to_runs(busy: Stand, target: dict[str, Any]) -> None:
    expr = as_sent(target["expr"])

    def values() -> list[float]:
        found = busy.prometheus.query(expr) if target["instant"] else busy.prometheus.query_range(expr, 30)
        pairs = [pair for series in found for pair in ([series["value"]] if target["instant"] else series["values"])]
        return [float(value) for _, value in pairs if value != "NaN"]

    eventually(values, 40, f"no series: {expr}")
    if target["exemplar"]:
        found = eventually(lambda: busy.prometheus.exemplars(expr), 40, f"no exemplars: {expr}")
        for exemplar in found:
            assert re.fullmatch(r"[0-9a-f]{16}", exemplar["labels"]["span_id"])
        traces = {exemplar["labels"]["trace_id"] for exemplar in found}
        # Of requests that are just ending, the exemplar is there before the client has the answer.
        assert len(traces - busy.traces) <= 3


def test_dots_of_failed_requests_lead_to_pages_of_failed_runs(busy: Stand) -> None:
    (panel,) = (
        panel for panel in boards()["spanline-incident"]["panels"] if panel["title"] == "Failed requests" and panel["type"] == "timeseries"
    )
    found = eventually(lambda: busy.prometheus.exemplars(as_sent(panel["targets"][0]["expr"])), 40)
    for exemplar in found[:5]:
        trace = exemplar["labels"]["trace_id"]
        page = eventually(lambda trace=trace: (r := httpx.get(f"{busy.url}/r/{trace}?format=json")).status_code == 200 and r.json(), 20)
        assert (page["traceId"], page["status"]) == (trace, "FAIL")


def test_the_values_of_variables_exist(busy: Stand) -> None:
    eventually(lambda: busy.traces, 20)
    for board in boards().values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
                assert match
                metric, label = match.groups()
                labels = eventually(partial(busy.prometheus.get, f"label/{label}/values", **{"match[]": as_sent(metric)}), 20)
                assert variable["name"] != "job" or labels == [JOB]


def test_links_of_the_board_open(busy: Stand) -> None:
    for link in boards()["spanline-incident"]["links"]:
        if link["type"] == "link":
            answer = httpx.get(link["url"].replace("${links_base:raw}", busy.url))
            assert answer.status_code == 200, answer.text


def test_rows_from_jaeger_lead_to_runs(tmp_path: Path) -> None:
    """The two tables of the incident board, asked as Grafana's Jaeger data source asks, and the link of a row."""
    tables = {
        panel["title"]: panel["targets"][0]
        for panel in boards()["spanline-incident"]["panels"]
        if panel.get("datasource", {}).get("type") == "jaeger"
    }
    (tmp_path / "jaeger").mkdir()
    with (
        jaeger(tmp_path / "jaeger") as store,
        stand(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=store.otlp_http, OTEL_BSP_SCHEDULE_DELAY="200") as service,
    ):

        def ask(**wanted: Any) -> str:
            return httpx.post(f"{service.url}/chat", params=wanted).headers["x-trace-id"]

        usual, failed, slow = ask(), ask(fail="model"), ask(slow=20.0)

        chosen = {f"${v['name']}": v.get("query") for v in boards()["spanline-incident"]["templating"]["list"]} | {
            "$slow": "1s",
            "$service": JOB,
        }

        def filled(text: str) -> str:
            return chosen.get(text, text)

        def rows(title: str) -> set[str]:
            target, now = tables[title], time.time()
            tags = dict([filled(target["tags"]).split("=")]) if target["tags"] else {}
            asked = {
                "service": filled(target["service"]), "tags": json.dumps(tags), "limit": target["limit"],
                "minDuration": filled(target["minDuration"]), "start": int((now - 600) * 1e6), "end": int(now * 1e6),
            }  # fmt: skip
            answer = httpx.get(f"{store.url}/api/traces", params={name: value for name, value in asked.items() if value})
            assert answer.status_code == 200, answer.text
            return {trace["traceID"] for trace in answer.json()["data"] or ()}

        for trace in (usual, failed, slow):
            store.spans(trace)
        assert eventually(lambda: rows("Failed runs"), 20) == {failed}
        assert eventually(lambda: rows("Slow runs"), 20) == {slow}
        link = next(panel for panel in boards()["spanline-incident"]["panels"] if panel["title"] == "Slow runs")["fieldConfig"][
            "overrides"
        ][0]
        url = link["properties"][0]["value"][0]["url"].replace("${links_base:raw}", service.url).replace("${__value.raw}", slow)
        assert (
            eventually(lambda: (page := httpx.get(url, headers={"accept": "application/json"})).status_code == 200 and page.json(), 20)[
                "traceId"
            ]
            == slow
        )


USED = "llm_artifact_last_used_timestamp_seconds"


def told(expr: str, series: dict[str, str], at: str, tmp_path: Path) -> list[str]:
    """What an expression of a board says at a moment of a story (a sample a minute), by promtool: the artifacts it names."""
    test = {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": [{"labels": '{never="this"}', "value": 0}]}]}  # fmt: skip
    file = tmp_path / "story.yml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([str(server("promtool")), "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=30)
    got = (done.stdout + done.stderr).partition("got:")[2]
    return sorted(re.findall(r'artifact="([^"]+)"', got))


def test_new_and_old_versions_are_told_apart(tmp_path: Path) -> None:
    """`old` is used for an hour and then no more, `new` from then on; the process restarts in between."""
    use = {
        f'{USED}{{job="a",instance="1",kind="index",artifact="i@old"}}': "0+60x60 3600x100",
        f'{USED}{{job="a",instance="1",kind="index",artifact="i@new"}}': "_x61 3660+60x100",
        f'{USED}{{job="a",instance="1",kind="prompt",artifact="p@v7"}}': "0+60x90 _x3 5640+60x70",
    }
    (fresh,) = (a["expr"] for a in boards()["spanline-incident"]["annotations"]["list"] if a["name"] == "New versions")
    assert told(as_sent(fresh), use, "64m", tmp_path) == ["i@new"]
    assert told(as_sent(fresh), use, "80m", tmp_path) == []
    assert told(as_sent(fresh), use, "95m", tmp_path) == [], "a restart makes no version new"
    panels = {
        panel["title"]: panel["targets"][0].get("expr", "") for panel in boards()["spanline-incident"]["panels"] if "targets" in panel
    }
    assert told(as_sent(panels["New versions"]), use, "90m", tmp_path) == ["i@new"]
    assert told(as_sent(panels["New versions"]), use, "150m", tmp_path) == []
    assert told(as_sent(panels["Versions no longer used"]), use, "90m", tmp_path) == ["i@old"]
    assert told(as_sent(panels["Versions no longer used"]), use, "65m", tmp_path) == []
