"""Groups: the events of a batch by run, and what the ledger has of each run already."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from spanline.ledger.documents import Document, Event
from spanline.ledger.facts import Facts, job_key
from spanline.ledger.lookup import chunks
from spanline.ledger.schema import runs
from spanline.ledger.store import documents, stored_of

# Two hosts may bring two events of one run at once (PostgreSQL; SQLite has one writer).
_OWNERS = (
    select(runs.c.run_id, runs.c.run, runs.c.job, runs.c.conflicts)
    .where(runs.c.run_id.in_(bindparam("ids", expanding=True)))
    .order_by(runs.c.run)
    .with_for_update()
)


class Group(msgspec.Struct):
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


def rekeyed_run_id(run_id: bytes, job: tuple[str, str]) -> bytes:
    """The run id that the second job to claim one gets: the same on every host."""
    return uuid.uuid5(uuid.UUID(bytes=run_id), f"{job[0]}/{job[1]}").bytes


def groups_of(connection: Connection, good: list[Event]) -> list[Group]:
    """Events by run; where two jobs claim one run id, the first (in the ledger, else in time) keeps it."""
    claims: dict[bytes, dict[tuple[str, str], list[Event]]] = {}
    for event in good:
        claims.setdefault(event.run_id, {}).setdefault(event.job, []).append(event)
    owners = _owners(connection, claims)
    groups: list[Group] = []
    others: dict[bytes, Group] = {}
    for run_id, by_job in claims.items():
        run, owner_key, flagged = owners.get(run_id, (None, None, 0))
        first = min(by_job, key=lambda job: min(event.event_us for event in by_job[job]))
        for job, some in by_job.items():
            if job_key(*job) == owner_key or (owner_key is None and job == first):
                groups.append(Group(run_id, job, run=run, known=run is not None, conflicts=flagged, new=some))
            else:
                other = rekeyed_run_id(run_id, job)
                others[other] = Group(other, job, claimed=run_id, new=some)
    for run_id, (run, _, flagged) in _owners(connection, others).items():
        others[run_id].run, others[run_id].known, others[run_id].conflicts = run, True, flagged
    return [*groups, *others.values()]


def _owners(connection: Connection, run_ids: Mapping[bytes, Any]) -> dict[bytes, tuple[int, int, int]]:
    found: dict[bytes, tuple[int, int, int]] = {}
    for some in chunks(sorted(run_ids)):
        for run_id, run, job, flagged in connection.execute(_OWNERS, {"ids": some}):
            found[bytes(run_id)] = (run, job, flagged)
    return found


def with_stored(connection: Connection, groups: list[Group]) -> list[Group]:
    """Leave out what the ledger has already, and read what else it has of the runs that have something new."""
    stored = stored_of(connection, sorted(group.run for group in groups if group.run is not None))
    seen: dict[int, set[int]] = {}
    for event in stored:
        seen.setdefault(event.run, set()).add(event.hash)
    left: list[Group] = []
    for group in groups:
        unique = {event.hash: event for event in group.new}
        group.new = [event for key, event in unique.items() if key not in seen.get(group.run or 0, ())]
        if group.new:
            left.append(group)
    known = {group.run: group for group in left if group.run is not None}
    for run, found in documents(connection, (event for event in stored if event.run in known)).items():
        known[run].documents = found
    return left
