"""The canary's analysis as Argo Rollouts does it: its provider and conditions, the real Prometheus, metrics of the real engine."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
import yaml
from prometheus_client import CollectorRegistry

from spanline.metrics.catalogue import CATALOGUE
from spanline.metrics.engine import Metrics
from spanline.record.run import Conflict, Evaluation, GuardrailOutcome, Operation
from tests.ledger_events import SECOND, T0, request, sha
from tests.requirements import server
from tests.servers.child import eventually, free_port, served
from tests.servers.observability import Prometheus, prometheus

ROOT = Path(__file__).resolve().parents[2]
CANARY = ROOT / "deploy" / "canary"
FILES = [CANARY / name for name in ("analysis.yaml", "rollout.yaml", "gate.yaml")]
METRICS = (
    "requests",
    "latency-p95",
    "failure-rate",
    "operation-error-rate",
    "guardrail-failure-rate",
    "evaluation-score",
    "version-conflicts",
)

pytestmark = pytest.mark.timeout(120)


class Pod:
    """The metrics of a canary's pod, at an address of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._stop: Any = None
        self.restart()

    def restart(self) -> None:
        """A new container in the same pod: all counters from zero."""
        self.stop()
        registry = CollectorRegistry()
        self.metrics = Metrics(registry)
        self._stop = prometheus_client.start_http_server(self.port, "127.0.0.1", registry)

    def stop(self) -> None:
        if self._stop is not None:
            httpd, thread = self._stop
            httpd.shutdown()
            httpd.server_close()
            thread.join()

    def serve(
        self, number: int, *, seconds: float = 0.1, outcome: str = "COMPLETE", operation: str | None = None, guardrail: str = "pass",
        scores: dict[str, float] | None = None, conflicts: int = 0,
    ) -> None:  # fmt: skip
        """Requests, as the runtime counts them."""
        for n in range(number):
            record = request(
                ended_ns=T0 + round(seconds * SECOND),
                outcome=outcome,
                operations=[Operation(span_id="1" * 16, kind="inference", name="chat m", response_model="m", duration_seconds=seconds, error_type=operation)],
                guardrails=[GuardrailOutcome(name="fee-answer", outcome=guardrail)],
                evaluations=[Evaluation(name=name, score=score) for name, score in ({"faithfulness": 0.9} if scores is None else scores).items()],
                conflicts=[Conflict(kind="index", namespace="indexes", name="fees", version="v1", digest=sha(f"new {n}"), expected_digest=sha("old"))] * (n < conflicts),
            )  # fmt: skip
            self.metrics.record(record, route="/chat", sampled=True)


def good(pod: Pod) -> None:
    pod.serve(100)


def slow(pod: Pod) -> None:
    pod.serve(90)
    pod.serve(10, seconds=0.4)


def just_fast_enough(pod: Pod) -> None:
    pod.serve(96, seconds=0.2)
    pod.serve(4, seconds=9)


def failing(pod: Pod) -> None:
    pod.serve(97)
    pod.serve(3, outcome="FAIL")


def hardly_failing(pod: Pod) -> None:
    pod.serve(99)
    pod.serve(1, outcome="FAIL")


def fast_errors(pod: Pod) -> None:
    """Half of the answers are slow, half fail at once: errors must not make the latency look good."""
    pod.serve(50, seconds=0.4)
    pod.serve(950, seconds=0.001, outcome="FAIL")


def surviving_errors(pod: Pod) -> None:
    pod.serve(90)
    pod.serve(10, operation="TimeoutError")


def guarded(pod: Pod) -> None:
    pod.serve(95)
    pod.serve(3, guardrail="fail")
    pod.serve(2, guardrail="error")


def worse_answers(pod: Pod) -> None:
    pod.serve(50, scores={"faithfulness": 0.95, "tone": 0.5})


def in_conflict(pod: Pod) -> None:
    pod.serve(50, conflicts=1)


def barely_used(pod: Pod) -> None:
    pod.serve(3)


def idle(pod: Pod) -> None:
    """Scraped, but nobody asked it anything."""


REFUSED: dict[Any, set[str]] = {
    good: set(),
    slow: {"latency-p95"},
    just_fast_enough: set(),
    failing: {"failure-rate"},
    hardly_failing: set(),
    fast_errors: {"latency-p95", "failure-rate"},
    surviving_errors: {"operation-error-rate"},
    guarded: {"guardrail-failure-rate"},
    worse_answers: {"evaluation-score"},
    in_conflict: {"version-conflicts"},
    barely_used: {"requests"},
    idle: {*METRICS} - {"version-conflicts"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, dict[str, Pod]]]:
    """One pod a story, born with all of its traffic before the first scrape, and a Prometheus that scrapes them."""
    pods = {story.__name__: Pod() for story in REFUSED} | {"long_lived": Pod(), "restarted": Pod()}
    for story in REFUSED:
        story(pods[story.__name__])
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "fee-assistant",
                "static_configs": [
                    {"targets": [f"127.0.0.1:{pod.port}"], "labels": {"namespace": "fees", "rollouts_pod_template_hash": name}}
                    for name, pod in pods.items()
                ],
            }
        ],
    }
    folder = tmp_path_factory.mktemp("prometheus")
    with contextlib.ExitStack() as open_things:
        for pod in pods.values():
            open_things.callback(pod.stop)
        running = open_things.enter_context(prometheus(folder, config=config))
        eventually(lambda: len(running.query('up{job="fee-assistant"} == 1')) == len(pods), what="not all pods were scraped")
        yield running, pods


