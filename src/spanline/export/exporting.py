"""From the ledger into an archive, a day at a time, in memory that does not grow with the ledger."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from spanline.errors import MissingExtra
from spanline.export.archive import Archive, Manifest, day_of, first_key
from spanline.export.rows import Rows
from spanline.export.writer import DayWriter
from spanline.ledger.database import Database
from spanline.ledger.schema import events, runs
from spanline.times import rfc3339

CHUNK = 1000
"""Runs read in one transaction."""

WRITTEN, UNCHANGED, KEPT = "written", "unchanged", "kept"


@dataclass(frozen=True)
class Exported:
    """What became of a day: `written`; `unchanged`: the archive has it so; `kept`: the archive has more than the ledger, where retention has been."""

    day: date
    what: str
    runs: int
    bytes: int


def export(
    database: Database,
    folder: Path,
    *,
    before: date,
    since: date | None = None,
    bodies: bool = True,
    again: bool = False,
    on_progress: Callable[[date, int], None] = lambda day, runs: None,
) -> Iterator[Exported]:
    """Write each whole day that the archive has not, or has otherwise, oldest first.

    Args:
        database: The ledger's.
        folder: The archive; made when it is not there.
        before: The first day that is left alone.
        since: The first day.
        bodies: Also the events as they came in, from which everything can be made again.
        again: Also days that the archive has, whatever it has of them: after an erasure.
        on_progress: Told of the day and the runs written so far.

    Raises:
        MissingExtra: pyarrow is not installed.
        LedgerError: The database does not answer; days that were written stay.
        SpanlineError: The folder cannot be written, or another process writes into it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("an archive", "pyarrow", "archive")
    archive = Archive(folder)
    with archive.writing():
        at = first_key(since) if since is not None else 0
        while (day := _next_day(database, at)) is not None and day < before:
            at = first_key(day + timedelta(days=1))
            yield _day(database, archive, day, bodies=bodies, again=again, on_progress=on_progress)


def _day(
    database: Database, archive: Archive, day: date, *, bodies: bool, again: bool, on_progress: Callable[[date, int], None]
) -> Exported:
    first, end = first_key(day), first_key(day + timedelta(days=1))
    there = archive.manifest(day)
    if there is not None and not again:
        with _state(database) as connection:
            counted = [
                connection.scalar(select(func.count()).select_from(table).where(table.c.run >= first, table.c.run < end)) or 0
                for table in (runs, events)
            ]
        if counted[0] < there.runs:
            return Exported(day, KEPT, there.runs, _size(there))
        if counted[1] <= there.events and (not bodies or "events" in there.tables):
            return Exported(day, UNCHANGED, there.runs, _size(there))
    writer = DayWriter(archive.draft(day), bodies=bodies)
    rows, count, lines = Rows(), 0, 0
    try:
        while first < end:
            with _state(database) as connection:
                some = select(runs.c.run).where(runs.c.run >= first, runs.c.run < end).order_by(runs.c.run).limit(CHUNK)
                keys = list(connection.scalars(some))
                found = rows.of(connection, keys, bodies=bodies)
                if keys:
                    own = select(func.count()).select_from(events).where(events.c.run >= keys[0], events.c.run <= keys[-1])
                    lines += connection.scalar(own) or 0
            writer.add(found)
            count += len(keys)
            first = keys[-1] + 1 if len(keys) == CHUNK else end
            on_progress(day, count)
        made = Manifest(str(day), count, lines, writer.close(), rfc3339(time.time_ns()))
    except BaseException:
        writer.abandon()
        archive.discard(day)
        raise
    archive.commit(made)
    return Exported(day, WRITTEN, count, _size(made))


def _next_day(database: Database, at: int) -> date | None:
    with database.read() as connection:
        found: int | None = connection.scalar(select(func.min(runs.c.run)).where(runs.c.run >= at))
    return day_of(found) if found is not None else None


@contextmanager
def _state(database: Database) -> Generator[Connection]:
    """A connection that sees one state of the ledger, whoever writes meanwhile."""
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def _size(manifest: Manifest) -> int:
    sizes: list[Any] = [table["bytes"] for table in manifest.tables.values()]
    return sum(sizes)
