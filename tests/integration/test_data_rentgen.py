"""data-rentgen, the strictest consumer, a real one on Kafka and PostgreSQL: what a service sends is read back through its API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.relay.consumer import TransportConsumer
from spanline.transports.base import create
from spanline.transports.http import HttpTransport
from tests.servers import story
from tests.servers.child import eventually
from tests.servers.data_rentgen.server import MALFORMED, TOPIC, Rentgen, data_rentgen
from tests.servers.stores import Kafka, Postgres
from tests.servers.story import Story

pytestmark = pytest.mark.timeout(240)
PRESET = {"preset": "data-rentgen"}


@pytest.fixture(scope="module")
def server(postgres: Postgres, kafka: Kafka) -> Iterator[Rentgen]:
    with data_rentgen(postgres, kafka) as running:
        yield running


@pytest.fixture(scope="module")
def told(server: Rentgen, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """What services sent to it through Kafka by themselves."""
    home = tmp_path_factory.mktemp("story")
    config = home / "openlineage.yml"
    config.write_text(f"""
transport:
  type: kafka
  topic: {TOPIC}
  config: {{bootstrap.servers: "{kafka.bootstrap}"}}
  spanline: {{preset: data-rentgen}}
""")
    with story.own_provider():
        yield story.play(home, openlineage_config=config, base_url="https://runs.example.com")


def through_kafka(kafka: Kafka, *events: dict[str, Any], **options: Any) -> None:
    """As the relay sends them."""
    transport: Any = create("kafka", {"topic": TOPIC, "config": {"bootstrap.servers": kafka.bootstrap}})
    sender = TransportConsumer("data-rentgen", transport, {**PRESET, **transport.preset_options, **options})
    sender.deliver(story.entries(*events))
    assert sender.close(10)


def names(graph: dict[str, Any], side: str, run: str) -> set[str]:
    """Names of the datasets on one side of a run in its lineage."""
    end = "from" if side == "inputs" else "to"
    other = "to" if side == "inputs" else "from"
    ids = {edge[end]["id"] for edge in graph["relations"][side] if edge[other] == {"kind": "RUN", "id": run}}
    return {graph["nodes"]["datasets"][each]["name"] for each in ids}


def test_every_run_is_read_back(server: Rentgen, told: Story) -> None:
    for job, status in ((story.ASSISTANT, "SUCCEEDED"), (story.BROKEN, "FAILED"), (story.TOOLS, "SUCCEEDED"), (story.BUILD, "SUCCEEDED")):
        (event,) = told.of(job)
        run = server.run(event["run"]["runId"])
        trace = event["run"]["facets"]["spanline_trace"]
        assert (run["job"]["name"], run["job"]["location"]["name"], run["status"]) == (job, story.NAMESPACE, status)
        # Times of the events, not of their arrival.
        assert (run["started_at"], run["ended_at"]) == (trace["startedAt"], event["eventTime"])
        assert run["external_id"] == f"{trace['traceId']}/{event['run']['runId']}"
        assert run["persistent_log_url"] == f"https://runs.example.com/r/{trace['traceId']}"
        assert uuid.UUID(run["id"]).version == 7
        assert not [key for key in run if "spanline" in key], "facets of ours are not kept: the page behind the link has them"


def test_its_search_finds_a_trace_and_a_run(server: Rentgen, told: Story) -> None:
    (child,) = told.of(story.TOOLS)
    server.run(told.run_id), server.run(child["run"]["runId"])
    assert {run["job"]["name"] for run in server.runs(told.answered[0])} == {story.ASSISTANT, story.TOOLS}
    assert [run["job"]["name"] for run in server.runs(told.run_id)] == [story.ASSISTANT]
    assert [run["job"]["name"] for run in server.runs(child["run"]["runId"])] == [story.TOOLS]


def test_lineage_of_a_run_has_all_that_it_used(server: Rentgen, told: Story) -> None:
    (event,) = told.of(story.ASSISTANT)
    run = server.run(told.run_id)["id"]
    since = "2020-01-01T00:00:00Z"
    graph = server.get("/v1/runs/lineage", start_node_id=run, since=since, direction="BOTH", depth=1, granularity="RUN")
    # A model, a prompt and an index have their version in the name: the version facet is not kept.
    assert names(graph, "inputs", run) == {dataset["name"] for dataset in event["inputs"]}
    assert names(graph, "outputs", run) == {dataset["name"] for dataset in event["outputs"]}


def test_order_does_not_matter(server: Rentgen, told: Story, kafka: Kafka) -> None:
    (event,) = told.of(story.ASSISTANT)
    run_id = str(uuid.uuid4())
    end = story.copied(event, run_id)
    start, _ = story.sent_event("data-rentgen", end)
    through_kafka(kafka, end, start_events="none")
    before = server.run(run_id)
    late: Any = create("kafka", {"topic": TOPIC, "config": {"bootstrap.servers": kafka.bootstrap}})
    late.emit(start)
    late.close(10)
    through_kafka(kafka, end)
    assert before["started_at"] is None
    run = eventually(lambda: [run for run in server.runs(run_id) if run["started_at"]], 30)[0]
    assert (run["id"], run["status"], run["ended_at"]) == (before["id"], "SUCCEEDED", before["ended_at"])


def test_a_second_end_with_an_evaluation_changes_nothing_but_the_end(server: Rentgen, told: Story, kafka: Kafka) -> None:
    (event,) = told.of(story.ASSISTANT)
    run_id = str(uuid.uuid4())
    end = story.copied(event, run_id)
    through_kafka(kafka, end)
    before = server.run(run_id)
    later = datetime.fromisoformat(end["eventTime"]) + timedelta(milliseconds=1)
    evaluated = story.copied(end, run_id, eventTime=later.isoformat())
    evaluated["run"]["facets"]["spanline_evaluations"] = {"evaluations": [{"name": "faithfulness", "passed": True}]}
    through_kafka(kafka, evaluated, start_events="none")
    after = eventually(lambda: [run for run in server.runs(run_id) if run["ended_at"] != before["ended_at"]], 30)[0]
    assert datetime.fromisoformat(after.pop("ended_at")) == later
    before.pop("ended_at")
    assert after == before


def test_through_its_http_entrance(server: Rentgen, told: Story) -> None:
    (event,) = told.of(story.TOOLS)
    run_id = str(uuid.uuid4())
    transport = create("http", {"url": server.http, "endpoint": "v1/openlineage", "auth": {"type": "api_key", "apiKey": server.key}})
    TransportConsumer("data-rentgen", transport, PRESET).deliver(story.entries(story.copied(event, run_id)))
    assert server.run(run_id)["status"] == "SUCCEEDED"


def test_it_refuses_what_is_not_shaped_for_it(server: Rentgen, told: Story) -> None:
    """A trace id is no UUIDv7, and SERVICE is no processing type that it knows."""
    (event,) = told.of(story.ASSISTANT)
    event = story.copied(event, "4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    request = urllib.request.Request(f"{server.http}/v1/openlineage", json.dumps(event).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 422
    details = json.load(refused.value)["error"]["details"]
    assert {".".join(map(str, each["location"])) for each in details} == {"body.run.runId", "body.job.facets.jobType.processingType"}
    transport = HttpTransport(server.http, endpoint="v1/openlineage", api_key=server.key)
    with pytest.raises(TransportError) as parked:
        TransportConsumer("plain", transport, {"preset": "openlineage", "start_events": "none"}).deliver(story.entries(event))
    assert parked.value.status == 422


def test_what_is_not_shaped_for_it_is_set_aside_on_kafka(server: Rentgen, told: Story, kafka: Kafka, tmp_path: Path) -> None:
    """Kafka takes anything: only its topic of malformed messages tells. What follows is stored all the same."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    (event,) = told.of(story.ASSISTANT)
    wrong, good = str(uuid.UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4737")), str(uuid.uuid4())
    through_kafka(kafka, story.copied(event, wrong), preset="openlineage", start_events="none")
    through_kafka(kafka, story.copied(event, good))
    assert server.run(good)["status"] == "SUCCEEDED"
    assert server.runs(wrong) == []
    reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "tests", "log_level": 2})
    reader.assign([TopicPartition(MALFORMED, 0, OFFSET_BEGINNING)])
    aside: list[bytes] = []
    eventually(lambda: aside.extend(message.value() or b"" for message in reader.consume(10, 0.5)) or aside, 30)
    reader.close()
    assert [json.loads(value)["run"]["runId"] for value in aside] == [wrong]


def test_names_that_differ_in_case_only_are_one(server: Rentgen, told: Story, kafka: Kafka) -> None:
    (event,) = told.of(story.TOOLS)
    runs = [str(uuid.uuid4()), str(uuid.uuid4())]
    for run_id, name in zip(runs, ("Case@V1", "case@v1"), strict=True):
        through_kafka(kafka, story.copied(event, run_id, inputs=[{"namespace": "prompts", "name": name}]))
        server.run(run_id)
    found = [item["data"]["name"] for item in server.get("/v1/datasets", search_query="case@v1")["items"]]
    assert found == ["Case@V1"], "versions are to differ in more than case"
