"""How long the ledger's questions take: what an incident asks, each time with another argument."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from benchmarks.ledger_grow import RELEASES
from spanline.ledger import Ledger
from tests.ledger_events import JOB
from tests.ledger_plans import listening, scans

FEW = 5000
"""Rows of a table that PostgreSQL may read whole, rightly."""


class Took(msgspec.Struct):
    """Milliseconds of one question."""

    name: str
    p50: float
    p99: float
    cpu50: float
    """CPU of this thread and, on PostgreSQL, of the process there that serves it."""
    cpu99: float
    statements: int
    scans: list[str]
    """What a plan reads whole, of tables of more than `FEW` rows."""


def questions(ledger: Ledger) -> dict[str, Callable[[], Any]]:
    """The questions, by name; each call asks with another argument."""
    rng = random.Random(7)
    ids: list[str] = []
    with ledger._database.read() as connection:
        first, last = connection.execute(text("SELECT min(run), max(run) FROM runs")).one()
        while len(ids) < 1000:
            at = {"at": rng.randrange(first, last)}
            row = connection.execute(text("SELECT run_id FROM runs WHERE run >= :at ORDER BY run LIMIT 1"), at).first()
            if row is not None:
                ids.append(bytes(row[0]).hex())

    def pick() -> str:
        return rng.choice(ids)

    def version() -> str:
        return f"index:fees_corpus@c{rng.randrange(RELEASES // 2)}"

    def release() -> str:
        return f"release:fee-assistant@1.{rng.randrange(RELEASES)}"

    return {
        "run by id, with all behind it": lambda: ledger.run(pick()),
        "newest 50 runs of a job": lambda: ledger.runs(job=JOB),
        "failed runs of a job": lambda: ledger.runs(job=JOB, outcome="FAIL"),
        "runs of a tag": lambda: ledger.runs(tag=f"case:{rng.randrange(1000)}"),
        "runs of an index version": lambda: ledger.runs(artifact=version()),
        "impact of an index version": lambda: ledger.impact(version()),
        "impact of a prompt that all used": lambda: ledger.impact("prompt:fees@v7"),
        "impact of raw data": lambda: ledger.impact("dataset:raw_fees"),
        "impact of a release": lambda: ledger.impact(release()),
        "lineage of a run, up, depth 5": lambda: ledger.lineage(pick(), direction="up", depth=5),
        "lineage of raw data, down, depth 5": lambda: ledger.lineage("dataset:raw_fees", direction="down", depth=5),
        "diff of two runs": lambda: ledger.diff(pick(), pick()),
        "diff of two releases": lambda: ledger.diff(release(), release(), job=JOB),
        "last good": lambda: ledger.lastgood(JOB),
    }


def ask(ledger: Ledger, times: int) -> Iterator[Took]:
    """Every question so many times; and its plans, by the real figures about the tables."""
    other = Backend(ledger)
    # As `spanline serve` does: else now and then a question would pay for looking through all that was ever imported.
    gc.collect()
    gc.freeze()
    for name, question in questions(ledger).items():
        with listening() as asked:
            question()
        with ledger._database.read() as connection:
            found = sorted({plan for plan, _ in scans(connection, asked, small=_small(connection))})
        wall: list[float] = []
        cpu: list[float] = []
        for _ in range(times):
            began, used = time.perf_counter(), time.thread_time() + other.cpu()
            question()
            wall.append((time.perf_counter() - began) * 1e3)
            cpu.append((time.thread_time() + other.cpu() - used) * 1e3)
        yield Took(name, _quantile(wall, 0.5), _quantile(wall, 0.99), _quantile(cpu, 0.5), _quantile(cpu, 0.99), len(asked), found)


def _small(connection: Connection) -> list[str]:
    if connection.dialect.name == "sqlite":
        return []
    return list(connection.scalars(text("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples < :few"), {"few": FEW}))


class Backend:
    """The process of PostgreSQL behind the ledger's one connection; Linux alone tells how long it ran."""

    def __init__(self, ledger: Ledger) -> None:
        self._stat: Path | None = None
        if ledger._database.path is None:
            with ledger._database.read() as connection:
                pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with suppress(OSError):
                stat = Path(f"/proc/{pid}/schedstat")
                stat.read_text(encoding="ascii")
                self._stat = stat

    def cpu(self) -> float:
        """Seconds."""
        return int(self._stat.read_text(encoding="ascii").split()[0]) / 1e9 if self._stat else 0.0


def _quantile(some: list[float], part: float) -> float:
    return sorted(some)[min(len(some) - 1, round(len(some) * part))]
