"""The database under a ledger: opening, pragmas, transactions, errors in plain words, forks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, DisconnectionError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import Pool
from sqlalchemy.schema import Table

from spanline.errors import ConfigurationError, LedgerError, MissingExtra
from spanline.ledger.migrations import upgrade

BUSY_TIMEOUT_MS = 15_000
ASK_AFTER_S = 1.0
"""A connection to PostgreSQL that rested that long is asked whether it is still there before it is used. Seconds."""

CHECKED_BYTES = 16 << 20
"""A SQLite file up to this size is checked whole when opened; a larger one shows damage when it is read."""

_REFUSES_ALL = frozenset({"25006", "42501", "42P01"})
"""PostgreSQL may be read but not written (a fail-over), lacks a privilege, or its tables are away (a restore): no event is to blame."""

# A forked child must neither use nor close the connections of its parent: they are kept here, untouched.
_abandoned: list[Pool] = []
_open: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """An engine, the one writer's lock, and what differs between SQLite and PostgreSQL.

    Args:
        url: `sqlite:///path` or `postgresql://…`.
        recover: Move a corrupt SQLite file aside and begin a new one.

    Raises:
        LedgerError: It cannot be opened, is corrupt, or is from a newer version; the message says what to do.
        ConfigurationError: The URL is none of a ledger.
        MissingExtra: The PostgreSQL driver is not installed.
    """

    def __init__(self, url: str, *, recover: bool = False) -> None:
        self.url = _url(url)
        self.place = self.url.render_as_string(hide_password=True)
        self.path = Path(self.url.database) if self.url.get_backend_name() == "sqlite" and self.url.database else None
        self.lock = threading.RLock()
        try:
            self.engine = self._opened()
        except LedgerError:
            if not recover or self.path is None or not _damaged(self.path):
                raise
            self.moved = _move_aside(self.path)
            self.engine = self._opened()
        # The same pool of connections; only transactions begin in another way.
        self._writing = self.engine.execution_options(spanline_write=True)
        _open.add(self)

    moved: Path | None = None
    """Where `recover` put a corrupt file."""

    @contextmanager
    def read(self) -> Generator[Connection, None, None]:
        """A connection for reading; it sees one state from its first question on."""
        with self._spoken(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection, None, None]:
        """The one writer of this process in a transaction; other processes wait for each other in the database."""
        with self.lock, self._spoken(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        _open.discard(self)
        self.engine.dispose()

    def bytes_used(self, connection: Connection) -> int:
        """Bytes that hold data; what deleted rows left behind does not count."""
        if self.path is None:
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
        return (pages - free) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    def shrink(self, pages: int = 2000) -> None:
        """Give free pages of a SQLite file back to the disk, not all at once: others wait for it."""
        if self.path is None:
            return
        with self.lock, self._spoken():
            connection = self.engine.raw_connection()
            try:
                # One page a step: a plain execute takes one step alone.
                cast(sqlite3.Connection, connection.driver_connection).executescript(f"PRAGMA incremental_vacuum({pages})")
            finally:
                connection.close()

    def after_fork(self) -> None:
        """In a forked child: new connections and a new lock."""
        _abandoned.append(self.engine.pool)
        self.engine.dispose(close=False)
        # The copy shares the pool by reference: it needs the new one.
        self._writing = self.engine.execution_options(spanline_write=True)
        self.lock = threading.RLock()

    def _opened(self) -> Engine:
        try:
            if self.path is not None:
                _touch(self.path)
        except OSError as error:
            raise LedgerError(
                f"the ledger {self.place} cannot be made: {error.strerror}; set SPANLINE_STATE to a writable folder, or SPANLINE_LEDGER_URL"
            ) from error
        engine = _engine(self.url)
        try:
            with self._spoken():
                if self.path is not None and self.path.stat().st_size <= CHECKED_BYTES:
                    self._check(engine)
                upgrade.to_newest(engine, self.place)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _check(self, engine: Engine) -> None:
        with engine.begin() as connection:
            if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
                raise LedgerError(_corrupt(self.place))

    @contextmanager
    def _spoken(self) -> Generator[None, None, None]:
        """Database errors as LedgerError, in words that say what to do; unique violations pass, writers retry them."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise LedgerError(_words(self.place, error)) from error
        except DatabaseError as error:
            if _is_corrupt(error):
                raise LedgerError(_corrupt(self.place)) from error
            if getattr(error.orig, "sqlstate", None) in _REFUSES_ALL:
                raise LedgerError(_words(self.place, error)) from error
            raise


