"""`spanline relay replay`: what a backend lost comes again, from the journal, and from the ledger what the journal has no more."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from spanline.journal.reader import segments
from tests.faults.stand import Load, Receiver, cli, environ, eventually, serving

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def served(home: Path, receiver: Receiver) -> list[str]:
    """Runs of an app that was stopped in order; the receiver has lost them all."""
    with serving("uvicorn", home, environ(home, receiver)) as app:
        with Load(app.port) as load:
            load.until(60)
        eventually(lambda: set(load.runs) <= receiver.over())
        app.end()
    receiver.events.clear()
    return load.runs


def counts(home: Path, receiver: Receiver, *arguments: str, status: int = 0) -> dict[str, dict[str, int]]:
    done = cli(home, "relay", "replay", "--json", *arguments, receiver=receiver)
    assert done.returncode == status, done.stdout + done.stderr
    return {item.pop("consumer"): item for item in json.loads(done.stdout)["items"]}


def test_from_the_journal(served: list[str], home: Path, receiver: Receiver) -> None:
    assert counts(home, receiver, "--since", "10m") == {"openlineage": {"sent": len(served), "parked": 0, "left": 0}}
    assert receiver.over() == set(served)
    receiver.in_order()
    first = list(receiver.events)
    # Once more: the same events, byte for byte, so that the consumer knows them by run id and time.
    receiver.events.clear()
    counts(home, receiver, "--since", "10m")
    assert sorted(map(repr, receiver.events)) == sorted(map(repr, first))


def test_what_the_journal_has_no_more_comes_from_the_ledger(served: list[str], home: Path, receiver: Receiver) -> None:
    for segment in segments(home / "journal" / "fees"):
        segment.path.unlink()
    assert counts(home, receiver, "--since", "10m") == {"openlineage": {"sent": len(served), "parked": 0, "left": 0}}
    assert receiver.over() == set(served)
    receiver.in_order()


def test_each_event_once_where_both_have_it_in_part(served: list[str], home: Path, receiver: Receiver) -> None:
    lines = [line for segment in segments(home / "journal" / "fees") for line in segment.path.read_bytes().splitlines(keepends=True)]
    (segment, *others) = segments(home / "journal" / "fees")
    for other in others:
        other.path.unlink()
    segment.path.write_bytes(b"".join(lines[::2]))
    assert counts(home, receiver, "--since", "10m")["openlineage"]["sent"] == len(served)
    terminal = [event["run"]["runId"] for event in receiver.events if event["eventType"] != "START"]
    assert sorted(terminal) == sorted(served)


def test_only_the_stretch_of_time_that_was_named(served: list[str], home: Path, receiver: Receiver) -> None:
    lines = [json.loads(line) for segment in segments(home / "journal" / "fees") for line in segment.path.read_bytes().splitlines()]
    times = sorted(line["eventTime"] for line in lines)
    since, to = times[10], times[20]
    expected = {line["run"]["runId"] for line in lines if since <= line["eventTime"] < to}
    counts(home, receiver, "--since", since, "--to", to)
    assert receiver.over() == expected
    receiver.events.clear()
    counts(home, receiver, "--since", "20m", "--to", "10m")
    assert receiver.events == []


def test_a_consumer_that_is_away_and_one_that_refuses(served: list[str], home: Path, receiver: Receiver) -> None:
    receiver.stop()
    began = time.monotonic()
    found = counts(home, receiver, "--since", "10m", "--timeout", "1", status=1)
    assert time.monotonic() - began < 30
    assert found["openlineage"] == {"sent": 0, "parked": 0, "left": len(served)}
    receiver.start()
    receiver.status = lambda event: 422 if event["run"]["runId"] == served[3] else 201
    assert counts(home, receiver, "--since", "10m", status=1)["openlineage"] == {"sent": len(served) - 1, "parked": 1, "left": 0}
    assert served[3] in cli(home, "journal", "parked").stdout
    receiver.status = None
    assert cli(home, "journal", "retry", receiver=receiver).returncode == 0
    assert receiver.over() == set(served)


def test_what_somebody_else_put_into_the_ledger_stays_there(served: list[str], home: Path, receiver: Receiver) -> None:
    from spanline.ledger import Ledger

    event = {**receiver_event(home), "producer": "https://example.com/dbt"}
    event["run"]["runId"] = "00000000-0000-4000-8000-000000000001"
    with_other = Ledger.open(f"sqlite:///{home / 'ledger.db'}")
    assert not with_other.ingest([json.dumps(event).encode()]).rejected
    with_other.close()
    assert counts(home, receiver, "--since", "10m")["openlineage"]["sent"] == len(served)


def receiver_event(home: Path) -> dict[str, dict[str, str]]:
    return json.loads(segments(home / "journal" / "fees")[0].path.read_bytes().splitlines()[0])


def test_words_for_wrong_words(home: Path, receiver: Receiver) -> None:
    turned = cli(home, "relay", "replay", "--since", "10m", "--to", "20m", receiver=receiver)
    assert (turned.returncode, "is not before --to" in turned.stderr) == (2, True)
    wrong = cli(home, "relay", "replay", "--since", "yesterday", receiver=receiver)
    assert wrong.returncode == 2
    assert "expected a time like" in wrong.stderr
    none = cli(home, "relay", "replay", "--since", "1h")
    assert none.returncode == 2
    assert "OPENLINEAGE_URL" in none.stderr
    other = cli(home, "relay", "replay", "--since", "1h", "--consumer", "nobody", receiver=receiver)
    assert other.returncode == 2
    assert "openlineage" in other.stderr
