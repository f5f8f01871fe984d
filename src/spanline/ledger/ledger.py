"""The ledger: runs and what they used, asked and written from any thread and process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, literal_column, select, update

from spanline.ledger import erasure
from spanline.ledger.conflicts import labels_of
from spanline.ledger.database import Database
from spanline.ledger.ingest import Ingester, IngestReport
from spanline.ledger.listing import micros_of
from spanline.ledger.migrations.upgrade import NEWEST
from spanline.ledger.originals import originals
from spanline.ledger.questions import Questions
from spanline.ledger.retention import Retention
from spanline.ledger.schema import artifacts, jobs, label_digests, labels, runs
from spanline.ledger.together import Together
from spanline.ledger.view import moment

CHECK_EVERY_S = 30.0
BUDGET_S = 0.05
"""Deleting takes no longer than that after one batch; the rest waits for the next ones. Seconds."""


class Ledger(Questions):
    """A lineage database.

    Thread-safety: one lock around writing; reading goes on beside it, also in other processes. A forked child may go on using it.
    """

    def __init__(self, database: Database, *, max_bytes: int | None = None, max_age_s: float | None = None) -> None:
        super().__init__(database)
        self._together = Together(database, Ingester(database))
        self._retention = Retention(database, max_bytes=max_bytes, max_age_s=max_age_s)
        self._limited = max_bytes is not None or max_age_s is not None
        self._check_at = 0.0

    @classmethod
    def open(cls, url: str, *, max_bytes: int | None = None, max_age_s: float | None = None, recover: bool = False) -> Ledger:
        """Open a ledger, make it when it is not there, migrate it when it is old.

        Args:
            url: `sqlite:///path` or `postgresql://user@host/database`.
            max_bytes: Most bytes that a SQLite ledger's data takes; the oldest request runs go first, then jobs.
            max_age_s: Request runs older than that go; jobs are kept longer. Unit: seconds.
            recover: Move a corrupt SQLite file aside to `<name>.corrupt-<time>` and begin a new one; see `moved`.

        Raises:
            LedgerError: It cannot be opened, is corrupt or from a newer version; the message says what to do.
            ConfigurationError: The URL is none of a ledger.
            MissingExtra: The driver of PostgreSQL is not installed.
        """
        return cls(Database(url, recover=recover), max_bytes=max_bytes, max_age_s=max_age_s)

    @property
    def moved(self) -> Path | None:
        """Where `recover` put the corrupt file."""
        return self._database.moved

    def ingest(self, events: Sequence[bytes | Mapping[str, Any]]) -> IngestReport:
        """Write OpenLineage run events, ours and others', in one transaction; in any order, any number of times.

        Raises:
            LedgerError: The database does not answer; nothing was written. What cannot be read is in the report instead.
        """
        report = self._together.ingest(events)
        if self._limited and time.monotonic() >= self._check_at:
            self.maintain(budget_s=BUDGET_S)
        return report

    def maintain(self, *, budget_s: float | None = None) -> int:
        """Delete what is too old or too much; `ingest` does it in small bites. Returns the number of runs deleted.

        Raises:
            LedgerError: The database does not answer.
        """
        began = time.monotonic()
        deleted = self._retention.run(budget_s=budget_s)
        # When the budget did not suffice there is more to do.
        done = budget_s is None or time.monotonic() - began < budget_s
        self._check_at = time.monotonic() + (CHECK_EVERY_S if done else 2 * BUDGET_S)
        return deleted

    def originals(self, since: str | datetime, until: str | datetime) -> Iterator[bytes]:
        """Events as they came in, by time: `since <= eventTime < until`.

        Raises:
            ValueError: An argument is no time.
        """
        with self._database.read() as connection:
            yield from originals(connection, micros_of(since), micros_of(until))

    def acknowledge(self, ref: str, digest: str) -> bool:
        """Accept a digest under a label: runs that show it from now on are not flagged.

        Args:
            ref: `kind:name@version` or `namespace/name@version`.
            digest: The whole digest.

        Returns:
            False when the label was never seen with this digest.

        Raises:
            ValueError: The reference is none of a version.
        """
        with self._database.write() as connection:
            seen = label_digests.c.label.in_(labels_of(connection, ref)) & (label_digests.c.digest == digest)
            done = connection.execute(
                update(label_digests)
                .where(seen)
                .values(acknowledged_us=func.coalesce(label_digests.c.acknowledged_us, time.time_ns() // 1000))
            )
            return done.rowcount > 0

    def erase(self, whose: str, digest: str) -> int:
        """Delete all requests of a `subject`, `tenant` or `session`, by the keyed digest that their runs bear. Returns the number of runs.

        The journal is not touched: what stands there goes with its segments, and comes back if it is delivered again.

        Raises:
            LedgerError: The database does not answer; what was deleted before stays deleted.
            ValueError: `whose` is none of these.
        """
        return erasure.erase(self._database, whose, digest)

    def stats(self) -> dict[str, Any]:
        """What is in it: counts, bytes, the first and last run, the tables' version. Counting reads an index of all runs."""
        with self._database.read() as connection:
            first, last = connection.execute(select(func.min(runs.c.run), func.max(runs.c.run))).one()
            counts = {
                name: connection.scalar(select(func.count()).select_from(table))
                for name, table in (("runs", runs), ("jobs", jobs), ("artifacts", artifacts))
            }
            open_conflicts = select(func.count()).select_from(labels).where(labels.c.conflicted_us > literal_column("0"))
            return {
                **counts,
                "conflicts": connection.scalar(open_conflicts),
                "bytes": self._database.bytes_used(connection),
                "firstRunAt": moment(first >> 11) if first is not None else None,
                "lastRunAt": moment(last >> 11) if last is not None else None,
                "version": NEWEST,
                "place": self._database.place,
            }

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
