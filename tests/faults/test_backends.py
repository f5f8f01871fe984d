"""A backend that is down, slow, silent, cutting or flapping: nothing is lost, and no request feels it.

An outage of 300 s is scaled to some seconds: what is waited for is the backoff, which is capped, and the journal's room,
which is counted in bytes, not in seconds.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.faults.stand import PATIENCE_S, ROUNDS, Load, Receiver, cli, environ, eventually, lost, rest_delivered, serving
from tests.requirements import require

pytestmark = pytest.mark.timeout(150)
MODES = ["down", "slow", "hang", "reset", "cut", "flap"]
REFUSALS = [400, 401, 403, 404, 413, 422, 501]


def begin(receiver: Receiver, mode: str) -> None:
    if mode == "down":
        receiver.stop()
    else:
        receiver.mode = mode


def recover(receiver: Receiver, mode: str) -> None:
    receiver.mode = "up"
    if mode == "down":
        receiver.start()


# As a process it is the same relay: what may differ is that its app is not held up, and tells it when to end.
@pytest.mark.parametrize(("mode", "relay"), [*((mode, "thread") for mode in MODES), ("down", "process"), ("hang", "process")])
def test_nothing_is_lost_and_everything_is_in_order(mode: str, relay: str, home: Path, receiver: Receiver) -> None:
    with serving("uvicorn", home, environ(home, receiver, SPANLINE_RELAY=relay)) as served:
        with Load(served.port, pause_s=0.01) as load:
            load.until(30)
            begin(receiver, mode)
            began = time.monotonic()
            load.until(150)
            time.sleep(max(0.0, 2.0 - (time.monotonic() - began)))
            recover(receiver, mode)
            load.until(len(load.runs) + 30)
        assert load.failures == 0
        eventually(lambda: set(load.runs) <= receiver.over(), what=f"not all arrived after {mode}")
        served.end()
    rest_delivered(home, receiver)
    assert lost(load.runs, receiver, home) == (0, 0)
    receiver.in_order()
    if mode == "slow":  # a fifth of a second each: a second one would be seen beside it
        assert receiver.most == 1, "one connection a consumer, one request at a time"


def test_an_outage_over_a_restart_loses_nothing(home: Path, receiver: Receiver) -> None:
    """Down when the app starts, while it serves and when it stops; up for the next start only."""
    receiver.stop()
    with serving("uvicorn", home, environ(home, receiver)) as served:
        with Load(served.port) as load:
            load.until(100)
        began = time.monotonic()
        served.end()
        assert time.monotonic() - began < 20, "a backend that is away must not hold the end up"
    receiver.start()
    with serving("uvicorn", home, environ(home, receiver)) as served:
        eventually(lambda: set(load.runs) <= receiver.over())
        served.end()
    assert lost(load.runs, receiver, home) == (0, 0)
    receiver.in_order()


@pytest.mark.skipif(ROUNDS <= 5, reason="a ratio of wall times needs a quiet host: make faults; CI counts instructions instead")
@pytest.mark.parametrize("mode", ["slow", "hang", "down"])
def test_latency_is_that_beside_a_healthy_backend(mode: str, tmp_path: Path) -> None:
    """Two apps side by side, asked at the same time: one with a sick backend. Wall p99 ≤ 1.3×; the best of three on a busy host."""
    sick, healthy = Receiver(), Receiver()
    begin(sick, mode)
    ratios: list[float] = []
    try:
        with (
            serving("uvicorn", tmp_path / "a" / "home", environ(tmp_path / "a" / "home", sick)) as first,
            serving("uvicorn", tmp_path / "b" / "home", environ(tmp_path / "b" / "home", healthy)) as second,
        ):
            while len(ratios) < 3 and min(ratios, default=9.9) > 1.3:
                loads = [Load(served.port, clients=1, pause_s=0.002) for served in (first, second)]
                with loads[0], loads[1]:
                    for load in loads:
                        load.until(600, 60)
                ill, well = (p99(load.seconds[50:]) for load in loads)
                ratios.append(ill / well)
                print(f"{mode}: p99 {ill * 1e3:.1f} ms beside {well * 1e3:.1f} ms, {ill / well:.2f}×")
    finally:
        sick.stop()
        healthy.stop()
    assert min(ratios) <= 1.3, ratios


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def test_no_system_call_towards_a_backend_on_the_serving_thread(home: Path, receiver: Receiver, tmp_path: Path) -> None:
    """strace follows all threads: that which accepts requests connects to nobody and talks to no socket but its clients'."""
    require("strace", "make servers SERVERS=strace")
    trace = tmp_path / "trace"
    receiver.mode, receiver.slow_s = "slow", 0.02  # for each of some two hundred events
    calls = "trace=connect,sendto,sendmsg,write,writev,accept,accept4,fsync,fdatasync"
    # Only what is traced stops the app.
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-yy", "-s", "80", "-e", calls, "-o", str(trace)]
    with serving("uvicorn", home, environ(home, receiver), before=strace) as served:
        with Load(served.port) as load:
            load.until(60)
        eventually(lambda: set(load.runs) <= receiver.over())
        for pid in children(served.process.pid):
            subprocess.run(["kill", str(pid)], check=False)
        served.process.wait(PATIENCE_S)
    lines = trace.read_text(errors="replace").splitlines()
    accepting = {line.split()[0] for line in lines if re.search(r"\baccept4?\(", line)}
    assert accepting
    backend = re.compile(rf"127\.0\.0\.1:\d+->127\.0\.0\.1:{receiver.port}\b|htons\({receiver.port}\)")
    towards = [line for line in lines if backend.search(line)]
    assert towards, "nothing was sent at all"
    assert not [line for line in towards if line.split()[0] in accepting]
    served_from = next(number for number, line in enumerate(lines) if re.search(r"\baccept4?\(", line))
    assert not [line for line in lines[served_from:] if line.split()[0] in accepting and "sync(" in line]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_what_is_refused_is_parked_listed_and_retried_by_command(home: Path, receiver: Receiver) -> None:
    """One run in three is refused, with each status in turn; the others are not held up."""
    refused: dict[str, int] = {}
    seen: set[str] = set()
    mending = False

    def answer(event: dict[str, object]) -> int:
        run = event["run"]["runId"]
        if run not in seen and not mending:
            seen.add(run)
            if len(seen) % 3 == 0:
                refused[run] = REFUSALS[len(refused) % len(REFUSALS)]
        return refused.get(run, 201) if not mending else 201

    receiver.status = answer
    with serving("uvicorn", home, environ(home, receiver)) as served:
        with Load(served.port) as load:
            load.until(60)
        eventually(lambda: set(load.runs) - refused.keys() <= receiver.over(), what="others were held up")
        served.end()
    rest_delivered(home, receiver)
    assert set(refused.values()) == set(REFUSALS)
    items = json.loads(cli(home, "journal", "parked", "--json").stdout)["items"]
    assert {item["runId"]: item["status"] for item in items} == refused
    assert all(item["reason"] == f"HTTP {item['status']}" and item["attempts"] == 1 for item in items)
    mending = True
    done = cli(home, "journal", "retry", receiver=receiver)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(cli(home, "journal", "parked", "--json").stdout)["items"] == []
    assert lost(load.runs, receiver, home) == (0, 0)


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(status: int, form: str, home: Path, receiver: Receiver) -> None:
    """Nobody comes back before the time that the backend asked for."""
    receiver.mode = status
    # Without it the next attempt would come after a tenth of a second. A date has whole seconds: at least one from now.
    receiver.headers = {"retry-after": "1" if form == "seconds" else lambda: formatdate(time.time() + 2, usegmt=True)}
    with serving("uvicorn", home, environ(home, receiver)) as served:
        with Load(served.port) as load:
            load.until(20)
        first = eventually(lambda: receiver.tried[:1])[0][0]
        eventually(lambda: len(receiver.tried) > 1)
        receiver.mode = "up"
        assert receiver.tried[1][0] - first >= 0.9
        eventually(lambda: set(load.runs) <= receiver.over())
        served.end()
    assert lost(load.runs, receiver, home) == (0, 0)
    receiver.in_order()


