"""The official client for Java as a strict reader: what it takes in and writes back is what we sent, property by property."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spanline.relay.presets import PRESETS
from tests.requirements import server
from tests.servers import story
from tests.servers.story import Story

pytestmark = pytest.mark.timeout(120)
PROGRAM = Path(__file__).resolve().parents[1] / "servers" / "openlineage_java" / "RoundTrip.java"
RoundTrip = Callable[[list[Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with story.own_provider():
        yield story.play(tmp_path_factory.mktemp("story"), relay="off", base_url="https://runs.example.com")


@pytest.fixture(scope="module")
def round_trip() -> RoundTrip:
    """Reads events and writes them again, in one process of Java."""
    jars = server("openlineage_java")
    # The launcher of source files belongs to the development kit.
    java = server("javac").resolve().parent / "java"

    def run(events: list[Any]) -> list[dict[str, Any]]:
        command = [str(java), "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", str(PROGRAM)]
        lines = "".join(json.dumps(event) + "\n" for event in events)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(events)
        return answers

    return run


def test_every_event_of_every_preset_comes_back_as_it_was(told: Story, round_trip: RoundTrip) -> None:
    sent = [event for preset in PRESETS for event in story.sent(told, preset)]
    sent += told.events
    facets = {name for event in sent for name in event["run"].get("facets", {})}
    assert {"parent", "spanline_operations", "spanline_guardrails", "errorMessage", "executionParameters", "dataRentgen_run"} <= facets
    for event, answer in zip(sent, round_trip(sent), strict=True):
        assert answer["type"] == "RunEvent", answer
        # The same moment; it leaves out zeros at the end.
        times = [datetime.fromisoformat(each.pop("eventTime")) for each in (event, answer["event"])]
        assert times[0] == times[1]
        assert answer["event"] == event


def test_it_refuses_what_is_wrong(told: Story, round_trip: RoundTrip) -> None:
    """The reader is strict where it matters; where it is not, the round trip shows it."""
    (event,) = told.of(story.ASSISTANT)
    run_id = event["run"]["runId"]

    def broken(**more: Any) -> dict[str, Any]:
        return {**json.loads(json.dumps(event)), **more}

    answers = round_trip([
        broken(run={"runId": run_id.replace("-", "")}),
        broken(eventTime="2026-11-21T12:00:00"),
        broken(eventType="DONE"),
        broken(schemaURL="no url"),
        broken(ours=True),
        broken(job={"namespace": 7, "name": "x"}),
    ])  # fmt: skip
    assert ["refused" in answer for answer in answers] == [True, True, True, True, False, False]
    assert "ours" not in answers[4]["event"], "unknown properties are lost, so no event bears one"
    assert answers[5]["event"]["job"]["namespace"] == "7", "a number becomes text"
