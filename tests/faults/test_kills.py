"""`kill -9` at random points under load: of a worker, of the relay, of both; and many of each on one journal."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spanline.journal.locks import LeaderLock
from spanline.journal.reader import segments
from tests.faults.stand import ROOT, ROUNDS, Load, Receiver, cli, environ, eventually, in_ledger, lost, rest_delivered, serving

pytestmark = pytest.mark.timeout(120 + 20 * ROUNDS)


@contextlib.contextmanager
def relaying(home: Path, receiver: Receiver) -> Iterator[subprocess.Popen[bytes]]:
    """`spanline relay` as a process."""
    home.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "spanline.cli", "relay"], env=environ(home, receiver), cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("who", ["worker", "relay", "both"])
def test_killed_under_load(who: str, home: Path, receiver: Receiver) -> None:
    """Whatever is killed, and whenever: only requests in flight may be missing, and the journal reads on."""
    answered: list[str] = []
    in_flight = 0
    for _ in range(ROUNDS):
        with contextlib.ExitStack() as stack:
            relay = stack.enter_context(relaying(home, receiver))
            served = stack.enter_context(serving("uvicorn", home, environ(home, receiver, SPANLINE_RELAY="off")))
            load = stack.enter_context(Load(served.port))
            load.until(random.randint(20, 80))
            time.sleep(random.random() * 0.3)
            if who in {"relay", "both"}:
                kill(relay)
            if who in {"worker", "both"}:
                kill(served.process)
            else:
                load.until(len(load.runs) + 20)
                kill(served.process)
        answered += load.runs
        in_flight += load.clients
    rest_delivered(home, receiver)
    missing = lost(answered, receiver, home)
    print(
        f"{ROUNDS} rounds, {len(answered)} answered; missing at the receiver and in the ledger: {missing} of {in_flight} in flight at most"
    )
    assert max(missing) <= in_flight, missing
    # Nothing but what a request in flight can have left behind: not even half a line, since a line is one write.
    verified = cli(home, "journal", "verify")
    assert verified.returncode == 0, verified.stdout
    receiver.in_order(again=True)


def test_a_relay_in_the_app_that_is_killed_with_it(home: Path, receiver: Receiver) -> None:
    """As it comes: the relay is a thread of the app; the next start of the app delivers what the last one left."""
    answered: list[str] = []
    for _ in range(ROUNDS):
        with serving("uvicorn", home, environ(home, receiver)) as served, Load(served.port) as load:
            load.until(random.randint(20, 80))
            time.sleep(random.random() * 0.3)
            kill(served.process)
        answered += load.runs
    with serving("uvicorn", home, environ(home, receiver)) as served:
        eventually(lambda: len(set(answered) - receiver.over()) <= 4 * ROUNDS, what="the next start did not deliver")
        served.end()
    rest_delivered(home, receiver)
    missing = lost(answered, receiver, home)
    print(f"{ROUNDS} rounds, {len(answered)} answered; missing: {missing} of {4 * ROUNDS} in flight at most")
    assert max(missing) <= 4 * ROUNDS
    receiver.in_order(again=True)


def test_two_apps_eight_workers_and_three_relays_on_one_journal(home: Path, receiver: Receiver) -> None:
    """No line is torn, one leader delivers; its death is made good within five seconds."""
    env = environ(home, receiver)
    with contextlib.ExitStack() as stack:
        apps = [
            stack.enter_context(serving(server, home, env, *more, "--workers", "4"))
            for server, more in (("gunicorn", ("--preload",)), ("uvicorn", ()))
        ]
        for _ in range(3):
            stack.enter_context(relaying(home, receiver))
        loads = [Load(served.port, keep=False, pause_s=0.02) for served in apps]
        with loads[0], loads[1]:
            for load in loads:
                load.until(60, 60)
            leader = leader_of(home / "journal" / "fees", "openlineage")
            os.kill(leader, signal.SIGKILL)
            killed = time.monotonic()
            seen = len(receiver.events)
            eventually(lambda: len(receiver.events) > seen + 10, what="nobody took over")
            took_s = time.monotonic() - killed
            print(f"taken over after {took_s:.1f} s")
            assert took_s < 5
            assert leader_of(home / "journal" / "fees", "openlineage") != leader
        answered = [run for load in loads for run in load.runs]
        for served in apps:
            served.end()
    rest_delivered(home, receiver)
    assert max(lost(answered, receiver, home)) <= 4  # a worker with the lead was killed
    assert cli(home, "journal", "verify").returncode == 0
    assert len({segment.pid for segment in segments(home / "journal" / "fees")}) >= 4
    receiver.in_order(again=True)
    assert set(in_ledger(home)) >= receiver.over()


def leader_of(journal: Path, consumer: str) -> int:
    """The process that holds a consumer's lock."""
    path = journal / "consumers" / f"{consumer}.lock"
    probe = LeaderLock(path)
    assert not probe.acquire(), "nobody leads"
    inode = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "POSIX" in fields and fields[-3].endswith(f":{inode}") and "->" not in fields:
            return int(fields[-4])
    raise AssertionError("no lock in /proc/locks")
