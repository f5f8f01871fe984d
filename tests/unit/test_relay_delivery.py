"""The relay: at least once, in order per run, whatever the other end answers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry import context

from spanline.errors import LedgerError, TransportError
from spanline.journal import cursors
from spanline.journal.chain import sealed
from spanline.journal.reader import Entry, segments
from spanline.journal.writer import JournalWriter
from spanline.relay.consumer import DeliveryError
from spanline.relay.ledger import LedgerConsumer
from spanline.relay.parked import ParkedStore, consumers, parked
from spanline.relay.policy import Policy, backoff_s, wait_s
from spanline.relay.relay import Relay
from spanline.relay.retry import retry
from spanline.transports.base import MalformedAnswer

pytestmark = pytest.mark.raw_journal
FAST = Policy(first_s=0.005, cap_s=0.02, server_error_s=0.005)


def eventually(check: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


def event(number: int, run: str = "") -> bytes:
    return json.dumps({"n": number, "eventType": "COMPLETE", "run": {"runId": run or f"run-{number}"}}).encode()


class Sink:
    """Takes events; `answers` says what happens at an event, once each call."""

    def __init__(self, name: str = "sink") -> None:
        self.name = name
        self.taken: list[int] = []
        self.attempts: list[tuple[int, float]] = []
        self.answers: Callable[[int, int], TransportError | None] = lambda number, attempt: None
        self.suppressed: set[object] = set()
        self.closed = False

    def deliver(self, entries: Sequence[Entry]) -> None:
        self.suppressed.add(context.get_value("suppress_instrumentation"))
        for index, entry in enumerate(entries):
            number = json.loads(entry.line)["n"]
            self.attempts.append((number, time.monotonic()))
            error = self.answers(number, self.tried(number))
            if error is not None:
                raise DeliveryError(error, range(index, len(entries))) from error
            self.taken.append(number)

    def tried(self, number: int) -> int:
        return sum(n == number for n, _ in self.attempts)

    def close(self, timeout_s: float) -> bool:
        self.closed = True
        return True


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture
def relay_of(tmp_path: Path, writer: JournalWriter) -> Iterator[Callable[..., Relay]]:
    made: list[Relay] = []

    def make(*consumers_of, **options) -> Relay:
        relay = Relay(tmp_path / "journal", consumers_of, **{"policy": FAST, **options})
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.close(0.0)


def test_everything_written_is_delivered_in_order(writer, relay_of, tmp_path: Path) -> None:
    sink = Sink()
    relay = relay_of(sink)
    relay.start()
    for number in range(1000):
        writer.write(event(number))
        relay.wake()
    assert relay.flush(10)
    assert sink.taken == list(range(1000))
    assert sink.suppressed == {True}
    assert relay.close(5)
    assert sink.closed
    assert sum(cursors.load(tmp_path / "journal", "sink").values()) == sum(s.size for s in segments(tmp_path / "journal"))


def test_an_event_is_delivered_soon_after_its_write(writer, relay_of) -> None:
    sink = Sink()
    relay = relay_of(sink)
    relay.start()
    eventually(lambda: relay.health()["sink"].leading)
    for number in range(5):
        written = time.monotonic()
        writer.write(event(number))
        relay.wake()
        eventually(lambda number=number: number in sink.taken)
        assert time.monotonic() - written < 5


def test_a_restart_goes_on_where_the_last_one_stopped(writer, relay_of) -> None:
    first, second = Sink(), Sink()
    for number in range(10):
        writer.write(event(number))
    assert relay_of(first).close(5)
    for number in range(10, 20):
        writer.write(event(number))
    assert relay_of(second).close(5)
    assert first.taken + second.taken == list(range(20))


def test_consumers_do_not_wait_for_each_other(writer, relay_of) -> None:
    good, bad = Sink("good"), Sink("bad")
    bad.answers = lambda number, attempt: TransportError("no answer")
    relay = relay_of(good, bad)
    for number in range(20):
        writer.write(event(number))
    assert not relay.flush(0.3)
    assert good.taken == list(range(20))
    assert bad.taken == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501, 301])
def test_what_is_refused_for_good_is_parked_and_holds_up_nobody(writer, relay_of, tmp_path: Path, status: int) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError(f"HTTP {status}", status=status) if number == 3 else None
    relay = relay_of(sink)
    for number in range(8):
        writer.write(event(number))
    assert relay.flush(10)
    assert sink.taken == [0, 1, 2, 4, 5, 6, 7]
    assert sink.tried(3) == 1
    (item,) = parked(tmp_path / "journal")
    shown = item.shown()
    assert set(shown) == {"consumer", "runId", "eventType", "status", "reason", "attempts", "parkedAt"}
    assert (shown["runId"], shown["status"], shown["attempts"]) == ("run-3", status, 1)
    assert relay.health()["sink"].parked == 1


def test_a_500_is_tried_twice_and_then_parked(writer, relay_of, tmp_path: Path) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("HTTP 500", status=500) if number == 1 or (number == 3 and attempt == 1) else None
    relay = relay_of(sink, policy=Policy(server_error_s=0.1))
    for number in range(5):
        writer.write(event(number))
    assert relay.flush(10)
    assert sink.taken == [0, 2, 3, 4]
    first, second = (at for number, at in sink.attempts if number == 1)
    assert second - first >= 0.1
    assert [item.attempts for item in parked(tmp_path / "journal")] == [2]


@pytest.mark.parametrize("status", [None, 408, 429, 502, 503, 504])
def test_what_may_pass_is_tried_again_until_it_does(writer, relay_of, tmp_path: Path, status: int | None) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("away", status=status) if len(sink.attempts) < 12 else None
    relay = relay_of(sink)
    for number in range(5):
        writer.write(event(number))
    assert relay.flush(10)
    assert sink.taken == [0, 1, 2, 3, 4]
    assert parked(tmp_path / "journal") == []


def test_retry_after_is_honoured(writer, relay_of) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("HTTP 429", status=429, retry_after_s=0.4) if attempt == 1 else None
    relay = relay_of(sink)
    writer.write(event(0))
    assert relay.flush(10)
    (_, first), (_, second) = sink.attempts
    assert 0.4 <= second - first < 2


def test_an_event_that_nobody_answers_while_others_pass_is_parked(writer, relay_of, tmp_path: Path) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("no answer (ConnectionResetError)") if number == 0 else None
    relay = relay_of(sink)
    relay.start()
    writer.write(event(0))
    eventually(lambda: sink.tried(0) > 5)
    for number in range(1, 10):
        writer.write(event(number))
    assert relay.flush(10)
    assert sorted(sink.taken) == list(range(1, 10))
    assert [item.run_id for item in parked(tmp_path / "journal")] == ["run-0"]


def test_events_of_a_run_do_not_overtake_each_other(writer, relay_of) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("no answer") if number == 0 and attempt < 12 else None
    relay = relay_of(sink)
    for number in range(4):
        writer.write(event(number, "same"))
    assert relay.flush(10)
    assert sink.taken == [0, 1, 2, 3]


def test_a_consumer_that_fails_over_a_batch_is_asked_one_by_one(writer, relay_of, tmp_path: Path) -> None:
    class Batch(Sink):
        def deliver(self, entries: Sequence[Entry]) -> None:
            found = [json.loads(entry.line)["n"] for entry in entries]
            self.attempts += [(number, 0.0) for number in found]
            if 7 in found:
                raise TransportError("HTTP 400", status=400)
            self.taken += found

    sink = Batch()
    relay = relay_of(sink)
    for number in range(20):
        writer.write(event(number))
    assert relay.flush(10)
    assert sink.taken == [number for number in range(20) if number != 7]
    assert [item.run_id for item in parked(tmp_path / "journal")] == ["run-7"]


@pytest.mark.internal_errors
def test_a_consumers_own_mistake_stops_nothing(writer, relay_of, tmp_path: Path) -> None:
    class Faulty(Sink):
        def deliver(self, entries: Sequence[Entry]) -> None:
            for entry in entries:
                if json.loads(entry.line)["n"] == 2:
                    raise KeyError("oops")
            super().deliver(entries)

    sink = Faulty()
    relay = relay_of(sink)
    for number in range(5):
        writer.write(event(number))
    assert relay.flush(10)
    assert sink.taken == [0, 1, 3, 4]
    assert [item.reason for item in parked(tmp_path / "journal")] == ["internal error (KeyError)"]


def test_broken_lines_do_not_stop_it(writer, relay_of, tmp_path: Path) -> None:
    sink = Sink()
    relay = relay_of(sink)
    writer.write(event(0))
    with open(segments(tmp_path / "journal")[0].path, "ab") as file:
        file.write(b"junk\n{broken\n")
    writer.write(event(1))
    assert relay.flush(10)
    assert sink.taken == [0, 1]
    eventually(lambda: relay.health()["sink"].torn == 2)


def test_two_relays_in_one_process_have_one_leader(writer, relay_of) -> None:
    first, second = Sink(), Sink()
    one = relay_of(first)
    one.start()
    eventually(lambda: one.health()["sink"].leading)
    two = relay_of(second)
    two.start()
    for number in range(10):
        writer.write(event(number))
    assert two.flush(10)
    assert (first.taken, second.taken) == (list(range(10)), [])
    one.close(1)
    writer.write(event(10))
    assert two.flush(10)
    assert second.taken == [10]


@pytest.mark.fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_delivers_when_its_parent_is_gone(writer, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class ToFile(Sink):
        def deliver(self, entries: Sequence[Entry]) -> None:
            with open(out, "a") as file:
                file.writelines(f"{os.getpid()} {json.loads(entry.line)['n']}\n" for entry in entries)

    relay = Relay(tmp_path / "journal", [ToFile()], policy=FAST)
    relay.start()
    eventually(lambda: relay.health()["sink"].leading)
    gate_read, gate_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            relay.wake()
            os.read(gate_read, 1)
            writer.write(event(1))
            relay.wake()
            status = 0 if relay.flush(15) else 3
        finally:
            os._exit(status)
    writer.write(event(0))
    assert relay.close(10)
    os.write(gate_write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert out.read_text().splitlines() == [f"{os.getpid()} 0", f"{pid} 1"]
    os.close(gate_read)
    os.close(gate_write)


@pytest.mark.fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_dead_writers_segment_is_sealed_and_what_everyone_has_goes(relay_of, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            JournalWriter(tmp_path / "journal").write(event(0))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    (segment,) = segments(tmp_path / "journal")
    sink = Sink()
    relay = relay_of(sink, keep_s=3600)
    relay.start()
    eventually(lambda: segment.name in sealed(tmp_path / "journal"))
    relay.close(1)
    again = relay_of(sink, keep_s=-1)
    again.start()
    eventually(lambda: segments(tmp_path / "journal") == [])
    assert sink.taken == [0]
    assert again.flush(1)


def test_the_observer_is_told(writer, relay_of) -> None:
    told: list[tuple[str, str, float]] = []
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("HTTP 400", status=400) if number == 1 else None
    relay = relay_of(sink, on_event=lambda consumer, what, value: told.append((consumer, what, value)))
    for number in range(3):
        writer.write(event(number))
    assert relay.flush(5)
    eventually(lambda: {"sent", "parked", "lag_seconds", "backlog_bytes"} <= {what for _, what, _ in told})
    assert sum(value for _, what, value in told if what == "sent") == 2
    assert {consumer for consumer, _, _ in told} == {"sink"}


def test_a_retry_sends_what_was_parked_and_parks_again_what_fails(writer, relay_of, tmp_path: Path) -> None:
    sink = Sink()
    sink.answers = lambda number, attempt: TransportError("HTTP 422", status=422) if number < 3 else None
    relay = relay_of(sink)
    for number in range(4):
        writer.write(event(number))
    assert relay.flush(5)
    assert consumers(tmp_path / "journal") == ["sink"]
    sink.answers = lambda number, attempt: TransportError("HTTP 400", status=400) if number == 1 else None
    (report,) = retry(tmp_path / "journal", [sink])
    assert (report.sent, report.parked) == (2, 1)
    assert sink.taken == [3, 0, 2]
    (item,) = parked(tmp_path / "journal")
    assert (item.run_id, item.status, item.attempts) == ("run-1", 400, 2)
    sink.answers = lambda number, attempt: None
    assert [r.parked for r in retry(tmp_path / "journal", [sink], run_id="run-9")] == [1]
    assert [r.parked for r in retry(tmp_path / "journal", [sink])] == [0]
    assert parked(tmp_path / "journal") == []


def test_a_retry_that_was_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, "sink")
    for number in range(3):
        store.add(Entry("s", 0, 1, event(number)), status=400, reason="HTTP 400", attempts=1, parked_at="2026-11-21T12:00:00Z")
    assert len(store.take()) == 3  # … and then the process dies
    store.add(Entry("s", 0, 1, event(3)), status=400, reason="HTTP 400", attempts=1, parked_at="2026-11-21T12:00:00Z")
    assert store.count() == 4
    sink = Sink()
    retry(tmp_path, [sink])
    assert sink.taken == [0, 1, 2, 3]
    assert store.items() == []


def test_parked_events_have_a_limit(tmp_path: Path) -> None:
    store = ParkedStore(tmp_path, "sink", max_bytes=2000)
    gone = sum(
        store.add(Entry("s", 0, 1, event(n)), status=400, reason="HTTP 400", attempts=1, parked_at="2026-11-21T12:00:00Z")
        for n in range(50)
    )
    assert gone > 0
    assert store.count() + gone == 50
    assert store.items()[-1].run_id == "run-49"
    assert (tmp_path / "parked" / "sink.ndjson").stat().st_size <= 2000


def test_the_ledger_takes_a_batch_and_parks_what_it_cannot_read(writer, relay_of, tmp_path: Path) -> None:
    from spanline.ledger.ingest import IngestReport, Rejected

    class Ledger:
        lines: list[bytes] = []
        away = 2

        def ingest(self, events: Sequence[bytes]) -> IngestReport:
            if self.away:
                self.away -= 1
                raise LedgerError("locked")
            bad = [index for index, line in enumerate(events) if b'"n": 3' in line]
            self.lines += [line for index, line in enumerate(events) if index not in bad]
            return IngestReport(rejected=tuple(Rejected(index, "no run") for index in bad))

    ledger = Ledger()
    relay = relay_of(LedgerConsumer(ledger))
    for number in range(6):
        writer.write(event(number))
    assert relay.flush(5)
    assert [json.loads(line)["n"] for line in ledger.lines] == [0, 1, 2, 4, 5]
    (item,) = parked(tmp_path / "journal")
    assert (item.consumer, item.reason) == ("ledger", "not an event of a run (no run)")


def test_names_of_consumers_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different names"):
        Relay(tmp_path, [Sink(), Sink()])


def test_a_relay_without_anything_to_do(tmp_path: Path) -> None:
    assert Relay(tmp_path, []).close(1)
    relay = Relay(tmp_path / "no journal yet", [Sink()])
    assert relay.close(1)


def test_flush_keeps_its_deadline(writer, relay_of) -> None:
    sink, gate = Sink(), threading.Event()

    def hang(number: int, attempt: int) -> None:
        gate.wait(20)

    sink.answers = hang
    relay = relay_of(sink)
    writer.write(event(0))
    before = time.monotonic()
    assert not relay.flush(0.2)
    assert not relay.close(0.2)
    assert time.monotonic() - before < 12
    gate.set()


def test_the_policy() -> None:
    policy = Policy()
    assert [backoff_s(n, policy) for n in (1, 2, 3, 50)] == [0.1, 0.2, 0.4, 30.0]
    assert wait_s(TransportError("x", status=404), 1, policy) is None
    assert wait_s(TransportError("x", status=500), 2, policy) is None
    assert 0.1 <= (wait_s(TransportError("x", status=500), 1, policy) or 0) <= 0.15
    assert (wait_s(MalformedAnswer("x"), 1, policy) or 0) >= 0.1
    assert wait_s(MalformedAnswer("x"), 2, policy) is None
    assert 30 <= (wait_s(TransportError("x"), 1000, policy) or 0) <= 45
    assert 7 <= (wait_s(TransportError("x", status=503, retry_after_s=7), 1, policy) or 0) <= 7.2
