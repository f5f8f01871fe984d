"""What a relay costs requests: off, as a thread, as a child process; beside short and beside CPU-bound handlers.

`python -m tests.faults.measure_relay [rounds]`. Each round starts the three, asks them one after another in random order, and gives the
ratio of each to that without a relay; medians of the rounds are printed. Both consumers are on: the ledger and an HTTP receiver in a
process of its own.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.stand import ROOT, Load, Served, environ, free_port, listens, serving, tree

MODES = ("off", "thread", "process")
KINDS = {
    "short, 4 clients at full speed": ("/ask", 0.0),
    "short, about 100 a second": ("/ask", 0.04),
    "5 ms of CPU, 4 clients at full speed": ("/ask?cpu=0.005", 0.0),
    "5 ms of CPU, about 60 a second": ("/ask?cpu=0.005", 0.06),
}
RECEIVER = "import sys, time; from tests.faults.stand import Receiver; Receiver(int(sys.argv[1])); time.sleep(3600)"


def main(rounds: int, seconds: float = 3.0) -> None:
    """Measure and print."""
    print("handler | relay | req/s | p50 | p99 | CPU of all processes a request  (ratios to no relay; median [min–max])")
    for kind, (path, pause_s) in KINDS.items():
        found: dict[str, list[tuple[float, float, float, float]]] = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode, figures in one_round(path, pause_s, seconds).items():
                found[mode].append(figures)
        for mode in MODES[1:]:
            ratios = [[mine / base for mine, base in zip(a, b, strict=True)] for a, b in zip(found[mode], found["off"], strict=True)]
            cells = [f"{statistics.median(column):.2f} [{min(column):.2f}–{max(column):.2f}]" for column in zip(*ratios, strict=True)]
            print(f"{kind} | {mode} | {' | '.join(cells)}", flush=True)


def one_round(path: str, pause_s: float, seconds: float) -> dict[str, tuple[float, float, float, float]]:
    port = free_port()
    found: dict[str, tuple[float, float, float, float]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        base = Path(folder)
        receiver = subprocess.Popen([sys.executable, "-c", RECEIVER, str(port)], env=environ(base), cwd=ROOT)
        stack.callback(receiver.wait)
        stack.callback(receiver.kill)
        while not listens(port):
            time.sleep(0.05)
        for mode in random.sample(MODES, 3):
            home = base / mode / "home"
            env = environ(home, None, SPANLINE_RELAY=mode, OPENLINEAGE_URL=f"http://127.0.0.1:{port}")
            with serving("uvicorn", home, env) as served:
                with Load(served.port, clients=4, path=path, pause_s=pause_s) as load:
                    load.until(50)
                    time.sleep(0.5)
                    before, began, ticks = len(load.seconds), time.monotonic(), cpu(served)
                    time.sleep(seconds)
                    took, ticks = time.monotonic() - began, cpu(served) - ticks
                    mine = sorted(load.seconds[before:])
                found[mode] = (len(mine) / took, mine[len(mine) // 2], mine[int(len(mine) * 0.99)], ticks / len(mine))
    return found


def cpu(served: Served) -> float:
    """Clock ticks that the server and its children have used."""
    total = 0
    for pid in [served.process.pid, *tree(served.process.pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
