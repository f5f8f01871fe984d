"""Several hosts write into one PostgreSQL: runs a second, and what the writers and the database compute for a run. `python -m benchmarks.scale`.

Every host is a process with runs of its own, a terminal event each, as the relay sends them to a central server; then two hosts bring the same events once more.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from spanline.identity import run_id_of
from spanline.ledger import Ledger
from spanline.record.run import Release
from tests.ledger_events import CORPUS, MODEL, PROMPT, end, index, request
from tests.servers.stores import Postgres, postgres

BATCH = 100
_TICKS = os.sysconf("SC_CLK_TCK")


def write(url: str, host: int, runs: int, ready: Barrier, told: Any) -> None:
    """One host: its events in batches; tells when it began and ended and the CPU seconds it took."""
    release = Release(release="1.0", code_revision="a" * 40)
    lines: list[bytes] = []
    for n in range(host * runs, (host + 1) * runs):
        ids = {"trace_id": f"{n + 1:032x}", "run_id": run_id_of(n + 1), "span_id": f"{n + 1:016x}", "response_id": f"chatcmpl-{n}"}
        lines.append(end(request(n / 10, index("c1", "c1"), PROMPT, MODEL, CORPUS, release=release, **ids)))
    ledger = Ledger.open(url)
    ready.wait()
    began, cpu = time.monotonic(), time.process_time()
    for first in range(0, runs, BATCH):
        ledger.ingest(lines[first : first + BATCH])
    told.put((began, time.monotonic(), time.process_time() - cpu))
    ledger.close()


def together(url: str, hosts: list[int], runs: int) -> tuple[float, float]:
    """All hosts at once: seconds from the first to the last, CPU seconds of all."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(len(hosts)), context.Queue()
    processes = [context.Process(target=write, args=(url, host, runs, ready, told)) for host in hosts]
    for process in processes:
        process.start()
    found = [told.get(timeout=300) for _ in hosts]
    for process in processes:
        process.join()
    return max(end for _, end, _ in found) - min(began for began, _, _ in found), sum(cpu for _, _, cpu in found)


def cpu_of(server: Postgres) -> float:
    """CPU seconds of the database's first process and of those of its connections that have ended."""
    child = server.psql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    first = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
    return sum(map(int, Path(f"/proc/{first}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:15])) / _TICKS


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=3000, help="of each host")
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    print("| hosts | runs | runs/s | CPU ms a run, writers | CPU ms a run, PostgreSQL |\n|---|---|---|---|---|")
    with postgres() as server:
        for hosts in given.hosts:
            url = server.url(server.create())
            Ledger.open(url).close()
            before = cpu_of(server)
            seconds, cpu = together(url, list(range(hosts)), given.runs)
            stored, base = count(url), hosts * given.runs
            assert stored == base, f"{stored} runs of {base}"
            print(
                f"| {hosts} | {stored:,} | {base / seconds:,.0f} | {cpu / base * 1e3:.2f} | {(cpu_of(server) - before) / base * 1e3:.2f} |",
                flush=True,
            )
        seconds, _ = together(url, [0, 0], given.runs)
        assert count(url) == stored, "an event that came again made another run"
        print(f"| 2, the same events once more | {stored:,} | {2 * given.runs / seconds:,.0f} | | |")


def count(url: str) -> int:
    """Runs of a ledger."""
    ledger = Ledger.open(url)
    found = ledger.stats()["runs"]
    ledger.close()
    return int(found)


if __name__ == "__main__":
    main()
