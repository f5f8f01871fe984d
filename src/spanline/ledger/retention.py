"""Retention: old runs go in small bites, requests before jobs, so that neither readers nor the writer wait long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from spanline.ledger.bulk import write_all
from spanline.ledger.database import Database
from spanline.ledger.documents import merge
from spanline.ledger.facts import facts_of
from spanline.ledger.schema import conflicts, edges, evaluations, events, runs, terms
from spanline.ledger.store import documents_of
from spanline.ledger.tallies import Tallies

BITE = 100
"""Runs deleted in one transaction."""

JOB_AGE_S = 400 * 86_400.0
"""Jobs (index builds, training) are kept that long: answers of today rest on them. Seconds."""

_LOW = 0.9
_DELETE_TERM = delete(terms).where(terms.c.term == bindparam("b_term"), terms.c.run == bindparam("b_run"))


class Retention:
    """Deletes what is too old or too much.

    Args:
        database: The ledger's.
        max_bytes: Bytes of data kept; None for no limit. PostgreSQL reports what deleted rows held until it is vacuumed, so there age alone counts.
        max_age_s: Age of a request run when it goes; None for no limit. Seconds.
    """

    def __init__(self, database: Database, *, max_bytes: int | None, max_age_s: float | None) -> None:
        self._database = database
        self._max_bytes = max_bytes if database.path is not None else None
        self._max_age_s = max_age_s

    def run(self, *, budget_s: float | None = None, now_us: int | None = None) -> int:
        """Delete until nothing is too old or too much, or the budget is used up.

        Returns:
            Runs deleted.
        """
        deadline = None if budget_s is None else time.monotonic() + budget_s
        now = time.time_ns() // 1000 if now_us is None else now_us
        deleted = 0
        if self._max_age_s is not None:
            deleted += self._older_than(now - round(self._max_age_s * 1e6), 0, deadline)
            deleted += self._older_than(now - round(max(self._max_age_s, JOB_AGE_S) * 1e6), 1, deadline)
        if self._max_bytes is not None:
            deleted += self._too_much(deadline)
        if deleted:
            self._database.shrink()
        return deleted

    def _older_than(self, before_us: int, offline: int, deadline: float | None) -> int:
        if before_us <= 0:
            return 0
        deleted, last = 0, -1
        while not _over(deadline):
            query = select(runs.c.run).where(runs.c.run < before_us << 11, runs.c.run > last, runs.c.offline == offline)
            some, last = self._bite(query.order_by(runs.c.run).limit(BITE))
            deleted += some
            if some < BITE:
                break
        return deleted

    def _too_much(self, deadline: float | None) -> int:
        deleted, offline, wanted = 0, 0, self._max_bytes or 0
        while not _over(deadline):
            with self._database.read() as connection:
                used = self._database.bytes_used(connection)
            if used <= wanted:
                break
            # Once over the limit, make some room, or every batch would come here.
            wanted = int((self._max_bytes or 0) * _LOW)
            some, _ = self._bite(select(runs.c.run).where(runs.c.offline == offline).order_by(runs.c.run).limit(BITE))
            deleted += some
            if some == 0:
                if offline:
                    break
                offline = 1
        return deleted

    def _bite(self, query: Any) -> tuple[int, int]:
        with self._database.write() as connection:
            keys = list(connection.scalars(query))
            if keys:
                delete_runs(connection, keys)
        return len(keys), keys[-1] if keys else -1


def delete_runs(connection: Connection, keys: Sequence[int]) -> None:
    """Delete runs with all that is theirs. Artifacts, jobs, releases and labels stay: they are few, and what labels were first is not forgotten."""
    # What a run is found by has no index by run (it would be a quarter of the ledger): it is read again from the events.
    found = {run: facts_of(merge(some)).terms for run, some in documents_of(connection, keys).items()}
    pairs = [{"b_term": key, "b_run": run} for run, some in found.items() for key in some]
    if pairs:
        connection.execute(_DELETE_TERM, pairs)
    tallies = Tallies()
    tallies.take_back(connection, keys)
    write_all(connection, tallies.rows())
    for table in (edges, conflicts, evaluations, events, runs):
        connection.execute(delete(table).where(table.c.run.in_(keys)))


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
