"""Delivery: the relay with the ledger and the configured transports as its consumers."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from spanline._guard import guard, warn_once_a_minute
from spanline.errors import LedgerError, TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import Consumer, TransportConsumer
from spanline.relay.health import Observer
from spanline.relay.ledger import LedgerConsumer
from spanline.relay.relay import Relay
from spanline.settings import Settings
from spanline.transports.config import configured

if TYPE_CHECKING:
    from spanline.ledger import Ledger
    from spanline.runtime.relay_process import RelayProcess

RETRY_S = 30.0


class LedgerHolder:
    """The process's ledger, opened on first use: SQLAlchemy and migrations are no start-up cost of the app.

    Thread-safety: a lock around opening.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None
        self._retry_at = 0.0
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """A ledger is to be kept here: it is on, nothing central takes over, and the `server` extra is installed."""
        if not self._settings.ledger or self._settings.server_url is not None:
            return False
        return importlib.util.find_spec("sqlalchemy") is not None and importlib.util.find_spec("alembic") is not None

    def get(self) -> Ledger | None:
        """The ledger; None when it cannot be opened (logged; tried again after a while; `doctor` says why)."""
        if self._ledger is None and time.monotonic() >= self._retry_at and self.wanted:
            with self._lock:
                if self._ledger is None and time.monotonic() >= self._retry_at:
                    self._open()
        return self._ledger

    def _open(self) -> None:
        settings = self._settings
        try:
            from spanline.ledger import Ledger

            if settings.ledger_url is None:
                settings.base.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._ledger = Ledger.open(
                settings.effective_ledger_url, max_bytes=settings.ledger_max_bytes, max_age_s=settings.ledger_max_age_s
            )
        except (LedgerError, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            warn_once_a_minute("ledger.open", "spanline: no ledger: %s; runs are journalled and will be read in later", error)

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()


def relay_of(settings: Settings, holder: LedgerHolder, *, observer: Observer | None, on_drop: Callable[[str], None]) -> Relay | None:
    """The relay of this process; None when nothing consumes.

    Args:
        settings: Journal folder and transports.
        holder: The ledger.
        observer: Told about sent, parked, lag and backlog.
        on_drop: Called for each event that had to go undelivered.
    """
    consumers = consumers_of(settings, holder, on_drop)
    if not consumers:
        return None
    return Relay(settings.journal_dir, consumers, on_event=observer, max_bytes=settings.journal_max_bytes, on_drop=on_drop)


def relay_process_of(
    settings: Settings, holder: LedgerHolder, *, observer: Observer | None, on_drop: Callable[[str], None]
) -> Relay | RelayProcess | None:
    """The relay as a child process, with the arguments of `relay_of`; a thread where there is no interpreter to start."""
    if not sys.executable:
        warn_once_a_minute("relay.executable", "spanline: no Python executable is known here; the relay runs as a thread")
        return relay_of(settings, holder, observer=observer, on_drop=on_drop)
    from spanline.runtime.relay_process import RelayProcess

    names = [consumer.name for consumer in consumers_of(settings, holder, on_drop)]
    return RelayProcess(settings, names, on_event=observer, on_drop=on_drop) if names else None


def consumers_of(settings: Settings, holder: LedgerHolder, on_drop: Callable[[str], None]) -> list[Consumer]:
    """New consumers of this service's journal: the ledger and what is configured; a wrong configuration is reported, not raised."""
    consumers: list[Consumer] = []
    if holder.wanted:
        consumers.append(LazyLedgerConsumer(holder))
    with guard("delivery.transports"):
        consumers.extend(TransportConsumer(name, transport, preset, on_drop=on_drop) for name, transport, preset in configured(settings))
    return consumers


class LazyLedger:
    """The ledger as the pages ask it: opened at the first question.

    Raises (every method):
        LedgerError: It cannot be opened.
    """

    def __init__(self, holder: LedgerHolder) -> None:
        self._holder = holder

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **keywords: Any) -> Any:
            ledger = self._holder.get()
            if ledger is None:
                raise LedgerError("the ledger cannot be opened; `spanline doctor` says why")
            return getattr(ledger, name)(*args, **keywords)

        return ask


class LazyLedgerConsumer:
    """The ledger as a consumer of the relay, opened by the relay's own thread.

    Args:
        holder: Opens the ledger.
    """

    name = "ledger"

    def __init__(self, holder: LedgerHolder) -> None:
        self._holder = holder

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Read entries into the ledger.

        Raises:
            TransportError: The ledger cannot be opened or written; the relay tries again.
        """
        ledger = self._holder.get()
        if ledger is None:
            raise TransportError("the ledger cannot be opened")
        LedgerConsumer(ledger).deliver(entries)

    def close(self, timeout_s: float) -> bool:
        """Close the ledger."""
        del timeout_s
        self._holder.close()
        return True
