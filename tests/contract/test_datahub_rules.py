"""DataHub's documented rules for OpenLineage events, as a table, over what we send. No DataHub runs here: nothing is read back.

Source: DataHub's documentation of its OpenLineage endpoint and its converter, as of version 1.7 (orchestrator, names of flows and
platforms); the endpoint parses with the official Java client, which `tests/integration/test_java_client.py` asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.servers import story
from tests.servers.story import Story

Event = dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with story.own_provider():
        yield story.play(tmp_path_factory.mktemp("story"), relay="off")


def dashed(event: Event) -> bool:
    """The run id is a UUID as text: it becomes part of the URN of the process instance."""
    parents = [event["run"].get("facets", {}).get("parent", {}).get("run", {}).get("runId", event["run"]["runId"])]
    return all(str(uuid.UUID(each)) == each for each in (event["run"]["runId"], *parents))


def run_event(event: Event) -> bool:
    """Job and dataset events are not read by released versions."""
    return {"run", "job", "eventType", "eventTime"} <= set(event)


def zoned(event: Event) -> bool:
    """Times of the instance are made from it."""
    return datetime.fromisoformat(event["eventTime"]).tzinfo is not None


def orchestrator(event: Event) -> bool:
    """The engine's name, else an error 500: a producer is understood only from Airflow, Flink, Spark and Trino."""
    return bool(event["run"].get("facets", {}).get("processing_engine", {}).get("name"))


def flow(event: Event) -> bool:
    """What stands before the first dot of a job's name is its flow: our service."""
    return event["job"]["name"].split(".")[0] in {"fee-assistant", "fee-tools", "indexer"}


def platforms(event: Event) -> bool:
    """A namespace without a scheme is the platform, and the name stays whole; with `://` the authority would be lost."""
    datasets = [*event["inputs"], *event["outputs"]]
    return all("://" not in each["namespace"] + each["name"] and "," not in each["name"] for each in datasets)


def lineage(event: Event) -> bool:
    """Inputs and outputs of the job are replaced by those of each event: an event with fewer would shrink its graph."""
    return event["eventType"] == "START" or bool(event["outputs"])


RULES: list[Callable[[Event], bool]] = [dashed, run_event, zoned, flow, platforms, lineage]


@pytest.mark.parametrize("rule", [*RULES, orchestrator], ids=lambda rule: rule.__name__)
def test_with_the_documented_options_every_event_keeps_the_rule(told: Story, rule: Callable[[Event], bool]) -> None:
    sent = story.sent(told, "openlineage", start_events="none")
    assert [event["job"]["name"] for event in sent if not rule(event)] == []
    assert {event["eventType"] for event in sent} == {"COMPLETE", "FAIL"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_start_keeps_all_rules_but_one(told: Story, rule: Callable[[Event], bool]) -> None:
    assert all(rule(event) for event in story.sent(told, "openlineage"))


def test_a_start_does_not_name_the_orchestrator(told: Story) -> None:
    """A START bears `parent` only: released versions of DataHub answer 500 to it, so it is not to be sent there."""
    sent = story.sent(told, "openlineage")
    assert {event["eventType"] for event in sent if not orchestrator(event)} == {"START"}
