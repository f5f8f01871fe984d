"""Ingest: a batch of events becomes rows in one transaction, idempotent and in any order."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from spanline.errors import LedgerError
from spanline.ledger import rows, statics
from spanline.ledger.conflicts import Flag, Watch, dashed, sightings
from spanline.ledger.database import Database
from spanline.ledger.documents import Document, Event, Static, merge, read_any
from spanline.ledger.facts import Facts, facts_of, job_key, term
from spanline.ledger.gaps import gaps_of
from spanline.ledger.schema import conflicts, jobs, runs
from spanline.ledger.store import Store, documents, stored_of
from spanline.record.run import Conflict

_T = TypeVar("_T")
_ATTEMPTS = 12
_QUEUE_AFTER = 2
"""Attempts that failed because others wrote the same runs; then PostgreSQL lets those who failed go one after the other."""

_QUEUE = 0x7370616F
_IN = 500
# Made once: for a single event building statements costs more than running them.
_TAKEN = select(runs.c.run).where(runs.c.run.in_(bindparam("runs", expanding=True)))
# Two hosts may bring two events of one run at once (PostgreSQL; SQLite has one writer).
_OWNERS = (
    select(runs.c.run_id, runs.c.run, runs.c.job, runs.c.conflicts)
    .where(runs.c.run_id.in_(bindparam("ids", expanding=True)))
    .order_by(runs.c.run)
    .with_for_update()
)
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


class _Group(msgspec.Struct):
    """The events of one run in this batch, and what the ledger has of it."""

    run_id: bytes
    job: tuple[str, str]
    claimed: bytes | None = None
    """The run id that the events bear, when another job has it."""
    run: int | None = None
    known: bool = False
    conflicts: int = 0
    """Conflicts that the ledger has of it."""
    new: list[Event] = []
    documents: list[Document] = []
    facts: Facts | None = None


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

    def ingest(self, batch: Sequence[bytes | Mapping[str, Any]]) -> IngestReport:
        """Write a batch; events that are no run events are left out and reported.

        Raises:
            LedgerError: The database does not answer, or others write the same runs without end; nothing of the batch is written.
        """
        good: list[Event] = []
        static: list[Static] = []
        rejected: list[Rejected] = []
        for index, event in enumerate(batch):
            try:
                found = read_any(event)
                static.append(found) if isinstance(found, Static) else good.append(found)
            except ValueError as error:
                rejected.append(Rejected(index, str(error)))
        if not good and not static:
            return IngestReport(rejected=tuple(rejected))
        for attempt in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    if attempt >= _QUEUE_AFTER and connection.dialect.name == "postgresql":
                        connection.execute(_WAIT, {"key": _QUEUE})
                    accepted, flagged, fresh = self._write_batch(connection, good, careful=attempt > 0) if good else (0, [], set[int]())
                    accepted += statics.write(connection, static) if static else 0
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
            self._known |= fresh
            return IngestReport(accepted, len(good) + len(static) - accepted, tuple(rejected), tuple(flagged))
        raise LedgerError(f"the ledger {self._database.place} is written to by others all the time; try again")

    def _write_batch(self, connection: Connection, good: list[Event], *, careful: bool) -> tuple[int, list[Conflict], set[int]]:
        groups = _stored(connection, _groups(connection, good))
        if not groups:
            return 0, [], set()
        for group in groups:
            group.facts = facts_of(merge([*group.documents, *(event.doc for event in group.new)]))
        groups.sort(key=lambda group: _facts(group).started_us)
        self._assign(connection, groups, careful=careful)
        flags = self._watch.check(
            connection,
            [(group.run_id, _facts(group).started_us, sighting) for group in groups for sighting in sightings(_facts(group))],
        )
        fresh = self._write(connection, groups, flags)
        new_flags = [flag.conflict() for some in flags.values() for flag in some if flag.new]
        return sum(len(group.new) for group in groups), new_flags, fresh

    def _forget(self) -> None:
        self._watch.rolled_back()
        self._store.reset()
        self._offline.clear()

    def _assign(self, connection: Connection, groups: list[_Group], *, careful: bool) -> None:
        """Keys for new runs: the start time and 11 bits of the id; when that is taken, the next one.

        Two runs of one microsecond and the same bits are so rare that the database is asked (`careful`) only after it refused a key.
        """
        wanted = {rows.run_key(_facts(group).started_us, group.run_id) for group in groups if group.run is None}
        taken: set[int] = set()
        for some in _chunks(sorted(wanted)) if careful else ():
            taken.update(connection.scalars(_TAKEN, {"runs": some}))
        for group in groups:
            if group.run is None:
                key = rows.run_key(_facts(group).started_us, group.run_id)
                while key in taken or (careful and key not in wanted and connection.scalars(_TAKEN, {"runs": [key]}).first() is not None):
                    key += 1
                taken.add(key)
                group.run = key

    def _write(self, connection: Connection, groups: list[_Group], flags: dict[bytes, list[Flag]]) -> set[int]:
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
        for some in _chunks(in_conflict):
            connection.execute(delete(conflicts).where(conflicts.c.run.in_(some)))
        return batch.write(connection, self._known)

    def _learn_offline(self, connection: Connection, groups: list[_Group]) -> None:
        # Only the first event of a job in each process says what it is: what is known stands in `jobs`.
        if len(self._offline) > _MAX_KNOWN:
            self._offline.clear()
        unknown = {job_key(*_facts(group).job) for group in groups} - self._offline.keys()
        for some in _chunks(sorted(unknown)):
            for key, offline in connection.execute(select(jobs.c.job, jobs.c.offline).where(jobs.c.job.in_(some))):
                self._offline[key] = offline
        for group in groups:
            key, offline = job_key(*_facts(group).job), _facts(group).offline
            if offline is not None and self._offline.get(key) != offline:
                self._offline[key] = offline
                # Not known in this form: the row is written again.
                self._known.discard(key)


def _in_each_others_way(error: LedgerError) -> bool:
    """Whether PostgreSQL broke a deadlock, or could not order two transactions: the next attempt may go through."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in ("40P01", "40001")


