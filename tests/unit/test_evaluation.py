"""evaluation(): inside a run, after it, by id from anywhere; over HTTP; and what becomes of bad input."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

import spanline
from spanline.ledger import Ledger
from spanline.lineage.evaluated import cleaned, evaluated_event, evaluations_from
from spanline.record.run import Evaluation
from spanline.runtime import evaluations as late
from spanline.runtime.runtime import Runtime
from spanline.server.app import build_app
from spanline.settings import Settings
from spanline.testing.validation import validate_event
from tests.support import MemorySink

pytestmark = pytest.mark.usefixtures("fresh_provider")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with spanline.configure(service="fees", namespace="n", registry=CollectorRegistry()) as made:
        yield made


def a_run(**evaluation: Any) -> str:
    with spanline.job("build"), spanline.inference("openai", "gpt-4o") as call:
        call.response(model="gpt-4o-1", input_tokens=1, output_tokens=2)
        if evaluation:
            spanline.evaluation(None, **evaluation)
        current = spanline.current()
    assert current is not None
    return current.run_id


def known(runtime: Runtime, run_id: str) -> dict[str, dict[str, Any]]:
    ledger = runtime.ledgers.get()
    assert ledger is not None
    return {entry["name"]: entry for entry in ledger.run(run_id)["evaluations"]}


def test_inside_a_run_it_is_part_of_its_only_event(runtime: Runtime) -> None:
    run = a_run(
        name="faithfulness", score=0.91, passed=True, evaluator="judge", evaluator_version="2", eval_set=spanline.EvalSet("golden", "v3")
    )
    assert runtime.flush()
    entry = known(runtime, run)["faithfulness"]
    assert entry.pop("evaluatedAt").endswith("Z")
    assert entry == {
        "name": "faithfulness", "score": 0.91, "passed": True, "evaluator": "judge", "evaluatorVersion": "2", "evalSet": "golden", "evalSetVersion": "v3",
    }  # fmt: skip
    document = runtime.ledgers.get().document(run)
    assert document["run"]["facets"]["test"]["tests"] == [
        {"name": "faithfulness", "status": "pass", "type": "evaluation", "actual": "0.91"}
    ]


@pytest.mark.parametrize("form", ["run id", "trace id", "TRACE ID", "current"])
def test_after_the_run_a_second_event_bears_it(runtime: Runtime, form: str) -> None:
    with spanline.job("build"):
        current = spanline.current()
    given = {"run id": current.run_id, "trace id": current.trace_id, "TRACE ID": current.trace_id.upper(), "current": current}[form]
    spanline.evaluation(given, "tone", label="rude", passed=False)
    assert runtime.flush()
    assert known(runtime, current.run_id)["tone"]["label"] == "rude"


def test_by_id_from_another_process_later(tmp_path: Path) -> None:
    """The second runtime stands for another process: it holds nothing of the run, and has another service's journal."""
    registry = CollectorRegistry()
    with spanline.configure(service="fees", namespace="n", home=tmp_path, registry=CollectorRegistry()) as first:
        run = a_run(name="inside", passed=True)
        first.flush()
        before = first.ledgers.get().document(run)
    with spanline.configure(service="evaluator", namespace="n", home=tmp_path, registry=registry) as second:
        spanline.evaluation(run, "late", score=0.25, passed=False)
        spanline.evaluation(run.replace("-", ""), "later", score=0.5)
        assert second.flush()
        assert sorted(known(second, run)) == ["inside", "late", "later"]
        after = second.ledgers.get().document(run)
    assert after["job"] == before["job"]
    assert (after["inputs"], after["outputs"]) == (before["inputs"], before["outputs"])
    assert after["run"]["facets"]["spanline_operations"] == before["run"]["facets"]["spanline_operations"]
    assert [test["name"] for test in after["run"]["facets"]["test"]["tests"]] == ["inside", "late"]
    assert after["eventTime"] > before["eventTime"]
    text = generate_latest(registry).decode()
    sample = next(line for line in text.splitlines() if 'llm_evaluation_score_bucket{evaluation="late",le="0.3"}' in line)
    assert f'trace_id="{run.replace("-", "")}"' in sample


