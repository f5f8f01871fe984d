"""Every setting of a preset, one by one, on what is sent."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.relay.consumer import DeliveryError, TransportConsumer
from spanline.relay.presets import CHOICES, PRESETS, Preset, preset_of
from spanline.relay.shape import Shaper
from spanline.testing.validation import validate_event
from spanline.transports.http import HttpTransport
from tests.faults.test_consumer_answers import event as journalled
from tests.unit.test_relay_shape import TRACE, Recording, dataset, entries, parent, shaped, terminal


def sent(*events: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """What a consumer is sent of journalled events, one delivery each."""
    transport = Recording()
    consumer = TransportConsumer("c", transport, {"preset": "openlineage", **options})
    for event in events:
        consumer.deliver(entries(event))
    return transport.events


def evaluated(*names: str, ms: int = 1, run_id: str = TRACE, **more: Any) -> dict[str, Any]:
    """A further terminal event, as `evaluation()` journals one: everything, and all evaluations so far."""
    found = [{"name": name, "score": 0.5, "evaluatedAt": "2026-11-21T13:00:00.000000Z"} for name in names]
    facets = {"spanline_evaluations": {"_producer": "p", "_schemaURL": "u", "evaluations": found}}
    facets["test"] = {"_producer": "p", "_schemaURL": "u", "tests": [{"name": name, "status": "pass"} for name in names]}
    event = first(run_id, facets=facets if names else {}, **more)
    event["eventTime"] = f"2026-11-21T12:00:01.{500 + ms}000Z"
    return event


def first(run_id: str = TRACE, **more: Any) -> dict[str, Any]:
    """A terminal event that says how long its run took."""
    event = terminal(run_id, **more)
    event["run"]["facets"]["spanline_trace"] |= {"durationSeconds": 1.5, "service": "svc"}
    return event


def kinds(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["eventType"], event["job"]["name"]) for event in events]


def test_each_choice_of_each_knob_is_taken() -> None:
    for knob, choices in CHOICES.items():
        for choice in choices:
            assert getattr(preset_of({"preset": "marquez", knob: choice}), knob) == choice
            assert shaped("marquez", first(facets=parent()), **{knob: choice})


def test_the_marquez_preset_is_what_its_observations_ask_for() -> None:
    assert PRESETS["marquez"] == Preset(
        parents="drop", start_events="complete_io", job_facets="once", dataset_facets="once", evaluations="run",
        incomplete="skip", max_event_bytes=100_000, rate_per_second=10.0,
    )  # fmt: skip


# parents, run ids -------------------------------------------------------------------------------------------------------


def test_parents_root_names_the_root_where_it_is_known() -> None:
    between = parent(str(uuid.uuid4()))
    between["parent"]["root"] = parent()["parent"]["run"] and {"run": {"runId": TRACE}, "job": {"namespace": "ns", "name": "root"}}
    found = shaped("openlineage", first(str(uuid.uuid4()), facets=between), parents="root")
    assert [event["run"]["facets"]["parent"]["run"]["runId"] for event in found] == [TRACE] * 2
    lone = {"parent": {"run": {"runId": TRACE}, "job": {"namespace": "ns", "name": "other"}}}
    assert shaped("openlineage", first(facets=lone), parents="root")[-1]["run"]["facets"]["parent"] == lone["parent"]


def test_run_ids_without_dashes_get_them() -> None:
    plain = TRACE.replace("-", "")
    found = shaped("openlineage", {**first(facets=parent(plain)), "run": {"runId": plain.upper(), "facets": parent(plain)}})
    assert [event["run"]["runId"] for event in found] == [TRACE]
    assert found[0]["run"]["facets"]["parent"]["root"]["run"]["runId"] == TRACE
    assert shaped("openlineage", {**first(), "run": {"runId": "z" * 32}})[0]["run"]["runId"] == "z" * 32


# START ------------------------------------------------------------------------------------------------------------------


def test_a_start_after_the_end_is_never_sent() -> None:
    assert kinds(sent(first(), {**first(), "eventType": "START"})) == [("START", "svc.POST /chat"), ("COMPLETE", "svc.POST /chat")]


def test_a_start_is_held_back_where_its_end_may_be_left_out() -> None:
    both, less = [dataset("a"), dataset("b")], [dataset("a")]
    run_id = str(uuid.uuid4())
    start = {**first(run_id, inputs=less), "eventType": "START"}
    options = {"start_events": "complete_io", "incomplete": "skip"}
    assert len(sent(first(inputs=both), start, first(run_id, inputs=less), **options)) == 2
    # One whose START went out before the graph grew has to end.
    found = sent(start, first(inputs=both), first(run_id, inputs=less, kind="FAIL"), **options)
    assert [event["eventType"] for event in found] == ["START", "START", "COMPLETE", "FAIL"]


# Job facets -------------------------------------------------------------------------------------------------------------


def without_type(event: dict[str, Any]) -> dict[str, Any]:
    """As the journal has all but the first event of a kind."""
    del event["job"]["facets"]["jobType"]
    return event


@pytest.mark.parametrize(("how", "last"), [("always", True), ("once", False), ("keep", False)])
def test_job_facets(how: str, last: bool) -> None:
    found = [event for event in sent(first(), without_type(first(str(uuid.uuid4()))), job_facets=how) if event["eventType"] == "COMPLETE"]
    assert ["jobType" in event["job"]["facets"] for event in found] == [True, last]
    assert all(event["job"]["facets"]["sourceCodeLocation"] for event in found)


def test_job_facets_come_once_again_with_other_datasets() -> None:
    other = [dataset("other")]
    found = sent(
        first(),
        without_type(first(str(uuid.uuid4()), inputs=other)),
        without_type(first(str(uuid.uuid4()), inputs=other)),
        job_facets="once",
    )
    assert ["jobType" in event["job"]["facets"] for event in found if event["eventType"] == "COMPLETE"] == [True, True, False]


def test_job_facets_of_an_event_that_is_thinned_come_with_the_first_one_sent() -> None:
    transport = Recording()
    consumer = TransportConsumer("c", transport, {"preset": "marquez", "sample": 0.5, "rate_per_second": None})
    runs = [str(uuid.uuid4()) for _ in range(40)]
    for number, run_id in enumerate(runs):
        event = first(run_id)
        consumer.deliver(entries(event if number == 0 else without_type(event)))
    ends = [event for event in transport.events if event["eventType"] == "COMPLETE"]
    assert 0 < len(ends) < 40
    assert ["jobType" in event["job"]["facets"] for event in ends] == [True] + [False] * (len(ends) - 1)


def test_job_facets_that_were_not_taken_come_again() -> None:
    transport = Recording()
    consumer = TransportConsumer("c", transport, {"preset": "marquez"})
    transport.refuse = [None, TransportError("HTTP 503", status=503)]
    batch = entries(first())
    with pytest.raises(DeliveryError):
        consumer.deliver(batch)
    consumer.deliver(batch)
    assert "jobType" in transport.events[-1]["job"]["facets"]
    assert [event["eventType"] for event in transport.events] == ["START", "COMPLETE"]


# Evaluations ------------------------------------------------------------------------------------------------------------


def test_an_evaluation_enriches_its_run_without_reopening_it() -> None:
    found = sent(first(), evaluated("faithfulness"))
    assert [event["eventType"] for event in found] == ["START", "COMPLETE", "COMPLETE"]
    assert found[-1]["run"]["facets"]["spanline_evaluations"]


def test_a_further_terminal_event_is_known_as_one_by_itself() -> None:
    """After a restart nothing is remembered: a START would reopen the run."""
    assert [event["eventType"] for event in sent(evaluated("faithfulness"))] == ["COMPLETE"]
    assert kinds(sent(evaluated("faithfulness"), evaluations="run")) == [("START", "svc.evaluate"), ("COMPLETE", "svc.evaluate")]


def test_each_new_evaluation_is_a_run_of_its_own() -> None:
    found = sent(first(), evaluated("a"), evaluated("a", "b", ms=2), evaluated("a", "b", ms=3), evaluations="run")
    assert kinds(found) == [(kind, name) for name in ("svc.POST /chat", "svc.evaluate", "svc.evaluate") for kind in ("START", "COMPLETE")]
    ends = [event for event in found if event["eventType"] == "COMPLETE"][1:]
    assert [event["run"]["facets"]["spanline_evaluations"]["evaluations"][0]["name"] for event in ends] == ["a", "b"]
    assert [len(event["run"]["facets"]["test"]["tests"]) for event in ends] == [1, 1]
    assert len({event["run"]["runId"] for event in found}) == 3
    assert all(uuid.UUID(event["run"]["runId"]).version == 5 for event in ends)
    for event in ends:
        assert event["run"]["facets"]["parent"]["run"]["runId"] == event["run"]["facets"]["externalQuery"]["externalQueryId"] == TRACE
        assert [each["name"] for each in event["inputs"]] == ["responses.svc"]
        assert event["job"]["facets"]["jobType"]["jobType"] == "EVALUATION"
        assert event["run"]["facets"]["spanline_trace"]["startedAt"] == event["eventTime"] == "2026-11-21T13:00:00.000000Z"


def test_an_evaluation_run_has_the_same_id_after_a_restart() -> None:
    ids = {sent(evaluated("a"), evaluations="run")[-1]["run"]["runId"] for _ in range(2)}
    assert len(ids) == 1


def test_evaluations_of_the_runs_own_time_stay_on_it() -> None:
    event = evaluated("a", ms=0)
    assert kinds(sent(event, evaluations="run")) == [("START", "svc.POST /chat"), ("COMPLETE", "svc.POST /chat")]
    assert kinds(sent(event, evaluated("a", "b"), evaluations="run"))[2:] == [("START", "svc.evaluate"), ("COMPLETE", "svc.evaluate")]


def test_an_eval_set_is_an_input() -> None:
    event = evaluated("a")
    event["run"]["facets"]["spanline_evaluations"]["evaluations"][0] |= {"evalSet": "golden", "evalSetVersion": "v2"}
    inputs = sent(event, evaluations="run")[-1]["inputs"]
    assert {"namespace": "datasets", "name": "golden@v2"} in inputs


def test_evaluations_of_somebody_elses_run_do_not_reopen_it() -> None:
    theirs = {
        "eventTime": "2026-11-21T12:00:00Z", "eventType": "OTHER", "job": {"namespace": "dbt", "name": "orders"},
        "run": {"runId": TRACE, "facets": {"spanline_evaluations": {"evaluations": [{"name": "fresh", "passed": True}]}}},
        "inputs": [], "outputs": [], "producer": "https://example.com/dbt", "schemaURL": "https://example.com/schema.json",
    }  # fmt: skip
    assert kinds(sent(json.loads(json.dumps(theirs)))) == [("OTHER", "orders")]
    assert kinds(sent(theirs, evaluations="run")) == [("COMPLETE", "orders.evaluate")]


def test_stragglers_add_datasets_only_while_their_run_is_as_the_newest() -> None:
    more = [dataset("fees", "v7"), dataset("index")]
    straggler = evaluated(inputs=more)
    assert [each["name"] for each in sent(first(), straggler, evaluations="run")[-1]["inputs"]] == ["fees@v7", "index"]
    newer = first(str(uuid.uuid4()), inputs=[dataset("fees", "v8")])
    assert len(sent(first(), newer, evaluated(inputs=more), evaluations="run")) == 4
    # After it the run that shows less than the newest is the one that is skipped.
    assert len(sent(first(), evaluated(inputs=more), first(str(uuid.uuid4())), evaluations="run", incomplete="skip")) == 3


# Batches ----------------------------------------------------------------------------------------------------------------


class Batches(ThreadingHTTPServer):
    """Takes batches where it has an endpoint for them, and single events."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.posts: list[tuple[str, Any, str | None]] = []
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class _Take(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Batches  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        coding = self.headers.get("content-encoding")
        self.server.posts.append((self.path, json.loads(gzip.decompress(body) if coding == "gzip" else body), coding))
        waiting = self.server.answers.get(self.path)
        status, answer = (waiting.pop(0) if len(waiting) > 1 else waiting[0]) if waiting else (201, None)
        text = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Batches]:
    found = Batches()
    yield found
    found.shutdown()
    found.server_close()