def argo(*options: str, files: list[Path] | None = None) -> dict[str, Any]:
    """`argo-rollouts-check`: what the controller would say."""
    command = [str(server("argo_rollouts")), *(word for file in files or FILES for word in ("-f", str(file))), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def measured(url: str, canary: str, **arguments: str) -> dict[str, dict[str, Any]]:
    """One measurement of each metric, as the Rollout's analyses would take it now."""
    given = {"prometheus": url, "namespace": "fees", **arguments}
    options = [word for name, value in given.items() for word in ("-arg", f"{name.replace('_', '-')}={value}")]
    report = argo("-run", "-hash", canary, *options)
    assert report["errors"] == []
    found = {entry["metric"]: entry for entry in report["measurements"]}
    assert set(found) == set(METRICS)
    return found


def refused(found: dict[str, dict[str, Any]]) -> set[str]:
    assert {entry["phase"] for entry in found.values()} <= {"Successful", "Failed"}, found
    return {name for name, entry in found.items() if entry["phase"] == "Failed"}


def test_the_controller_takes_the_manifests() -> None:
    assert argo() == {"errors": [], "measurements": []}


def test_the_check_finds_mistakes(tmp_path: Path) -> None:
    text = (CANARY / "rollout.yaml").read_text()
    for wrong, right, said in (
        ("setWeight: 200", "setWeight: 20", "between 0 and 100"),
        ("setWait: 20", "setWeight: 20", "unknown field"),
        ("templateName: no-such-template", "templateName: spanline-quality", "no AnalysisTemplate no-such-template"),
        ("name: services, value", "name: service, value", "args.service was not resolved"),
    ):
        assert right in text
        file = tmp_path / "rollout.yaml"
        file.write_text(text.replace(right, wrong))
        report = argo(files=[file, *(one for one in FILES if one.name != "rollout.yaml")])
        assert any(said in error for error in report["errors"]), (wrong, report)


@pytest.mark.parametrize("story", REFUSED, ids=lambda story: story.__name__)
def test_what_is_refused(cluster: tuple[Prometheus, dict[str, Pod]], story: Any) -> None:
    running, _ = cluster
    found = measured(running.url, story.__name__)
    assert refused(found) == REFUSED[story], found


def test_the_limits_are_arguments(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    running, _ = cluster
    assert refused(measured(running.url, "slow", p95_seconds="0.5")) == set()
    assert refused(measured(running.url, "failing", failure_rate="0.04")) == set()
    assert refused(measured(running.url, "good", p95_seconds="0.05", failure_rate="0")) == {"latency-p95", "failure-rate"}
    assert refused(measured(running.url, "barely_used", min_requests="3")) == set()
    assert refused(measured(running.url, "in_conflict", version_conflicts="1")) == set()


def test_the_defaults_are_those_of_the_example() -> None:
    template = yaml.safe_load((CANARY / "analysis.yaml").read_text().split("\n---\n")[0])
    defaults = {entry["name"]: entry.get("value") for entry in template["spec"]["args"]}
    assert (defaults["p95-seconds"], defaults["failure-rate"]) == ("0.25", "0.02")


def test_a_canary_that_nobody_scrapes_is_refused(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    running, _ = cluster
    found = measured(running.url, "no-such-hash")
    assert refused(found) == set(METRICS)
    assert {entry["value"] for entry in found.values()} == {"[]"}


def test_a_prometheus_that_does_not_answer_is_an_error_and_a_wrong_limit_too(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    running, _ = cluster
    found = measured(f"http://127.0.0.1:{free_port()}", "good")
    assert {entry["phase"] for entry in found.values()} == {"Error"}
    assert measured(running.url, "good", p95_seconds="fast")["latency-p95"]["phase"] == "Error"


def test_rate_would_not_have_seen_it(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    """Why the queries count as they do: all errors of a new pod may be there before its first scrape."""
    running, _ = cluster
    labels = 'rollouts_pod_template_hash="failing"'
    eventually(lambda: running.query(f"count_over_time(llm_latency_seconds_count{{{labels}}}[1m]) > 3"), what="too few scrapes")
    (naive,) = running.query(f'sum(increase(llm_latency_seconds_count{{{labels},outcome="error"}}[1m]))')
    assert float(naive["value"][1]) == 0
    assert refused(measured(running.url, "failing")) == {"failure-rate"}


def test_only_the_window_counts(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    running, pods = cluster
    pod = pods["long_lived"]
    pod.serve(2000)

    def requests(number: int) -> bool:
        value = measured(running.url, "long_lived", window="4s")["requests"]["value"]
        return value == f"[{number}]"

    series = 'llm_latency_seconds_count{rollouts_pod_template_hash="long_lived"}'
    eventually(lambda: running.query(f"{series} offset 5s == 2000"), what="not scraped")
    eventually(lambda: requests(0), what="the window did not move on")
    pod.serve(20)
    pod.serve(5, outcome="FAIL")
    eventually(lambda: requests(25), what="the new requests were not counted")
    found = measured(running.url, "long_lived", window="4s")
    # 0.2 % of all, 20 % of what was asked in the window.
    assert "failure-rate" in refused(found)
    assert "failure-rate" not in refused(measured(running.url, "long_lived", window="1h"))


def test_a_restarted_container_counts_from_zero(cluster: tuple[Prometheus, dict[str, Pod]]) -> None:
    running, pods = cluster
    pod = pods["restarted"]
    pod.serve(900)
    pod.serve(100, outcome="FAIL")
    series = 'llm_latency_seconds_count{rollouts_pod_template_hash="restarted",outcome="ok"}'
    eventually(lambda: running.query(f"{series} offset 3s == 900"), what="not scraped")
    pod.restart()
    pod.serve(40)
    pod.serve(10, outcome="FAIL")
    eventually(lambda: running.query(f"{series} == 40"), what="not scraped after the restart")
    found = measured(running.url, "restarted", window="2s")
    assert found["requests"]["value"] == "[50]"
    assert found["failure-rate"]["value"] == "[0.2]"


APP = """
from fastapi import FastAPI
import spanline

app = FastAPI()
spanline.instrument(app, service="fee-assistant")
FEES = spanline.PromptTemplate("fees", version="v7", text="Answer: {question}")


@app.get("/chat")
def chat(fail: bool = False, flagged: bool = False) -> str:
    with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
        call.response(model="gpt-4o-2024-06-18", input_tokens=8, output_tokens=2)
    with spanline.guardrail("fee-answer", version="1", phase="output") as guard:
        guard.failed(action="flag") if flagged else guard.passed()
    spanline.evaluation(spanline.current().run_id, "faithfulness", score=0.9, passed=True)
    if fail:
        raise RuntimeError("no answer")
    return "25 EUR"
"""


def test_a_real_app_is_judged_by_its_own_metrics(tmp_path: Path) -> None:
    """An instrumented app under uvicorn: what it exposes is what the analysis asks for, name by name and label by label."""
    (tmp_path / "canary_app.py").write_text(APP)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "canary_app:app", "--port", str(port), "--log-level", "critical"]
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}", "SPANLINE_HOME": str(tmp_path / "home")}
    scrape = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "fees", "rollouts_pod_template_hash": "app"}}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "fee-assistant", "static_configs": [scrape]}]}
    with served(command, tmp_path, environ, "app", f"{base}/openapi.json"):

        def ask(number: int, **how: bool) -> None:
            for _ in range(number):
                # A connection each: uvicorn closes one on which an exception was answered.
                assert httpx.get(f"{base}/chat", params=how).status_code == (500 if how.get("fail") else 200)

        ask(60)
        with prometheus(tmp_path, config=config) as running:
            eventually(lambda: running.query("llm_latency_seconds_count == 60"), what="not scraped")
            # On a busy machine the answers may be slower than the example's limit; that is not asked here.
            assert refused(measured(running.url, "app", p95_seconds="30")) == set()
            ask(3, fail=True)
            ask(5, flagged=True)
            eventually(lambda: running.query("sum(llm_latency_seconds_count) == 68"), what="not scraped again")
            assert refused(measured(running.url, "app", p95_seconds="30")) == {"failure-rate", "guardrail-failure-rate"}


