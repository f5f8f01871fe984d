"""Feast's OpenLineage consumer, a real one: what a service sends is read back from its store."""

from __future__ import annotations

import contextlib
import json
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.journal.writer import JournalWriter
from spanline.relay.consumer import TransportConsumer
from spanline.relay.parked import parked
from spanline.relay.relay import Relay
from spanline.relay.retry import retry
from spanline.transports.config import BATCH_ENDPOINT
from spanline.transports.http import HttpTransport
from tests.servers import story
from tests.servers.feast.server import Feast, feast
from tests.servers.story import Story

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server() -> Iterator[Feast]:
    with feast() as running:
        yield running


@pytest.fixture(scope="module")
def told(server: Feast, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """What services sent to it by themselves."""
    home = tmp_path_factory.mktemp("story")
    with story.own_provider():
        yield story.play(home, openlineage_config=config(home, server.url))


def config(folder: Path, url: str, **more: Any) -> Path:
    path = folder / "openlineage.json"
    path.write_text(json.dumps({"transport": {"type": "http", "url": url, "spanline": {"preset": "feast"}, **more}}))
    return path


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((found["namespace"], found["name"]) for found in datasets)


def test_every_run_is_read_back_as_it_was_journalled(server: Feast, told: Story) -> None:
    for job, state in ((story.ASSISTANT, "COMPLETE"), (story.BROKEN, "FAIL"), (story.TOOLS, "COMPLETE"), (story.BUILD, "COMPLETE")):
        (event,) = told.of(job)
        run = server.run(event["run"]["runId"])
        assert run is not None
        assert (run["job_namespace"], run["job_name"], run["state"]) == (story.NAMESPACE, job, state)
        assert run["facets"] == event["run"]["facets"], "the last event's facets replace all others, so the terminal one bears all"
        assert names(run["inputs"]) == names(event["inputs"])
        assert names(run["outputs"]) == names(event["outputs"])
        # The START that nobody journalled came first: without one a run has no start here.
        assert run["started_at"] <= run["ended_at"]


def test_root_and_child_are_one_tree(server: Feast, told: Story) -> None:
    (child,) = told.of(story.TOOLS)
    for end in (told.run_id, child["run"]["runId"]):
        runs = server.get(f"/runs/{end}/tree")["runs"]
        # In the order of arrival: each service has a journal of its own.
        assert {run["run_id"]: run["parent_run_id"] for run in runs} == {told.run_id: None, child["run"]["runId"]: told.run_id}


@pytest.mark.usefixtures("told")
def test_graph_of_the_index_shows_what_made_it_and_who_used_it(server: Feast) -> None:
    graph = server.get("/graph/dataset/indexes/fees_corpus@commit:abc123", depth=3)
    found = {node["name"] for node in graph["nodes"]}
    assert {story.BUILD, story.ASSISTANT, "fees@2026-11-01", "responses.fee-assistant"} <= found
    # Names with a slash cannot be asked for: neither the job of a request nor a model of a known provider.
    assert server.get("/graph/job/rag-prod/fee-assistant.POST%20%2Fchat") is None


def test_delivering_a_finished_run_again_leaves_it_finished(server: Feast, told: Story) -> None:
    run_id = str(uuid.uuid4())
    event = story.copied(told.of(story.ASSISTANT)[0], run_id)
    for _ in range(2):
        sender = TransportConsumer("feast", HttpTransport(server.url), {"preset": "feast"})
        sender.deliver(story.entries(event))
        sender.close(1)
    assert (server.state(run_id), server.facets(run_id)) == ("COMPLETE", event["run"]["facets"])
    assert Counter(found["event_type"] for found in server.events() if found["run_id"] == run_id) == {"START": 2, "COMPLETE": 2}


def test_the_last_arrival_wins(server: Feast, told: Story) -> None:
    """What a START after the end does there, and why the relay never sends one."""
    run_id = str(uuid.uuid4())
    event = story.copied(told.of(story.ASSISTANT)[0], run_id)
    sender = TransportConsumer("feast", HttpTransport(server.url), {"preset": "feast"})
    sender.deliver(story.entries(event))
    HttpTransport(server.url).emit({**event, "eventType": "START", "run": {"runId": run_id, "facets": {"spanline_late": {}}}})
    assert (server.state(run_id), server.facets(run_id)) == ("START", {"spanline_late": {}})
    # A later terminal event (evaluations, stragglers) goes alone, and mends it.
    event["run"]["facets"]["spanline_usage"]["inputTokens"] = 813
    sender.deliver(story.entries(event))
    assert (server.state(run_id), server.facets(run_id)) == ("COMPLETE", event["run"]["facets"])


def test_an_evaluation_comes_with_all_that_was_known(server: Feast, tmp_path: Path, fresh_provider: None) -> None:
    """The last event's facets replace all others: an evaluation of a run that is over is a full event."""
    told = story.play(tmp_path, evaluated=True, openlineage_config=config(tmp_path, server.url))
    first, last = told.of(story.ASSISTANT)
    facets = server.facets(told.run_id)
    assert facets == last["run"]["facets"]
    assert facets.keys() - first["run"]["facets"].keys() >= {"spanline_evaluations", "test"}
    assert facets["spanline_usage"] == first["run"]["facets"]["spanline_usage"]
    assert server.state(told.run_id) == "COMPLETE"


def test_batches_survive_the_204_that_cuts_the_connection(server: Feast, told: Story, tmp_path: Path) -> None:
    """A body after 204 makes its server cut the connection: everything arrives all the same, each event once."""
    event = told.of(story.ASSISTANT)[0]
    runs = [str(uuid.uuid4()) for _ in range(40)]
    with contextlib.closing(JournalWriter(tmp_path)) as journal:
        for run_id in runs:
            assert journal.write(json.dumps(story.copied(event, run_id)).encode())
    transport = HttpTransport(server.url, endpoint=BATCH_ENDPOINT)
    relay = Relay(tmp_path, [TransportConsumer("feast", transport, {"preset": "feast", "batch": "array"})])
    relay.start()
    assert relay.flush(60)
    relay.close(5)
    stored = Counter((found["run_id"], found["event_type"]) for found in server.events())
    assert [stored[run, "COMPLETE"] for run in runs] == [1] * len(runs)
    assert {stored[run, "START"] for run in runs} <= {0, 1}
    assert {server.state(run) for run in runs} == {"COMPLETE"}


def test_a_batch_right_after_another_does_not_meet_the_dead_connection(server: Feast, told: Story) -> None:
    event = told.of(story.BUILD)[0]
    runs = [str(uuid.uuid4()) for _ in range(10)]
    transport = HttpTransport(server.url, endpoint=BATCH_ENDPOINT)
    for run_id in runs:
        transport.emit_batch([story.copied(event, run_id)])
    stored = Counter(found["run_id"] for found in server.events())
    assert {run: stored[run] for run in runs} == dict.fromkeys(runs, 1)


def test_taken_is_not_stored(server: Feast) -> None:
    """201 to what is no event at all: only reading back proves anything."""
    request = urllib.request.Request(f"{server.url}/api/v1/lineage", b'{"a": 1}', {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201
    with pytest.raises(TransportError) as refused:
        HttpTransport(server.url, compress=True).emit({"a": 1})
    assert refused.value.status == 400, "it cannot read gzip"


@pytest.mark.usefixtures("fresh_provider")
def test_a_wrong_key_parks_and_a_retry_delivers(tmp_path: Path) -> None:
    with feast(api_key="right") as server:
        told = story.play(tmp_path, openlineage_config=config(tmp_path, server.url, auth={"type": "api_key", "apiKey": "wrong"}))
        folder = tmp_path / "journal" / "fee-assistant"
        refused = parked(folder)
        assert {item.status for item in refused} == {401}
        assert told.run_id in {item.run_id for item in refused}
        assert server.run(told.run_id) is None
        right = TransportConsumer("openlineage", HttpTransport(server.url, api_key="right"), {"preset": "feast"})
        (done,) = retry(folder, [right])
        assert (done.sent, done.parked) == (len(refused), 0)
        assert server.state(told.run_id) == "COMPLETE"
