"""The `marquez` preset over any story: what the stand-in holds in the end is what happened."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import DeliveryError, TransportConsumer
from spanline.times import rfc3339
from tests.standins.openlineage.checks import read_event
from tests.standins.openlineage.model import State
from tests.standins.openlineage.rules import write

NAMESPACE, SERVICE = "prod", "svc"
JOBS = [f"{SERVICE}.POST /chat", f"{SERVICE}.build"]
ENDS = {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
EPOCH_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000

names = st.sets(st.sampled_from("abcd"))
run_action = st.fixed_dictionaries(
    {
        "do": st.just("run"),
        "job": st.sampled_from(JOBS),
        "kind": st.sampled_from([*ENDS, "COMPLETE", "COMPLETE"]),
        "inputs": names,
        "outputs": st.sets(st.sampled_from("xy")),
        "start": st.sampled_from(["none", "bare", "full"]),
        "child": st.booleans(),
    }
)
evaluate = st.fixed_dictionaries({"do": st.just("evaluate"), "run": st.integers(0, 30)})
restart = st.fixed_dictionaries({"do": st.just("restart")})


@dataclass
class Catalogue:
    """The stand-in's rules without HTTP; it stumbles when the story says so, before or after it has stored the event."""

    stumbles: list[str | None]
    state: State = field(default_factory=State)

    kind = "catalogue"

    def emit(self, event: Any) -> None:
        stumble = self.stumbles.pop(0) if self.stumbles else None
        if stumble == "before":
            raise TransportError("HTTP 503", status=503)
        write(self.state, read_event(json.dumps(event).encode()))
        if stumble == "after":
            raise TransportError("no answer (TimeoutError)")

    def close(self, timeout_s: float) -> bool:
        return True


class Story:
    """Journals what happens, delivers it, and keeps the truth beside it."""

    def __init__(self, stumbles: list[str | None]) -> None:
        self.catalogue = Catalogue(stumbles)
        self.now = EPOCH_NS
        self.offset = 0
        self.ends: dict[str, dict[str, Any]] = {}
        self.evaluated: dict[str, list[dict[str, Any]]] = {}
        self.restart()

    def restart(self) -> None:
        self.consumer = TransportConsumer("c", self.catalogue, {"preset": "marquez", "rate_per_second": None})

    def deliver(self, event: dict[str, Any]) -> None:
        self.offset += 1
        entry = Entry("s", self.offset, self.offset + 1, json.dumps(event).encode())
        for _ in range(20):
            try:
                self.consumer.deliver([entry])
            except DeliveryError:
                continue
            return
        raise AssertionError("never delivered")

    def run(self, action: dict[str, Any]) -> None:
        started, self.now = self.now, self.now + SECOND_NS
        run_id = str(uuid.UUID(int=len(self.ends) + 1))
        event = self._event(run_id, action, started)
        if action["start"] != "none":
            outputs = event["outputs"] if action["start"] == "full" else []
            self.deliver({**event, "eventType": "START", "eventTime": rfc3339(started), "outputs": outputs, "run": {"runId": run_id}})
        self.ends[run_id] = event
        self.deliver(event)

    def evaluate(self, number: int) -> None:
        if not self.ends:
            return
        run_id = list(self.ends)[number % len(self.ends)]
        found = self.evaluated.setdefault(run_id, [])
        found.append({"name": f"e{len(found)}", "passed": True, "evaluatedAt": rfc3339(self.now)})
        event = json.loads(json.dumps(self.ends[run_id]))
        event["eventTime"] = rfc3339(self.now_of(event) + len(found) * 1_000_000)
        event["run"]["facets"]["spanline_evaluations"] = {"_producer": "p", "_schemaURL": "u", "evaluations": found}
        self.deliver(event)

    @staticmethod
    def now_of(event: dict[str, Any]) -> int:
        ended: int = event["run"]["ended"]
        return ended

    def _event(self, run_id: str, action: dict[str, Any], started: int) -> dict[str, Any]:
        trace = {"_producer": "p", "_schemaURL": "u", "traceId": run_id.replace("-", ""), "service": SERVICE}
        trace |= {"startedAt": rfc3339(started), "durationSeconds": 0.5}
        facets: dict[str, Any] = {"spanline_trace": trace}
        if action["child"]:
            above = {"run": {"runId": str(uuid.UUID(int=10**6))}, "job": {"namespace": NAMESPACE, "name": "gateway.POST /ask"}}
            facets["parent"] = {"_producer": "p", "_schemaURL": "u", **above, "root": above}
        ended = started + SECOND_NS // 2
        return {
            "eventTime": rfc3339(ended), "eventType": action["kind"], "run": {"runId": run_id, "facets": facets, "ended": ended},
            "job": {"namespace": NAMESPACE, "name": action["job"], "facets": {"jobType": {"_producer": "p", "_schemaURL": "u"}}},
            "inputs": [{"namespace": "prompts", "name": name, "facets": {"v": {"n": 1}}} for name in sorted(action["inputs"])],
            "outputs": [{"namespace": "llm", "name": name} for name in sorted(action["outputs"])],
            "producer": "https://example.com", "schemaURL": "https://example.com/#/$defs/RunEvent",
        }  # fmt: skip


def datasets(event: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["namespace"], each["name"]) for side in ("inputs", "outputs") for each in event[side]}


@pytest.mark.timeout(300)
@given(
    st.lists(st.one_of(run_action, run_action, evaluate, restart), min_size=1, max_size=25),
    st.lists(st.sampled_from([None, None, None, "before", "after"]), max_size=30),
)
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])
def test_every_story_is_told_right(actions: list[dict[str, Any]], stumbles: list[str | None]) -> None:
    story = Story(stumbles)
    last: dict[str, set[tuple[str, str]]] = {}
    for action in actions:
        if action["do"] == "restart":
            story.restart()
            last = {}
        elif action["do"] == "evaluate":
            story.evaluate(action["run"])
        else:
            story.run(action)
            run_id, event = list(story.ends.items())[-1]
            graph = story.catalogue.state.jobs.get((NAMESPACE, action["job"]))
            shown = {*graph.inputs, *graph.outputs} if graph is not None else set()
            # The graph never shows less than the last COMPLETE that this process has sent, and shows each run that is sent.
            before = last.get(action["job"], set())
            assert not shown < before
            if run_id in story.catalogue.state.runs:
                assert shown == datasets(event)
                if action["kind"] == "COMPLETE":
                    last[action["job"]] = datasets(event)
            else:
                assert datasets(event) < before
    state = story.catalogue.state
    assert {job.name for job in state.jobs.values()} <= {*JOBS, f"{SERVICE}.evaluate"}
    for run_id, run in state.runs.items():
        assert run.state != "RUNNING", run_id
        if run_id in story.ends:
            event = story.ends[run_id]
            assert run.state == ENDS[event["eventType"]]
            assert run.ended == story.now_of(event)
            assert run.started == story.now_of(event) - SECOND_NS // 2
            assert {*run.inputs, *run.outputs} == datasets(event)
            assert "parent" not in {name for _, name, _ in run.facets}
    # One run for each evaluation, however often and by whichever process it was sent.
    evaluations = [run for run in state.runs.values() if run.job.name == f"{SERVICE}.evaluate"]
    assert len(evaluations) == sum(map(len, story.evaluated.values()))