def test_a_request_id_names_the_run_too(tmp_path: Path) -> None:
    events = [spanline_event(request_id="req-77")]
    with spanline.configure(service="evaluator", home=tmp_path, registry=CollectorRegistry()) as runtime:
        runtime.ledgers.get().ingest(events)
        spanline.evaluation("req-77", "thumbs", passed=True, evaluator="user")
        assert runtime.flush()
        assert known(runtime, "req-77")["thumbs"]["evaluator"] == "user"


def test_a_run_that_nobody_knows_is_counted_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(late, "PATIENCE_S", 0.0)
    registry = CollectorRegistry()
    with caplog.at_level(logging.WARNING, "spanline"), spanline.configure(service="fees", registry=registry) as runtime:
        spanline.evaluation("00000000-0000-4000-8000-000000000001", "lost", score=1)
        spanline.evaluation(None, "outside")
        assert runtime.flush()
    assert registry.get_sample_value("spanline_dropped_total", {"reason": "evaluation"}) == 1
    assert "evaluation 'lost' of 00000000-0000-4000-8000-000000000001 is lost: no such run" in caplog.text
    assert "outside a run" in caplog.text


def test_without_a_runtime_it_does_nothing() -> None:
    spanline.evaluation("00000000-0000-4000-8000-000000000001", "x", score=1)


def test_nothing_of_the_evaluation_can_break_the_caller() -> None:
    sink = MemorySink()
    assert sink.records == []
    spanline.evaluation(None, "\x00", score=float("nan"))


@pytest.mark.internal_errors
def test_wrong_types_are_counted_not_raised() -> None:
    spanline.evaluation(None, "x", score="high")


def test_cleaned() -> None:
    made = cleaned(Evaluation(name=" a\x00b ", score=float("inf"), label="x" * 5000, evaluated_at="never"), 0)
    assert made is not None
    assert (made.name, made.score, len(made.label), made.evaluated_at) == ("ab", None, 1024, "1970-01-01T00:00:00.000000Z")
    assert cleaned(Evaluation(name=" \n"), 0) is None


def spanline_event(**trace: str) -> bytes:
    from spanline.lineage.events import terminal_event
    from spanline.lineage.producer import PRODUCER
    from tests.browser.incident import _record

    record = _record("10" * 16, "fees.POST /chat", 0, 1.0)
    for key, value in trace.items():
        setattr(record, key, value)
    return terminal_event(record, producer=PRODUCER, schema_base="https://spanline.dev/schemas")


def further(event: dict[str, Any], *evaluations: Evaluation) -> dict[str, Any] | None:
    line = evaluated_event(event, evaluations, producer="https://example.com/p", schema_base="https://spanline.dev/schemas")
    if line is not None:
        validate_event(line, ours="spanline_trace" in event["run"]["facets"])
    return json.loads(line) if line is not None else None


def test_the_further_event_is_the_run_a_millisecond_later() -> None:
    event = json.loads(spanline_event())
    score = Evaluation(name="f", score=0.5, passed=True, evaluated_at="2026-11-21T03:00:00.000000Z")
    found = further(event, score)
    assert found["eventTime"] == "2026-11-21T02:00:01.001000Z"
    assert found["eventType"] == "COMPLETE"
    assert found["run"]["facets"].keys() == event["run"]["facets"].keys() | {"spanline_evaluations", "test"}
    assert further(found, score) is None, "nothing new, no event"
    assert [entry["name"] for entry in further(found, Evaluation(name="g"))["run"]["facets"]["spanline_evaluations"]["evaluations"]] == [
        "f",
        "g",
    ]


