"""Ingest: idempotent, any order, two jobs on one run id, poison, retention. On SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy import event, func, select, update

from spanline.errors import TransportError
from spanline.ledger import Ledger
from spanline.ledger.retention import Retention
from spanline.ledger.schema import events, runs
from spanline.record.run import Evaluation
from spanline.relay.consumer import DeliveryError
from spanline.relay.ledger import LedgerConsumer
from tests.ledger_events import CORPUS, MODEL, PROMPT, T0, build, child_of, end, foreign, index, request, start


def contents(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables but what depends on arrival: packed bodies and dictionaries."""
    from spanline.ledger.schema import metadata

    with ledger._database.read() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(table.select().with_only_columns(*(c for c in table.c if c.name not in ("body", "dictionary"))))),
                key=repr,
            )
            for table in metadata.sorted_tables
            if table.name != "dictionaries"
        }  # fmt: skip


def story() -> list[bytes]:
    root = request(1, tags={"case": "1"})
    child = child_of(root, "retriever")
    records = [root, child, build(0, [CORPUS], [index()]), request(2, outcome="FAIL"), request(3, index("c2", "c2"), PROMPT, MODEL)]
    events = [event for record in records for event in (start(record), end(record))]
    root.sequence, root.evaluations = 1, [Evaluation(name="faithfulness", score=0.3, passed=False)]
    return [*events, end(root)]


def test_the_same_batch_twice_changes_nothing(ledger):
    events = story()
    assert ledger.ingest(events).accepted == len(events)
    before = contents(ledger)
    again = ledger.ingest(events)
    assert (again.accepted, again.duplicates) == (0, len(events))
    assert contents(ledger) == before


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_any_batches_give_the_same_rows(new_ledger_url, seed):
    events = story()
    results = []
    for number, size in enumerate((len(events), 1, 3)):
        ledger = Ledger.open(new_ledger_url())
        some = list(events)
        random.Random(seed + number).shuffle(some)
        for first in range(0, len(some), size):
            ledger.ingest(some[first : first + size])
        rows = contents(ledger)
        # A label belongs to who shows it first; everything else is the same whoever comes first.
        del rows["label_digests"], rows["artifacts"], rows["releases"]
        # A START bears no facets: as long as it is alone, its time is all there is to the key.
        results.append(rows)
        ledger.close()
    assert results[0] == results[1] == results[2]


def test_two_jobs_on_one_run_id_are_two_runs_and_flagged(ledger):
    record = request()
    ledger.ingest([end(record)])
    other = request(1, run_id=record.run_id, trace_id=record.trace_id, job="gateway.POST /chat", service="gateway")
    ledger.ingest([start(other), end(other)])
    assert ledger.run(record.run_id)["job"] == record.job
    expected = str(uuid.uuid5(uuid.UUID(record.run_id), "rag-prod/gateway.POST /chat"))
    assert [child["runId"] for child in ledger.run(record.trace_id)["children"]] == [expected]
    rekeyed = ledger.run(expected)
    assert rekeyed["job"] == "gateway.POST /chat"
    assert any("run id" in gap["missing"] for gap in rekeyed["gaps"])
    assert {item["runId"] for item in ledger.gaps()["items"]} == {expected}
    assert ledger.run(record.run_id)["others"] == [expected]


def test_runs_that_start_in_one_microsecond_stay_apart(ledger):
    records = [request(0, run_id=str(uuid.UUID(int=number << 64 | 7)), trace_id=f"{number << 64 | 7:032x}") for number in range(1, 40)]
    ledger.ingest([end(record) for record in records[:20]])
    ledger.ingest([end(record) for record in records[20:]])
    assert {item["runId"] for item in ledger.runs(limit=100)["items"]} == {record.run_id for record in records}


def test_a_bad_event_is_reported_and_the_rest_is_kept(ledger):
    good = [end(request(second)) for second in range(3)]
    report = ledger.ingest([good[0], b"{", good[1], foreign(0, [], [], run_id="4711"), good[2]])
    assert report.accepted == 3
    assert [(entry.index, entry.reason) for entry in report.rejected] == [(1, "the event is not JSON"), (3, "run.runId is not a UUID")]


