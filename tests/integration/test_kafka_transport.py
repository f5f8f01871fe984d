"""The Kafka transport and the relay on a real Apache Kafka."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spanline.errors import TransportError
from spanline.journal.writer import JournalWriter
from spanline.relay.consumer import TransportConsumer
from spanline.relay.parked import parked
from spanline.relay.policy import Policy
from spanline.relay.relay import Relay
from spanline.transports.kafka import KafkaTransport
from tests.servers import story
from tests.servers.child import eventually, free_port
from tests.servers.stores import Kafka
from tests.servers.story import Story

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with story.own_provider():
        yield story.play(tmp_path_factory.mktemp("story"), relay="off")


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return made(kafka, partitions=3)


def made(kafka: Kafka, partitions: int = 1, **config: str) -> str:
    """A new topic."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    for done in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
        done.result(20)
    return name


def read(kafka: Kafka, topic: str, count: int) -> list[tuple[str, dict[str, Any], int]]:
    """Key, event and partition of all messages; waits for so many, and a moment for more that should not be there."""
    reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": uuid.uuid4().hex, "log_level": 2})
    partitions = reader.list_topics(topic, timeout=20).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[tuple[str, dict[str, Any], int]] = []

    def more(timeout_s: float) -> bool:
        messages = [message for message in reader.consume(1000, timeout_s) if message.error() is None]
        found.extend(((each.key() or b"").decode(), json.loads(each.value() or b""), each.partition() or 0) for each in messages)
        return len(found) >= count

    eventually(lambda: more(0.3), 60, f"messages of {topic}")
    more(0.3)
    reader.close()
    return found


def relayed(folder: Path, transport: KafkaTransport, **options: Any) -> Relay:
    consumer = TransportConsumer("kafka", transport, {"preset": "openlineage", **transport.preset_options, **options})
    relay = Relay(folder, [consumer], policy=Policy(first_s=0.05, cap_s=0.5))
    relay.start()
    return relay


@contextlib.contextmanager
def journal(folder: Path) -> Iterator[JournalWriter]:
    with contextlib.closing(JournalWriter(folder)) as writer:
        yield writer


def test_what_services_send_by_themselves(kafka: Kafka, topic: str, tmp_path: Path, fresh_provider: None) -> None:
    config = tmp_path / "openlineage.yml"
    config.write_text(f"transport: {{type: kafka, topic: {topic}, config: {{bootstrap.servers: '{kafka.bootstrap}'}}}}")
    told = story.play(tmp_path, openlineage_config=config)
    expected = story.sent(told, "openlineage")
    found = read(kafka, topic, len(expected))
    stored = sorted((value["run"]["runId"], value["eventType"]) for _, value, _ in found)
    assert stored == sorted((event["run"]["runId"], event["eventType"]) for event in expected)
    values = {(value["run"]["runId"], value["eventType"]): value for _, value, _ in found}
    assert all(values[event["run"]["runId"], event["eventType"]] == event for event in expected)
    # A child's events stand on its trace's partition, in the order of their arrival.
    (child,) = told.of(story.TOOLS)
    assert {key for key, value, _ in found if value["run"]["runId"] == child["run"]["runId"]} == {f"run:{told.run_id}"}


def test_two_thousand_events_each_once_and_in_order(kafka: Kafka, topic: str, told: Story, tmp_path: Path) -> None:
    (event,) = told.of(story.TOOLS)
    event["run"]["facets"].pop("parent")
    runs = [str(uuid.uuid4()) for _ in range(1000)]
    with journal(tmp_path) as writer:
        for run_id in runs:
            writer.write(json.dumps(story.copied(event, run_id)).encode())
    transport = KafkaTransport(topic, {"bootstrap.servers": kafka.bootstrap})
    relay = relayed(tmp_path, transport)
    assert relay.flush(60)
    relay.close(10)
    found = read(kafka, topic, 2000)
    assert Counter((value["run"]["runId"], value["eventType"]) for _, value, _ in found) == Counter(
        (run_id, kind) for run_id in runs for kind in ("START", "COMPLETE")
    )
    order: dict[str, list[str]] = {}
    for _, value, _ in found:
        order.setdefault(value["run"]["runId"], []).append(value["eventType"])
    assert set(map(tuple, order.values())) == {("START", "COMPLETE")}
    spread = Counter(partition for _, _, partition in found)
    assert len(spread) == 3
    assert min(spread.values()) > 400, "one service is spread over all partitions"