def batching(server: Batches, **options: Any) -> TransportConsumer:
    transport = HttpTransport(f"http://127.0.0.1:{server.server_address[1]}")
    return TransportConsumer("c", transport, {"preset": "openlineage", **options})


def runs(count: int) -> list[dict[str, Any]]:
    return [first(str(uuid.uuid4()), facets=parent()) for _ in range(count)]


@pytest.mark.parametrize("how", ["array", "events"])
def test_a_batch_is_shaped_like_single_events(server: Batches, how: str) -> None:
    consumer = batching(server, batch=how, parents="drop")
    consumer.deliver(entries(*runs(3)))
    consumer.deliver(entries(*runs(1)))
    (path, body, _), (_, second, _) = server.posts
    assert path == "/api/v1/lineage/batch"
    events = body["events"] if how == "events" else body
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 3
    assert all("parent" not in event["run"].get("facets", {}) for event in events)
    assert len(second["events"] if how == "events" else second) == 2
    consumer.close(1)


def test_a_batch_that_failed_as_a_whole_is_the_same_the_second_time(server: Batches) -> None:
    server.answers["/api/v1/lineage/batch"] = [(503, None), (200, None)]
    consumer, batch = batching(server, preset="marquez", batch="array"), entries(*runs(2))
    with pytest.raises(TransportError) as caught:
        consumer.deliver(batch)
    assert caught.value.status == 503
    consumer.deliver(batch)
    assert server.posts[0][1] == server.posts[1][1]
    assert [event["eventType"] for event in server.posts[1][1]] == ["START", "COMPLETE"] * 2
    consumer.close(1)


