"""A topic into the ledger: which topic, what is parked, what waits; against librdkafka's own mock cluster, in this process."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition

from spanline.cli.main import main
from spanline.consume.intake import Intake
from spanline.consume.parking import Parking, Refused
from spanline.consume.reader import Message
from spanline.consume.source import Topic, topic_of
from spanline.errors import ConfigurationError, LedgerError
from spanline.ledger import Ledger
from spanline.ledger.ingest import IngestReport
from spanline.relay.parked import parked
from spanline.relay.policy import Policy
from spanline.settings import Settings
from tests.ledger_events import end, foreign, request, start
from tests.servers.child import eventually

BROKEN = [b"no json", b'{"eventType":\n"COMPLETE"}', b"[1]", b"\xff\x00"]


class Faulty:
    """A ledger that fails as it is told."""

    def __init__(self, ledger: Ledger, fails: Callable[[Sequence[Any]], Exception | None]) -> None:
        self.ledger, self.fails = ledger, fails

    def ingest(self, events: Sequence[Any]) -> IngestReport:
        error = self.fails(events)
        if error is not None:
            raise error
        return self.ledger.ingest(events)

    def close(self) -> None:
        """The test closes it."""


class Stand:
    """A topic on the mock, a SQLite ledger, and what is between them."""

    def __init__(self, mock: str, folder: Path) -> None:
        self.folder = folder
        self.topic = Topic(f"events-{uuid.uuid4().hex[:8]}", {"bootstrap.servers": mock}, group=uuid.uuid4().hex)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db")
        self.producer = Producer({"bootstrap.servers": mock, "log_level": 2})

    def send(self, *values: bytes | None) -> None:
        for value in values:
            self.producer.produce(self.topic.name, value, partition=0)
        assert self.producer.flush(10) == 0

    def intake(self, fails: Callable[[Sequence[Any]], Exception | None] = lambda events: None) -> Intake:
        parking = Parking(self.folder / "journal", self.topic.name)
        return Intake(self.topic, lambda: Faulty(self.ledger, fails), parking, policy=Policy(first_s=0.01, cap_s=0.05))

    def until(self, intake: Intake, done: Callable[[], bool]) -> None:
        def turned() -> bool:
            intake.turn(lambda: False)
            return done()

        eventually(turned, 40, f"not there: {intake.progress}")


@pytest.fixture
def stand(mock: str, tmp_path: Path) -> Iterator[Stand]:
    made = Stand(mock, tmp_path)
    yield made
    made.ledger.close()


def test_events_are_written_once_and_what_is_none_is_parked(stand: Stand) -> None:
    records = [request(n) for n in range(5)]
    lines = [line for record in records for line in (start(record), end(record))]
    wrong = json.dumps(foreign(1, [], [], kind="MAYBE", run_id="00000000-0000-0000-0000-000000000001")).encode()
    stand.send(*lines[:6], *BROKEN, wrong, None, *lines[6:], *lines)
    intake = stand.intake()
    stand.until(intake, lambda: intake.idle)
    told = intake.progress
    assert (told.read, told.written, told.duplicates, told.empty, told.parked, told.lag) == (26, 10, 10, 1, 5, 0)
    intake.close()
    assert stand.ledger.stats()["runs"] == 5
    items = {item.reason.partition("@")[2]: item for item in parked(stand.folder / "journal" / f"kafka.{stand.topic.name}")}
    assert [int(place.partition(":")[0]) for place in items] == [6, 7, 8, 9, 10]
    assert [item.status for item in items.values()] == [422] * 5
    assert [bytes(item.event)[:9] for item in items.values()] == [b'{"base64"', b'{"eventTy', b"[1]", b'{"base64"', b'{"eventTy']
    assert list(items.values())[4].run_id == "00000000-0000-0000-0000-000000000001"
    assert "eventType is not one of" in list(items.values())[4].reason


def test_nothing_is_settled_while_the_ledger_does_not_answer(stand: Stand) -> None:
    stand.send(*[end(request(n)) for n in range(20)])
    away = [True]
    intake = stand.intake(lambda events: LedgerError("the ledger does not answer") if away[0] else None)
    stand.until(intake, lambda: intake._attempts > 6)
    assert (intake.progress.written, intake.progress.trouble) == (0, "the ledger does not answer")
    assert committed(intake) < 0
    away[0] = False
    stand.until(intake, lambda: intake.idle)
    assert (intake.progress.written, intake.progress.parked, intake.progress.trouble) == (20, 0, "")
    eventually(lambda: committed(intake) == 20)
    intake.close()
    assert stand.ledger.stats()["runs"] == 20


def committed(intake: Intake) -> int:
    """The offset that the group has for the partition."""
    reader = intake._reader
    (found,) = reader._consumer.committed([TopicPartition(reader._topic.name, 0)], 10)
    return found.offset


@pytest.mark.internal_errors
@pytest.mark.parametrize(("error", "status"), [(LedgerError("away"), 503), (RuntimeError("poison"), 500)])
def test_one_event_that_the_ledger_stumbles_over_holds_up_nobody(stand: Stand, error: Exception, status: int) -> None:
    bad = end(request(99))
    lines = [end(request(n)) for n in range(20)]
    stand.send(*lines[:4], bad, *lines[4:10])
    intake = stand.intake(lambda events: error if bad in events else None)
    stand.until(intake, lambda: intake.progress.written >= 10)
    for line in lines[10:]:
        stand.send(line)
        before = intake.progress.written
        stand.until(intake, lambda before=before: intake.progress.written > before)
    stand.until(intake, lambda: intake.idle)
    intake.close()
    assert (intake.progress.written, intake.progress.parked) == (20, 1)
    (item,) = parked(stand.folder / "journal" / f"kafka.{stand.topic.name}")
    assert (bytes(item.event), item.status) == (bad, status)


@pytest.mark.internal_errors
def test_a_parked_event_goes_in_by_retry(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """`spanline journal retry` knows what to do with it."""
    stand.send(end(request(1)))
    intake = stand.intake(lambda events: RuntimeError("a mistake of this version"))
    stand.until(intake, lambda: intake.idle)
    intake.close()
    monkeypatch.setenv("SPANLINE_HOME", str(stand.folder))
    monkeypatch.setenv("SPANLINE_LEDGER_MAX_AGE", "1e9")
    shown = json.loads(CliRunner().invoke(main, ["journal", "parked", "--json"]).stdout)
    assert [(item["consumer"], item["journal"], item["status"]) for item in shown["items"]] == [
        ("ledger", f"kafka.{stand.topic.name}", 500)
    ]
    assert CliRunner().invoke(main, ["journal", "retry"]).exit_code == 0
    assert stand.ledger.stats()["runs"] == 1


def test_what_is_delivered_again_is_parked_once(tmp_path: Path) -> None:
    some = [Refused(Message(0, offset, b"{}"), "no event", 422) for offset in range(3)]
    parking = Parking(tmp_path, "t")
    assert parking.park(some[:2]) == (2, 0)
    # Another member had parked it, and was killed before it gave the offset back.
    assert Parking(tmp_path, "t").park(some) == (1, 0)
    parking.refresh()
    assert parking.park(some) == (0, 0)
    assert [item.reason for item in parked(tmp_path / "kafka.t")] == [f"t[0]@{offset}: no event" for offset in range(3)]


def test_the_command_reads_to_the_end(stand: Stand) -> None:
    stand.send(*[end(request(n)) for n in range(3)], b"{}")
    source = f"kafka://{stand.topic.brokers}/{stand.topic.name}"
    done = CliRunner().invoke(main, ["consume", source, "--once", "--json", "--ledger", f"sqlite:///{stand.folder}/other.db"])
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["read"], last["written"], last["parked"], last["lag"], last["trouble"]) == (4, 3, 1, 0, None)
    nobody = CliRunner().invoke(main, ["consume", "kafka://127.0.0.1:1/events", "--once", "--timeout", "1"])
    assert nobody.exit_code == 1
    assert "the end was not reached in 1 s: Kafka: _" in nobody.output


CONFIG = {"bootstrap.servers": "b:9092", "sasl.password": "secret"}


def written(folder: Path, transport: Any) -> str:
    path = folder / "openlineage.json"
    path.write_text(json.dumps({"transport": transport}))
    return str(path)


def test_which_topic(tmp_path: Path) -> None:
    nothing = Settings.resolve({}, {})
    assert topic_of(nothing, "kafka://a:1,b:2/fees.events/") == Topic("fees.events", {"bootstrap.servers": "a:1,b:2"}, "spanline")
    assert topic_of(Settings.resolve({}, {"OPENLINEAGE_URL": "kafka://a:1/t"}), group="night").group == "night"
    one = {"type": "kafka", "topic": "t", "config": CONFIG}
    path = written(tmp_path, {"type": "composite", "transports": [{"type": "console"}, one]})
    found = topic_of(Settings.resolve({}, {"OPENLINEAGE_CONFIG": path}))
    assert (found.name, found.config, found.group) == ("t", CONFIG, "spanline")
    assert "secret" not in repr(found)
    path = written(
        tmp_path, {"type": "composite", "transports": {"a": one, "b": {**one, "topic": "u", "config": {**CONFIG, "group.id": "g"}}}}
    )
    assert topic_of(nothing, path, topic="u").group == "g"
    with pytest.raises(ConfigurationError, match=r"several topics \(t, u\); choose one with --topic"):
        topic_of(nothing, path)
    with pytest.raises(ConfigurationError, match="with the topic v; there are t, u"):
        topic_of(nothing, path, topic="v")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "no topic is named"),
        ("http://marquez:5000", "is no topic"),
        ("kafka://u:secret@b:1/t", "expected kafka://host:port"),
        ("/nowhere.yml", "cannot be read"),
        ({"type": "http"}, "no transport of type kafka"),
        ({"type": "kafka", "topic": "t"}, "bootstrap.servers"),
        ({"type": "kafka", "config": {}}, "topic: expected a string"),
        ([], "expected a mapping under `transport`"),
    ],
)
def test_a_source_that_is_none(tmp_path: Path, source: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        topic_of(Settings.resolve({}, {}), source if source is None or isinstance(source, str) else written(tmp_path, source))
    assert told in str(wrong.value)
    assert "secret" not in str(wrong.value)


def test_a_wrong_property_is_named_without_its_value(tmp_path: Path) -> None:
    topic = Topic("t", {"bootstrap.servers": "b:1", "security.protocol": "secret"})
    with pytest.raises(ConfigurationError) as wrong:
        Intake(topic, lambda: None, Parking(tmp_path, "t"))
    assert "security.protocol" in str(wrong.value)
    assert "secret" not in str(wrong.value)