def test_a_job_is_a_job_though_only_its_first_event_says_so(ledger, ledger_url):
    ledger.ingest([end(build(0, [CORPUS], [index()]))])
    ledger.ingest([end(build(1, [CORPUS], [index("c2", "c2")]), job_facets=False)])
    ledger.close()
    again = Ledger.open(ledger_url, max_age_s=1.0)
    again.ingest([end(build(2, [CORPUS], [index("c3", "c3")]), job_facets=False)])
    with again._database.read() as connection:
        assert connection.exec_driver_sql("SELECT offline, count(*) FROM runs GROUP BY 1").all() == [(1, 3)]
    again.close()


def test_events_are_packed_with_what_the_job_says_alike(ledger):
    records = [request(second) for second in range(60)]
    for record in records:
        ledger.ingest([end(record)])
    with ledger._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM dictionaries").scalar_one() == 1
        sizes = connection.exec_driver_sql("SELECT max(length(body)) FILTER (WHERE dictionary IS NOT NULL), min(length(body)) FILTER (WHERE dictionary IS NULL) FROM events").one()  # fmt: skip
        assert sizes[0] < sizes[1] * 0.7
    assert ledger.run(records[-1].run_id)["answers"]["prompt"][0]["version"] == "v7"


def test_a_damaged_event_hides_only_itself(ledger, caplog):
    first, second = request(0), request(1)
    ledger.ingest([end(first), end(second)])
    with ledger._database.write() as connection:
        connection.execute(
            update(events).where(events.c.run == select(func.min(runs.c.run)).scalar_subquery()).values(body=b"\x01\x00\xff")
        )
    assert ledger.run(first.run_id) is None
    assert ledger.run(second.run_id) is not None
    assert "damaged" in caplog.text
    assert ledger.ingest([start(first)]).accepted == 1


def entries(*lines: bytes) -> list[SimpleNamespace]:
    return [SimpleNamespace(line=line) for line in lines]


def test_the_consumer_names_the_poisoned_entry_and_keeps_the_others(ledger):
    consumer = LedgerConsumer(ledger)
    records = [request(second) for second in range(3)]
    lines = [end(record) for record in records]
    consumer.deliver(entries(lines[0]))
    with pytest.raises(DeliveryError) as caught:
        consumer.deliver(entries(lines[1], b"poison", lines[2]))
    assert (caught.value.undelivered, caught.value.status) == ((1,), 422)
    assert "poison" not in caught.value.reason
    assert {item["runId"] for item in ledger.runs()["items"]} == {record.run_id for record in records}
    assert consumer.close(1.0)


def test_a_ledger_that_does_not_answer_is_tried_again(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    ledger.close()
    (tmp_path / "ledger.db").unlink()
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(TransportError) as caught:
        LedgerConsumer(ledger).deliver(entries(end(request())))
    assert caught.value.status is None


def test_old_requests_go_and_jobs_stay(ledger):
    old, new, job = request(0, tags={"case": "1"}, response_id="resp"), request(2 * 86_400), build(0, [CORPUS], [index()])
    ledger.ingest([end(old), end(new), end(job)])
    now_us = T0 // 1000 + round(2.5 * 86_400e6)
    Retention(ledger._database, max_bytes=None, max_age_s=86_400).run(now_us=now_us)
    assert ledger.run(old.run_id) is None
    assert ledger.resolve("resp") is None
    assert ledger.run(new.run_id)["upstream"][0]["runId"] == job.run_id
    with ledger._database.read() as connection:
        for table in ("edges", "events", "terms"):
            (orphans,) = connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT run FROM runs)").one()
            assert orphans == 0
    ledger.close()