def test_nothing_is_lost_while_no_broker_answers(kafka: Kafka, topic: str, told: Story, tmp_path: Path) -> None:
    (event,) = told.of(story.ASSISTANT)
    runs = [str(uuid.uuid4()) for _ in range(20)]
    with journal(tmp_path) as writer:
        for run_id in runs:
            writer.write(json.dumps(story.copied(event, run_id)).encode())
    port = free_port()
    transport = KafkaTransport(
        topic, {"bootstrap.servers": f"127.0.0.1:{port}", "message.timeout.ms": 500, "reconnect.backoff.max.ms": 200}
    )
    relay = relayed(tmp_path, transport)
    (health,) = eventually(lambda: [each for each in relay.health().values() if each.last_error], 30)
    assert (health.sent, health.parked) == (0, 0)
    assert "_MSG_TIMED_OUT" in str(health.last_error)
    with forwarding(port, kafka.bootstrap):
        assert relay.flush(60)
        relay.close(10)
    found = read(kafka, topic, 40)
    assert Counter((value["run"]["runId"], value["eventType"]) for _, value, _ in found) == Counter(
        (run_id, kind) for run_id in runs for kind in ("START", "COMPLETE")
    )
    assert parked(tmp_path) == []


def test_what_the_broker_refuses_is_parked_and_holds_up_nobody(kafka: Kafka, told: Story, tmp_path: Path) -> None:
    """The topic takes less than the transport was told: only the broker can say so."""
    topic = made(kafka, **{"max.message.bytes": "20000"})
    (event,) = told.of(story.ASSISTANT)
    runs = [str(uuid.uuid4()) for _ in range(3)]
    large = story.copied(event, runs[1])
    large["run"]["facets"]["spanline_operations"]["operations"] *= 200
    with journal(tmp_path) as writer:
        for each in (story.copied(event, runs[0]), large, story.copied(event, runs[2])):
            writer.write(json.dumps(each).encode())
    relay = relayed(tmp_path, KafkaTransport(topic, {"bootstrap.servers": kafka.bootstrap}))
    assert relay.flush(60)
    relay.close(10)
    assert [(item.run_id, item.status, item.reason) for item in parked(tmp_path)] == [(runs[1], 413, "Kafka: MSG_SIZE_TOO_LARGE")]
    ended = [value["run"]["runId"] for _, value, _ in read(kafka, topic, 4) if value["eventType"] == "COMPLETE"]
    assert sorted(set(ended)) == sorted([runs[0], runs[2]])


@pytest.mark.parametrize(
    ("topic", "config", "status", "reason"),
    [
        ("no topic!", {}, 400, "Kafka: TOPIC_EXCEPTION"),
        (
            "events", {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p"},
            None, "Kafka: _MSG_TIMED_OUT (_AUTHENTICATION)",
        ),
        ("events", {"security.protocol": "SSL"}, None, "Kafka: _MSG_TIMED_OUT (_TRANSPORT)"),
    ],
)  # fmt: skip
def test_the_reason_says_what_is_wrong(kafka: Kafka, topic: str, config: dict[str, str], status: int | None, reason: str) -> None:
    transport = KafkaTransport(topic, {"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 2000, **config})
    with pytest.raises(TransportError) as refused:
        transport.emit({"run": {"runId": "1"}})
    assert (refused.value.status, refused.value.reason) == (status, reason)
    transport.close(1)


@contextlib.contextmanager
def forwarding(port: int, to: str) -> Iterator[None]:
    """Connections to a loopback port go to an address: the first broker that a client asks."""
    host, _, number = to.partition(":")
    listener = socket.create_server(("127.0.0.1", port))

    def carry(here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := here.recv(65536):
                there.sendall(chunk)
        for end in (here, there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                here = listener.accept()[0]
                there = socket.create_connection((host, int(number)))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.close()