def rekeyed_run_id(run_id: bytes, job: tuple[str, str]) -> bytes:
    """The run id that the second job to claim one gets: the same on every host."""
    return uuid.uuid5(uuid.UUID(bytes=run_id), f"{job[0]}/{job[1]}").bytes


def _groups(connection: Connection, good: list[Event]) -> list[_Group]:
    """Events by run; where two jobs claim one run id, the first (in the ledger, else in time) keeps it."""
    claims: dict[bytes, dict[tuple[str, str], list[Event]]] = {}
    for event in good:
        claims.setdefault(event.run_id, {}).setdefault(event.job, []).append(event)
    owners = _owners(connection, claims)
    groups: list[_Group] = []
    others: dict[bytes, _Group] = {}
    for run_id, by_job in claims.items():
        run, owner_key, flagged = owners.get(run_id, (None, None, 0))
        first = min(by_job, key=lambda job: min(event.event_us for event in by_job[job]))
        for job, some in by_job.items():
            if job_key(*job) == owner_key or (owner_key is None and job == first):
                groups.append(_Group(run_id, job, run=run, known=run is not None, conflicts=flagged, new=some))
            else:
                other = rekeyed_run_id(run_id, job)
                others[other] = _Group(other, job, claimed=run_id, new=some)
    for run_id, (run, _, flagged) in _owners(connection, others).items():
        others[run_id].run, others[run_id].known, others[run_id].conflicts = run, True, flagged
    return [*groups, *others.values()]


def _owners(connection: Connection, run_ids: Mapping[bytes, Any]) -> dict[bytes, tuple[int, int, int]]:
    found: dict[bytes, tuple[int, int, int]] = {}
    for some in _chunks(sorted(run_ids)):
        for run_id, run, job, flagged in connection.execute(_OWNERS, {"ids": some}):
            found[bytes(run_id)] = (run, job, flagged)
    return found


def _stored(connection: Connection, groups: list[_Group]) -> list[_Group]:
    """Leave out what the ledger has already, and read what else it has of the runs that have something new."""
    stored = stored_of(connection, sorted(group.run for group in groups if group.run is not None))
    seen: dict[int, set[int]] = {}
    for event in stored:
        seen.setdefault(event.run, set()).add(event.hash)
    left: list[_Group] = []
    for group in groups:
        unique = {event.hash: event for event in group.new}
        group.new = [event for key, event in unique.items() if key not in seen.get(group.run or 0, ())]
        if group.new:
            left.append(group)
    known = {group.run: group for group in left if group.run is not None}
    for run, found in documents(connection, (event for event in stored if event.run in known)).items():
        known[run].documents = found
    return left


def _facts(group: _Group) -> Facts:
    assert group.facts is not None
    return group.facts


def _run(group: _Group) -> int:
    assert group.run is not None
    return group.run


def _chunks(keys: Sequence[_T]) -> list[Sequence[_T]]:
    return [keys[start : start + _IN] for start in range(0, len(keys), _IN)]