def test_somebody_elses_run_is_not_repeated() -> None:
    event = {
        "eventTime": "2026-11-21T02:00:00Z", "eventType": "COMPLETE", "producer": "https://example.com/dbt",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "00000000-0000-4000-8000-000000000001", "facets": {
            "sql": {"query": "select 1"}, "test": {"_producer": "https://example.com/dbt", "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/TestRunFacet.json#/$defs/TestRunFacet",
                                                    "tests": [{"name": "not_null", "status": "fail"}]}}},
        "job": {"namespace": "n", "name": "dbt.model", "facets": {"sql": {"query": "select 1"}}}, "inputs": [{"namespace": "a", "name": "b"}], "outputs": [],
    }  # fmt: skip
    found = further(event, Evaluation(name="f", passed=True))
    assert (found["inputs"], found["outputs"], found["job"]) == ([], [], {"namespace": "n", "name": "dbt.model"})
    assert found["run"]["facets"].keys() == {"spanline_evaluations", "test"}
    assert [entry["name"] for entry in found["run"]["facets"]["test"]["tests"]] == ["not_null", "f"]


def test_a_run_that_goes_on_stays_so() -> None:
    event = json.loads(spanline_event())
    event["eventType"] = "START"
    assert further(event, Evaluation(name="f"))["eventType"] == "OTHER"


def test_a_job_that_still_runs_elsewhere(tmp_path: Path) -> None:
    """A training run is judged while it goes on, and the verdict stands when it ends."""
    first = spanline.configure(service="trainer", home=tmp_path, registry=CollectorRegistry())
    with spanline.job("train") as work:
        run = spanline.current().run_id
        first.flush()
        with spanline.configure(service="judge", home=tmp_path, registry=CollectorRegistry()) as other:
            other.evaluate(run, Evaluation(name="loss", score=0.4))
            assert other.flush()
            found = other.ledgers.get().run(run)
            assert (found["status"], [entry["name"] for entry in found["evaluations"]]) == ("RUNNING", ["loss"])
        work.metrics(loss=0.4)
    first.flush()
    found = first.ledgers.get().run(run)
    assert (found["status"], found["metrics"], [entry["name"] for entry in found["evaluations"]]) == ("COMPLETE", {"loss": 0.4}, ["loss"])
    first.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"), (b"[]", "from 1 to 1000"), (b"{}", "name"), (b'{"name": 5}', "name"), (b'{"name": ""}', "without a name"),
        (b'{"name": "x", "scoer": 1}', "unknown property 'scoer'"), (b'{"name": "x", "score": "1"}', "score"), (b'{"name": "x", "score": NaN}', "not JSON"),
        (b'"x"', "object"), (b"[" * 100_000, "not JSON"), (b'{"name": "x", "passed": 1}', "passed"), (b'{"name": "\xff"}', "not JSON"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_evaluation(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluations_from(body, 0)


async def test_over_http(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.ingest([spanline_event(request_id="req-1")])
    measured: list[Any] = []
    settings = Settings.resolve({"tokens": ("right",), "home": tmp_path}, {})
    (tmp_path / "journal" / "fee-assistant").mkdir(parents=True)
    app = build_app(ledger, settings, api=True, require_loopback=False, measured=measured.append)
    given = {"name": "f", "score": 0.9, "passed": True, "evaluatedAt": "2026-11-21T03:00:00Z"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        url = "/api/v1/runs/req-1/evaluations"
        assert (await http.post(url, json=given)).status_code == 401
        http.headers["authorization"] = "Bearer right"
        assert (await http.post(url, data={"name": "f"})).status_code == 415
        assert (await http.post(url, json={"score": 1})).json()["title"] == "Not an evaluation"
        assert (await http.post("/api/v1/runs/nope/evaluations", json=given)).status_code == 404
        assert (await http.post("/api/v1/runs/a%20b/evaluations", json=given)).status_code == 400
        run = "10101010-1010-1010-1010-101010101010"
        assert (await http.post(url, json=given)).json() == {"runId": run, "added": 1}
        assert (await http.post(url, json=[given, {"name": "g"}])).json() == {"runId": run, "added": 1}
        found = (await http.get("/api/v1/runs/req-1")).json()["evaluations"]
        assert [entry["name"] for entry in found] == ["f", "g"]
    ledger.close()
    assert [[entry.name for entry in record.evaluations] for record in measured] == [["f"], ["g"]]
    (segment,) = (tmp_path / "journal" / "fee-assistant").glob("*.ndjson*")
    assert len(segment.read_bytes().splitlines()) == 2, "the service's other consumers get them too"
