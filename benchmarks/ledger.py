"""The ledger's speed: events a second, and how long each question takes at many runs. `python -m benchmarks.ledger --runs 10000 100000 1000000 --postgres`.

Prints the tables of docs/performance.md; `--json` keeps the figures, from which `python -m benchmarks.ledger_plot` draws how they grow.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ledger_grow import Growth, events
from benchmarks.ledger_questions import Backend, Took, ask
from spanline.ledger import Ledger

PAIRS = 10_000
BATCH = 100
SINGLE = 500
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def take_in(ledger: Ledger, pairs: int) -> dict[str, float]:
    """START and COMPLETE of so many requests with six edges each, in batches and (the last of them) one by one.

    Returns:
        Events a second, and CPU milliseconds an event: of this thread, and of PostgreSQL's process that serves it.
    """
    lines = events(pairs + SINGLE // 2)
    one, many = lines[-SINGLE:], lines[:-SINGLE]
    other = Backend(ledger)
    found: dict[str, float] = {}
    for name, some, size in (("batches of 100", many, BATCH), ("one by one", one, 1)):
        began, cpu, theirs = time.perf_counter(), time.thread_time(), other.cpu()
        for first in range(0, len(some), size):
            ledger.ingest(some[first : first + size])
        found[f"{name}, events/s"] = len(some) / (time.perf_counter() - began)
        found[f"{name}, CPU ms an event"] = (time.thread_time() - cpu) / len(some) * 1e3
        found[f"{name}, CPU ms an event, PostgreSQL"] = (other.cpu() - theirs) / len(some) * 1e3
    return found


def measure(first: str, second: str, sizes: list[int], times: int, pairs: int) -> dict[str, Any]:
    """All figures of one database: what comes in by `first`, and questions to `second` as it grows."""
    ledger = Ledger.open(first)
    found: dict[str, Any] = {"ingest": take_in(ledger, pairs), "sizes": []}
    ledger.close()
    ledger = Ledger.open(second)
    growth = Growth(ledger)
    for size in sizes:
        growth.to(size)
        stats = ledger.stats()
        took: list[Took] = []
        print(f"{stats['runs']} runs, {stats['bytes'] / stats['runs']:,.0f} bytes each, in {stats['place']}", file=sys.stderr)
        for one in ask(ledger, times):
            took.append(one)
            print(
                f"  {one.name}: {one.p50:.1f} / {one.p99:.1f} ms, CPU {one.cpu50:.1f} / {one.cpu99:.1f} {one.scans}",
                file=sys.stderr,
                flush=True,
            )
        found["sizes"].append({"runs": stats["runs"], "bytes": stats["bytes"], "questions": [msgspec.to_builtins(one) for one in took]})
    ledger.close()
    return found


def tables(found: dict[str, Any]) -> str:
    """As docs/performance.md has them."""
    columns = list(found.values())
    heads = [_NAMES[name] for name in found]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    lines += [f"| {name} | {' | '.join(_short(column['ingest'][name]) for column in columns)} |" for name in columns[0]["ingest"]]
    for place, size in enumerate(columns[0]["sizes"]):
        each = [column["sizes"][place]["bytes"] / column["sizes"][place]["runs"] for column in columns]
        lines.append(f"| bytes a run, {size['runs']:,} runs | {' | '.join(f'{value:,.0f}' for value in each)} |")
    for place, size in enumerate(columns[0]["sizes"]):
        cells = " | ".join(f"{head}, CPU | {head}, wall" for head in heads)
        lines += ["", f"{size['runs']:,} runs; ms, p50 / p99:", "", f"| | {cells} | statements |", f"|---|{'---|---|' * len(heads)}---|"]
        for number, question in enumerate(size["questions"]):
            every = [column["sizes"][place]["questions"][number] for column in columns]
            cells = " | ".join(
                f"{_short(one['cpu50'])} / {_short(one['cpu99'])} | {_short(one['p50'])} / {_short(one['p99'])}" for one in every
            )
            lines.append(f"| {question['name']} | {cells} | {every[-1]['statements']} |")
            whole = [scan for one in every for scan in one["scans"]]
            assert not whole, f"{question['name']} reads a whole table: {whole}"
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100_000])
    parser.add_argument("--times", type=int, default=100, help="how often each question is asked")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="requests that come in as START and COMPLETE")
    parser.add_argument("--postgres", action="store_true", help="also on a PostgreSQL of its own (make servers SERVERS=postgres)")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        urls = (f"sqlite:///{folder}/taken.db", f"sqlite:///{folder}/grown.db")
        found["sqlite"] = measure(*urls, given.runs, given.times, given.pairs)
    if given.postgres:
        from tests.servers.stores import postgres

        with postgres() as server:
            urls = (server.url(server.create()), server.url(server.create()))
            found["postgresql"] = measure(*urls, given.runs, given.times, given.pairs)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(tables(found))


if __name__ == "__main__":
    main()
