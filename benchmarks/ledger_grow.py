"""A ledger of a million runs and ten million edges in minutes: some requests come in as events, the database copies their rows to later times."""

from __future__ import annotations

import contextlib
from typing import Any

from spanline.ledger import Ledger
from spanline.record.artifact import Artifact
from spanline.record.run import Evaluation, Release
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, end, index, request, sha, start

BASE = 10_000
"""Requests that come in as events; the others are copies."""

RELEASES = 20
MORE = (
    Artifact(kind="index", name="policies", version="p4", digest=sha("policies p4")),
    Artifact(kind="prompt", name="system", version="v3", digest=sha("system v3")),
    Artifact(kind="model", name="openai/text-embedding-3-small"),
    Artifact(kind="model", name="cohere/rerank-v3.5"),
)
"""With them a request has ten edges: eight that it used, and the flows of requests and responses."""

_COLUMNS = {
    "events": "hash, event_us, dictionary, body",
    "edges": "artifact, role, evidence, top_k, hits",
    "evaluations": "evaluation, name, score, label, passed, evaluator, evaluator_version, eval_set, eval_set_version, evaluated_at, job, release",
}


def events(pairs: int, *more: Artifact) -> list[bytes]:
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
            number, index(version, version), PROMPT, MODEL, CORPUS, *more,
            release=Release(release=f"1.{release}", code_revision=f"{release:040x}"), outcome="FAIL" if number % 100 == 7 else "COMPLETE",
            tags={"case": str(number % 1000)},
            evaluations=[Evaluation(name="faithfulness", score=0.9, passed=release != RELEASES - 1)] if number % 50 == 0 else [],
        )  # fmt: skip
        found += [start(record), end(record)]
    return found


class Growth:
    """A ledger that grows to any number of runs.

    Args:
        ledger: An empty one.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.copies = 1
        lines = events(BASE, *MORE)
        for first in range(0, len(lines), 100):
            ledger.ingest(lines[first : first + 100])
        with ledger._database.write() as connection:
            self._last, first_run = connection.exec_driver_sql("SELECT max(run), min(run) FROM runs WHERE offline = 0").one()
            self._step = (self._last - first_run + (1 << 32)) >> 11 << 11
            # What one run alone is found by (its ids) belongs to one copy alone.
            connection.exec_driver_sql("CREATE TABLE own_terms AS SELECT term FROM terms GROUP BY term HAVING count(*) = 1")
            connection.exec_driver_sql("CREATE UNIQUE INDEX own_terms_by_term ON own_terms (term)")

    def to(self, runs: int) -> None:
        """Copy all rows of requests to later times until there are about so many runs."""
        copies = max(runs // BASE, 1)
        for number in range(self.copies, copies):
            with self._ledger._database.write() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA cache_size=-1000000")
                self._copy(connection, number * self._step)
        with self._ledger._database.write() as connection:
            requests = f"(SELECT job FROM runs WHERE offline = 0 AND run <= {self._last})"
            more = (copies - self.copies) * self._step
            connection.exec_driver_sql(
                f"UPDATE uses SET runs = runs / {self.copies} * {copies}, last_run = last_run + {more} WHERE job IN {requests}"
            )
        self.copies = copies
        self._settle()

    def _copy(self, connection: Any, by: int) -> None:
        fresh = "randomblob(16)" if connection.dialect.name == "sqlite" else "decode(md5(random()::text || r.run::text), 'hex')"
        some = f"r WHERE r.offline = 0 AND r.run <= {self._last}"
        connection.exec_driver_sql(
            f"INSERT INTO runs SELECT r.run + {by}, {fresh}, NULL, NULL, r.job, r.release, r.status, r.started_us + {by >> 11}, "
            f"r.ended_us + {by >> 11}, r.offline, r.conflicts, r.blocked, r.gaps, r.tags FROM runs {some} ORDER BY r.run"
        )
        mine = f"IN (SELECT run FROM runs {some})"
        for table, columns in _COLUMNS.items():
            copied = ", ".join(f"t.{column.strip()}" for column in columns.split(","))
            connection.exec_driver_sql(
                f"INSERT INTO {table} (run, {columns}) SELECT t.run + {by}, {copied} FROM {table} t WHERE t.run {mine} ORDER BY t.run"
            )
        own = f"CASE WHEN o.term IS NULL THEN t.term WHEN t.term > 0 THEN t.term - {by} ELSE t.term + {by} END"
        connection.exec_driver_sql(
            f"INSERT INTO terms (term, run) SELECT {own}, t.run + {by} FROM terms t LEFT JOIN own_terms o ON o.term = t.term WHERE t.run {mine}"
        )

    def _settle(self) -> None:
        """As a database is after a while: written down, and with figures about its tables."""
        engine = self._ledger._database.engine
        if engine.dialect.name == "sqlite":
            with contextlib.closing(engine.raw_connection()) as raw:
                driver: Any = raw.driver_connection
                driver.executescript("PRAGMA wal_checkpoint(TRUNCATE)")
            # Connections that were used to copy have another cache than the ledger's.
            engine.dispose()
            return
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
