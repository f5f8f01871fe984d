"""Which spans of a trace make which runs: ids, jobs, parents, outcomes, counted once, joined log records."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

import pytest

from spanline.convert.converter import Converter
from spanline.settings import Settings
from tests.otlp_files import pairs, request, span

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "1bf7651916cd43dd8448eb211c80319c"
S = 10**18
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}
ROOT = str(uuid.UUID(TRACE))


def ident(number: int) -> str:
    return f"{number:016x}"


def child(number: int, trace: str = TRACE) -> str:
    return str(uuid.uuid5(uuid.UUID(trace), ident(number)))


def converted(
    *requests: dict[str, Any], namespace: str | None = None, service: str | None = None, **settings: Any
) -> dict[str, dict[str, Any]]:
    """Terminal events by run id."""
    converter = Converter(Settings.resolve({"hash_key": "key", **settings}, {}), namespace=namespace, service=service)
    for it in requests:
        converter.read(io.BytesIO(json.dumps(it).encode()), lambda line, reason: pytest.fail(f"{line}: {reason}"))
    events = [json.loads(line) for line in converter.lines()]
    return {event["run"]["runId"]: event for event in events if event["eventType"] != "START"}


def http(**more: Any) -> dict[str, Any]:
    return {"http.request.method": "POST", "http.route": "/chat", "http.response.status_code": 200, **more}


def test_a_request_is_the_run_of_its_trace() -> None:
    events = converted(
        request([
            span(TRACE, ident(2), ident(1), kind=3, attributes={**CHAT, "gen_ai.usage.input_tokens": 3}),
            span(TRACE, ident(1), kind=2, attributes=http(), start=S, end=S + 2 * 10**9),
        ])
    )  # fmt: skip
    (event,) = events.values()
    assert event["run"]["runId"] == ROOT
    assert (event["job"]["namespace"], event["job"]["name"]) == ("default", "svc.POST /chat")
    assert "parent" not in event["run"]["facets"]
    trace = event["run"]["facets"]["spanline_trace"]
    assert (trace["spanId"], trace["httpStatusCode"], trace["durationSeconds"], trace["service"]) == (ident(1), 200, 2.0, "svc")
    assert event["run"]["facets"]["spanline_usage"]["inputTokens"] == 3


@pytest.mark.parametrize(
    ("attributes", "status", "outcome"),
    [
        (http(), {}, "COMPLETE"),
        (http(), {"code": 2}, "FAIL"),
        (http(), {"code": "STATUS_CODE_ERROR", "message": "SECRET"}, "FAIL"),
        (http(**{"http.response.status_code": 503}), {}, "FAIL"),
        (http(**{"http.response.status_code": 404}), {}, "COMPLETE"),
        (http(**{"error.type": "client_disconnected"}), {}, "ABORT"),
    ],
)
def test_outcome_is_that_of_the_root(attributes: dict[str, Any], status: dict[str, Any], outcome: str) -> None:
    below = span(TRACE, ident(2), ident(1), attributes=CHAT, status={"code": 2})
    events = converted(request([span(TRACE, ident(1), kind=2, attributes=attributes, status=status), below]))
    assert events[ROOT]["eventType"] == outcome
    assert events[ROOT]["run"]["facets"]["spanline_operations"]["operations"][0]["errorType"] == "_OTHER"
    assert "SECRET" not in json.dumps(events)


@pytest.mark.parametrize(
    ("root", "job"),
    [
        ({"attributes": CHAT}, "svc.chat m"),
        ({"attributes": {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk"}}, "svc.invoke_agent clerk"),
        ({"attributes": {}}, "svc.trace"),
        ({"kind": 2, "attributes": {"http.method": "GET"}}, "svc.GET"),
        (
            {"kind": 2, "attributes": {"http.request.method": "GET", "http.route": "/ws", "network.protocol.name": "websocket"}},
            "svc.WS /ws",
        ),
        ({"attributes": {"spanline.job": "nightly", "openlineage.job.name": "svc.nightly"}}, "svc.nightly"),
        ({"attributes": {"openlineage.job.name": "other.POST /x", "openlineage.job.namespace": "prod"}}, "other.POST /x"),
        ({"attributes": {"openlineage.job.name": "\x1f", "openlineage.job.namespace": "\x1f"}}, "svc.trace"),
        ({"kind": 2, "attributes": {"openlineage.job.name": " ", **http()}}, "svc.POST /chat"),
    ],
)
def test_job_names(root: dict[str, Any], job: str) -> None:
    assert converted(request([span(TRACE, ident(1), **root)]))[ROOT]["job"]["name"] == job


def test_another_service_is_a_child_run_with_parent_and_root() -> None:
    gateway = request([span(TRACE, ident(1), kind=2, attributes=http()), span(TRACE, ident(2), ident(1), kind=3)], "gateway")
    chat = request([span(TRACE, ident(3), ident(2), kind=2, attributes=http()), span(TRACE, ident(4), ident(3), kind=3)], "chat")
    index = request([span(TRACE, ident(5), ident(4), kind=2, attributes=http()), span(TRACE, ident(6), ident(5), attributes=CHAT)], "index")
    for order in ((gateway, chat, index), (index, gateway, chat)):
        events = converted(*order)
        assert set(events) == {ROOT, child(3), child(5)}
        owner = {"namespace": "default", "name": "gateway.POST /chat"}
        for run, parent, job in ((child(3), ROOT, owner), (child(5), child(3), {"namespace": "default", "name": "chat.POST /chat"})):
            facet = events[run]["run"]["facets"]["parent"]
            assert (facet["run"]["runId"], facet["job"]) == (parent, job)
            assert (facet["root"]["run"]["runId"], facet["root"]["job"]) == (ROOT, owner)
        assert "spanline_operations" not in events[ROOT]["run"]["facets"]
        assert len(events[child(5)]["run"]["facets"]["spanline_operations"]["operations"]) == 1


def test_a_child_alone_names_its_owner_by_the_tracestate_entry() -> None:
    alone = span(TRACE, ident(3), ident(2), kind=2, attributes=http(), traceState="x=y,spanline=prod/gate%2Fway.POST%20%2Fchat")
    events = converted(request([alone]))
    facet = events[child(3)]["run"]["facets"]["parent"]
    assert (facet["run"]["runId"], facet["job"]) == (ROOT, {"namespace": "prod", "name": "gate/way.POST /chat"})
    assert facet["root"]["run"]["runId"] == ROOT


def test_a_remote_caller_without_spanline_leaves_the_run_to_the_first_service() -> None:
    events = converted(request([span(TRACE, ident(3), ident(2), kind=2, attributes=http(), flags=0x301)]))
    assert list(events) == [ROOT]
    assert "parent" not in events[ROOT]["run"]["facets"]


def test_a_service_that_calls_itself_and_a_job_inside_a_request_are_child_runs() -> None:
    events = converted(
        request([
            span(TRACE, ident(1), kind=2, attributes=http()),
            span(TRACE, ident(2), ident(1), kind=3),
            span(TRACE, ident(3), ident(2), kind=2, attributes=http()),
            span(TRACE, ident(4), ident(1), attributes={"spanline.job": "build", "openlineage.job.name": "svc.build"}),
            span(TRACE, ident(5), ident(1), flags=0x300, attributes=CHAT),
            span(TRACE, ident(6), ident(1), kind=2, flags=0x100),
        ])
    )  # fmt: skip
    assert set(events) == {ROOT, child(3), child(4), child(5)}
    assert events[child(4)]["job"]["facets"]["jobType"]["processingType"] == "BATCH"


def test_a_second_local_root_is_a_child_of_the_first() -> None:
    events = converted(request([span(TRACE, ident(n), kind=2, start=S + n, attributes=http()) for n in (2, 1, 3)]))
    assert set(events) == {ROOT, child(2), child(3)}
    assert events[ROOT]["run"]["facets"]["spanline_trace"]["spanId"] == ident(1)
    assert events[child(3)]["run"]["facets"]["parent"]["run"]["runId"] == ROOT


def test_spans_whose_root_is_lost_are_one_run() -> None:
    events = converted(
        request([span(TRACE, ident(n), ident(1), start=S + n, end=S + n * 10**9, attributes=CHAT, status={"code": 2 if n == 2 else 0}) for n in (2, 3, 4)])
    )  # fmt: skip
    (event,) = events.values()
    assert (event["run"]["runId"], event["job"]["name"], event["eventType"]) == (ROOT, "svc.trace", "COMPLETE")
    assert len(event["run"]["facets"]["spanline_operations"]["operations"]) == 3
    assert event["run"]["facets"]["spanline_trace"]["durationSeconds"] == pytest.approx(4.0)


def test_spans_that_are_one_anothers_parents_end_somewhere() -> None:
    events = converted(
        request([span(TRACE, ident(1), ident(2), attributes=CHAT), span(TRACE, ident(2), ident(1)), span(TRACE, ident(3), ident(3))])
    )
    assert list(events) == [ROOT]


def test_resources_tell_service_release_and_environment() -> None:
    events = converted(
        request(
            [span(TRACE, ident(1), attributes=CHAT)],
            **{"service.version": "1.2", "vcs.ref.head.revision": "a" * 40, "deployment.environment.name": "prod", "k8s.pod.name": "pod-1"},
        )
    )
    facets = events[ROOT]["run"]["facets"]
    assert facets["spanline_trace"]["environment"] == "prod"
    release = facets["spanline_release"]
    assert (release["release"], release["codeRevision"], release["pod"]) == ("1.2", "a" * 40, "pod-1")
    assert {key for key in release if not key.startswith("_")} == {"release", "codeRevision", "pod"}


def test_options_and_defaults_for_service_and_namespace() -> None:
    nameless = request([span(TRACE, ident(1), attributes=CHAT)], None)
    unknown = request([span(TRACE, ident(1), attributes=CHAT)], "unknown_service:python")
    named = request([span(TRACE, ident(1), attributes=CHAT)], "svc")
    for it, settings, job in (
        (nameless, {}, ("default", "unknown_service.chat m")),
        (nameless, {"service": "mine"}, ("default", "mine.chat m")),
        (unknown, {"service": "mine", "namespace": "rag prod"}, ("rag_prod", "mine.chat m")),
    ):
        event = converted(it, service=settings.get("service"), namespace=settings.get("namespace"))[ROOT]
        assert (event["job"]["namespace"], event["job"]["name"]) == job
    assert converted(named, service="mine")[ROOT]["job"]["name"] == "mine.chat m"


def test_one_response_in_two_traces_counts_once() -> None:
    usage = {"gen_ai.usage.input_tokens": 41, "gen_ai.response.id": "r1"}
    events = converted(
        request([span(TRACE, ident(1), attributes={**CHAT, **usage})]),
        request([span(OTHER, ident(2), start=S + 5, attributes={**CHAT, **usage})]),
    )
    native = events[str(uuid.UUID(OTHER))]["run"]["facets"]
    assert events[ROOT]["run"]["facets"]["spanline_usage"]["inputTokens"] == 41
    assert native["spanline_operations"]["operations"][0]["rollup"] is True
    assert "spanline_usage" not in native


def test_the_same_label_with_another_digest_is_a_conflict_in_the_order_of_time() -> None:
    def prompt(digest: str) -> dict[str, Any]:
        artifact = {"kind": "prompt", "name": "fees", "version": "v7", "digest": f"sha256:{digest * 64}"}
        return {**CHAT, "spanline.operation": "inference", "spanline.artifacts": json.dumps([artifact])}

    later = request([span(TRACE, ident(1), start=S + 10**9, end=S + 2 * 10**9, attributes=prompt("b"))])
    first = request([span(OTHER, ident(2), attributes=prompt("a"))])
    events = converted(later, first)
    (conflict,) = events[ROOT]["run"]["facets"]["spanline_conflicts"]["conflicts"]
    assert (conflict["expectedDigest"], conflict["firstSeenRunId"]) == (f"sha256:{'a' * 64}", str(uuid.UUID(OTHER)))
    assert "spanline_conflicts" not in events[str(uuid.UUID(OTHER))]["run"]["facets"]


def log(name: str, attributes: dict[str, Any], trace: str = TRACE, of: int | None = 2, *, old: bool = False, **more: Any) -> dict[str, Any]:
    said = pairs({**attributes, "event.name": name} if old else attributes)
    found = {"timeUnixNano": str(S + 7), "body": {"stringValue": "SECRET"}, "attributes": said, **more}
    return found | ({} if old else {"eventName": name}) | ({"traceId": trace, "spanId": ident(of)} if of else {})


@pytest.mark.parametrize("old", [False, True])
def test_log_records_join_spans(old: bool) -> None:
    details = {**CHAT, "gen_ai.response.id": "r1", "gen_ai.usage.output_tokens": 5, "gen_ai.input.messages": [{"content": "SECRET"}]}
    events = converted(
        request([], logs=[log("gen_ai.client.inference.operation.details", details, old=old), log("app.event", {"x": "SECRET"})]),
        request([span(TRACE, ident(1)), span(TRACE, ident(2), ident(1), attributes=CHAT)]),
    )
    (operation,) = events[ROOT]["run"]["facets"]["spanline_operations"]["operations"]
    assert (operation["responseId"], operation["usage"]) == ("r1", {"outputTokens": 5})
    assert "SECRET" not in json.dumps(events)


def test_evaluations_find_the_response_they_judge() -> None:
    judged = request([span(TRACE, ident(1), attributes={**CHAT, "gen_ai.response.id": "r1"})])
    judge = request([span(OTHER, ident(9), attributes={"gen_ai.operation.name": "chat"})], "judge")
    score = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5, "gen_ai.response.id": "r1"}
    for where in ({"trace": OTHER, "of": 9}, {"of": None}):
        events = converted(request([], logs=[log("gen_ai.evaluation.result", score, **where)]), judge, judged)
        (evaluation,) = events[ROOT]["run"]["facets"]["spanline_evaluations"]["evaluations"]
        assert (evaluation["name"], evaluation["score"]) == ("relevance", 0.5)
        assert "spanline_evaluations" not in events[str(uuid.UUID(OTHER))]["run"]["facets"]


def test_details_without_a_span_are_a_run_and_what_belongs_nowhere_is_said() -> None:
    warnings: list[str] = []
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}), warn=warnings.append)
    logs = [
        log("gen_ai.client.inference.operation.details", {**CHAT, "gen_ai.response.id": "r1"}),
        log("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "x", "gen_ai.response.id": "gone"}, of=None),
    ]
    converter.read(io.BytesIO(json.dumps(request([], logs=logs)).encode()), lambda line, reason: pytest.fail(reason))
    events = [json.loads(line) for line in converter.lines()]
    assert [event["run"]["runId"] for event in events] == [ROOT, ROOT]
    assert events[1]["job"]["name"] == "svc.chat m"
    assert warnings == ["1 log record of the input belongs to no trace of it"]


def test_people_and_content_leave_as_digests_or_not_at_all() -> None:
    documents = json.dumps([{"id": "jane@example.com/1"}, {"id": "https://u:p@host/doc?token=SECRET#x"}])
    attributes = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "kb",
        "gen_ai.retrieval.documents": documents,
        "x": "SECRET",
    }
    text = json.dumps(converted(request([span(TRACE, ident(1), attributes=attributes)])))
    assert "SECRET" not in text
    assert "jane@" not in text
    assert "hmac-sha256:" in text
    assert "https://host/doc" in text


@pytest.mark.parametrize("parent", ["499", "zz" * 8, ident(1) + "00"])
def test_a_span_whose_parent_is_no_id_is_said_and_the_others_are_read(parent: str) -> None:
    reasons: list[str] = []
    converter = Converter(Settings.resolve({"hash_key": "key"}, {}))
    spans = [span(TRACE, ident(2), parent, attributes=CHAT), span(TRACE, ident(1), attributes=http())]
    spans.append(span(TRACE, ident(3), ident(1), attributes=CHAT))
    converter.read(io.BytesIO(json.dumps(request(spans)).encode()), lambda line, reason: reasons.append(reason))
    (event,) = [event for event in map(json.loads, converter.lines()) if event["eventType"] != "START"]
    assert [operation["spanId"] for operation in event["run"]["facets"]["spanline_operations"]["operations"]] == [ident(3)]
    assert reasons == ["a span whose parent has no valid span id"]
