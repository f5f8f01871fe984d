"""The Kafka transport against librdkafka's own mock cluster, in this process."""

from __future__ import annotations

import gc
import json
import os
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from spanline.cli.endpoints import check_endpoints
from spanline.errors import ConfigurationError, TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import TransportConsumer
from spanline.settings import Settings
from spanline.transports.base import BatchError
from spanline.transports.config import configured
from spanline.transports.kafka import KafkaTransport, refusal
from spanline.transports.keys import key_of

ROOT = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
CHILD = "00000000-0000-5000-8000-000000000001"


@pytest.fixture
def topic() -> str:
    return f"events-{uuid.uuid4().hex[:8]}"


def event(run_id: str = ROOT, kind: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    job = {"namespace": "ns", "name": "svc.POST /chat"}
    trace = {"startedAt": "2026-11-21T12:00:00Z"}
    return {
        "eventType": kind, "eventTime": "2026-11-21T12:00:01Z", "run": {"runId": run_id, "facets": {"spanline_trace": trace, **more}},
        "job": job, "inputs": [], "outputs": [], "producer": "https://example.com", "schemaURL": "https://example.com/s.json",
    }  # fmt: skip


def child_of(root: str) -> dict[str, Any]:
    named = {"run": {"runId": root}, "job": {"namespace": "ns", "name": "root"}}
    return {"parent": {**named, "root": named}}


def everything(bootstrap: str, topic: str, count: int) -> list[Message]:
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "log_level": 2})
    # Without a group to join, which takes the mock three seconds.
    partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Message] = []
    for _ in range(100):
        found += [message for message in reader.consume(100, 0.2) if message.error() is None]
        if len(found) >= count:
            break
    reader.close()
    return found


def values(messages: list[Message]) -> list[Any]:
    return [json.loads(message.value() or b"") for message in messages]


def test_an_event_is_a_message_keyed_by_its_run(mock: str, topic: str) -> None:
    transport = KafkaTransport(topic, {"bootstrap.servers": mock})
    transport.emit(event())
    transport.emit(event(CHILD, **child_of(ROOT)))
    assert transport.close(5)
    found = everything(mock, topic, 2)
    assert values(found) == [event(), event(CHILD, **child_of(ROOT))]
    assert {message.key() for message in found} == {f"run:{ROOT}".encode()}, "a trace keeps its order"
    assert found[0].headers() == [("content-type", b"application/json")]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (event(), f"run:{ROOT}"),
        (json.dumps(event(CHILD, **child_of(ROOT))).encode(), f"run:{ROOT}"),
        (event(CHILD, parent={"run": {"runId": ROOT}}), f"run:{ROOT}"),
        ({"job": {"namespace": "ns", "name": "nightly"}}, "job:ns/nightly"),
        ({"dataset": {"namespace": "ns", "name": "fees"}}, "dataset:ns/fees"),
        ({"run": None}, "run:None"),
        ({"run": {"runId": "1", "facets": {"parent": "no"}}}, "run:1"),
    ],
)
def test_keys(given: Any, key: str) -> None:
    assert key_of(given) == key


def test_runs_spread_and_each_keeps_its_order(mock: str, topic: str) -> None:
    transport = KafkaTransport(topic, {"bootstrap.servers": mock})
    runs = [str(uuid.uuid4()) for _ in range(200)]
    transport.emit_batch([each for run in runs for each in (event(run, "START"), json.dumps(event(run)).encode())])
    found = everything(mock, topic, 400)
    assert len(found) == 400
    seen: dict[str, list[str]] = {}
    for value in values(found):
        seen.setdefault(value["run"]["runId"], []).append(value["eventType"])
    assert seen == {run: ["START", "COMPLETE"] for run in runs}
    assert len({message.partition() for message in found}) > 1
    transport.close(5)


