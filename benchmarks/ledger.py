"""The ledger's speed: events a second, and how long each question takes at many runs. `python -m benchmarks.ledger --runs 100000 --postgres`.

The first runs come in as events, in batches and one by one; the rest are copies of their rows at later times, made by the database itself,
so that a million runs take minutes and every index is as full as it would be.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spanline.ledger import Ledger
from spanline.record.artifact import Artifact
from spanline.record.run import Evaluation, Release
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, end, index, request, start

PAIRS = 10_000
RELEASES = 20
BATCH = 100
SINGLE = 500


def events(pairs: int) -> list[bytes]:
    """START and COMPLETE of requests over some releases and index versions, and the builds of their indexes."""
    raw = Artifact(kind="dataset", name="raw_fees")
    found: list[bytes] = []
    for number in range(RELEASES // 2):
        corpus = Artifact(kind="corpus", name="fees", version=f"2026-{number}")
        records = [
            build(number * 1000 - 20, [raw], [corpus], job="fees.corpus"),
            build(number * 1000 - 10, [corpus], [index(f"c{number}", f"c{number}")], job="fees.index"),
        ]
        found += [end(record) for record in records]
    for number in range(pairs):
        release = number * RELEASES // pairs
        version = f"c{release // 2}"
        record = request(
            number, index(version, version), PROMPT, MODEL, CORPUS, release=Release(release=f"1.{release}", code_revision=f"{release:040x}"),
            outcome="FAIL" if number % 100 == 7 else "COMPLETE", tags={"case": str(number % 1000)},
            evaluations=[Evaluation(name="faithfulness", score=0.9, passed=release != RELEASES - 1)] if number % 50 == 0 else [],
        )  # fmt: skip
        found += [start(record), end(record)]
    return found


def take_in(ledger: Ledger) -> dict[str, float]:
    """Events a second and CPU milliseconds an event of this process, in batches and one by one."""
    lines = events(PAIRS + SINGLE // 2)
    one, many = lines[-SINGLE:], lines[:-SINGLE]
    found: dict[str, float] = {}
    for name, some, size in (("batch", many, BATCH), ("single", one, 1)):
        began, cpu = time.perf_counter(), time.process_time()
        for first in range(0, len(some), size):
            ledger.ingest(some[first : first + size])
        found[f"{name} events/s"] = len(some) / (time.perf_counter() - began)
        found[f"{name} CPU ms/event"] = (time.process_time() - cpu) / len(some) * 1e3
    return found


def multiply(ledger: Ledger, runs: int) -> None:
    """Copy all rows of requests to later times until there are so many runs."""
    with ledger._database.write() as connection:
        sqlite = connection.dialect.name == "sqlite"
        last, first, count = connection.exec_driver_sql("SELECT max(run), min(run), count(*) FROM runs WHERE offline = 0").one()
        copies = max(runs // count, 1)
        step = (last - first + (1 << 32)) >> 11 << 11
        fresh = "randomblob(16)" if sqlite else "decode(md5(random()::text || r.run::text), 'hex')"
        for number in range(1, copies):
            by = number * step
            some = f"FROM {{}} WHERE r.offline = 0 AND r.run <= {last}"
            connection.exec_driver_sql(
                f"INSERT INTO runs SELECT r.run + {by}, {fresh}, NULL, NULL, r.job, r.release, r.status, r.started_us + {by >> 11}, "
                f"r.ended_us + {by >> 11}, r.offline, r.conflicts, r.blocked, r.gaps, r.tags {some.format('runs r')}"
            )
            for table, columns in (
                ("events", "hash, event_us, dictionary, body"), ("edges", "artifact, role, evidence, top_k, hits"),
                ("evaluations", "evaluation, name, score, label, passed, evaluator, evaluator_version, eval_set, eval_set_version, evaluated_at"),
            ):  # fmt: skip
                joined = some.format(f"{table} t JOIN runs r ON r.run = t.run")
                copied = ", ".join(f"t.{column.strip()}" for column in columns.split(","))
                connection.exec_driver_sql(f"INSERT INTO {table} (run, {columns}) SELECT t.run + {by}, {copied} {joined}")
            connection.exec_driver_sql(
                f"INSERT INTO terms (term, run) SELECT t.term, t.run + {by} {some.format('terms t JOIN runs r ON r.run = t.run')}"
            )
        requests = f"(SELECT job FROM runs WHERE offline = 0 AND run <= {last})"
        connection.exec_driver_sql(
            f"UPDATE uses SET runs = runs * {copies}, last_run = last_run + {(copies - 1) * step} WHERE job IN {requests}"
        )
    if sqlite:
        with contextlib.closing(ledger._database.engine.raw_connection()) as raw:
            raw.driver_connection.executescript("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        engine = ledger._database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def questions(ledger: Ledger, times: int) -> Iterator[tuple[str, float, float, float]]:
    """`(question, p50, p99, CPU of this process)` in milliseconds, each time with another argument."""
    from sqlalchemy import text

    with ledger._database.read() as connection:
        first, last = connection.execute(text("SELECT min(run), max(run) FROM runs")).one()
        rng = random.Random(7)
        ids = []
        while len(ids) < 300:
            row = connection.execute(
                text("SELECT run_id FROM runs WHERE run >= :at ORDER BY run LIMIT 1"), {"at": rng.randrange(first, last)}
            ).first()
            ids.append(bytes(row[0]).hex())

    def pick() -> str:
        return rng.choice(ids)

    def version() -> str:
        return f"index:fees_corpus@c{rng.randrange(RELEASES // 2)}"

    def release() -> str:
        return f"release:fee-assistant@1.{rng.randrange(RELEASES)}"

    asked: dict[str, Callable[[], Any]] = {
        "run by id, with all behind it": lambda: ledger.run(pick()),
        "newest 50 runs of a job": lambda: ledger.runs(job=JOB),
        "failed runs of a job": lambda: ledger.runs(job=JOB, outcome="FAIL"),
        "runs of a tag": lambda: ledger.runs(tag=f"case:{rng.randrange(1000)}"),
        "runs of an index version": lambda: ledger.runs(artifact=version()),
        "impact of an index version": lambda: ledger.impact(version()),
        "impact of a prompt that all used": lambda: ledger.impact("prompt:fees@v7"),
        "impact of raw data": lambda: ledger.impact("dataset:raw_fees"),
        "lineage of a run, up, depth 5": lambda: ledger.lineage(pick(), direction="up", depth=5),
        "lineage of raw data, down, depth 5": lambda: ledger.lineage("dataset:raw_fees", direction="down", depth=5),
        "diff of two runs": lambda: ledger.diff(pick(), pick()),
        "diff of two releases": lambda: ledger.diff(release(), release(), job=JOB),
        "last good": lambda: ledger.lastgood(JOB),
    }
    for name, ask in asked.items():
        ask()
        took = []
        cpu = time.process_time()
        for _ in range(times):
            began = time.perf_counter()
            ask()
            took.append((time.perf_counter() - began) * 1e3)
        cpu = (time.process_time() - cpu) / times * 1e3
        took.sort()
        yield name, took[len(took) // 2], took[min(len(took) - 1, round(len(took) * 0.99))], cpu


def measure(url: str, runs: int, times: int) -> dict[str, list[float]]:
    """All figures of one ledger."""
    ledger = Ledger.open(url)
    found = {name: [value] for name, value in take_in(ledger).items()}
    began = ledger.stats()
    multiply(ledger, runs)
    now = ledger.stats()
    found["runs"] = [now["runs"]]
    found["bytes/run, by events"] = [began["bytes"] / began["runs"]]
    found["bytes/run"] = [now["bytes"] / now["runs"]]
    print(f"{now['runs']} runs in {ledger._database.place}", file=sys.stderr)
    for name, p50, p99, cpu in questions(ledger, times):
        found[name] = [p50, p99, cpu]
        print(f"  {name}: {p50:.1f} / {p99:.1f} / {cpu:.1f} ms", file=sys.stderr)
    ledger.close()
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=100, help="how often each question is asked")
    parser.add_argument("--postgres", action="store_true", help="also on a PostgreSQL of its own (make servers SERVERS=postgres)")
    given = parser.parse_args()
    columns: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        columns["SQLite"] = measure(f"sqlite:///{Path(folder)}/ledger.db", given.runs, given.times)
    if given.postgres:
        from tests.servers.stores import postgres

        with postgres() as server:
            columns["PostgreSQL"] = measure(server.url(server.create()), given.runs, given.times)
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in next(iter(columns.values())):
        cells = [" / ".join(f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in column[name]) for column in columns.values()]
        print(f"| {name}{' (p50 / p99 / CPU, ms)' if len(next(iter(columns.values()))[name]) == 3 else ''} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
