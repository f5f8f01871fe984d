"""Retention: nothing goes before everyone registered has it, unless the disk limit is met; and cursors."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from spanline.journal import cursors
from spanline.journal.locks import LeaderLock, exclusive
from spanline.journal.reader import segments
from spanline.journal.retention import retain
from spanline.journal.writer import JournalWriter

pytestmark = pytest.mark.raw_journal
ROOM = 1 << 30


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    for first in (0, 10, 20):
        writer = JournalWriter(tmp_path)
        for number in range(first, first + 4):
            writer.write(json.dumps({"n": number, "pad": "x" * 200}).encode())
        writer.close()
    return tmp_path


def passed(journal: Path, name: str, count: int) -> None:
    cursors.save(journal, name, {segment.name: segment.size for segment in segments(journal)[:count]})


def test_a_segment_goes_when_every_registered_consumer_has_it(journal: Path) -> None:
    names = [segment.name for segment in segments(journal)]
    passed(journal, "ledger", 3)
    passed(journal, "marquez", 1)
    assert retain(journal, max_bytes=ROOM, keep_s=-1) == 1
    assert [segment.name for segment in segments(journal)] == names[1:]
    cursors.forget(journal, "marquez")
    assert retain(journal, max_bytes=ROOM, keep_s=-1) == 2


def test_a_consumer_that_never_came_keeps_everything(journal: Path) -> None:
    passed(journal, "ledger", 3)
    cursors.register(journal, "away")
    assert retain(journal, max_bytes=ROOM, keep_s=-1) == 0


def test_without_consumers_nothing_goes_below_the_limit(journal: Path) -> None:
    assert retain(journal, max_bytes=ROOM, keep_s=-1) == 0


def test_delivered_segments_stay_for_a_while(journal: Path) -> None:
    passed(journal, "ledger", 3)
    assert retain(journal, max_bytes=ROOM, keep_s=3600) == 0
    assert retain(journal, max_bytes=sum(segment.size for segment in segments(journal)) + 1, keep_s=3600) >= 1


def test_an_open_segment_never_goes(journal: Path) -> None:
    writer = JournalWriter(journal)
    writer.write(b'{"n":1}')
    passed(journal, "ledger", 4)
    assert retain(journal, max_bytes=ROOM, keep_s=-1) == 3
    assert len(segments(journal)) == 1
    writer.close()


def test_at_the_limit_the_oldest_go_and_what_was_undelivered_is_counted(journal: Path) -> None:
    oldest = segments(journal)[0]
    size = oldest.size
    half = oldest.path.read_bytes().index(b"\n", size // 2 - 10) + 1
    cursors.save(journal, "ledger", {oldest.name: half})
    drops: list[str] = []
    removed = retain(journal, max_bytes=int(size * 2.5), on_drop=drops.append)
    assert removed == 1
    assert drops == ["retention"] * 2
    assert oldest.name not in {segment.name for segment in segments(journal)}


def test_a_cursor_is_replaced_in_one_step_and_read_back(tmp_path: Path) -> None:
    assert cursors.load(tmp_path, "ledger") == {}
    cursors.save(tmp_path, "ledger", {"a.ndjson": 5})
    assert cursors.load(tmp_path, "ledger") == {"a.ndjson": 5}
    cursors.register(tmp_path, "ledger")
    assert cursors.registered(tmp_path) == {"ledger": {"a.ndjson": 5}}
    path = cursors.path_of(tmp_path, "ledger")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["ledger.json"]


def test_a_cursor_that_cannot_be_read_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cursors.save(tmp_path, "ledger", {"a.ndjson": 5})
    cursors.path_of(tmp_path, "ledger").write_bytes(b'{"segments": {"a')
    assert cursors.load(tmp_path, "ledger") == {}
    assert "reading anew" in caplog.text


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101])
def test_a_consumer_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="consumer name"):
        cursors.path_of(tmp_path, name)


def test_one_leader_in_a_process(tmp_path: Path) -> None:
    first, second = LeaderLock(tmp_path / "c" / "x.lock"), LeaderLock(tmp_path / "c" / "x.lock")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert not first.held()
    second.release()


def test_a_leader_whose_lock_file_was_deleted_leads_no_more(tmp_path: Path) -> None:
    lock = LeaderLock(tmp_path / "x.lock")
    assert lock.acquire()
    (tmp_path / "x.lock").unlink()
    assert not lock.held()
    assert lock.acquire()
    assert lock.held()
    lock.release()


def test_the_short_lock_keeps_threads_apart(tmp_path: Path) -> None:
    from spanline.errors import JournalError

    with exclusive(tmp_path / "chain.lock"), pytest.raises(JournalError, match="another thread"), exclusive(tmp_path / "chain.lock", 0.05):
        pass
    with exclusive(tmp_path / "chain.lock", 0.05):
        pass
