"""The journal and the relay when processes are killed and disks refuse."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spanline.journal import cursors
from spanline.journal.chain import seal_dead, sealed
from spanline.journal.reader import read, scan, segments
from spanline.journal.verify import verify
from spanline.journal.writer import JournalWriter
from tests.faults.stand import file_system

pytestmark = pytest.mark.raw_journal
ROOT = Path(__file__).resolve().parents[2]


def numbers(directory: Path) -> list[int]:
    found: list[int] = []
    for segment in segments(directory):
        offset = 0
        while (part := scan(segment, offset)).end > offset:
            found += [json.loads(entry.line)["n"] for entry in part.entries]
            offset = part.end
    return found


def eventually(check: Callable[[], object], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


WRITER = """
import sys
from pathlib import Path
from spanline.journal.writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]), max_segment_bytes=200_000)
number = 0
while True:
    assert writer.write(b'{"n":%d,"pad":"%s"}' % (number, b"x" * 20_000))
    print(number)
    number += 1
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_writer_loses_nothing_that_write_returned_for(tmp_path: Path, after: int) -> None:
    child = start(WRITER, tmp_path)
    assert child.stdout is not None
    last = -1
    for _ in range(after):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    last = int(rest.split()[-1]) if rest.split() and rest.endswith("\n") else last
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) >= last
    eventually(lambda: seal_dead(tmp_path) == 0)
    assert len(sealed(tmp_path)) == len(segments(tmp_path))
    assert [finding.kind for finding in verify(tmp_path).findings if finding.kind != "torn"] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    with file_system(tmp_path / "disk", "256k") as mount:
        yield mount


