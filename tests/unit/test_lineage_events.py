"""Events: what a record becomes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from spanline.lineage.events import start_event, start_from_terminal, terminal_event
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.run import Conflict, Evaluation, GuardrailOutcome, JobRef, ModelUsage, Operation, Release, RunRecord, Usage
from spanline.runtime.jobs import KnownJobs
from spanline.testing.validation import validate_event

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
CHILD = "00000000-0000-5000-8000-000000000001"
PRODUCER = "https://spanline.dev/producer/0.1.0"
BASE = "https://spanline.dev/schemas"
STARTED = 1_790_000_000_000_000_000
KEYED = "hmac-sha256:k1:" + "0" * 64


def record(**changes):
    values = {
        "run_id": RUN, "trace_id": TRACE, "span_id": "00f067aa0ba902b7", "namespace": "rag-prod", "job": "fees.POST /chat", "service": "fees",
        "started_ns": STARTED, "ended_ns": STARTED + 1_500_000_000, "outcome": "COMPLETE",
    }  # fmt: skip
    return RunRecord(**{**values, **changes})


def operation(**changes):
    return Operation(**{"span_id": "00f067aa0ba902b8", "kind": "inference", **changes})


def event_of(made, **options):
    line = terminal_event(made, producer=PRODUCER, schema_base=BASE, **options)
    assert b"\n" not in line
    validate_event(line)
    return json.loads(line)


def start_of(made):
    line = start_event(made, producer=PRODUCER, schema_base=BASE)
    validate_event(line)
    return json.loads(line)


def by_name(datasets):
    return {(dataset["namespace"], dataset["name"]): dataset for dataset in datasets}


def test_an_empty_run_still_has_inputs_and_outputs():
    event = event_of(record())
    assert (event["inputs"], event["outputs"]) == ([], [])
    assert event["eventType"] == "COMPLETE"
    assert event["run"]["runId"] == RUN
    assert event["job"]["name"] == "fees.POST /chat"
    assert event["producer"] == PRODUCER
    assert set(event["run"]["facets"]) == {"spanline_trace", "processing_engine", "externalQuery"}


def test_the_trace_facet_says_when_and_who():
    facet = event_of(record(request_id="req-1", tenant=KEYED, http_status_code=200, tags={"case": "4711"}, run_url="https://s/r/1"))["run"][
        "facets"
    ]
    assert facet["spanline_trace"] == {
        "_producer": PRODUCER, "_schemaURL": f"{BASE}/spanline_trace/1-0-0#/$defs/SpanlineTraceRunFacet",
        "traceId": TRACE, "spanId": "00f067aa0ba902b7", "sampled": True, "service": "fees", "startedAt": "2026-09-21T14:13:20.000000Z",
        "durationSeconds": 1.5, "requestId": "req-1", "tenant": KEYED, "tags": {"case": "4711"}, "httpStatusCode": 200, "runUrl": "https://s/r/1",
    }  # fmt: skip
    assert facet["externalQuery"]["externalQueryId"] == TRACE
    assert facet["externalQuery"]["source"] == "opentelemetry"
    assert facet["processing_engine"]["name"] == "spanline"
    assert facet["tags"]["tags"] == [{"key": "case", "value": "4711", "source": "USER"}]


def test_people_are_keyed_digests_or_absent():
    line = terminal_event(
        record(tenant="acme", subject="ann@example.org", session="s1", request_id="a b"), producer=PRODUCER, schema_base=BASE
    )
    assert b"acme" not in line
    assert b"example.org" not in line
    assert not {"tenant", "subject", "session", "requestId"} & set(json.loads(line)["run"]["facets"]["spanline_trace"])


def test_stragglers_make_later_events():
    assert event_of(record())["eventTime"] == "2026-09-21T14:13:21.500000Z"
    assert event_of(record(sequence=2))["eventTime"] == "2026-09-21T14:13:21.502000Z"


def test_a_clock_that_steps_back_does_not_end_a_run_before_its_start():
    event = event_of(record(ended_ns=STARTED - 5))
    assert event["eventTime"] == event["run"]["facets"]["spanline_trace"]["startedAt"]
    assert event["run"]["facets"]["spanline_trace"]["durationSeconds"] == 0


def test_flows_are_of_live_requests_with_operations_only():
    event = event_of(record(operations=[operation()]))
    assert list(by_name(event["inputs"])) == [("llm", "requests.fees")]
    assert list(by_name(event["outputs"])) == [("llm", "responses.fees")]
    offline = event_of(record(operations=[operation()], live=False))
    assert offline["inputs"] == offline["outputs"] == []


def test_artifacts_become_datasets_with_version_and_digest():
    prompt = Artifact(kind="prompt", name="fees", version="v7", digest="sha256:aa", evidence="observed", owner="team-fees")
    corpus = Artifact(kind="corpus", name="fees", version="2026-11-01", evidence="declared", uri="https://user:key@host/fees?token=1")
    made = Artifact(kind="index", name="fees", version="1", role="output", made_of=("corpus:fees@2026-11-01",))
    event = event_of(record(artifacts=[prompt, corpus, made], live=False))
    inputs = by_name(event["inputs"])
    assert set(inputs) == {("prompts", "fees@v7"), ("corpora", "fees@2026-11-01")}
    facets = inputs["prompts", "fees@v7"]["facets"]
    assert facets["version"]["datasetVersion"] == "v7"
    artifact = {key: value for key, value in facets["spanline_artifact"].items() if not key.startswith("_")}
    assert artifact == {
        "kind": "prompt", "name": "fees", "version": "v7", "digest": "sha256:aa", "role": "input", "evidence": "observed", "owner": "team-fees",
    }  # fmt: skip
    assert inputs["corpora", "fees@2026-11-01"]["facets"]["spanline_artifact"]["uri"] == "https://host/fees"
    output = by_name(event["outputs"])["indexes", "fees@1"]["facets"]["spanline_artifact"]
    assert output["role"] == "output"
    assert output["madeOf"] == ["corpus:fees@2026-11-01"]


def test_an_alias_is_a_stage_and_no_version():
    dataset = event_of(record(artifacts=[Artifact(kind="prompt", name="fees", version="production")]))["inputs"][0]
    assert dataset["name"] == "fees"
    assert dataset["facets"]["spanline_artifact"]["stage"] == "production"
    assert "version" not in dataset["facets"]


def test_each_dataset_is_there_once_and_the_best_known_speaks():
    artifacts = [
        Artifact(kind="index", name="fees", version="1", evidence="inferred", owner="a", retrieval=Retrieval(hits=2, documents=(Document(id="d1"),), span_id="0" * 15 + "1")),
        Artifact(kind="index", name="fees", version="1", evidence="observed", digest="sha256:bb", retrieval=Retrieval(top_k=3, hits=1, documents=(Document(id="d2", score=0.5),), span_id="0" * 15 + "2")),
        Artifact(kind="index", name="fees", version="1", evidence="declared", digest="sha256:cc"),
    ]  # fmt: skip
    (dataset,) = event_of(record(artifacts=artifacts))["inputs"]
    facet = dataset["facets"]["spanline_artifact"]
    assert (facet["evidence"], facet["digest"], facet["owner"]) == ("observed", "sha256:bb", "a")
    retrieval = dataset["inputFacets"]["spanline_retrieval"]
    assert retrieval["documents"] == [{"id": "d1"}, {"id": "d2", "score": 0.5}]
    assert (retrieval["hits"], retrieval["topK"], retrieval["spanId"]) == (3, 3, "0" * 15 + "1")
    assert dataset["inputFacets"]["inputStatistics"]["rowCount"] == 3


def test_an_empty_retrieval_says_zero():
    (dataset,) = event_of(record(artifacts=[Artifact(kind="index", name="fees", retrieval=Retrieval(hits=0))]))["inputs"]
    assert dataset["inputFacets"]["spanline_retrieval"]["hits"] == 0
    assert dataset["inputFacets"]["inputStatistics"]["rowCount"] == 0
    assert "documents" not in dataset["inputFacets"]["spanline_retrieval"]


def test_the_parent_of_a_child_run():
    owner = JobRef(run_id=RUN, namespace="rag-prod", name="gateway.POST /ask")
    child = record(run_id=CHILD, parent=owner)
    named = {"run": {"runId": RUN}, "job": {"namespace": "rag-prod", "name": "gateway.POST /ask"}}
    for event in (event_of(child), start_of(child)):
        parent = event["run"]["facets"]["parent"]
        assert {"run": parent["run"], "job": parent["job"]} == named
        assert parent["root"] == named
    between = JobRef(run_id="00000000-0000-5000-8000-000000000002", namespace="rag-prod", name="middle")
    assert "root" not in event_of(record(run_id=CHILD, parent=between))["run"]["facets"]["parent"]
    assert event_of(record(run_id=CHILD, parent=between, root=owner))["run"]["facets"]["parent"]["root"] == named


def test_an_error_is_its_type_alone():
    event = event_of(record(outcome="FAIL", error_type="ValueError", http_status_code=500))
    message = event["run"]["facets"]["errorMessage"]
    assert event["eventType"] == "FAIL"
    assert (message["message"], message["programmingLanguage"]) == ("ValueError", "python")


def test_operations_usage_guardrails_conflicts():
    event = event_of(
        record(
            operations=[operation(finish_reasons=["stop"], duration_seconds=0.5), Operation(span_id="0" * 15 + "9")],
            operations_dropped=3,
            usage=Usage(input_tokens=0, output_tokens=6, by_model=[ModelUsage(provider="openai", model="gpt-4o", input_tokens=0)]),
            guardrails=[GuardrailOutcome(name="schema", phase="output", outcome="fail", action="explode")],
            conflicts=[
                Conflict(kind="prompt", namespace="prompts", name="fees", version="v7", digest="sha256:b", expected_digest="sha256:a")
            ],
        )
    )
    facets = event["run"]["facets"]
    assert [entry["kind"] for entry in facets["spanline_operations"]["operations"]] == ["inference", "other"]
    assert facets["spanline_operations"]["dropped"] == 3
    assert facets["spanline_usage"]["inputTokens"] == 0
    assert "cacheReadInputTokens" not in facets["spanline_usage"]
    assert facets["spanline_guardrails"]["outcomes"] == [{"name": "schema", "phase": "output", "outcome": "fail"}]
    assert facets["spanline_conflicts"]["conflicts"][0]["expectedDigest"] == "sha256:a"


def test_at_most_a_thousand_operations_are_listed():
    facet = event_of(record(operations=[operation(span_id=f"{n:016x}") for n in range(1, 1003)]))["run"]["facets"]["spanline_operations"]
    assert len(facet["operations"]) == 1000
    assert facet["dropped"] == 2


def test_parts_without_content_are_absent():
    facets = event_of(record(release=Release(), usage=Usage(by_model=[]), metrics={"loss": math.nan}))["run"]["facets"]
    assert not {"spanline_release", "spanline_usage", "spanline_metrics", "errorMessage", "tags", "executionParameters"} & set(facets)


def test_evaluations_with_a_verdict_are_tests_too():
    evaluations = [
        Evaluation(name="faithful", score=0.9, passed=True),
        Evaluation(name="rude", label="yes", passed=False),
        Evaluation(name="bare", score=0.1),
    ]
    facets = event_of(record(evaluations=evaluations))["run"]["facets"]
    assert [entry["name"] for entry in facets["spanline_evaluations"]["evaluations"]] == ["faithful", "rude", "bare"]
    assert [(test["name"], test["status"], test["actual"]) for test in facets["test"]["tests"]] == [
        ("faithful", "pass", "0.9"),
        ("rude", "fail", "yes"),
    ]
    assert "test" not in event_of(record(evaluations=evaluations[2:]))["run"]["facets"]


def test_offline_work_has_parameters_and_metrics():
    event = event_of(record(live=False, parameters={"chunk": "512"}, metrics={"rows": 12.0, "loss": math.inf}, source_path="build.py"))
    facets = event["run"]["facets"]
    assert facets["executionParameters"]["parameters"] == [{"key": "chunk", "value": "512"}]
    assert facets["spanline_metrics"]["metrics"] == {"rows": 12.0}
    assert event["job"]["facets"]["jobType"]["processingType"] == "BATCH"


def test_job_facets_come_once_and_the_code_location_always():
    made = record(release=Release(release="1.2", code_revision="abc123", repository="git@github.com:acme/fees.git"))
    first, later = event_of(made)["job"]["facets"], event_of(made, job_facets=False)["job"]["facets"]
    assert (first["jobType"]["processingType"], first["jobType"]["integration"], first["jobType"]["jobType"]) == (
        "SERVICE",
        "SPANLINE",
        "REQUEST",
    )
    assert set(later) == {"sourceCodeLocation"}
    assert later["sourceCodeLocation"]["url"] == "https://github.com/acme/fees/tree/abc123"
    assert later["sourceCodeLocation"]["version"] == "abc123"
    assert "facets" not in event_of(record(), job_facets=False)["job"]


def test_no_password_of_a_repository_leaves():
    made = record(release=Release(repository="https://ann:s3cret@git.example/acme/fees.git", code_revision="abc"))
    assert b"s3cret" not in terminal_event(made, producer=PRODUCER, schema_base=BASE)


def test_job_facets_belong_to_job_datasets_and_location():
    known = KnownJobs()

    def comes(**given: Any) -> bool:
        return "jobType" in event_of(record(**given), job_facets=known.first)["job"].get("facets", {})

    prompt = Artifact(kind="prompt", name="fees", version="v7")
    assert comes(artifacts=[prompt])
    assert not comes(artifacts=[prompt, prompt], run_id=CHILD)
    assert comes(artifacts=[Artifact(kind="prompt", name="fees", version="v8")])
    assert comes(artifacts=[Artifact(kind="prompt", name="fees", version="v7", role="output")])
    assert comes(artifacts=[prompt], job="other")
    assert comes(artifacts=[prompt], release=Release(code_revision="a", repository="https://h.io/a/b"))
    assert not comes(artifacts=[prompt])


def test_a_start_bears_datasets_and_no_run_facet():
    made = record(artifacts=[Artifact(kind="index", name="fees", retrieval=Retrieval(hits=2))], operations=[operation()])
    start, end = start_of(made), event_of(made)
    assert start["eventType"] == "START"
    assert start["eventTime"] == "2026-09-21T14:13:20.000000Z"
    assert "facets" not in start["run"]
    assert set(by_name(start["inputs"])) == set(by_name(end["inputs"]))
    assert set(by_name(start["outputs"])) == set(by_name(end["outputs"]))


def test_the_start_of_a_terminal_event_is_the_start_of_its_record():
    owner = JobRef(run_id=RUN, namespace="rag-prod", name="gateway.POST /ask")
    made = record(
        run_id=CHILD, parent=owner, operations=[operation()], artifacts=[Artifact(kind="index", name="fees", retrieval=Retrieval(hits=2))]
    )
    end = event_of(made)
    before = json.dumps(end)
    start = start_from_terminal(end)
    validate_event(start)
    assert start == start_of(made)
    assert json.dumps(end) == before


def test_a_start_cannot_be_made_of_a_foreign_event():
    event = event_of(record())
    del event["run"]["facets"]["spanline_trace"]
    with pytest.raises(ValueError, match="startedAt"):
        start_from_terminal(event)


def test_names_are_cleaned_and_capped():
    made = record(
        namespace="prod env", job="fees.\x00POST /" + "x" * 400, service="s\ud800" * 200, operations=[operation(name="a\x00b", request_model="m" * 10_000_000)],
        artifacts=[Artifact(kind="index", name="n\ud800" * 400, version="v1", retrieval=Retrieval(documents=(Document(id="d\x07", score=math.nan),)))],
        tags={"k\x00": "v\u202e"}, error_type="E\nsecret",
    )  # fmt: skip
    event = event_of(made)
    assert event["job"]["namespace"] == "prod_env"
    assert len(event["job"]["name"]) == 255
    assert all(len(dataset["name"]) <= 255 for dataset in event["inputs"])
    first = event["run"]["facets"]["spanline_operations"]["operations"][0]
    assert first["name"] == "ab"
    assert len(first["requestModel"]) == 1024
    assert event["inputs"][0]["inputFacets"]["spanline_retrieval"]["documents"] == [{"id": "d"}]
    assert event["run"]["facets"]["spanline_trace"]["tags"] == {"k": "v"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_that_json_lacks(value):
    event = event_of(record(operations=[operation(duration_seconds=value)], usage=Usage(cost_usd=value, input_tokens=1)))
    assert "durationSeconds" not in event["run"]["facets"]["spanline_operations"]["operations"][0]
    assert "costUsd" not in event["run"]["facets"]["spanline_usage"]
