"""Lookup: from an id in any form to a run, from a run to its events and to the runs below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, or_, select

from spanline.ledger.documents import Document, merge
from spanline.ledger.facts import term
from spanline.ledger.given import among, keys_text
from spanline.ledger.schema import jobs, releases, runs, terms
from spanline.ledger.store import documents_of

MAX_FAMILY = 500
"""Runs below one run that are looked at."""

MAX_OTHERS = 100
MAX_VERSIONS = 2000

_T = TypeVar("_T")
_UUID = re.compile(r"[0-9a-fA-F]{32}\Z|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


class Row(NamedTuple):
    """A run as the list of runs needs it, in one row."""

    run: int
    run_id: bytes
    trace_id: bytes | None
    parent_id: bytes | None
    namespace: str
    job: str
    status: int
    started_us: int
    ended_us: int | None
    conflicts: int
    gaps: int
    tags: str | None
    service: str | None
    environment: str | None
    release: str | None
    image_digest: str | None

    @classmethod
    def of(cls, row: Any) -> Row:
        """From a result row: drivers return ids as bytes or as memoryview."""
        return cls(row[0], bytes(row[1]), _bytes(row[2]), _bytes(row[3]), *row[4:])


def select_rows() -> Select[*tuple[Any, ...]]:
    """The SELECT that yields `Row`s; to be narrowed and ordered."""
    return (
        select(
            runs.c.run, runs.c.run_id, runs.c.trace_id, runs.c.parent_id, jobs.c.namespace, jobs.c.name, runs.c.status, runs.c.started_us,
            runs.c.ended_us, runs.c.conflicts, runs.c.gaps, runs.c.tags, releases.c.service, releases.c.environment, releases.c.name,
            releases.c.image_digest,
        )
        .join(jobs, jobs.c.job == runs.c.job)
        .outerjoin(releases, releases.c.release == runs.c.release)
    )  # fmt: skip


def rows_by_key(connection: Connection, keys: Sequence[int]) -> dict[int, Row]:
    """Runs by their keys."""
    found: dict[int, Row] = {}
    dialect = connection.dialect.name
    for some in chunks(list(keys), 2000):
        found.update((row[0], Row.of(row)) for row in connection.execute(_rows_by_key(dialect), {"keys": keys_text(dialect, some)}))
    return found


@cache
def _rows_by_key(dialect: str) -> Select[*tuple[Any, ...]]:
    return select_rows().where(among(dialect, runs.c.run, "keys"))


def resolve(connection: Connection, text: str) -> list[Row]:
    """The runs that an id may mean, the one that it most likely means first; empty when it is unknown.

    A trace id (32 hex) and a run id (dashed), in any case, mean that run, or the first run of a trace whose own run is not here.
    Any other id is a request's or a response's: of several runs the newest comes first.
    """
    found: dict[int, Row] = {}
    if _UUID.match(text):
        raw = bytes.fromhex(text.replace("-", ""))
        for row in connection.execute(select_rows().where(runs.c.run_id == raw)):
            found[row[0]] = Row.of(row)
        if not found:
            for row in connection.execute(select_rows().where(_in_trace([raw])).order_by(runs.c.run).limit(MAX_OTHERS)):
                found[row[0]] = Row.of(row)
    forms = {text, text.lower()} if _UUID.match(text) else {text}
    keys = {term("id", form) for form in forms}
    named = select(terms.c.run).where(terms.c.term.in_(keys)).order_by(terms.c.run.desc()).limit(MAX_OTHERS)
    candidates = list(connection.scalars(named))
    if candidates:
        by_key = rows_by_key(connection, candidates)
        for key in candidates:
            if key in by_key:
                found.setdefault(key, by_key[key])
    return list(found.values())


def family(connection: Connection, row: Row) -> list[Row]:
    """The runs below a run, the earliest first: all others of its trace when it is the trace's own run, and its children, and theirs."""
    found: dict[int, Row] = {}
    level: list[Row] = [row]
    while level and len(found) < MAX_FAMILY:
        ids = [entry.run_id for entry in level]
        level = []
        for some in chunks(ids):
            condition = runs.c.parent_id.in_(some)
            if row.trace_id == row.run_id and row.run_id in some:
                condition = or_(condition, _in_trace([row.run_id]))
            for entry in connection.execute(select_rows().where(condition).limit(MAX_FAMILY)):
                child = Row.of(entry)
                if child.run not in found and child.run != row.run:
                    found[child.run] = child
                    level.append(child)
    return [found[key] for key in sorted(found)][:MAX_FAMILY]


def merged(connection: Connection, keys: Sequence[int]) -> dict[int, Document]:
    """The merged document of each run."""
    return {run: merge(some) for run, some in documents_of(connection, keys).items()}


def chunks(keys: Sequence[_T], size: int = 500) -> Iterator[Sequence[_T]]:
    """Slices that fit into one IN."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _in_trace(raw: Iterable[bytes]) -> Any:
    # The second half is the condition of the index, word for word, without which SQLite does not use it.
    return runs.c.trace_id.in_(list(raw)) & (runs.c.trace_id != runs.c.run_id)


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
