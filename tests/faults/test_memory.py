"""Memory is bounded: under load with the backend down, and over very many requests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.stand import ROOT, Load, Receiver, environ, serving

SOAK_S = float(os.environ.get("SPANLINE_SOAK_S", "120"))
REQUESTS = int(os.environ.get("SPANLINE_SOAK_REQUESTS", "30000"))


def resident(pid: int) -> int:
    """Bytes of a process's own memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S + 120)
def test_a_soak_with_the_backend_down(home: Path, receiver: Receiver) -> None:
    """What waits is on the disk: once the grace of late spans is full, memory grows no more."""
    receiver.stop()
    env = environ(home, receiver, SPANLINE_STRAGGLER_GRACE=5, SPANLINE_MAX_TRACES=2000)
    sizes: list[int] = []
    with serving("uvicorn", home, env) as served, Load(served.port) as load:
        began = time.monotonic()
        while time.monotonic() - began < SOAK_S:
            time.sleep(SOAK_S / 60)
            sizes.append(resident(served.process.pid))
    warm, last = sizes[20:40], sizes[40:]
    print(f"{len(load.runs)} requests; MB: " + " ".join(f"{size / 1e6:.0f}" for size in sizes[::6]))
    assert load.failures == 0
    assert min(last) < max(warm) * 1.03 + 1e6, sizes


SCRIPT = """
import asyncio, gc, os, re, sys
from tests.faults.app import app, runtime
def resident():
    gc.collect()
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
async def one(n):
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/ask",
        "raw_path": b"/ask", "query_string": b"", "root_path": "", "headers": [(b"host", b"x"), (b"x-request-id", b"req-%d" % n)],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}}
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        pass
    await app(scope, receive, send)
async def main(count):
    for n in range(count):
        await one(n)
        if n % 200 == 0:
            runtime.processor.sweep()
        if (n + 1) % (count // 10) == 0:
            print(resident(), flush=True)
asyncio.run(main(int(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_growth_over_very_many_requests(home: Path) -> None:
    """The bounds are 1,000 pending runs and 10,000 claims of traces: both are full in the first half."""
    env = environ(home, SPANLINE_RELAY="off", SPANLINE_MAX_TRACES=1000, SPANLINE_STRAGGLER_GRACE=2)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(REQUESTS)], env=env, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sizes = [int(line) for line in done.stdout.split()]
    print("MB: " + " ".join(f"{size / 1e6:.1f}" for size in sizes))
    assert sizes[-1] < max(sizes[:6]) * 1.03 + 1e6, sizes


HELD = """
import gc, tracemalloc
import asyncio
namespace = {}
exec(SCRIPT.split("async def main")[0], namespace)
one, runtime = namespace["one"], namespace["runtime"]
async def held():
    for n in range(300):
        await one(n)
    active = runtime.processor.runs.all
    gc.collect()
    tracemalloc.start()
    runs, size = len(active), tracemalloc.get_traced_memory()[0]
    for n in range(1000):
        await one(n)
    gc.collect()
    print((tracemalloc.get_traced_memory()[0] - size) / (len(active) - runs))
    for run in list(active.values()):
        runtime.processor.runs.forget(run)
    gc.collect()
    print((tracemalloc.get_traced_memory()[0] - size) / 1000)
asyncio.run(held())
"""


def test_what_a_run_holds(home: Path) -> None:
    """A finished run that waits for late spans (one inference): 3.1 kB, and 1.2 kB when only its claim of the trace is kept."""
    done = subprocess.run(
        [sys.executable, "-c", f"SCRIPT = {SCRIPT!r}\n{HELD}"], env=environ(home, SPANLINE_RELAY="off"), cwd=ROOT, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pending, claim = map(float, done.stdout.split())
    print(f"pending {pending:.0f} B, claim {claim:.0f} B")
    assert pending < 4500
    assert claim < 2000