def test_a_full_disk_is_counted_and_recovers_by_itself(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    drops: Counter[str] = Counter()
    writer = JournalWriter(small_disk / "journal", min_free_ratio=0.0, on_drop=lambda reason: drops.update([reason]))
    taken = [number for number in range(200) if writer.write(b'{"n":%d,"pad":"%s"}' % (number, b"x" * 5000))]
    assert drops == {"disk_full": 200 - len(taken)}
    assert 30 < len(taken) < 60
    assert len([record for record in caplog.records if "takes no events" in record.message]) == 1
    assert numbers(small_disk / "journal") == taken
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    eventually(lambda: writer.write(b'{"n":1000}'))
    writer.close()
    assert numbers(small_disk / "journal") == [*taken, 1000]
    assert verify(small_disk / "journal").ok


def test_a_read_only_disk_is_counted_and_recovers_by_itself(small_disk: Path) -> None:
    drops: list[str] = []
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    writer = JournalWriter(small_disk / "journal", min_free_ratio=0.0, on_drop=drops.append)
    assert not writer.write(b'{"n":1}')
    assert drops == ["read_only"]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    eventually(lambda: writer.write(b'{"n":2}'))
    assert numbers(small_disk / "journal") == [2]


def test_a_deleted_folder_is_made_again_and_its_last_events_are_saved(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    writer = JournalWriter(directory)
    assert writer.write(b'{"n":0}')
    shutil.rmtree(directory)
    for number in range(1, 6):
        assert writer.write(b'{"n":%d}' % number)

    def again() -> bool:
        assert writer.write(b'{"n":9}')
        return directory.exists()

    eventually(again)
    writer.close()
    found = numbers(directory)
    assert found[:6] == [0, 1, 2, 3, 4, 5]
    assert set(found[6:]) == {9}


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    drops: list[str] = []
    (tmp_path / "journal").write_text("in the way")
    writer = JournalWriter(tmp_path / "journal", on_drop=drops.append)
    assert not writer.write(b'{"n":1}')
    assert drops[0] in {"directory_missing", "io_error"}
    (tmp_path / "journal").unlink()
    eventually(lambda: writer.write(b'{"n":2}'))


def test_no_descriptors_left(tmp_path: Path) -> None:
    drops: list[str] = []
    writer = JournalWriter(tmp_path, on_drop=drops.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    hold: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        try:
            while True:
                hold.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        assert not writer.write(b'{"n":1}')
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in hold:
            os.close(fd)
    assert drops == ["no_descriptors"]
    eventually(lambda: writer.write(b'{"n":2}'))
    assert numbers(tmp_path) == [2]


RELAY = """
import json, os, sys, time
from pathlib import Path
from spanline.relay.relay import Relay

class Append:
    name = "sink"
    def deliver(self, entries):
        fd = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b"".join(b"%d %d\\n" % (os.getpid(), json.loads(entry.line)["n"]) for entry in entries))
        os.close(fd)
    def close(self, timeout_s):
        return True

def main():
    relay = Relay(Path(sys.argv[1]), [Append()])
    relay.start()
    print("started", flush=True)
    return relay
"""
ALONE = RELAY + "\nmain()\nsys.stdin.read()\n"
FORKED = (
    RELAY
    + """
relay = main()
while not relay.health()["sink"].leading:
    time.sleep(0.01)
if os.fork() == 0:
    relay.start()
    time.sleep(60)
    os._exit(0)
print("leading", flush=True)
sys.stdin.read()
"""
)


def delivered(sink: Path) -> dict[int, set[int]]:
    """Numbers of the events that arrived, with the processes that brought each."""
    found: dict[int, set[int]] = {}
    for line in sink.read_text().splitlines() if sink.exists() else ():
        pid, number = line.split()
        found.setdefault(int(number), set()).add(int(pid))
    return found


def test_three_relays_have_one_leader_and_another_takes_over_within_five_seconds(tmp_path: Path) -> None:
    journal, sink = tmp_path / "journal", tmp_path / "sink"
    writer = JournalWriter(journal)
    relays = [start(ALONE, journal, sink) for _ in range(3)]
    try:
        for child in relays:
            assert child.stdout is not None
            assert child.stdout.readline() == "started\n"
        for number in range(50):
            writer.write(b'{"n":%d}' % number)
        eventually(lambda: len(delivered(sink)) == 50)
        leaders = set.union(*delivered(sink).values())
        assert len(leaders) == 1
        (leader,) = leaders
        kill(next(child for child in relays if child.pid == leader))
        killed = time.monotonic()
        writer.write(b'{"n":50}')
        eventually(lambda: 50 in delivered(sink))
        assert time.monotonic() - killed < 5
        assert leader not in delivered(sink)[50]
        for number in range(51, 100):
            writer.write(b'{"n":%d}' % number)
        eventually(lambda: len(delivered(sink)) == 100)
        assert len(set.union(*(delivered(sink)[number] for number in range(50, 100)))) == 1
    finally:
        for child in relays:
            kill(child)
        writer.close()


@pytest.mark.fork
def test_a_forked_relay_does_not_hold_its_dead_parents_lead_back(tmp_path: Path) -> None:
    journal, sink = tmp_path / "journal", tmp_path / "sink"
    writer = JournalWriter(journal)
    parent = start(FORKED, journal, sink)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    assert parent.stdout.readline() == "leading\n"
    try:
        writer.write(b'{"n":0}')
        eventually(lambda: delivered(sink).get(0) == {parent.pid})
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    killed = time.monotonic()
    writer.write(b'{"n":1}')
    eventually(lambda: 1 in delivered(sink))
    assert time.monotonic() - killed < 5
    (child,) = delivered(sink)[1]
    assert child != parent.pid
    os.kill(child, signal.SIGKILL)
    parent.communicate()
    writer.close()


def test_a_killed_relay_delivers_the_rest_after_its_restart_and_only_the_last_moment_again(tmp_path: Path) -> None:
    journal, sink = tmp_path / "journal", tmp_path / "sink"
    writer = JournalWriter(journal, max_segment_bytes=20_000)
    for number in range(3000):
        writer.write(b'{"n":%d,"pad":"%s"}' % (number, b"x" * 100))
    settled: list[dict[int, set[int]]] = []
    for _ in range(4):
        child = start(ALONE, journal, sink)
        before = len(delivered(sink))
        # Without a cursor there is nothing to hold it to: the first one is kept a moment after the first delivery.
        eventually(lambda before=before: len(delivered(sink)) > min(before, 2999) and cursors.load(journal, "sink"))
        kill(child)
        kept = cursors.load(journal, "sink")
        behind = [json.loads(e.line)["n"] for s in segments(journal) for e in read(s, 0, 1 << 20) if e.end <= kept.get(s.name, 0)]
        assert behind
        now = delivered(sink)
        settled.append({number: now[number] for number in behind})
    child = start(ALONE, journal, sink)
    eventually(lambda: len(delivered(sink)) == 3000)
    # Again comes only what was delivered in the last moment before a kill, since when the cursor was not kept.
    final = delivered(sink)
    for earlier in settled:
        assert {number: final[number] for number in earlier} == earlier
    eventually(lambda: sum(cursors.load(journal, "sink").values()) == sum(segment.size for segment in segments(journal)))
    kill(child)
    writer.close()
