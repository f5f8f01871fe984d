"""Bring a ledger to the newest version, under a lock, and refuse one that is newer than this code."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from spanline.errors import LedgerError

NEWEST = "0004"
"""The last revision in `versions/`."""

TABLE = "spanline_version"
"""Where Alembic keeps the revision: a name of our own, for databases that hold other things too."""

_KNOWN = ("0001", "0002", "0003", "0004")
_LOCK = 0x7370616E  # "span": PostgreSQL advisory lock of who migrates


def to_newest(engine: Engine, place: str) -> None:
    """Upgrade when the ledger's version is not the newest. Nothing is written, nor Alembic loaded, when it is.

    Raises:
        LedgerError: The ledger is from a newer version, or the database holds tables of something else.
    """
    with engine.connect() as connection:
        version = _version(connection)
    if version == NEWEST:
        return
    if version is not None and version not in _KNOWN:
        raise LedgerError(
            f"the ledger {place} is from a newer version of spanline (its tables are at {version}, this one knows up to {NEWEST}): "
            "upgrade spanline, or give another ledger by SPANLINE_LEDGER_URL"
        )
    with engine.execution_options(spanline_write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        # Somebody else may have done it while we waited.
        if _version(connection) == NEWEST:
            return
        if version is None and inspect(connection).has_table("runs"):
            raise LedgerError(
                f"{place} holds tables that are not spanline's; give the ledger a file or a PostgreSQL schema of its own by SPANLINE_LEDGER_URL"
            )
        run(connection, NEWEST)


def run(connection: Connection, revision: str) -> None:
    """Run the migrations up to a revision, in the connection's transaction."""
    with _unheard():
        # Alembic takes 0.1 s to load and is needed once in a ledger's life.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        config.attributes["version_table"] = TABLE
        command.upgrade(config, revision)


@contextmanager
def _unheard() -> Generator[None]:
    """Alembic tells each step at INFO: in the log of an app, fourteen lines about nothing of its own. Another thread's Alembic stays heard."""
    here = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != here or record.levelno >= logging.WARNING

    loggers = [logging.getLogger(f"alembic.runtime.{part}") for part in ("plugins", "migration")]
    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(TABLE):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {TABLE}")).first()  # noqa: S608  (a constant)
    return str(row[0]) if row else None