def test_the_relay_sends_start_and_end_at_once(mock: str, topic: str, tmp_path: Path) -> None:
    path = tmp_path / "openlineage.yml"
    path.write_text(f"transport: {{type: kafka, topic: {topic}, config: {{bootstrap.servers: '{mock}'}}, flush: false, messageKey: all}}")
    ((name, transport, options),) = configured(Settings.resolve({}, {"OPENLINEAGE_CONFIG": str(path)}))
    assert (name, transport.kind) == ("openlineage", "kafka")
    assert options == {"preset": "openlineage", "batch": "array", "max_event_bytes": 990_000}
    consumer = TransportConsumer(name, transport, options)
    big = event(CHILD, spanline_operations={"operations": ["x" * 1_200_000]})
    consumer.deliver([Entry("s", 0, 1, json.dumps(event()).encode()), Entry("s", 1, 2, json.dumps(big).encode())])
    consumer.close(5)
    found = everything(mock, topic, 4)
    assert [(value["run"]["runId"], value["eventType"]) for value in values(found)] == [
        (ROOT, "START"), (ROOT, "COMPLETE"), (CHILD, "START"), (CHILD, "COMPLETE"),
    ]  # fmt: skip
    assert {message.key() for message in found} == {b"all"}
    assert "spanline_operations" not in values(found)[-1]["run"]["facets"], "what is too large for a message loses its largest facets"


def test_a_kafka_may_be_a_url(mock: str, topic: str) -> None:
    ((name, transport, options),) = configured(Settings.resolve({}, {"OPENLINEAGE_URL": f"kafka://{mock}/{topic}"}))
    assert (name, transport.kind, options["preset"], options["batch"]) == ("openlineage", "kafka", "openlineage", "array")
    transport.emit(event())
    assert values(everything(mock, topic, 1)) == [event()]
    environ = {"OPENLINEAGE_URL": f"kafka://{mock},other:9092/{topic}", "SPANLINE_OPENLINEAGE_PRESET": "data-rentgen"}
    ((_, _, options),) = configured(Settings.resolve({}, environ))
    assert options["preset"] == "data-rentgen"
    for wrong in ("kafka://broker:9092", "kafka://u:p@broker/topic", "kafka:broker/topic", "kafka://broker/a/b"):
        settings = Settings.resolve({}, {"OPENLINEAGE_URL": wrong})
        assert settings.openlineage_url is None
        assert "kafka://host:port[,host:port]/topic" in settings.warnings[0]


def test_too_large_for_a_message_is_said_at_once(mock: str, topic: str) -> None:
    transport = KafkaTransport(topic, {"bootstrap.servers": mock})
    huge = event(CHILD, spanline_operations={"operations": ["x" * 1_200_000]})
    with pytest.raises(TransportError) as refused:
        transport.emit(huge)
    assert (refused.value.status, refused.value.reason) == (413, "Kafka: MSG_SIZE_TOO_LARGE")
    with pytest.raises(BatchError) as some:
        transport.emit_batch([event(), huge, event(CHILD)])
    assert (some.value.failed, some.value.status) == ((1,), 413)
    assert len(everything(mock, topic, 2)) == 2
    transport.close(5)


def test_no_broker_is_no_answer_within_the_time() -> None:
    transport = KafkaTransport("t", {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 300})
    with pytest.raises(TransportError) as refused:
        transport.emit_batch([event(), event(CHILD)])
    assert not isinstance(refused.value, BatchError)
    assert refused.value.status is None
    assert refused.value.reason.startswith("Kafka: _MSG_TIMED_OUT")
    with pytest.raises(TransportError, match="_MSG_TIMED_OUT"):
        transport.emit(event())
    assert transport.close(1)


class Forgetful:
    """A producer that delivers what it is not told to lose."""

    def __init__(self, lost: set[str]) -> None:
        self.lost = lost

    def produce(self, topic: str, value: bytes, key: str, *, headers: Any, on_delivery: Any) -> None:
        if value.decode() not in self.lost:
            on_delivery(None, None)

    def flush(self, timeout_s: float) -> int:
        return 1

    def purge(self) -> None:
        return None