def test_every_query_names_metrics_and_labels_of_the_catalogue() -> None:
    known: dict[str, set[str]] = {}
    for spec in CATALOGUE:
        names = [f"{spec.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")] if spec.type == "histogram" else [spec.name]
        known.update({key: {*spec.labels, "namespace", "job", "rollouts_pod_template_hash"} for key in names})
    used = 0
    for document in yaml.safe_load_all((CANARY / "analysis.yaml").read_text()):
        for metric in document["spec"]["metrics"]:
            for name, labels in re.findall(
                r"\b(\w+)\{(namespace=.*?)\}(?:\)| |\n)", metric["provider"]["prometheus"]["query"].replace("{{", "<").replace("}}", ">")
            ):
                assert name in known, name
                assert set(re.findall(r"(\w+)[=!]", labels)) <= known[name]
                used += 1
    assert used > 30


def test_the_canarys_pods_are_those_of_the_deployment() -> None:
    pods = [
        next(one for one in yaml.safe_load_all(file.read_text()) if one["kind"] == kind)["spec"]["template"]
        for file, kind in ((CANARY / "rollout.yaml", "Rollout"), (ROOT / "deploy" / "kubernetes" / "fee-assistant.yaml", "Deployment"))
    ]
    assert pods[0] == pods[1]