def test_what_a_batch_refuses_is_named_by_its_journalled_event(server: Batches) -> None:
    refused = {"status": "partial_success", "failed_events": [{"index": 3, "reason": "no", "retriable": False}]}
    server.answers["/api/v1/lineage/batch"] = [(200, refused), (200, None)]
    consumer, events = batching(server, preset="marquez", batch="array"), runs(3)
    with pytest.raises(DeliveryError) as caught:
        consumer.deliver(entries(*events))
    assert caught.value.undelivered == (1,)
    consumer.deliver(entries(events[1]))
    assert [event["eventType"] for event in server.posts[-1][1]] == ["START", "COMPLETE"]
    assert ["jobType" in event["job"].get("facets", {}) for event in server.posts[0][1]] == [False, True] + [False] * 4
    consumer.close(1)


def test_where_there_are_no_batches_events_go_one_by_one(server: Batches) -> None:
    server.answers["/api/v1/lineage/batch"] = [(404, None)]
    consumer = batching(server, batch="array")
    consumer.deliver(entries(*runs(2)))
    consumer.deliver(entries(*runs(1)))
    assert [path for path, _, _ in server.posts] == ["/api/v1/lineage/batch", *["/api/v1/lineage"] * 6]
    consumer.close(1)


def test_a_batch_counts_what_it_leaves_out_once(server: Batches) -> None:
    drops: list[str] = []
    server.answers["/api/v1/lineage/batch"] = [(503, None), (200, None)]
    transport = HttpTransport(f"http://127.0.0.1:{server.server_address[1]}")
    consumer = TransportConsumer("c", transport, {"batch": "array", "preset": "openlineage", "incomplete": "skip"}, on_drop=drops.append)
    batch = entries(first(inputs=[dataset("a"), dataset("b")]), first(str(uuid.uuid4()), inputs=[dataset("a")], kind="FAIL"))
    with pytest.raises(TransportError):
        consumer.deliver(batch)
    assert drops == []
    consumer.deliver(batch)
    assert drops == ["incomplete"]
    assert consumer.thinned == 1
    assert len(server.posts[-1][1]) == 2
    consumer.close(1)


