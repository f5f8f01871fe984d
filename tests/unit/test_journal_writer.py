"""The journal's writer: one write an event, own segments, limits that hold."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from spanline.journal.chain import sealed
from spanline.journal.reader import read, segments
from spanline.journal.verify import verify
from spanline.journal.writer import JournalWriter

pytestmark = pytest.mark.raw_journal


def line(number: int, size: int = 50) -> bytes:
    return json.dumps({"n": number, "pad": "x" * size}).encode()


def numbers(directory: Path) -> list[int]:
    return [json.loads(entry.line)["n"] for segment in segments(directory) for entry in read(segment, 0, 1 << 30)]


def in_child(work) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def eventually(check, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def test_each_event_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.write(line(0))
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(data) or real(fd, data))
    for number in range(1, 21):
        assert writer.write(line(number, 5000))
    assert len(written) == 20
    assert all(data.count(b"\n") == 1 and data.endswith(b"\n") for data in written)
    assert numbers(tmp_path / "journal") == list(range(21))


def test_nothing_is_made_before_the_first_write_and_then_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "journal"
    writer = JournalWriter(directory)
    assert not directory.exists()
    writer.write(line(1))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (segment,) = segments(directory)
    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600
    assert segment.pid == os.getpid()
    assert abs(segment.created_us / 1e6 - time.time()) < 60


def test_close_seals_and_a_write_after_it_is_not_lost(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.write(line(1))
    writer.close()
    assert list(sealed(tmp_path)) == [segment.name for segment in segments(tmp_path)]
    assert writer.write(line(2))
    writer.close()
    writer.close()
    assert numbers(tmp_path) == [1, 2]
    assert verify(tmp_path).findings == []


def test_a_newline_inside_an_event_does_not_split_it(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.write(b'{"n":\n1}')
    assert numbers(tmp_path) == [1]


def test_segments_rotate_by_size_and_are_sealed(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, max_segment_bytes=1000)
    for number in range(100):
        writer.write(line(number))
    writer.close()
    there = segments(tmp_path)
    assert len(there) > 5
    assert all(segment.size <= 1000 for segment in there)
    assert numbers(tmp_path) == list(range(100))
    eventually(lambda: len(sealed(tmp_path)) == len(there))
    assert verify(tmp_path).ok


def test_segments_rotate_by_age(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, max_age_s=0.0)
    writer.write(line(1))
    writer._check_at = 0.0  # the age is looked at once a second
    writer.write(line(2))
    assert len(segments(tmp_path)) == 2


def test_an_event_larger_than_a_segment_is_taken(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, max_segment_bytes=1000)
    assert writer.write(line(1, 100_000))
    assert writer.write(line(2))
    assert numbers(tmp_path) == [1, 2]


def test_names_rise_when_the_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, max_segment_bytes=100)
    writer.write(line(1))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
    writer.write(line(2))
    writer.write(line(3))
    assert numbers(tmp_path) == [1, 2, 3]


def test_threads_share_a_writer(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, max_segment_bytes=10_000)

    def work(first: int) -> None:
        for number in range(first, first + 300):
            assert writer.write(line(number))

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(numbers(tmp_path)) == sorted(n for start in (0, 1000, 2000, 3000) for n in range(start, start + 300))


@pytest.mark.fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_a_segment_of_its_own(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.write(line(1))

    def child() -> None:
        assert writer.write(line(2))
        writer.close()

    assert in_child(child) == 0
    assert writer.write(line(3))
    assert sorted(numbers(tmp_path)) == [1, 2, 3]
    assert len({segment.pid for segment in segments(tmp_path)}) == 2
    assert len(segments(tmp_path)) == 2


@pytest.mark.fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.write(line(1))
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writer._lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    try:
        assert in_child(lambda: writer.write(line(2)) or os._exit(3)) == 0
    finally:
        release.set()
        thread.join()
    assert sorted(numbers(tmp_path)) == [1, 2]


def test_the_limit_holds_and_what_goes_is_counted(tmp_path: Path) -> None:
    drops: Counter[str] = Counter()
    lock = threading.Lock()

    def on_drop(reason: str) -> None:
        with lock:
            drops[reason] += 1

    writer = JournalWriter(tmp_path, max_segment_bytes=2000, max_bytes=16_000, on_drop=on_drop)
    taken = sum(writer.write(line(number, 100)) for number in range(1000))
    writer.close()
    there = numbers(tmp_path)
    assert sum(segment.size for segment in segments(tmp_path)) <= 16_000
    assert taken == len(there) + drops["retention"]
    assert taken + drops["journal_full"] == 1000
    assert there == sorted(there)
    assert verify(tmp_path).findings == []


def test_many_writers_together_stay_below_the_limit(tmp_path: Path) -> None:
    writers = [JournalWriter(tmp_path, max_bytes=100_000) for _ in range(8)]
    for _ in range(200):
        for writer in writers:
            writer.write(line(1, 400))
    assert sum(segment.size for segment in segments(tmp_path)) <= 100_000
    for writer in writers:
        writer.close()


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path) -> None:
    drops: list[str] = []
    writer = JournalWriter(tmp_path, min_free_ratio=1.0, on_drop=drops.append)
    assert not writer.write(line(1))
    assert not writer.write(line(2))
    assert drops == ["disk_low", "disk_low"]
    assert segments(tmp_path) == []


def test_a_descriptor_that_the_app_closed_is_not_written_to(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.write(line(1))
    os.close(writer._fd)
    stranger = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert stranger == writer._fd
    writer._check_at = 0.0  # looked at once a second
    assert writer.write(line(2))
    os.close(stranger)
    assert (tmp_path / "other").read_bytes() == b""
    assert numbers(tmp_path / "journal") == [1, 2]


def test_a_short_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops: list[str] = []
    writer = JournalWriter(tmp_path, on_drop=drops.append)
    writer.write(line(1))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    assert not writer.write(line(2))
    monkeypatch.undo()
    writer._retry_at = writer._check_at = 0.0  # tried again after a second
    assert writer.write(line(3))
    assert drops == ["disk_full"]
    assert numbers(tmp_path) == [1, 3]
    writer.close()
    assert verify(tmp_path).ok
