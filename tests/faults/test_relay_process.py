"""The relay as a child process of the app: one a journal, gone with its parent, back when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.faults.stand import ROOT, Load, Receiver, environ, eventually, lost, rest_delivered, serving, tree

pytestmark = pytest.mark.timeout(120)


def relays(pid: int) -> list[int]:
    """The relay children below a process."""
    return [child for child in tree(pid) if b"relay_child" in commandline(child)]


def commandline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def metric(port: int, start: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(start)), -1.0)


def test_it_delivers_and_tells_the_apps_metrics(home: Path, receiver: Receiver) -> None:
    with serving("uvicorn", home, environ(home, receiver, SPANLINE_RELAY="process")) as served:
        with Load(served.port) as load:
            load.until(50)
        eventually(lambda: set(load.runs) <= receiver.over())
        (child,) = relays(served.process.pid)
        runs = len(load.runs)
        eventually(lambda: metric(served.port, 'spanline_relay_sent_total{consumer="openlineage"}') == runs)
        eventually(lambda: metric(served.port, 'spanline_relay_sent_total{consumer="ledger"}') == runs)
        eventually(lambda: metric(served.port, "spanline_journal_backlog_bytes") == 0)
        assert served.end() in {0, -signal.SIGTERM}
        eventually(lambda: not commandline(child))
    assert lost(load.runs, receiver, home) == (0, 0)


def test_it_dies_with_its_killed_parent(home: Path, receiver: Receiver) -> None:
    receiver.mode = "hang"
    with serving("uvicorn", home, environ(home, receiver, SPANLINE_RELAY="process")) as served:
        with Load(served.port) as load:
            load.until(20)
        (child,) = eventually(lambda: relays(served.process.pid))
        eventually(lambda: receiver.tried)
        served.process.kill()
        served.process.wait()
        eventually(lambda: not commandline(child), what="an orphan is left")
    receiver.mode = "up"
    rest_delivered(home, receiver)
    assert lost(load.runs, receiver, home) == (0, 0)


def test_it_is_started_again(home: Path, receiver: Receiver) -> None:
    with serving("uvicorn", home, environ(home, receiver, SPANLINE_RELAY="process")) as served:
        with Load(served.port, pause_s=0.01) as load:
            load.until(20)
            (child,) = eventually(lambda: relays(served.process.pid))
            os.kill(child, signal.SIGKILL)
            killed = time.monotonic()
            known = set(receiver.over())
            eventually(lambda: len(receiver.over() - known) > 5)
            assert relays(served.process.pid) != [child]
        print(f"again after {time.monotonic() - killed:.1f} s")
        eventually(lambda: set(load.runs) <= receiver.over())
        served.end()
    assert lost(load.runs, receiver, home) == (0, 0)
    assert "is started again" in served.log.read_text()


@pytest.mark.fork
def test_four_workers_have_one_and_another_worker_takes_over(home: Path, receiver: Receiver) -> None:
    env = environ(home, receiver, SPANLINE_RELAY="process")
    with serving("gunicorn", home, env, "--preload", "-w", "4") as served:
        # The relay is nice to its app: one that takes all there is would be made to wait for.
        with Load(served.port, clients=6, keep=False, pause_s=0.05) as load:
            load.until(100)
            (child,) = eventually(lambda: relays(served.process.pid))
            owner = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
            assert owner in tree(served.process.pid)
            os.kill(owner, signal.SIGKILL)
            eventually(lambda: not commandline(child))
            (other,) = eventually(lambda: relays(served.process.pid))
            assert other != child
            load.until(len(load.runs) + 50)
        eventually(lambda: len(set(load.runs) - receiver.over()) <= load.clients)
        served.end()
    rest_delivered(home, receiver)
    assert max(lost(load.runs, receiver, home)) <= load.clients


SCRIPT = """
import sys, uuid
import spanline
runtime = spanline.configure(service="night", openlineage_url=sys.argv[1], openlineage_preset="openlineage", openlineage_api_key="geheim", relay="process")
for _ in range(20):
    with spanline.job("nightly") as job:
        with spanline.inference("openai", "gpt-4o") as call:
            call.response(model="gpt-4o", input_tokens=1, output_tokens=1)
        print(uuid.UUID(int=job.run.trace_id), flush=True)
if len(sys.argv) > 2:
    assert runtime.flush(20)
    import pathlib
    child = pathlib.Path(f"/proc/{runtime.relay._process.pid}")
    assert b"geheim" not in (child / "cmdline").read_bytes() + (child / "environ").read_bytes()
"""


@pytest.mark.parametrize("more", [[], ["look"]])
def test_a_script_sets_it_by_keyword_and_ends_in_order(more: list[str], home: Path, receiver: Receiver) -> None:
    """Settings reach the child whole, also those that are no variables; secrets stand in no command line."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, receiver.url, *more], env=environ(home), cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = done.stdout.split()
    assert len(runs) == 20
    assert set(runs) <= receiver.over(), f"{time.monotonic() - began:.1f} s {done.stderr}"
    assert lost(runs, receiver, home) == (0, 0)
    receiver.in_order()