def test_our_own_server_gets_the_lines_of_the_journal(server: Batches) -> None:
    consumer = batching(server, preset="spanline")
    events = runs(2)
    consumer.deliver(entries(*events))
    assert server.posts[0][1] == events
    consumer.close(1)


def test_gzip(server: Batches) -> None:
    consumer = batching(server, gzip=True)
    consumer.deliver(entries(*runs(1)))
    assert [coding for _, _, coding in server.posts] == ["gzip"] * 2
    consumer.close(1)


def test_what_is_too_large_even_bare_is_refused_alone(server: Batches) -> None:
    consumer = batching(server, batch="array", max_event_bytes=900)
    huge = first(inputs=[dataset("x" * 200 + str(number)) for number in range(20)])
    with pytest.raises(TransportError) as caught:
        consumer.deliver(entries(*runs(1), huge))
    assert caught.value.status == 413
    assert server.posts == []
    consumer.close(1)


# Names ------------------------------------------------------------------------------------------------------------------


def test_stable_names_are_the_same_on_start_and_end_also_without_facets() -> None:
    events = Shaper(preset_of({"preset": "marquez", "names": "stable"})).shape(first())
    assert [[each["name"] for each in event["inputs"]] for event in events] == [["fees"], ["fees"]]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_is_sent_is_valid(name: str) -> None:
    _, line = journalled()
    for each in Shaper(PRESETS[name]).shape(json.loads(line)):
        validate_event(json.dumps(each).encode(), ours=name != "data-rentgen")