def test_a_ledger_over_its_size_sheds_the_oldest_requests(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", max_bytes=700_000)
    job = build(-10, [CORPUS], [index()])
    ledger.ingest([end(job)])
    records = [request(second) for second in range(900)]
    for first in range(0, 900, 100):
        ledger.ingest([end(record) for record in records[first : first + 100]])
    ledger.maintain()
    assert ledger.stats()["bytes"] <= 700_000
    with ledger._database.read() as connection:
        # What was freed goes back to the disk.
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0
    assert ledger.run(records[0].run_id) is None
    assert ledger.run(records[-1].run_id) is not None
    assert ledger.run(job.run_id) is not None
    ledger.close()


def test_readers_and_writers_in_many_threads(ledger):
    def work(number: int) -> None:
        for turn in range(10):
            record = request(number * 100 + turn)
            ledger.ingest([end(record)])
            assert ledger.run(record.run_id) is not None
            ledger.runs(limit=5)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [None] * 4
    assert ledger.stats()["runs"] == 40


def test_everything_of_a_person_goes(ledger):
    subject = "hmac-sha256:k1:" + "ab" * 32
    theirs = [request(second, tags={"case": "1"}, subject=subject, response_id=f"resp{second}") for second in range(3)]
    below, other, job = child_of(theirs[0], "retriever"), request(9, subject="hmac-sha256:k1:other"), build(-5, [CORPUS], [index()])
    ledger.ingest([end(record) for record in (*theirs, below, other, job)])
    assert ledger.erase("subject", subject) == 4
    assert ledger.erase("subject", subject) == 0
    for gone in (*(record.run_id for record in theirs), below.run_id, "resp1", theirs[0].request_id):
        assert ledger.resolve(gone) is None
    assert {item["runId"] for item in ledger.runs()["items"]} == {other.run_id, job.run_id}
    assert ledger.runs(tag="case:1")["items"] == []
    assert ledger.impact("prompt:fees@v7")["runs"]["count"] == 1
    with ledger._database.read() as connection:
        for table in ("edges", "events", "terms", "evaluations", "conflicts"):
            (orphans,) = connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT run FROM runs)").one()
            assert orphans == 0
    for whose, digest in (("name", "x"), ("subject", " ")):
        with pytest.raises(ValueError):
            ledger.erase(whose, digest)


def test_what_many_threads_bring_is_written_together_and_each_hears_of_its_own(ledger):
    ledger.ingest([end(request(0))])
    events = [end(request(second, index(digest="rebuilt" if second == 3 else "c1"), PROMPT)) for second in range(1, 9)]
    batches = [*([event] for event in events), [events[0]], [b"{"], [events[1], b"[]"]]
    begun: list[object] = []
    count = begun.append
    event.listen(ledger._database.engine, "begin", count)
    with ThreadPoolExecutor(len(batches)) as pool:
        with ledger._database.lock:
            waiting = []
            for batch in batches:
                waiting.append(pool.submit(ledger.ingest, batch))
                # One after the other, so that it is known who brought an event first.
                while len(ledger._together._waiting) < len(waiting):
                    time.sleep(0.001)
        reports = [each.result(timeout=30) for each in waiting]
    event.remove(ledger._database.engine, "begin", count)
    assert len(begun) == 1
    assert [(report.accepted, report.duplicates, len(report.rejected)) for report in reports] == [(1, 0, 0)] * 8 + [
        (0, 1, 0),
        (0, 0, 1),
        (0, 1, 1),
    ]
    assert [entry.index for entry in reports[-1].rejected] == [1]
    assert [len(report.conflicts) for report in reports] == [0, 0, 1] + [0] * 8
    assert ledger.stats()["runs"] == 9


def test_a_database_that_does_not_answer_is_told_to_all_who_wait(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    with ThreadPoolExecutor(3) as pool:
        with ledger._database.lock:
            waiting = [pool.submit(ledger.ingest, [end(request(second))]) for second in range(3)]
            while len(ledger._together._waiting) < 3:
                time.sleep(0.001)
            with ledger._database.write() as connection:
                connection.exec_driver_sql("ALTER TABLE edges RENAME TO away")
                connection.exec_driver_sql("CREATE VIEW edges AS SELECT * FROM away")
        assert all(each.exception(timeout=30) is not None for each in waiting)
    ledger.close()
