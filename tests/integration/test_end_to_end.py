"""One id everywhere: the fee assistant, Collector, Jaeger, Prometheus, ledger and another OpenLineage consumer, each reached from each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from spanline.deploy.links import Places, environment, jaeger_ui
from spanline.identity import run_id_of
from tests.jaeger_links import resolve
from tests.servers import observability
from tests.servers.child import eventually, free_port, served
from tests.servers.observability import plain

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "deploy" / "collector" / "spanline.yaml"
QUESTIONS = ("What does an international wire transfer cost?", "What does a replacement card cost?")
GRAFANA, MARQUEZ, GIT = "http://grafana.test:3001", "http://marquez.test:3000", "https://git.test/bank/fee-assistant"

pytestmark = pytest.mark.timeout(300)


@contextmanager
def consumer(folder: Path) -> Iterator[str]:
    """Another OpenLineage consumer: a central `spanline serve` with a ledger of its own, which knows only what it is sent."""
    folder.mkdir()
    port = free_port()
    environ = {"SPANLINE_HOME": folder, "SPANLINE_LEDGER_URL": f"sqlite:///{folder}/ledger.db"}
    command = [sys.executable, "-m", "spanline.cli", "serve", "--port", str(port)]
    with served(command, folder, environ, "consumer", f"http://127.0.0.1:{port}/readyz"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def world(fee_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Everything runs and is configured as the docs say; questions were asked over both OTLP protocols."""
    environ: dict[str, str] = {}
    with ExitStack() as stack:
        stage = stack.enter_context(fee_stages(environ))
        places = Places(base=stage.url, grafana=GRAFANA, marquez=MARQUEZ)
        jaeger = stack.enter_context(observability.jaeger(tmp_path_factory.mktemp("jaeger"), jaeger_ui(places)))
        collector = stack.enter_context(
            observability.collector(
                tmp_path_factory.mktemp("collector"), SHIPPED, JAEGER_OTLP=jaeger.otlp_http, DECISION_WAIT="1s", KEEP_PERCENT=100
            )
        )
        target = stage.url.removeprefix("http://")
        prometheus = stack.enter_context(observability.prometheus(tmp_path_factory.mktemp("prometheus"), {"fee-assistant": [target]}))
        other = stack.enter_context(consumer(tmp_path_factory.mktemp("consumer") / "home"))
        environ |= environment(places) | {
            "SPANLINE_JAEGER_URL": jaeger.url,
            "SPANLINE_REPOSITORY_URL": GIT,
            "SPANLINE_BASE_URL": stage.url,
            "OPENLINEAGE_URL": other,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http,
        }
        stage.build_index(stage.corpus)
        answers = {}
        for protocol, endpoint in (("grpc", f"http://{collector.otlp_grpc}"), ("http/protobuf", collector.otlp_http)):
            environ |= {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
            stage.start_service()
            answers[protocol] = [stage.ask(question) for question in QUESTIONS[: 1 if protocol == "grpc" else None]]
        prometheus.scraped("fee-assistant")
        yield SimpleNamespace(
            stage=stage, jaeger=jaeger, collector=collector, prometheus=prometheus, consumer=other, answers=answers,
            ids=[answer.trace_id for asked in answers.values() for answer in asked],
        )  # fmt: skip


def root_of(spans: list[dict[str, Any]]) -> dict[str, Any]:
    (root,) = [span for span in spans if not span.get("parentSpanId")]
    return root


def in_collector(world: SimpleNamespace) -> set[str]:
    """Trace ids in the Collector's record."""
    return {
        span["traceId"]
        for line in world.collector.lines("traces.jsonl")
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }


def page(base: str, id: str) -> dict[str, Any]:
    """The run page as JSON, once the run is there."""
    answer = eventually(lambda: (r := httpx.get(f"{base}/r/{id}?format=json", timeout=10.0)).status_code == 200 and r, 20.0, f"no run {id}")
    return answer.json()


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_answer_is_everywhere_under_its_id(world: SimpleNamespace, protocol: str) -> None:
    for answer in world.answers[protocol]:
        run_id = run_id_of(int(answer.trace_id, 16))
        own, other = page(world.stage.url, answer.trace_id), page(world.consumer, answer.trace_id)
        for run in (own, other):
            assert (run["runId"], run["traceId"], run["status"]) == (run_id, answer.trace_id, "COMPLETE")
        assert [entry["digest"] for entry in other["answers"]["index"]] == [entry["digest"] for entry in own["answers"]["index"]]
        spans = world.jaeger.spans(answer.trace_id, at_least=4)
        assert {span["resource"]["service.name"] for span in spans} == {"fee-assistant"}
        attributes = plain(root_of(spans)["attributes"])
        assert attributes["openlineage.run.id"] == run_id
        assert (attributes["openlineage.job.namespace"], attributes["openlineage.job.name"]) == ("rag-demo", "fee-assistant.POST /chat")
        eventually(lambda trace_id=answer.trace_id: trace_id in in_collector(world), 20.0, "not in the Collector's file")


def test_an_exemplar_leads_to_the_very_span_and_to_its_run(world: SimpleNamespace) -> None:
    expected = {
        "llm_latency_seconds_bucket": lambda span: not span.get("parentSpanId"),
        'llm_operation_duration_seconds_bucket{operation="inference"}': lambda span: plain(span["attributes"]).get("gen_ai.operation.name") == "chat",
        'llm_operation_duration_seconds_bucket{operation="retrieval"}': lambda span: plain(span["attributes"]).get("gen_ai.operation.name") == "retrieval",
        "llm_tokens_total": lambda span: True,
        "rag_retrieval_hits_total": lambda span: True,
    }  # fmt: skip
    for expression, right in expected.items():
        exemplars = eventually(lambda e=expression: world.prometheus.exemplars(e), 20.0, f"no exemplars: {expression}")
        for labels in (exemplar["labels"] for exemplar in exemplars):
            assert labels["trace_id"] in world.ids
            (span,) = [span for span in world.jaeger.spans(labels["trace_id"], at_least=4) if span["spanId"] == labels["span_id"]]
            assert right(span), (expression, span["name"])
            run = page(world.stage.url, labels["trace_id"])
            known = {operation["spanId"] for operation in run["operations"]} | {root_of(world.jaeger.spans(run["traceId"]))["spanId"]}
            assert labels["span_id"] in known


def test_prometheus_saw_what_the_run_pages_say(world: SimpleNamespace) -> None:
    asked = [page(world.stage.url, answer.trace_id) for answer in world.answers["http/protobuf"]]
    for role, name in (("prompt", "inputTokens"), ("completion", "outputTokens")):
        total = sum(run["usage"][name] for run in asked)
        (series,) = world.prometheus.query(f'sum(llm_tokens_total{{role="{role}"}})')
        assert int(series["value"][1]) == total
    (hits,) = world.prometheus.query("rag_retrieval_hits_total")
    assert hits["metric"]["index_version"] == "fees_corpus@2026-11-01"
    assert int(hits["value"][1]) == 3 * len(asked)


def test_jaeger_leads_to_the_run_page(world: SimpleNamespace) -> None:
    ui = world.jaeger.ui_config()
    for trace_id in world.ids:
        root = root_of(world.jaeger.spans(trace_id, at_least=4))
        times = {"traceID": trace_id, **{name: str(int(root[f"{name}UnixNano"]) // 1000) for name in ("startTime", "endTime")}}
        found = dict(resolve(ui, "traces", times)) | dict(resolve(ui, "tags", {k: str(v) for k, v in plain(root["attributes"]).items()}))
        for text in ("Open run page", "Open this run's page"):
            assert httpx.get(found[text], params={"format": "json"}).json()["traceId"] == trace_id
        # The attribute itself, for tools that show it as a link.
        assert httpx.get(plain(root["attributes"])["spanline.run.url"], headers={"accept": "text/html"}).status_code == 200


def test_the_run_page_leads_everywhere(world: SimpleNamespace) -> None:
    for trace_id in world.ids:
        spans = world.jaeger.spans(trace_id, at_least=4)  # waits for them: they come some seconds after the answer
        run = page(world.stage.url, trace_id)
        links = run["links"]
        jaeger = urlsplit(links["jaeger"])
        assert jaeger.path == f"/trace/{trace_id}"
        assert httpx.get(links["jaeger"]).status_code == 200
        # What Jaeger's own page asks its server then.
        (trace,) = httpx.get(f"{jaeger.scheme}://{jaeger.netloc}/api/traces/{trace_id}").json()["data"]
        assert trace["traceID"] == trace_id
        assert httpx.get(links["self"], params={"format": "json"}).json()["runId"] == run["runId"]

        grafana = urlsplit(links["grafana"])
        uid = grafana.path.rpartition("/")[2]
        assert (REPOSITORY / "grafana-dashboards" / f"{uid}.json").exists()
        root = root_of(spans)
        window = {name: int(values[0]) * 1_000_000 for name, values in parse_qs(grafana.query).items()}
        assert window["from"] < int(root["startTimeUnixNano"]) < int(root["endTimeUnixNano"]) < window["to"]

        marquez = [unquote(part) for part in urlsplit(links["marquez"]).path.split("/")]
        assert marquez == ["", "lineage", "job", "rag-demo", "fee-assistant.POST /chat"]
        if (REPOSITORY / ".git").exists():
            commit = re.fullmatch(re.escape(GIT) + "/commit/([0-9a-f]{40})", links["repository"])
            assert commit, links["repository"]
            subprocess.run(["git", "cat-file", "-e", f"{commit[1]}^{{commit}}"], cwd=REPOSITORY, check=True)


def test_the_offline_job_is_in_jaeger_and_upstream_of_the_answer(world: SimpleNamespace) -> None:
    run = page(world.stage.url, world.ids[0])
    (built,) = {entry["runId"] for entry in run["upstream"] if entry.get("runId") and "index_build" in str(entry)}
    for base in (world.stage.url, world.consumer):
        build = page(base, built)
        assert (build["job"], build["status"]) == ("fee-index.index_build", "COMPLETE")
    (span,) = world.jaeger.spans(build["traceId"])
    assert plain(span["attributes"])["openlineage.run.id"] == built
    assert span["resource"]["service.name"] == "fee-index"


def test_nothing_that_was_said_left_the_service(world: SimpleNamespace) -> None:
    for line in (world.collector.folder / "traces.jsonl").read_text().splitlines():
        for content in (*QUESTIONS, *(answer.text for asked in world.answers.values() for answer in asked)):
            assert content not in line
