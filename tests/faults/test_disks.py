"""Disks that refuse, journals that were damaged: requests are served, losses are counted, and the rest is read."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spanline.journal.reader import segments
from tests.faults.stand import Load, Receiver, cli, environ, eventually, file_system, in_ledger, rest_delivered, serving

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    with file_system(tmp_path / "disk", "2m") as mount:
        yield mount


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def dropped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    rows = [line for line in lines if line.startswith("spanline_dropped_total{")]
    return {row.split('"')[1]: float(row.split()[-1]) for row in rows}


@pytest.mark.parametrize(("fault", "reason"), [("full", "disk_full"), ("read-only", "read_only")])
def test_a_disk_that_refuses(fault: str, reason: str, disk: Path, receiver: Receiver) -> None:
    home = disk / "home"
    home.mkdir()
    if fault == "read-only":
        # From the start: the kernel makes no disk read-only under a file that is being written.
        remount(disk, "ro")
    env = environ(home, receiver, SPANLINE_LEDGER="false")
    with serving("uvicorn", home, env, logs=disk.parent) as served:
        with Load(served.port) as load:
            load.until(20)
            if fault == "full":
                with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                    while filler.write(b"x" * 4096):
                        pass
            eventually(lambda: dropped(served.port).get(reason, 0) > 5, what=f"{dropped(served.port)}")
            doctor = cli(home, "doctor", receiver=receiver)
            load.until(len(load.runs) + 40)
            if fault == "full":
                (disk / "filler").unlink()
            else:
                remount(disk, "rw")
            # It tries again by itself, once a second.
            healed = len(load.runs)
            eventually(lambda: set(load.runs[healed:]) & receiver.over(), what="it did not recover by itself")
        assert load.failures == 0
        count = sum(dropped(served.port).values())
        log = served.log.read_text(errors="replace")
        served.end()
    assert doctor.returncode == 1, doctor.stdout
    print(doctor.stdout)
    assert log.count("takes no events") == 1, log
    rest_delivered_without_ledger(home, receiver)
    # Not one that was neither delivered nor counted.
    missing = set(load.runs) - receiver.over()
    assert 0 < len(missing) <= count
    assert cli(home, "journal", "verify").returncode == 0


def rest_delivered_without_ledger(home: Path, receiver: Receiver) -> None:
    done = cli(home, "relay", "--once", "--timeout", "30", receiver=receiver, SPANLINE_LEDGER="false")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_quota_on_the_size_of_files(home: Path, receiver: Receiver) -> None:
    """RLIMIT_FSIZE cuts a write short in the middle of a line: the half is taken back, and a new segment is begun."""
    env = environ(home, receiver, SPANLINE_LEDGER="false")
    with serving("uvicorn", home, env, before=["prlimit", "--fsize=30000", "--"]) as served:
        with Load(served.port) as load:
            eventually(lambda: len(segments(home / "journal" / "fees")) >= 3 and len(load.runs) > 100)
        assert load.failures == 0
        count = sum(dropped(served.port).values())
        served.end()
    rest_delivered_without_ledger(home, receiver)
    missing = set(load.runs) - receiver.over()
    assert 0 < len(missing) <= count
    assert cli(home, "journal", "verify").returncode == 0


def test_no_descriptors_left(home: Path, receiver: Receiver) -> None:
    """Idle connections take them all; the segment that is begun every second finds none. Then they are given back."""
    env = environ(home, receiver, SPANLINE_SEGMENT_MAX_AGE=1, SPANLINE_LEDGER="false")
    with serving("uvicorn", home, env, before=["prlimit", "--nofile=50:50", "--"]) as served:
        with Load(served.port, clients=2, pause_s=0.02) as load:
            load.until(20)
            idle = []
            for _ in range(80):
                with contextlib.suppress(OSError):
                    idle.append(socket.create_connection(("127.0.0.1", served.port), 1))
            eventually(lambda: "Too many open files" in served.log.read_text(errors="replace"), what="descriptors never ran out")
            load.until(len(load.runs) + 30)
            for one in idle:
                one.close()
            healed = len(load.runs)
            eventually(lambda: set(load.runs[healed:]) & receiver.over(), what="it did not recover by itself")
        assert load.failures == 0
        count = sum(dropped(served.port).values())
        log = served.log.read_text(errors="replace")
        served.end()
    assert "internal error" not in log, log
    rest_delivered_without_ledger(home, receiver)
    assert len(set(load.runs) - receiver.over()) <= count


def test_a_deleted_folder_under_load(home: Path, receiver: Receiver) -> None:
    """Ours is written again; what was in it and not yet delivered is what was deleted."""
    with serving("uvicorn", home, environ(home, receiver, SPANLINE_LEDGER="false")) as served:
        with Load(served.port, pause_s=0.01) as load:
            load.until(50)
            eventually(lambda: len(set(load.runs[:50]) - receiver.over()) == 0)
            shutil.rmtree(home / "journal")
            gone = len(load.runs)
            load.until(gone + 200, 60)
        assert load.failures == 0
        count = sum(dropped(served.port).values())
        served.end()
    # The writer looks once a second where its file is; what it wrote meanwhile is saved then, or at the end.
    rest_delivered_without_ledger(home, receiver)
    assert len(set(load.runs[gone:]) - receiver.over()) <= count
    assert count < 100


def test_a_consumer_that_stays_away_costs_the_oldest_events_and_they_are_counted(home: Path, receiver: Receiver) -> None:
    """The ledger has them all; what the receiver will never get is counted, and the journal stays below its limit."""
    limit = 600_000
    env = environ(home, receiver, SPANLINE_JOURNAL_MAX_BYTES=limit)
    receiver.stop()
    with serving("uvicorn", home, env) as served:
        with Load(served.port, clients=1) as first:
            first.until(5)
        # The ledger is open, and keeps up from here on.
        eventually(lambda: len(list(home.glob("ledger.db-wal"))) and len(in_ledger(home)) >= 5)
        with Load(served.port, clients=2, pause_s=0.03) as load:
            eventually(lambda: dropped(served.port).get("retention", 0) > 20, what=f"{len(load.runs)} {dropped(served.port)}")
            assert sum(segment.size for segment in segments(home / "journal" / "fees")) <= limit
        eventually(lambda: set(load.runs) <= set(in_ledger(home)))
        count = sum(dropped(served.port).values())
        log = served.log.read_text(errors="replace")
        receiver.start()
        served.end()
    assert "events went before every consumer had them" in log
    rest_delivered(home, receiver)
    # No more than was counted; fewer, when the relay had some in hand before their segment went.
    assert len(set(load.runs) - receiver.over()) <= count
    # What is gone from the journal comes from the ledger.
    assert cli(home, "relay", "replay", "--since", "10m", receiver=receiver).returncode == 0
    assert set(load.runs) <= receiver.over()
    assert cli(home, "journal", "verify").returncode == 0


# Damage -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undelivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The home of an app that nobody listened to, and its runs."""
    home = tmp_path_factory.mktemp("undelivered") / "home"
    with serving("uvicorn", home, environ(home, SPANLINE_RELAY="off", SPANLINE_LEDGER="false")) as served:
        with Load(served.port) as load:
            load.until(40)
        served.end()
    assert cli(home, "journal", "verify").returncode == 0
    return home, load.runs


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "duplicated", "foreign bytes"])
def test_a_damaged_journal_is_found_and_the_rest_is_read(
    damage: str, undelivered: tuple[Path, list[str]], home: Path, receiver: Receiver
) -> None:
    made, runs = undelivered
    shutil.copytree(made, home)
    (segment,) = segments(home / "journal" / "fees")
    data = bytearray(segment.path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    harmed = 0
    if damage == "flipped bit":
        data[len(lines[0]) + 1] ^= 0x04
        segment.path.write_bytes(data)
        harmed = 1
    elif damage == "truncated":
        segment.path.write_bytes(data[: -len(lines[-1]) // 2])
        harmed = 1
    elif damage == "duplicated":
        copy = segment.path.name.rsplit("-", 1)[0] + "-0badcafe.ndjson"
        (segment.path.parent / copy).write_bytes(data)
    else:
        segment.path.write_bytes(bytes(data) + b"\x00\xff not an event\n{}{}\n")
    verified = cli(home, "journal", "verify", "--json")
    assert verified.returncode == 1
    report = json.loads(verified.stdout)
    assert report["ok"] is False
    rest_delivered(home, receiver)
    there = receiver.over()
    assert len(set(runs) - there) == harmed
    kept = in_ledger(home)
    assert all(count == 1 for count in kept.values())
    assert len(set(runs) - set(kept)) == harmed
