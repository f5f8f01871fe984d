"""A catalogue that refuses, stumbles or is not what it seems: parked, repeated or waited for, as the relay's policy says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spanline.errors import TransportError
from spanline.journal.reader import Entry
from spanline.journal.writer import JournalWriter
from spanline.lineage.events import terminal_event
from spanline.record.artifact import Artifact
from spanline.record.run import Operation, RunRecord
from spanline.relay.consumer import TransportConsumer
from spanline.relay.parked import parked
from spanline.relay.policy import Policy
from spanline.relay.relay import Relay
from spanline.transports.http import HttpTransport
from tests.standins.openlineage.server import Fault, StandIn

PAGE = b"<html><body>Error</body></html>"
PRODUCER = "https://example.com/spanline"
FAST = Policy(first_s=0.01, cap_s=0.05, server_error_s=0.1)


def event(run_id: str | None = None) -> tuple[str, bytes]:
    run_id = run_id or str(uuid.uuid4())
    started = time.time_ns() - 10**9
    record = RunRecord(
        run_id=run_id, trace_id=run_id.replace("-", ""), span_id="00f067aa0ba902b7", namespace="rag-prod", job="fees.POST /chat",
        service="fees", started_ns=started, ended_ns=started + 10**8, outcome="COMPLETE",
        operations=[Operation(span_id="00f067aa0ba902b8", kind="inference", name="chat gpt-4o")],
        artifacts=[Artifact(kind="prompt", name="fees", version="v7")],
    )  # fmt: skip
    return run_id, terminal_event(record, producer=PRODUCER, schema_base="https://example.com/schemas")


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


class Delivery:
    """A journal, and a relay that delivers it to the stand-in."""

    def __init__(self, directory: Path, url: str, preset: str) -> None:
        self.directory = directory
        self.journal = JournalWriter(directory, min_free_ratio=0.0)
        self.relay = Relay(directory, [TransportConsumer("catalogue", HttpTransport(url), {"preset": preset})], policy=FAST)
        self.relay.start()

    def write(self, *lines: bytes) -> None:
        assert all(self.journal.write(line) for line in lines)
        self.relay.wake()

    def close(self) -> None:
        self.relay.close(5)
        self.journal.close()


@pytest.fixture
def deliver(tmp_path: Path, standin: StandIn) -> Iterator[Delivery]:
    made = Delivery(tmp_path / "journal", standin.url, "marquez")
    yield made
    made.close()


def over(standin: StandIn, run_id: str) -> bool:
    return run_id in standin.state.runs and standin.state.runs[run_id].state == "COMPLETED"


def until(question: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return answer


def times(standin: StandIn, count: int, answer: Fault, *, run: str | None = None) -> list[float]:
    """Answer so to the next `count` events (of a run); when they came."""
    came: list[float] = []

    def fault(path: str, event: dict[str, Any] | None) -> Fault | None:
        if event is None or (run is not None and event["run"]["runId"] != run):
            return None
        came.append(time.monotonic())
        return answer if len(came) <= count else None

    standin.fault = fault
    return came


def test_one_500_is_repeated_after_a_while_and_nothing_is_parked(standin: StandIn, deliver: Delivery) -> None:
    """Two writers that create the same name at once: one gets a 500 and has to come again."""
    came = times(standin, 1, (500, "text/html", PAGE))
    run_id, line = event()
    deliver.write(line)
    until(lambda: over(standin, run_id))
    assert came[1] - came[0] >= 0.1
    assert parked(deliver.directory) == []
    assert [post["eventType"] for post in standin.posts] == ["START", "COMPLETE"]


@pytest.mark.parametrize("status", [500, 400, 404, 415, 422])
def test_what_is_refused_for_good_is_parked_with_its_reason_and_holds_nobody_up(standin: StandIn, deliver: Delivery, status: int) -> None:
    run_id, line = event()
    came = times(standin, 100, (status, "text/html", PAGE), run=run_id)
    others = [event() for _ in range(3)]
    deliver.write(line, *(other for _, other in others))
    until(lambda: all(over(standin, other) for other, _ in others))
    (item,) = until(lambda: parked(deliver.directory))
    assert (item.run_id, item.status, item.reason) == (run_id, status, f"HTTP {status}")
    assert item.attempts == len(came) == (2 if status == 500 else 1)


@pytest.mark.parametrize("answer", [(503, "text/html", PAGE), (429, "application/json", b"{}"), (200, "text/html", PAGE)])
def test_what_does_not_last_is_waited_for_in_order(standin: StandIn, deliver: Delivery, answer: Fault) -> None:
    """Also a sign-in page with status 200: nothing that it was sent has been stored."""
    came = times(standin, 5, answer)
    events = [event() for _ in range(3)]
    deliver.write(*(line for _, line in events))
    until(lambda: len(standin.posts) == 6)
    assert len(came) == 5 + 6
    assert [post["run"]["runId"] for post in standin.posts] == [run_id for run_id, _ in events for _ in range(2)]
    assert parked(deliver.directory) == []
    until(lambda: all(over(standin, run_id) for run_id, _ in events))


def test_one_connection_carries_everything(standin: StandIn, deliver: Delivery) -> None:
    events = [event() for _ in range(10)]
    deliver.write(*(line for _, line in events))
    until(lambda: len(standin.posts) == 20)
    assert standin.connections == 1


# Being asked what it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_end_that_cannot_say_what_it_is_now_is_asked_again(standin: StandIn, status: int) -> None:
    """Marquez answers so while it starts or lacks its database: its preset must not be missed for good."""
    consumer = TransportConsumer("catalogue", HttpTransport(standin.url), {"preset": "auto"})
    standin.fault = lambda path, event: (status, "text/html", PAGE)
    with pytest.raises(TransportError) as caught:
        consumer.deliver([Entry("s", 0, 1, event()[1])])
    assert caught.value.status in {503, 429}
    assert standin.posts == []
    standin.fault = lambda path, event: None
    consumer.deliver([Entry("s", 0, 1, event()[1])])
    assert consumer.preset.parents == "drop"
    consumer.close(1)


@pytest.mark.parametrize(
    "answer", [(404, "text/html", PAGE), (401, "application/json", b"{}"), (200, "text/html", PAGE), (200, "application/json", b"[]")]
)
def test_anything_else_is_a_plain_consumer(standin: StandIn, answer: Fault) -> None:
    consumer = TransportConsumer("catalogue", HttpTransport(standin.url), {"preset": "auto"})
    standin.fault = lambda path, event: answer if event is None else None
    for _ in range(2):
        consumer.deliver([Entry("s", 0, 1, event()[1])])
    assert consumer.preset.parents == "keep"
    assert [method for method, _ in standin.requests].count("GET") == 1
    consumer.close(1)
