"""How a process ends, and how it forks: nothing is lost that was answered."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.stand import ROOT, Load, Receiver, environ, lost, rest_delivered, serving

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("server", ["uvicorn", "gunicorn", "hypercorn"])
def test_a_server_that_is_told_to_stop_loses_nothing(server: str, number: int, home: Path, receiver: Receiver) -> None:
    """Under load, so that answers are sent until the very end; the rest is what the next start delivers."""
    more = ["--graceful-timeout", "2"] if server == "gunicorn" else []
    with serving(server, home, environ(home, receiver), *more) as served, Load(served.port) as load:
        load.until(60)
        served.end(number)
    assert receiver.over(), "nothing was delivered before the end"
    rest_delivered(home, receiver)
    # gunicorn tells its workers SIGQUIT for SIGINT, which uvicorn's worker does not act on: it is killed when the time is up.
    killed = server == "gunicorn" and number == signal.SIGINT
    assert max(lost(load.runs, receiver, home)) <= (load.clients if killed else 0)
    receiver.in_order(again=killed)


SCRIPT = """
import os, signal, sys, threading, uuid
import spanline
runtime = spanline.configure()
how, count = sys.argv[1], int(sys.argv[2])
def work(number):
    with spanline.job("nightly") as job:
        run_id = str(uuid.UUID(int=job.run.trace_id))
        with spanline.inference("openai", "gpt-4o") as call:
            call.response(model="gpt-4o", input_tokens=1, output_tokens=1)
    print(run_id, flush=True)
for number in range(count):
    work(number)
if how == "raise":
    raise RuntimeError("the script's own")
if how == "exit":
    os._exit(3)
if how == "sys.exit":
    sys.exit(4)
if how == "thread":
    threading.Thread(target=work, args=(0,)).start()
if how.startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, how))
"""


ENDS = [("end", 0), ("raise", 1), ("sys.exit", 4), ("exit", 3), ("thread", 0), ("SIGTERM", -15), ("SIGINT", 1), ("SIGKILL", -9)]


@pytest.mark.parametrize(("how", "status"), ENDS)
def test_a_script_that_ends_loses_nothing(how: str, status: int, home: Path, receiver: Receiver) -> None:
    """`os._exit` and signals without a handler run nothing: what the journal's `write` returned for is there all the same."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how, "30"], env=environ(home, receiver), cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    # Python leaves after Ctrl-C with 1, or by the signal itself, as the script was started.
    assert done.returncode == status or (how == "SIGINT" and done.returncode == -signal.SIGINT), done.stderr
    runs = done.stdout.split()
    assert len(runs) == 30 + (how == "thread")
    if how in {"end", "raise", "sys.exit", "SIGINT"}:
        # Five seconds are what the end waits for a backend; a host that needs so long for thirty runs cannot tell.
        assert set(runs) <= receiver.over() or time.monotonic() - began > 15
    rest_delivered(home, receiver)
    assert lost(runs, receiver, home) == (0, 0)
    receiver.in_order(again=how in {"exit", "SIGTERM", "SIGKILL"})


@pytest.mark.fork
@pytest.mark.parametrize("relay", ["thread", "process"])
def test_gunicorn_with_preloading_loses_nothing(relay: str, home: Path, receiver: Receiver) -> None:
    """The app, its journal and its relay are made before the fork."""
    env = environ(home, receiver, SPANLINE_RELAY=relay)
    with serving("gunicorn", home, env, "--preload", "-w", "4") as served:
        with Load(served.port, clients=8, keep=False) as load:
            load.until(200)
        served.end()
    assert len(load.pids) >= 2
    rest_delivered(home, receiver)
    assert lost(load.runs, receiver, home) == (0, 0)
    receiver.in_order()


CHILDREN = """
import multiprocessing, os, sys, threading, uuid
import spanline

def work(count):
    for _ in range(count):
        with spanline.job("nightly") as job:
            run_id = str(uuid.UUID(int=job.run.trace_id))
            with spanline.inference("openai", "gpt-4o") as call:
                call.response(model="gpt-4o", input_tokens=1, output_tokens=1)
        os.write(1, (run_id + "\\n").encode())

def child(count):
    # A spawned child has no runtime yet; a forked one has its parent's.
    from spanline.record.active import SINKS
    if not SINKS:
        spanline.configure()
    work(count)

def main():
    runtime = spanline.configure()
    work(5)
    context = multiprocessing.get_context(sys.argv[1])
    hold = sys.argv[2] == "held"
    if hold:
        # Other threads write without pause, so that locks are held in the moment of the fork.
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                work(1)
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
    # The more forks, the surer is one in the middle of a write, of a span that ends, of a delivery.
    children = [context.Process(target=child, args=(10,)) for _ in range(16 if hold else 4)]
    for one in children:
        one.start()
    for one in children:
        one.join(40)
        assert one.exitcode == 0, one.exitcode
    if hold:
        stop.set()
        for thread in threads:
            thread.join()

if __name__ == "__main__":
    main()
"""


@pytest.mark.fork
@pytest.mark.parametrize(("how", "locks"), [("fork", "free"), ("spawn", "free"), ("fork", "held"), ("forkserver", "free")])
def test_children_of_multiprocessing_lose_nothing(how: str, locks: str, home: Path, receiver: Receiver, tmp_path: Path) -> None:
    """A child of `fork` leaves by `os._exit`: no `atexit`, no flush; its parent, or the next process, delivers."""
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), how, locks],
        env=environ(home, receiver), cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    runs = done.stdout.split()
    assert len(set(runs)) == len(runs) >= 45
    rest_delivered(home, receiver)
    assert lost(runs, receiver, home) == (0, 0)
    receiver.in_order()