def test_what_follows_in_a_trace_goes_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is to stay last; other traces are through."""
    events = [event(kind="START"), event(CHILD), event(), event(CHILD, **child_of(ROOT))]
    transport = KafkaTransport("t", {"bootstrap.servers": "127.0.0.1:1"})
    lost = msgspec.json.encode(events[0]).decode()
    monkeypatch.setattr(transport, "_open", lambda: Forgetful({lost}))
    with pytest.raises(BatchError) as some:
        transport.emit_batch(events)
    assert (some.value.failed, some.value.status, some.value.reason) == ((0, 2, 3), 503, "Kafka: no answer")


def test_doctor_asks_the_brokers(mock: str, topic: str, tmp_path: Path) -> None:
    def findings(bootstrap: str) -> list[tuple[str, str]]:
        path = tmp_path / "openlineage.yml"
        path.write_text(f"transport: {{type: kafka, topic: {topic}, config: {{bootstrap.servers: '{bootstrap}'}}}}")
        return [(found.level, found.message) for found in check_endpoints(Settings.resolve({}, {"OPENLINEAGE_CONFIG": str(path)}), {})]

    where = f"openlineage.yml: openlineage (Kafka at {mock})"
    assert findings(mock) == [("warn", f"{where} has no topic {topic}")]
    KafkaTransport(topic, {"bootstrap.servers": mock}).emit(event())
    assert findings(mock) == [("ok", f"{where} answers; topic {topic} has 4 partitions")]
    ((level, message),) = findings("127.0.0.1:1")
    assert level == "broken"
    assert message.endswith("does not answer: Kafka: _TRANSPORT")


@pytest.mark.fork
def test_a_forked_child_makes_a_producer_of_its_own(mock: str, topic: str) -> None:
    transport = KafkaTransport(topic, {"bootstrap.servers": mock})
    transport.emit(event())
    gc.collect()  # what other tests left is no part of this one
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            transport.emit(event(CHILD))
            transport.close(5)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    transport.emit(event())
    transport.close(5)
    assert sorted(value["run"]["runId"] for value in values(everything(mock, topic, 3))) == [CHILD, ROOT, ROOT]


@pytest.mark.fork
def test_a_forked_child_may_collect_what_its_parent_dropped(mock: str, topic: str) -> None:
    """Freed in the child, the parent's producer ended it with a segmentation fault."""
    gc.collect()  # what other tests left is no part of this one
    cycle: list[Any] = []
    gc.disable()
    try:
        for _ in range(3):
            cycle = [KafkaTransport(topic, {"bootstrap.servers": mock})]
            cycle[0].emit(event())
            cycle.append(cycle)
        cycle = []
        pid = os.fork()
        if pid == 0:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": {"bootstrap.servers": "x"}}, "transport option topic: expected a string"),
        ({"topic": "t"}, "`bootstrap.servers`"),
        ({"topic": "t", "config": []}, "`bootstrap.servers`"),
        ({"topic": "t", "config": "x"}, "expected a mapping"),
        (
            {"topic": "t", "config": {"bootstrap.servers": "x", "boostrap.servers": "y"}},
            'No such configuration property: "boostrap.servers"',
        ),
        ({"topic": "t", "config": {"bootstrap.servers": "x", "acks": 1}}, "acks"),
        ({"topic": "t", "config": {"bootstrap.servers": "x", "linger.ms": "soon"}}, 'Invalid value for configuration property "queue'),
        ({"topic": "t", "config": {"bootstrap.servers": "x", "message.timeout.ms": "soon"}}, "milliseconds"),
        ({"topic": "t", "config": {"bootstrap.servers": "x", "message.max.bytes": "many"}}, "bytes"),
        ({"topic": "t", "config": {"bootstrap.servers": "x"}, "messageKey": 7}, "messageKey"),
        ({"topic": "t", "config": {"bootstrap.servers": "x"}, "flush": "yes"}, "flush"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        KafkaTransport.from_options(options)


def test_a_secret_is_not_in_the_message() -> None:
    config = {"bootstrap.servers": "x", "ssl.key.password": "secret", "security.protocol": 'secret" for "it'}
    with pytest.raises(ConfigurationError) as wrong:
        KafkaTransport("t", config)
    assert str(wrong.value) == 'transport option config: Invalid value for configuration property "security.protocol"'


def test_a_value_is_in_no_message_of_any_form() -> None:
    error = ValueError("No provider for mechanism hunter2: sasl.password is hunter2")
    told = str(refusal(error, {"sasl.password": "hunter2", "acks": "all"}))
    assert told == "transport option config: No provider for mechanism …: sasl.password is …"


def test_without_the_extra_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'spanline\[kafka\]'"):
        KafkaTransport("t", {"bootstrap.servers": "x"})
