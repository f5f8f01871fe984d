"""Over real sockets: uvicorn with one worker, on one core, the load and the sink on another. Wall times, so ratios of pairs only.

In each round every side starts afresh, is loaded for some seconds and ends, in changing order; a figure is the median of the
rounds' ratios with the least and the greatest.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import feed, load
from benchmarks.apps import VARIANTS
from benchmarks.callgrind import ROOT, BenchmarkError, environment
from benchmarks.load import Figures
from benchmarks.sink import Sink, stats

SECONDS = 3.0
OPEN_RATE = 150.0
"""Requests a second of the open loop: well below what every side can do."""
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True)
class Side:
    """What is loaded: a variant, its further environment, how long its backend takes, events relayed meanwhile a second."""

    variant: str
    more: Mapping[str, str] = field(default_factory=dict, hash=False)
    delay_s: float = 0.0
    fed: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """One row: rounds of both sides, and the goals as ratios (least throughput, greatest p99)."""

    text: str
    base: list[Figures]
    other: list[Figures]
    least: float | None
    greatest: float | None
    relayed: list[float]
    load: tuple[float, float]


_BACKEND = {"OPENLINEAGE_URL": "{sink}", "SPANLINE_OPENLINEAGE_PRESET": "openlineage"}
_FAIR = Side("EC_excl")
_RELAYED = "A_relay"
_PAIRS: tuple[tuple[str, Side, Side, float | None, float | None, float | None], ...] = (
    ("16 connections: everything on, fast, relay outside / EC_excl", _FAIR, Side("S_fast"), None, 1.7, None),
    ("16 connections: the same with relay thread and ledger / EC_excl", _FAIR, Side("S_fast_relay"), None, None, None),
    ("16 connections: 1000 events/s relayed in the background / none", Side(_RELAYED), Side(_RELAYED, fed=feed.RATE), None, 1 / 1.3, 1.3),
    (f"{OPEN_RATE:.0f} req/s: 1000 events/s relayed in the background / none", Side(_RELAYED), Side(_RELAYED, fed=feed.RATE), OPEN_RATE, None, 1.3),
    ("16 connections: backend of 200 ms / 0 ms", Side("S_fast_relay", _BACKEND), Side("S_fast_relay", _BACKEND, 0.2), None, 1 / 1.3, 1.3),
    (f"{OPEN_RATE:.0f} req/s: backend of 200 ms / 0 ms", Side("S_fast_relay", _BACKEND), Side("S_fast_relay", _BACKEND, 0.2), OPEN_RATE, None, 1.3),
)  # fmt: skip


def measure(rounds: int) -> list[Comparison]:
    """All comparisons.

    Raises:
        BenchmarkError: A server did not start, or answered an error.
    """
    return [_compare(*pair, rounds=rounds) for pair in _PAIRS]


def table(compared: Sequence[Comparison]) -> str:
    """The comparisons as a markdown table."""
    head = ["comparison", "CPU ms", "ratio", "req/s", "ratio", "goal", "p99 ms", "ratio", "goal", "relayed/s", "load of the machine"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *map(_row, compared)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(each: Comparison) -> list[str]:
    return [
        each.text, _both(each, "cpu", ".2f"), _ratios(each, "cpu"), _both(each, "per_second", ",.0f"), _ratios(each, "per_second"), _goal("≥", each.least),
        _both(each, "p99", ".1f"), _ratios(each, "p99"), _goal("≤", each.greatest),
        f"{statistics.median(each.relayed):,.0f}", f"{each.load[0]:.1f}–{each.load[1]:.1f}",
    ]  # fmt: skip


def _both(each: Comparison, name: str, form: str) -> str:
    return " / ".join(f"{statistics.median(getattr(figures, name) for figures in side):{form}}" for side in (each.other, each.base))


def _ratios(each: Comparison, name: str) -> str:
    ratios = [getattr(mine, name) / getattr(base, name) for base, mine in zip(each.base, each.other, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"


def _goal(sign: str, value: float | None) -> str:
    return "–" if value is None else f"{sign} {value:.2f}"


def _compare(
    text: str, base: Side, other: Side, rate: float | None, least: float | None, greatest: float | None, *, rounds: int
) -> Comparison:
    found: dict[Side, list[Figures]] = {base: [], other: []}
    relayed: list[float] = []
    loads: list[float] = []
    for number in range(rounds):
        for side in random.sample([base, other], 2) if number else [base, other]:
            figures, sent = _loaded(side, rate)
            found[side].append(figures)
            if side is other:
                relayed.append(sent)
            loads.append(os.getloadavg()[0])
    result = Comparison(text, found[base], found[other], least, greatest, relayed, (min(loads), max(loads)))
    print(
        f"{text}: CPU {_ratios(result, 'cpu')}, req/s {_ratios(result, 'per_second')}, p99 {_ratios(result, 'p99')}",
        file=sys.stderr,
        flush=True,
    )
    return result


def _loaded(side: Side, rate: float | None) -> tuple[Figures, float]:
    """One side once: its figures, and events that its relay posted a second."""
    with tempfile.TemporaryDirectory(prefix="spanline-bench-", ignore_cleanup_errors=True) as folder, Sink(side.delay_s) as sink:
        with _server(side, sink.url, Path(folder)) as (port, pid), _fed(side, Path(folder)):
            try:
                load.run(port, SECONDS / 4, rate=rate)
                before, spent, began = stats(sink.url).get("posted", 0), _cpu_ms(pid), time.monotonic()
                figures = load.run(port, SECONDS, rate=rate)
                figures = replace(figures, cpu=(_cpu_ms(pid) - spent) / figures.count)
                posted = (stats(sink.url).get("posted", 0) - before) / (time.monotonic() - began)
            except (RuntimeError, OSError) as error:
                raise BenchmarkError(f"{side.variant}: {error}") from error
        return figures, posted


@contextlib.contextmanager
def _server(side: Side, sink: str, folder: Path) -> Iterator[tuple[int, int]]:
    """A uvicorn that answers, its port and process; it ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = {"BENCH_LINEAGE_URL": "{sink}", "BENCH_VARIANT": side.variant, **VARIANTS[side.variant].environment, **side.more}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.served:app",
        "--port",
        str(port),
        "--timeout-keep-alive",
        "60",
        "--no-access-log",
        "--log-level",
        "critical",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(sink, folder, more), stdout=log, stderr=log)
    try:
        _pin(process.pid, last=True)
        _pin(os.getpid(), last=False)
        _await(port, process, folder / "log")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def _cpu_ms(pid: int) -> float:
    """CPU time that a process has taken, in the kernel too. Source: proc(5), `stat`."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"the server did not start:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def _fed(side: Side, folder: Path) -> Iterator[None]:
    """A process that writes events into the journal that the side's relay reads."""
    if not side.fed:
        yield
        return
    process = feed.start(folder / "home" / "journal", side.fed, environment("", folder, {}))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _pin(pid: int, *, last: bool) -> None:
    """The server on the last core, all else on the others."""
    if len(_CORES) > 1:
        os.sched_setaffinity(pid, {_CORES[-1]} if last else set(_CORES[:-1]))
