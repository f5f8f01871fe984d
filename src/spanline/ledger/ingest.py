"""Ingest: a batch of events becomes rows in one transaction, idempotent and in any order."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from spanline.errors import LedgerError
from spanline.ledger import rows, statics
from spanline.ledger.conflicts import Flag, Watch, dashed, sightings
from spanline.ledger.database import Database
from spanline.ledger.documents import Event, Static, merge, read_any
from spanline.ledger.facts import Facts, facts_of, job_key, term
from spanline.ledger.gaps import gaps_of
from spanline.ledger.groups import Group, groups_of, with_stored
from spanline.ledger.lookup import chunks
from spanline.ledger.schema import conflicts, jobs, runs
from spanline.ledger.store import Store
from spanline.record.run import Conflict

_ATTEMPTS = 12
_QUEUE_AFTER = 2
"""Attempts that failed because others wrote the same runs; then PostgreSQL lets those who failed go one after the other."""

_QUEUE = 0x7370616F
# Made once: for a single event building statements costs more than running them.
_TAKEN = select(runs.c.run).where(runs.c.run.in_(bindparam("runs", expanding=True)))
_WAIT = select(func.pg_advisory_xact_lock(bindparam("key")))
_MAX_KNOWN = 200_000


class Rejected(msgspec.Struct, frozen=True):
    """An event that no ledger can take: its place in the batch, and why (no part of the event)."""

    index: int
    reason: str


class IngestReport(msgspec.Struct, frozen=True):
    """What became of a batch. `conflicts` are those that nobody had shown before."""

    accepted: int = 0
    duplicates: int = 0
    rejected: tuple[Rejected, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


class _Wrote(msgspec.Struct):
    """What one transaction wrote."""

    events: set[int] = set()
    """Hashes of the events that were new."""
    conflicts: list[tuple[int, Conflict]] = []
    """Those that nobody had shown before, each with the hash of an event of its run."""
    fresh: set[int] = set()


class Ingester:
    """Writes events. Used under the writer's lock only.

    What it remembers of what was written (`_known`, `_offline`) is true for ever, as keys are made from what they name.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watch = Watch()
        self._store = Store()
        self._known: set[int] = set()
        self._offline: dict[int, int | None] = {}

    def ingest(self, calls: Sequence[Sequence[bytes | Mapping[str, Any]]]) -> list[IngestReport]:
        """Write the batches of several callers in one transaction; events that are no run events are left out and reported.

        Returns:
            What became of each batch.

        Raises:
            LedgerError: The database does not answer, or others write the same runs without end; nothing is written.
        """
        good: list[tuple[int, Event]] = []
        static: list[list[Static]] = [[] for _ in calls]
        rejected: list[list[Rejected]] = [[] for _ in calls]
        for call, batch in enumerate(calls):
            for index, event in enumerate(batch):
                try:
                    found = read_any(event)
                    static[call].append(found) if isinstance(found, Static) else good.append((call, found))
                except ValueError as error:
                    rejected[call].append(Rejected(index, str(error)))
        if not good and not any(static):
            return [IngestReport(rejected=tuple(some)) for some in rejected]
        for attempt in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    if attempt >= _QUEUE_AFTER and connection.dialect.name == "postgresql":
                        connection.execute(_WAIT, {"key": _QUEUE})
                    wrote = self._write_batch(connection, [event for _, event in good], careful=attempt > 0) if good else _Wrote()
                    accepted = [statics.write(connection, some) if some else 0 for some in static]
            except IntegrityError:
                # Another process wrote one of these runs or labels in the meantime: now it is there to be read.
                self._forget()
                time.sleep(random.uniform(0, 0.005 * attempt))
                continue
            except LedgerError as error:
                self._forget()
                if not _in_each_others_way(error):
                    raise
                continue
            except BaseException:
                self._forget()
                raise
            self._watch.committed()
            if len(self._known) > _MAX_KNOWN:
                self._known.clear()
            self._known |= wrote.fresh
            return _reports(good, static, rejected, accepted, wrote)
        raise LedgerError(f"the ledger {self._database.place} is written to by others all the time; try again")

    def _write_batch(self, connection: Connection, good: list[Event], *, careful: bool) -> _Wrote:
        groups = with_stored(connection, groups_of(connection, good))
        if not groups:
            return _Wrote()
        for group in groups:
            group.facts = facts_of(merge([*group.documents, *(event.doc for event in group.new)]))
        groups.sort(key=lambda group: _facts(group).started_us)
        self._assign(connection, groups, careful=careful)
        flags = self._watch.check(
            connection,
            [(group.run_id, _facts(group).started_us, sighting) for group in groups for sighting in sightings(_facts(group))],
        )
        fresh = self._write(connection, groups, flags)
        shown = [(group.new[0].hash, flag.conflict()) for group in groups for flag in flags.get(group.run_id, ()) if flag.new]
        return _Wrote({event.hash for group in groups for event in group.new}, shown, fresh)

    def _forget(self) -> None:
        self._watch.rolled_back()
        self._store.reset()
        self._offline.clear()

    def _assign(self, connection: Connection, groups: list[Group], *, careful: bool) -> None:
        """Keys for new runs: the start time and 11 bits of the id; when that is taken, the next one.

        Two runs of one microsecond and the same bits are so rare that the database is asked (`careful`) only after it refused a key.
        """
        wanted = {rows.run_key(_facts(group).started_us, group.run_id) for group in groups if group.run is None}
        taken: set[int] = set()
        for some in chunks(sorted(wanted)) if careful else ():
            taken.update(connection.scalars(_TAKEN, {"runs": some}))
        for group in groups:
            if group.run is None:
                key = rows.run_key(_facts(group).started_us, group.run_id)
                while key in taken or (careful and key not in wanted and connection.scalars(_TAKEN, {"runs": [key]}).first() is not None):
                    key += 1
                taken.add(key)
                group.run = key

    def _write(self, connection: Connection, groups: list[Group], flags: dict[bytes, list[Flag]]) -> set[int]:
        self._learn_offline(connection, groups)
        batch = rows.Rows()
        packed: list[tuple[int, int, int, int, bytes]] = []
        for group in groups:
            facts, run = _facts(group), _run(group)
            offline = facts.offline if facts.offline is not None else self._offline.get(job_key(*facts.job)) or 0
            rekeyed = group.claimed is not None
            if rekeyed:
                facts.terms.add(term("id", dashed(group.claimed or b"")))
            batch.add_run(
                run, group.run_id, facts, offline, gaps_of(facts, rekeyed=rekeyed), flags.get(group.run_id, []), known=group.known
            )
            packed.extend((run, job_key(*facts.job), event.hash, event.event_us, event.line) for event in group.new)
        batch.events = self._store.rows(connection, packed, max(event[3] for event in packed))
        in_conflict = [_run(group) for group in groups if group.conflicts]
        for some in chunks(in_conflict):
            connection.execute(delete(conflicts).where(conflicts.c.run.in_(some)))
        return batch.write(connection, self._known)

    def _learn_offline(self, connection: Connection, groups: list[Group]) -> None:
        # Only the first event of a job in each process says what it is: what is known stands in `jobs`.
        if len(self._offline) > _MAX_KNOWN:
            self._offline.clear()
        unknown = {job_key(*_facts(group).job) for group in groups} - self._offline.keys()
        for some in chunks(sorted(unknown)):
            for key, offline in connection.execute(select(jobs.c.job, jobs.c.offline).where(jobs.c.job.in_(some))):
                self._offline[key] = offline
        for group in groups:
            key, offline = job_key(*_facts(group).job), _facts(group).offline
            if offline is not None and self._offline.get(key) != offline:
                self._offline[key] = offline
                # Not known in this form: the row is written again.
                self._known.discard(key)


def _reports(
    good: list[tuple[int, Event]], static: list[list[Static]], rejected: list[list[Rejected]], accepted: list[int], wrote: _Wrote
) -> list[IngestReport]:
    """What became of each caller's events; of one event that two brought, the first brought it."""
    bringer: dict[int, int] = {}
    counts = [len(some) for some in static]
    for call, event in good:
        counts[call] += 1
        if event.hash in wrote.events and event.hash not in bringer:
            bringer[event.hash] = call
            accepted[call] += 1
    return [
        IngestReport(
            accepted[call], counts[call] - accepted[call], tuple(rejected[call]),
            tuple(conflict for key, conflict in wrote.conflicts if bringer[key] == call),
        )
        for call in range(len(rejected))
    ]  # fmt: skip


def _in_each_others_way(error: LedgerError) -> bool:
    """Whether PostgreSQL broke a deadlock, or could not order two transactions: the next attempt may go through."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in ("40P01", "40001")


def _facts(group: Group) -> Facts:
    assert group.facts is not None
    return group.facts


def _run(group: Group) -> int:
    assert group.run is not None
    return group.run
