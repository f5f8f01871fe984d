"""Events against the official OpenLineage schemas and ours."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanline.lineage.events import start_event, start_from_terminal, terminal_event
from spanline.lineage.facets import CLASSES
from spanline.record.artifact import NAMESPACES, Artifact, Document, Retrieval
from spanline.record.run import (
    Conflict,
    Evaluation,
    GuardrailOutcome,
    JobRef,
    ModelUsage,
    Operation,
    Parameters,
    Release,
    RunRecord,
    Usage,
)  # fmt: skip
from spanline.testing import validation
from spanline.testing.validation import validate_event

PRODUCER = "https://spanline.dev/producer/0.1.0"
BASE = "https://lineage.example/schemas"

official = pytest.mark.skipif(validation.official_schemas_missing() is not None, reason=validation.official_schemas_missing() or "")

wild = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.sampled_from("ab\x00\n\x7f\x85\ud800\udfff\u202e\"\\'{}null@#:/ é手👩"), max_size=30),
    st.sampled_from(["", "null", "latest", "x" * 2000, "\x00" * 300, "ü" * 1500]),
)
maybe_wild = st.none() | wild
number = st.floats(min_value=0) | st.just(float("nan")) | st.just(float("inf"))
count = st.integers(min_value=0, max_value=2**40)
span_id = st.integers(min_value=1, max_value=2**64 - 1).map(lambda value: f"{value:016x}")
digest = st.none() | st.sampled_from(["sha256:" + "a" * 64, "sha256:" + "b" * 64])
run_id = st.uuids().map(str)
time = st.none() | st.just("2026-11-21T12:00:00.000001Z")


def maybe(strategy):
    return st.none() | strategy


usage = st.builds(
    Usage, input_tokens=maybe(count), output_tokens=maybe(count), cost_usd=maybe(number),
    by_model=maybe(st.lists(st.builds(ModelUsage, provider=maybe_wild, model=maybe_wild, operation=maybe_wild, input_tokens=maybe(count)), max_size=3)),
)  # fmt: skip
operation = st.builds(
    Operation, span_id=span_id, parent_span_id=maybe(span_id), kind=st.sampled_from(["inference", "retrieval", "other", "guardrail"]),
    name=maybe_wild, provider=maybe_wild, request_model=maybe_wild, response_id=maybe_wild, duration_seconds=maybe(number), error_type=maybe_wild,
    finish_reasons=maybe(st.lists(st.sampled_from(["stop", "length", "other"]))), streamed=maybe(st.booleans()), started_at=time,
    parameters=maybe(st.builds(Parameters, temperature=maybe(st.floats()), seed=maybe(st.integers()), max_tokens=maybe(count))), usage=maybe(usage),
)  # fmt: skip
document = st.builds(Document, id=wild, score=maybe(st.floats()), source=maybe_wild, version=maybe_wild, digest=maybe_wild)
retrieval = st.builds(
    Retrieval, top_k=maybe(count), hits=maybe(count), documents=st.lists(document, max_size=4).map(tuple), span_id=maybe(span_id)
)
artifact = st.builds(
    Artifact, kind=st.sampled_from(sorted(NAMESPACES)) | wild, name=wild, namespace=st.just("") | wild, version=maybe_wild, digest=digest,
    role=st.sampled_from(["input", "output"]), evidence=st.sampled_from(["observed", "declared", "inferred"]), owner=maybe_wild, stage=maybe_wild,
    uri=maybe_wild, made_of=st.lists(wild, max_size=2).map(tuple), retrieval=maybe(retrieval),
)  # fmt: skip
job_ref = st.builds(JobRef, run_id=run_id, namespace=wild, name=wild)
guardrail = st.builds(
    GuardrailOutcome, name=wild, version=maybe_wild, phase=maybe_wild | st.just("input"), outcome=st.sampled_from(["pass", "fail", "error", "skip"]),
    action=maybe_wild | st.just("block"), score=maybe(st.floats()), span_id=maybe(span_id),
)  # fmt: skip
conflict = st.builds(
    Conflict, kind=wild, namespace=wild, name=wild, version=maybe_wild, digest=wild, expected_digest=wild, first_seen_run_id=maybe(run_id)
)
evaluation = st.builds(
    Evaluation, name=wild, score=maybe(st.floats()), label=maybe_wild, passed=maybe(st.booleans()), evaluator=maybe_wild, evaluated_at=time
)
release = st.builds(
    Release, release=maybe_wild, code_revision=maybe_wild, code_dirty=maybe(st.booleans()),
    repository=maybe_wild | st.sampled_from(["https://github.com/acme/fees.git", "git@h.example:a/b.git", "https://u:p@h.example/" + "y" * 250]),
)  # fmt: skip
started = st.integers(min_value=0, max_value=4 * 10**18)
records = st.builds(
    RunRecord, run_id=run_id, trace_id=st.uuids().map(lambda value: value.hex), span_id=span_id, namespace=wild, job=wild.map(lambda w: "job." + w),
    service=wild, started_ns=started, ended_ns=maybe(started), outcome=maybe(st.sampled_from(["COMPLETE", "FAIL", "ABORT"])), error_type=maybe_wild,
    sequence=st.integers(min_value=0, max_value=5), sampled=st.booleans(), live=st.booleans(), environment=maybe_wild, parent=maybe(job_ref),
    root=maybe(job_ref), request_id=maybe_wild, tenant=maybe_wild | st.just("hmac-sha256:k:" + "0" * 64), tags=st.dictionaries(wild, wild, max_size=3),
    http_status_code=maybe(st.integers(min_value=100, max_value=599)), run_url=maybe_wild, release=maybe(release),
    operations=st.lists(operation, max_size=4), operations_dropped=st.integers(min_value=0, max_value=3), artifacts=st.lists(artifact, max_size=6),
    usage=maybe(usage), guardrails=st.lists(guardrail, max_size=2), conflicts=st.lists(conflict, max_size=2),
    evaluations=st.lists(evaluation, max_size=3), parameters=st.dictionaries(wild, wild, max_size=3),
    metrics=st.dictionaries(wild, st.floats(), max_size=3), source_path=maybe_wild,
)  # fmt: skip


@official
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(records, st.booleans())
def test_events_of_any_record_are_valid(record, job_facets):
    line = terminal_event(record, producer=PRODUCER, schema_base=BASE, job_facets=job_facets)
    validate_event(line)
    start = start_event(record, producer=PRODUCER, schema_base=BASE)
    validate_event(start)
    assert json.loads(start) == start_from_terminal(json.loads(line))


def full_event():
    made = RunRecord(
        run_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736", trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", namespace="rag-prod",
        job="fees.POST /chat", service="fees", started_ns=10**18, ended_ns=10**18 + 10**9, outcome="FAIL", error_type="ValueError",
        parent=JobRef(run_id="00000000-0000-5000-8000-000000000001", namespace="rag-prod", name="gateway"), tags={"case": "1"},
        release=Release(release="1", code_revision="abc", repository="https://github.com/acme/fees"), usage=Usage(input_tokens=1),
        operations=[Operation(span_id="00f067aa0ba902b8", kind="inference")], guardrails=[GuardrailOutcome(name="g", outcome="pass")],
        artifacts=[
            Artifact(kind="index", name="fees", version="1", retrieval=Retrieval(top_k=1, hits=1, documents=(Document(id="d"),))),
            Artifact(kind="dataset", name="out", role="output"),
        ],
        conflicts=[Conflict(kind="prompt", namespace="prompts", name="fees", version="1", digest="sha256:b", expected_digest="sha256:a")],
        evaluations=[Evaluation(name="e", passed=True)], parameters={"a": "1"}, metrics={"loss": 0.5},
    )  # fmt: skip
    return json.loads(terminal_event(made, producer=PRODUCER, schema_base=BASE))


def containers(event):
    yield event["run"]["facets"]
    yield event["job"]["facets"]
    for dataset in (*event["inputs"], *event["outputs"]):
        yield dataset.get("facets", {})
        yield dataset.get("inputFacets", {})


INVALID = {
    "spanline_trace": {"traceId": "4BF92F35"},
    "spanline_release": {"release": 1},
    "spanline_operations": {"operations": [{"spanId": "00f067aa0ba902b8", "kind": "thought"}]},
    "spanline_usage": {"inputTokens": -1},
    "spanline_guardrails": {"outcomes": [{"name": "g", "outcome": "maybe"}]},
    "spanline_conflicts": {"conflicts": [{"kind": "prompt"}]},
    "spanline_evaluations": {"evaluations": [{"score": 1}]},
    "spanline_metrics": {"metrics": {"loss": "low"}},
    "spanline_artifact": {"evidence": "guessed"},
    "spanline_retrieval": {"documents": [{"id": "d", "text": "content"}]},
}


def test_every_facet_of_ours_has_a_valid_and_an_invalid_instance():
    event = full_event()
    validate_event(event)
    seen = {key for container in containers(event) for key in container}
    assert set(INVALID) == set(CLASSES) <= seen


@pytest.mark.parametrize("key", sorted(INVALID))
def test_an_invalid_facet_is_found(key):
    event = full_event()
    for container in containers(event):
        if key in container:
            container[key].update(INVALID[key])
    with pytest.raises(AssertionError, match=key):
        validate_event(event)


@pytest.mark.parametrize("key", sorted(CLASSES))
def test_an_additional_property_is_found(key):
    event = full_event()
    for container in containers(event):
        if key in container:
            container[key]["prompt"] = "content"
    with pytest.raises(AssertionError, match=r"prompt"):
        validate_event(event)


@official
@pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda e: e["run"].update(runId=e["run"]["runId"].replace("-", "")), "runId"),
        (lambda e: e.update(eventTime="2026-11-21 12:00"), "eventTime"),
        (lambda e: e.update(producer="no uri"), "producer"),
        (lambda e: e.update(eventType="DONE"), "eventType"),
        (lambda e: e["run"]["facets"]["executionParameters"]["parameters"][0].update(value=1), "executionParameters"),
        (lambda e: e["run"]["facets"]["parent"]["run"].pop("runId"), "parent"),
        (lambda e: e["job"]["facets"]["jobType"].pop("integration"), "jobType"),
        (lambda e: e["job"]["facets"]["sourceCodeLocation"].pop("_producer"), "_producer"),
        (lambda e: e["inputs"][0]["inputFacets"]["inputStatistics"].update(rowCount="1"), "inputStatistics"),
        (lambda e: e["run"]["facets"]["tags"].update(_schemaURL="https://openlineage.io/spec/main/TagsRunFacet.json"), "tags"),
    ],
)
def test_what_the_specification_forbids_is_found(break_it, what):
    event = full_event()
    break_it(event)
    with pytest.raises(AssertionError, match=what):
        validate_event(event)


@pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda e: e.pop("outputs"), "outputs"),
        (lambda e: e["inputs"].append(copy.deepcopy(e["inputs"][0])), "twice"),
        (lambda e: e["run"]["facets"]["spanline_trace"].update(environment=None), "environment|null"),
        (lambda e: e["job"].update(name="a\x00b"), "control"),
        (lambda e: e["job"].update(namespace="prod env"), "grammar"),
        (lambda e: e["job"].update(name="x" * 256), "255"),
        (lambda e: e["job"]["facets"]["sourceCodeLocation"].update(url="https://h.example/" + "x" * 255), "255"),
        (lambda e: e["run"]["facets"].update(spanline_secret=e["run"]["facets"]["spanline_metrics"]), "spanline_secret"),
        (lambda e: e.update(eventType="START"), "START"),
        (lambda e: e["run"]["facets"].pop("spanline_trace"), "spanline_trace"),
    ],
)
def test_what_our_own_rules_forbid_is_found(break_it, what):
    event = full_event()
    break_it(event)
    with pytest.raises(AssertionError, match=what):
        validate_event(event)


def test_nan_is_no_json():
    with pytest.raises(AssertionError, match="NaN"):
        validate_event(json.dumps({"run": float("nan")}))


def test_events_of_others_need_not_keep_our_rules():
    event = {
        "eventTime": "2026-11-21T12:00:00Z", "eventType": "COMPLETE", "producer": "https://airflow.example/1", "schemaURL": f"{validation.CORE}#/$defs/RunEvent",
        "run": {"runId": "01941f29-7c00-7087-8940-40e5bdad5b99"}, "job": {"namespace": "prod env", "name": "dag.task"},
    }  # fmt: skip
    validate_event(event, ours=False)
    with pytest.raises(AssertionError):
        validate_event(event)


def test_a_missing_folder_gives_the_word_to_skip_with(monkeypatch, tmp_path):
    monkeypatch.setenv("SPANLINE_SHARED", str(tmp_path))
    assert "SPANLINE_SHARED" in (validation.official_schemas_missing() or "")
    validate_event(full_event())