def inserting(dialect: str) -> Callable[[Table], Any]:
    """The INSERT of a database that can say what to do about a row that is there."""
    return sqlite.insert if dialect == "sqlite" else postgresql.insert


def _url(text: str) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError("the ledger's URL must be sqlite:///path or postgresql://user@host/database") from error
    if backend == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ConfigurationError("the ledger's URL names no file: sqlite:///relative/path or sqlite:////absolute/path")
        return url
    if backend not in ("postgresql", "postgres"):
        raise ConfigurationError(f"a ledger is kept in SQLite or PostgreSQL, not in {backend}")
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            engine = create_engine(url, pool_size=5, max_overflow=10)
        except ModuleNotFoundError as error:
            raise MissingExtra("a ledger in PostgreSQL", "psycopg", "postgres") from error
        event.listen(engine, "checkin", _rest)
        event.listen(engine, "checkout", _still_there)
        return engine
    # Transactions are begun below, not by the driver, which would not begin one for DDL or reads.
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _rest(_: object, record: Any) -> None:
    record.info["rested_at"] = time.monotonic()


def _still_there(connection: Any, record: Any, _: object) -> None:
    """A connection that rested is asked whether it still is one: the server may have been started again. In a row of writes that would be a third of the time."""
    rested_at = record.info.get("rested_at")
    if rested_at is None or time.monotonic() - rested_at < ASK_AFTER_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as error:  # whatever the driver calls it: the pool opens another one
        raise DisconnectionError from error


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # auto_vacuum counts only before the first table is made; so does everything else on every connection.
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL",
        "cache_size=-16000", "temp_store=MEMORY", "journal_size_limit=67108864",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer that begins as a reader cannot wait for another writer (SQLITE_BUSY_SNAPSHOT).
    write = connection.get_execution_options().get("spanline_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _touch(path: Path) -> None:
    # Runs, document ids and pod names are for the owner alone.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _is_corrupt(error: BaseException) -> bool:
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, sqlite3.DatabaseError) and getattr(original, "sqlite_errorname", "").split("_")[1:2] in (
        ["CORRUPT"], ["NOTADB"],
    )  # fmt: skip


def _corrupt(place: str) -> str:
    return (
        f"the ledger {place} is corrupt; the journal still holds what was not delivered. Restore a copy, or move the file aside: a new one "
        "is begun at the next start (Ledger.open(url, recover=True) does both)"
    )


def _words(place: str, error: DBAPIError) -> str:
    if _is_corrupt(error):
        return _corrupt(place)
    cause = str(error.orig).splitlines()[0] if error.orig is not None else type(error).__name__
    if "locked" in cause:
        return f"the ledger {place} has been locked by another process for {BUSY_TIMEOUT_MS // 1000} s; find who holds it open"
    if "unable to open" in cause or "readonly" in cause:
        return (
            f"the ledger {place} cannot be written ({cause}); check owner and mode of the file and its folder, or set SPANLINE_LEDGER_URL"
        )
    if "full" in cause:
        return f"the ledger {place} cannot grow: {cause}; make room or lower SPANLINE_LEDGER_MAX_BYTES"
    return f"the ledger {place} does not answer: {cause}"


def _damaged(path: Path) -> bool:
    """Whether SQLite itself says that the file is no whole database (not merely locked or of a newer version)."""
    try:
        connection = sqlite3.connect(path)
        try:
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return _is_corrupt(error)


def _move_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    return target


def _after_fork() -> None:
    for database in list(_open):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
