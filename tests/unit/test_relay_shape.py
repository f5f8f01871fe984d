"""What each consumer is sent: presets, START events, thinning, size."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from spanline.errors import ConfigurationError, TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import DeliveryError, TransportConsumer
from spanline.relay.presets import PRESETS, preset_of
from spanline.relay.run_ids import v7_of
from spanline.relay.shape import Shaper
from spanline.relay.thinning import Thinning, trace_key
from spanline.transports.base import TooLarge

TRACE = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
URL = "https://example.com/schema.json"


def dataset(name: str, version: str | None = None, **more: Any) -> dict[str, Any]:
    facets: dict[str, Any] = {"version": {"datasetVersion": version}, "spanline_artifact": {"version": version}} if version else {}
    return {"namespace": "prompts", "name": f"{name}@{version}" if version else name, "facets": facets, **more}


def terminal(
    run_id: str = TRACE, *, kind: str = "COMPLETE", inputs: list[Any] | None = None, second: int = 1, **more: Any
) -> dict[str, Any]:
    facets = {"spanline_trace": {"traceId": run_id.replace("-", ""), "startedAt": "2026-11-21T12:00:00.000000Z", "runUrl": "http://x/r/1"}}
    facets |= more.pop("facets", {})
    return {
        "eventTime": f"2026-11-21T12:{second // 60:02d}:{second % 60:02d}.500000Z",
        "eventType": kind,
        "run": {"runId": run_id, "facets": facets},
        "job": {
            "namespace": "ns",
            "name": "svc.POST /chat",
            "facets": {"jobType": {"processingType": "SERVICE"}, "sourceCodeLocation": {"url": "u"}},
        },
        "inputs": [dataset("fees", "v7")] if inputs is None else inputs,
        "outputs": [dataset("responses.svc")],
        "producer": "https://example.com/spanline",
        "schemaURL": URL,
        **more,
    }


def parent(run_id: str = TRACE) -> dict[str, Any]:
    run = {"run": {"runId": run_id}, "job": {"namespace": "ns", "name": "root"}}
    return {"parent": {**run, "root": run}}


def shaped(name: str, event: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return Shaper(preset_of({"preset": name, **options})).shape(event)


class Recording:
    """A transport that keeps what it is sent, and refuses on demand."""

    kind = "recording"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refuse: list[TransportError | None] = []

    def emit(self, event: Any) -> None:
        error = self.refuse.pop(0) if self.refuse else None
        if error is not None:
            raise error
        self.events.append(json.loads(json.dumps(event)))

    def close(self, timeout_s: float) -> bool:
        return True


def entries(*events: dict[str, Any]) -> list[Entry]:
    lines = [json.dumps(event).encode() for event in events]
    return [Entry("s", index * 10, index * 10 + 10, line) for index, line in enumerate(lines)]


def test_a_start_is_derived_and_comes_first() -> None:
    start, end = shaped("openlineage", terminal(facets=parent()))
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["eventTime"] == "2026-11-21T12:00:00.000000Z"
    assert set(start["run"]["facets"]) == {"parent"}
    assert [d["name"] for d in start["inputs"]] == [d["name"] for d in end["inputs"]]


def test_a_start_is_sent_once_a_run() -> None:
    shaper = Shaper(PRESETS["openlineage"])
    journalled = {**terminal(), "eventType": "START"}
    assert len(shaper.shape(journalled)) == 1
    shaper.accepted()
    assert [event["eventType"] for event in shaper.shape(terminal())] == ["COMPLETE"]
    shaper.accepted()
    assert [event["eventType"] for event in shaper.shape(terminal())] == ["COMPLETE"]


def test_a_start_that_was_not_taken_is_sent_again() -> None:
    shaper = Shaper(PRESETS["openlineage"])
    assert len(shaper.shape(terminal())) == 2
    shaper.forget()
    assert len(shaper.shape(terminal())) == 2


def test_events_of_others_pass_as_they_are() -> None:
    theirs = {"eventTime": "2026-11-21T12:00:00Z", "eventType": "COMPLETE", "run": {"runId": TRACE}, "job": {"namespace": "a", "name": "b"}}
    assert shaped("openlineage", dict(theirs)) == [theirs]
    job = {"eventTime": "2026-11-21T12:00:00Z", "job": {"namespace": "a", "name": "b"}}
    assert shaped("marquez", dict(job)) == [job]


def test_start_events_none_and_complete_io() -> None:
    assert [event["eventType"] for event in shaped("openlineage", terminal(), start_events="none")] == ["COMPLETE"]
    early = {**terminal(), "eventType": "START", "outputs": []}
    assert shaped("openlineage", dict(early), start_events="complete_io") == []
    assert len(shaped("openlineage", dict(early))) == 1


def test_marquez_gets_no_parent_and_job_facets_once() -> None:
    shaper = Shaper(PRESETS["marquez"])
    first = shaper.shape(terminal(facets=parent()))[-1]
    shaper.accepted()
    second = shaper.shape(terminal(str(uuid.uuid4()), facets=parent()))[-1]
    assert "parent" not in first["run"]["facets"]
    assert set(first["job"]["facets"]) == {"jobType", "sourceCodeLocation"}
    assert set(second["job"]["facets"]) == {"sourceCodeLocation"}


def test_marquez_gets_an_inputs_facets_once_and_an_outputs_always() -> None:
    shaper = Shaper(PRESETS["marquez"])
    start, end = shaper.shape(terminal())
    assert end["inputs"][0]["facets"]
    shaper.accepted()
    again = shaper.shape(terminal(str(uuid.uuid4())))
    other = shaper.shape(terminal(str(uuid.uuid4()), inputs=[dataset("fees", "v8")]))
    assert "facets" not in again[-1]["inputs"][0]
    assert other[-1]["inputs"][0]["facets"]
    assert all("facets" in events[-1]["outputs"][0] for events in ([end], again, other))
    assert all("facets" not in dataset for event in (start, again[0], other[0]) for dataset in (*event["inputs"], *event["outputs"]))


def test_marquez_is_not_sent_runs_that_would_shrink_the_graph() -> None:
    shaper = Shaper(PRESETS["marquez"])
    both = [dataset("fees", "v7"), dataset("index", "1")]
    assert shaper.shape(terminal(inputs=both))
    shaper.accepted()
    for kind in ("FAIL", "ABORT", "COMPLETE"):
        assert shaper.shape(terminal(str(uuid.uuid4()), kind=kind, inputs=both[:1])) == []
    assert shaper.shape(terminal(str(uuid.uuid4()), kind="FAIL", inputs=both))
    assert shaper.shape(terminal(str(uuid.uuid4()), inputs=[dataset("fees", "v8")]))


def test_a_job_that_shrank_for_good_is_taken_after_a_while() -> None:
    shaper = Shaper(PRESETS["marquez"])
    shaper.shape(terminal(inputs=[dataset("a"), dataset("b")]))
    shaper.accepted()
    sent = [bool(shaper.shape(terminal(str(uuid.uuid4()), inputs=[dataset("a")]))) for _ in range(102)]
    assert sent.index(True) == 100


def test_marquez_is_not_sent_a_second_complete_that_adds_nothing() -> None:
    shaper = Shaper(PRESETS["marquez"])
    shaper.shape(terminal())
    shaper.accepted()
    assert shaper.shape(terminal()) == []
    assert shaper.shape(terminal(inputs=[dataset("fees", "v7"), dataset("index")]))


def test_stable_names_lose_the_version_and_stay_unique() -> None:
    event = shaped("openlineage", terminal(inputs=[dataset("fees", "v7"), dataset("fees", "v8"), dataset("a@b")]), names="stable")[-1]
    assert [d["name"] for d in event["inputs"]] == ["fees", "a@b"]


def test_data_rentgen_gets_v7_ids_the_same_for_start_and_end() -> None:
    start, end = shaped("data-rentgen", terminal(facets=parent()))
    assert start["run"]["runId"] == end["run"]["runId"]
    assert uuid.UUID(end["run"]["runId"]).version == 7
    assert end["run"]["facets"]["dataRentgen_run"]["external_id"] == f"{TRACE.replace('-', '')}/{TRACE}"
    assert end["run"]["facets"]["dataRentgen_run"]["persistent_log_url"] == "http://x/r/1"
    assert "parent" not in end["run"]["facets"]
    assert end["job"]["facets"]["jobType"]["processingType"] == "BATCH"


def test_data_rentgen_finds_all_runs_of_a_trace() -> None:
    child = "00000000-0000-5000-8000-000000000001"
    event = terminal(child, facets=parent())
    event["run"]["facets"]["spanline_trace"]["traceId"] = TRACE.replace("-", "")
    named = [each["run"]["facets"]["dataRentgen_run"]["external_id"] for each in shaped("data-rentgen", event)]
    assert named == [f"{TRACE.replace('-', '')}/{child}"] * 2, "the START too, whichever comes last"


def test_a_v7_id_tells_its_time() -> None:
    made = uuid.UUID(v7_of(TRACE, 1_763_726_400_123_000_000))
    assert made.int >> 80 == 1_763_726_400_123
    assert made.variant == uuid.RFC_4122


def test_a_large_event_loses_its_largest_facets_and_keeps_what_joins_it() -> None:
    event = terminal(facets={"spanline_operations": {"operations": ["x" * 100] * 100}, "spanline_usage": {"inputTokens": 3}, **parent()})
    small = shaped("openlineage", event, max_event_bytes=3000, start_events="none")[0]
    assert "spanline_operations" not in small["run"]["facets"]
    assert {"spanline_usage", "spanline_trace", "parent"} <= set(small["run"]["facets"])
    with pytest.raises(TooLarge, match="max_event_bytes=100"):
        shaped("openlineage", terminal(), max_event_bytes=100)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "marqez"}, "known presets: auto, data-rentgen, feast, marquez, openlineage, spanline"),
        ({"preset": "marquez", "parent": "keep"}, "did you mean 'parents'"),
        ({"names": "pretty"}, "expected one of versioned, stable"),
        ({"sample": 2}, "from 0 to 1"),
        ({"rate_per_second": -1}, "positive number"),
        ({"gzip": "yes"}, "true or false"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        preset_of(options)


def test_an_option_beats_its_preset() -> None:
    preset = preset_of({"preset": "marquez", "rate_per_second": None, "parents": "keep"})
    assert preset.rate_per_second is None
    assert preset.parents == "keep"
    assert preset.incomplete == "skip"


def test_sampling_keeps_whole_traces_and_nested_shares() -> None:
    events = [terminal(str(uuid.uuid4())) for _ in range(4000)]
    half = {e["run"]["runId"] for e in events if Thinning(0.5, None).keeps(e)}
    tenth = {e["run"]["runId"] for e in events if Thinning(0.1, None).keeps(e)}
    assert 0.45 < len(half) / 4000 < 0.55
    assert 0.07 < len(tenth) / 4000 < 0.13
    assert tenth < half
    children = [terminal(str(uuid.uuid4()), facets=parent(run_id)) for run_id in half]
    assert all(Thinning(0.5, None).keeps(child) for child in children)
    assert trace_key(children[0]) in {run_id.replace("-", "") for run_id in half}


def test_a_rate_is_kept_and_a_slow_stream_is_left_alone() -> None:
    fast = Thinning(1.0, 10.0)
    kept = [sum(fast.keeps(terminal(str(uuid.uuid4()), second=second)) for _ in range(100)) for second in range(60)]
    assert 3 < sum(kept[20:]) / 40 <= 12
    slow = Thinning(1.0, 10.0)
    assert all(slow.keeps(terminal(str(uuid.uuid4()), second=second)) for second in range(60) for _ in range(8))


def test_a_rate_recovers_and_does_not_starve_another_processs_segment() -> None:
    thinning = Thinning(1.0, 10.0)
    for second in range(30):
        for _ in range(100):
            thinning.keeps(terminal(str(uuid.uuid4()), second=second))
    quiet = [thinning.keeps(terminal(str(uuid.uuid4()), second=second)) for second in range(100, 200)]
    assert all(quiet[50:])
    back = [thinning.keeps(terminal(str(uuid.uuid4()), second=second)) for second in range(60) for _ in range(5)]
    assert sum(back) > 250


def test_thinned_events_are_counted() -> None:
    transport, drops = Recording(), []
    consumer = TransportConsumer("c", transport, {"preset": "openlineage", "sample": 0.0}, on_drop=drops.append)
    consumer.deliver(entries(terminal(), terminal()))
    assert transport.events == []
    assert consumer.thinned == 2
    assert drops == ["thinned"] * 2


def test_a_failure_names_what_was_not_taken_and_a_retry_does_not_reopen_the_run() -> None:
    transport = Recording()
    consumer = TransportConsumer("c", transport, {"preset": "openlineage"})
    batch = entries(terminal(str(uuid.uuid4())), terminal(str(uuid.uuid4())), terminal(str(uuid.uuid4())))
    transport.refuse = [None, None, None, TransportError("HTTP 503", status=503)]
    with pytest.raises(DeliveryError) as caught:
        consumer.deliver(batch)
    assert caught.value.undelivered == (1, 2)
    assert caught.value.cause.status == 503
    consumer.deliver([batch[index] for index in caught.value.undelivered])
    assert [event["eventType"] for event in transport.events] == ["START", "COMPLETE"] * 3


def test_another_run_that_is_tried_in_between_does_not_reopen_the_first() -> None:
    """The backend has its START, and no answer to its end comes; the relay looks whether another event passes."""
    transport = Recording()
    consumer = TransportConsumer("c", transport, {"preset": "openlineage"})
    first, other = entries(terminal(str(uuid.uuid4())), terminal(str(uuid.uuid4())))
    transport.refuse = [None, TransportError("no answer")]
    with pytest.raises(DeliveryError):
        consumer.deliver([first])
    consumer.deliver([other])
    consumer.deliver([first])
    assert [event["eventType"] for event in transport.events] == ["START", "START", "COMPLETE", "COMPLETE"]


def test_a_line_that_is_no_event_is_refused_for_good() -> None:
    with pytest.raises(DeliveryError) as caught:
        TransportConsumer("c", Recording(), {"preset": "openlineage"}).deliver([Entry("s", 0, 1, b"[1]")])
    assert caught.value.cause.status == 400


def test_an_event_at_the_position_of_one_that_was_sent_is_sent_too() -> None:
    """Parked events are counted from zero at every retry."""
    transport = Recording()
    consumer = TransportConsumer("feast", transport, {"preset": "feast"})
    for run_id in (TRACE, str(uuid.uuid4())):
        consumer.deliver(entries(terminal(run_id)))
    assert [event["eventType"] for event in transport.events] == ["START", "COMPLETE"] * 2