def test_a_poison_event_among_good_ones(home: Path, receiver: Receiver) -> None:
    """500 for one run: two attempts, then parked; the others pass."""
    poison: list[str] = []
    attempts: list[str] = []
    lock = threading.Lock()

    def answer(event: dict[str, object]) -> int:
        with lock:
            run = event["run"]["runId"]
            if len(receiver.events) > 10 and not poison:
                poison.append(run)
            if poison == [run]:
                attempts.append(event["eventType"])
                return 500
            return 201

    receiver.status = answer
    with serving("uvicorn", home, environ(home, receiver)) as served:
        with Load(served.port) as load:
            load.until(60)
        eventually(lambda: set(load.runs) - set(poison) <= receiver.over())
        served.end()
    assert len(attempts) == 2
    parked = cli(home, "journal", "parked").stdout
    assert poison[0] in parked
    assert "HTTP 500" in parked


def test_an_answer_that_is_no_http_is_tried_twice_and_parked(home: Path, receiver: Receiver) -> None:
    """For one run; the others pass."""
    poison: list[str] = []
    attempts: list[str] = []

    def garbage(event: dict[str, object]) -> bool:
        run = event["run"]["runId"]
        if len(receiver.events) > 10 and not poison:
            poison.append(run)
        if poison == [run]:
            attempts.append(event["eventType"])
        return poison == [run]

    receiver.garbage = garbage
    with serving("uvicorn", home, environ(home, receiver)) as served:
        with Load(served.port) as load:
            load.until(60)
        eventually(lambda: set(load.runs) - set(poison) <= receiver.over())
        served.end()
    assert len(attempts) == 2
    items = json.loads(cli(home, "journal", "parked", "--json").stdout)["items"]
    assert [(item["runId"], item["status"]) for item in items] == [(poison[0], None)]
    assert "malformed answer" in items[0]["reason"]
    receiver.garbage = None
    assert cli(home, "journal", "retry", receiver=receiver).returncode == 0
    rest_delivered(home, receiver)
    assert lost(load.runs, receiver, home) == (0, 0)
