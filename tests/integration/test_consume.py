"""`spanline consume` on a real Apache Kafka: a group of several processes, one of them killed, into SQLite and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from spanline.ledger import Ledger
from spanline.relay.parked import parked
from spanline.transports.kafka import KafkaTransport
from tests.ledger_events import end, request, start
from tests.servers.child import eventually, free_port
from tests.servers.stores import Kafka, Postgres

pytestmark = pytest.mark.timeout(240)

PARTITIONS = 4
NO_EVENT = b'{"eventType": "COMPLETE", "run": {}}'


class Group:
    """A topic, a ledger, and processes that carry one into the other."""

    def __init__(self, kafka: Kafka, ledger_url: str, home: Path) -> None:
        self.kafka, self.ledger_url, self.home = kafka, ledger_url, home
        self.topic, self.name = f"events-{uuid.uuid4().hex[:8]}", f"group-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
        for done in admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)]).values():
            done.result(20)
        # The events of these tests are old.
        self.environ = {"SPANLINE_HOME": str(home), "SPANLINE_LEDGER_URL": ledger_url, "SPANLINE_LEDGER_MAX_AGE": "1e9"}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, bootstrap: str = "") -> subprocess.Popen[bytes]:
        # The least that the broker takes: so soon the partitions of a member that was killed go to others.
        config = {"bootstrap.servers": bootstrap or self.kafka.bootstrap, "session.timeout.ms": 6000}
        source = self.home / f"source-{len(self.processes)}.json"
        source.write_text(json.dumps({"transport": {"type": "kafka", "topic": self.topic, "config": config}}))
        environ = {**os.environ, **self.environ}
        log = self.home / f"member-{len(self.processes)}.ndjson"
        command = [sys.executable, "-m", "spanline.cli", "consume", str(source), "--group", self.name, "--json", "--every", "0.2", *options]
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def told(self, number: int) -> dict[str, Any]:
        """The last line of a member."""
        lines = [line for line in (self.home / f"member-{number}.ndjson").read_bytes().split(b"\n")[:-1] if line.startswith(b"{")]
        return json.loads(lines[-1]) if lines else {}

    def produce(self, values: Sequence[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 2})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, partition=number % PARTITIONS)
        assert producer.flush(60) == 0

    def behind(self) -> int:
        """Messages that the group has not given back."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 2})
        wanted = ConsumerGroupTopicPartitions(self.name, [TopicPartition(self.topic, number) for number in range(PARTITIONS)])
        (future,) = admin.list_consumer_group_offsets([wanted]).values()
        client = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "-", "log_level": 2})
        left = sum(client.get_watermark_offsets(each, timeout=10)[1] - max(0, each.offset) for each in future.result(20).topic_partitions)
        client.close()
        return left

    def stop(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(30)

    def counts(self) -> dict[str, Any]:
        ledger = Ledger.open(self.ledger_url)
        try:
            return ledger.stats()
        finally:
            ledger.close()


@pytest.fixture
def group(kafka: Kafka, new_ledger_url: Callable[[], str], tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as stack:
        made = Group(kafka, new_ledger_url(), tmp_path)
        Ledger.open(made.ledger_url).close()
        stack.callback(lambda: [made.stop(process, signal.SIGKILL) for process in made.processes])
        yield made


def test_three_members_one_killed_and_everything_delivered_twice_is_exact(group: Group) -> None:
    records = [request(n / 100) for n in range(3000)]
    lines = [line for record in records for line in (start(record), end(record))]
    ledger = Ledger.open(group.ledger_url)
    members = [group.start(), group.start()]
    eventually(lambda: [group.told(number).get("partitions") for number in (0, 1)] == [2, 2], 60, "the members share the partitions")
    group.produce([*lines[:3000], NO_EVENT, *lines[:200]])
    eventually(lambda: group.told(0).get("written") and group.told(1).get("written"), 60, "both members write")
    group.produce(lines[3000:])
    # No farewell: what it had read and not given back is read again by others.
    group.stop(members[0], signal.SIGKILL)
    members.append(group.start())
    group.produce([*lines[::2], NO_EVENT])
    eventually(lambda: ledger.stats()["runs"] == 3000 and group.behind() == 0, 120, f"not all: {group.told(1)} {group.told(2)}")
    assert [group.stop(member) for member in members[1:]] == [0, 0]
    assert ledger.stats()["runs"] == 3000
    assert sum(1 for _ in ledger.originals("2026-09-01T00:00:00Z", "2026-12-01T00:00:00Z")) == 6000
    page = ledger.runs(artifact="prompt:fees@v7", limit=1)
    assert ledger.impact("prompt:fees@v7")["runs"]["count"] == 3000
    assert page["items"][0]["status"] == "COMPLETE"
    ledger.close()
    places = [item.reason.partition(": ")[0] for item in parked(group.home / "journal" / f"kafka.{group.topic}")]
    assert len(places) == len(set(places)) == 2, places
    last = [group.told(number) for number in (1, 2)]
    assert [each["lag"] for each in last] == [0, 0]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_database_that_goes_away_in_the_middle(group: Group, postgres: Postgres) -> None:
    """Its connections are cut and no new one is let in for a while: nothing is lost, nothing is parked, the process goes on."""
    database = group.ledger_url.rpartition("/")[2]
    lines = [end(request(n / 100)) for n in range(3000)]
    member = group.start()
    group.produce(lines[:1000])
    eventually(lambda: group.told(0).get("written"), 60)
    postgres.psql("postgres", f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    postgres.psql("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    group.produce(lines[1000:])
    eventually(lambda: "does not answer" in (group.told(0).get("trouble") or ""), 60, "it says so")
    postgres.psql("postgres", f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    eventually(lambda: group.behind() == 0, 60)
    assert group.stop(member) == 0
    assert group.counts()["runs"] == 3000
    assert parked(group.home / "journal" / f"kafka.{group.topic}") == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_broker_at_first(group: Group, kafka: Kafka) -> None:
    from tests.integration.test_kafka_transport import forwarding

    port = free_port()
    group.produce([end(request(n)) for n in range(10)])
    member = group.start(bootstrap=f"127.0.0.1:{port}")
    eventually(lambda: (group.told(0).get("trouble") or "").startswith("Kafka: _"), 60, "it says so")
    with forwarding(port, kafka.bootstrap):
        eventually(lambda: group.told(0).get("written") == 10, 60)
        assert group.stop(member, signal.SIGINT) == 0
    assert group.told(0)["trouble"] is None
    assert group.behind() == 0


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_the_transport_sends_is_what_the_ledger_gets(group: Group) -> None:
    """A relay on one side, `--once` on the other: with the broker's own assignment of partitions, from an openlineage.yml."""
    records = [request(n) for n in range(20)]
    transport = KafkaTransport(group.topic, {"bootstrap.servers": group.kafka.bootstrap})
    transport.emit_batch([end(record) for record in records])
    transport.close(10)
    path = group.home / "openlineage.yml"
    config = {"bootstrap.servers": group.kafka.bootstrap, "acks": "all", "group.id": group.name, "group.protocol": "consumer"}
    path.write_text(json.dumps({"transport": {"type": "kafka", "topic": group.topic, "config": config}}))
    environ = {**os.environ, **group.environ, "OPENLINEAGE_CONFIG": str(path)}
    command = [sys.executable, "-m", "spanline.cli", "consume", "--once"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"topic   {group.topic} at {group.kafka.bootstrap}, group {group.name}" in done.stdout
    assert "20 read, 20 new" in done.stdout.splitlines()[-1]
    ledger = Ledger.open(group.ledger_url)
    assert ledger.run(records[7].run_id)["status"] == "COMPLETE"
    ledger.close()
