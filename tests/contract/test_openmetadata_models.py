"""OpenMetadata's own request models read what we send. No server of it runs here: what it stores afterwards is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.requirements import missing
from tests.servers import story
from tests.servers.cache import cache
from tests.servers.story import Story

pytestmark = pytest.mark.timeout(120)
PROGRAM = Path(__file__).resolve().parents[1] / "servers" / "openmetadata" / "read.py"
Read = Callable[[list[tuple[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with story.own_provider():
        yield story.play(tmp_path_factory.mktemp("story"), relay="off")


@pytest.fixture(scope="module")
def read() -> Read:
    folder = cache() / "openmetadata-models-2.0.7.0"
    if not folder.exists():
        missing("OpenMetadata's models are missing: make servers SERVERS=openmetadata")

    def run(requests: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        lines = "".join(json.dumps({"as": kind, "body": body}) + "\n" for kind, body in requests)
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(folder)], input=lines, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_its_http_endpoint_would_take_every_event(told: Story, read: Read) -> None:
    sent = story.sent(told, "openlineage")
    for event, answer in zip(sent, read([("event", event) for event in sent]), strict=True):
        assert "refused" not in answer, answer
        kept = answer["kept"]
        assert datetime.fromisoformat(kept.pop("eventTime")) == datetime.fromisoformat(event.pop("eventTime"))
        event["run"].get("facets", {}).get("parent", {}).pop("root", None)
        assert kept == event, "facets of ours are kept by the model; of a parent it does not keep the root"


def test_a_batch_is_an_object(told: Story, read: Read) -> None:
    """What `batch: events` sends; the array of the OpenLineage API is refused."""
    sent = story.sent(told, "openlineage")
    taken, array, empty = read([("batch", {"events": sent}), ("batch", sent), ("batch", {"events": []})])
    assert len(taken["kept"]["events"]) == len(sent)
    assert "refused" in array
    assert "refused" in empty


def test_its_reader_of_kafka_would_take_every_event(told: Story, read: Read) -> None:
    """It wants `inputs`, `outputs` and `eventType` to be there, also when there are none."""
    sent = story.sent(told, "openlineage")
    assert all("refused" not in answer for answer in read([("message", event) for event in sent]))
    without = {key: value for key, value in sent[0].items() if key != "inputs"}
    assert read([("message", without), ("message", {**sent[0], "inputs": []})])[0] == {"refused": "ValueError: Event malformed!"}


def test_it_refuses_what_is_wrong(told: Story, read: Read) -> None:
    (event,) = told.of(story.ASSISTANT)
    changes: list[dict[str, Any]] = [
        {"ours": True}, {"eventTime": "2026-11-21T12:00:00"}, {"producer": "no url"}, {"run": {"runId": "no uuid"}}, {"eventType": "DONE"},
    ]  # fmt: skip
    answers = read([("event", {**event, **change}) for change in changes])
    assert [change for change, answer in zip(changes, answers, strict=True) if "refused" not in answer] == []
