"""Delivery of all journals of a state folder: one relay a journal, also of services that start later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from spanline._guard import guard
from spanline.cli.options import journals
from spanline.relay.consumer import Consumer, TransportConsumer
from spanline.relay.ledger import LedgerConsumer
from spanline.relay.measure import DeliveryHealth
from spanline.relay.relay import Relay
from spanline.runtime.delivery import LazyLedgerConsumer, LedgerHolder
from spanline.settings import Settings
from spanline.transports.config import configured

if TYPE_CHECKING:
    from spanline.ledger import Ledger

LOOK_S = 1.0
"""How often new journals are looked for. Unit: seconds."""
CLOSE_S = 5.0


def consumers_of(
    settings: Settings, holder: LedgerHolder, ledger: Ledger | None = None, on_drop: Callable[[str], None] | None = None
) -> list[Consumer]:
    """New consumers of one journal: the ledger (the one that is open already, or one that opens when needed) and what is configured.

    Raises:
        ConfigurationError: A transport is configured wrongly.
    """
    found: list[Consumer] = []
    if ledger is not None:
        found.append(LedgerConsumer(ledger))
    elif holder.wanted:
        found.append(LazyLedgerConsumer(holder))
    found.extend(TransportConsumer(name, transport, preset, on_drop=on_drop) for name, transport, preset in configured(settings))
    return found


class Delivery:
    """Runs the relays between `with` and its end.

    Args:
        settings: Where to deliver to, and the state folder.
        directory: One journal, or a folder of journals; all services of the state folder by default.
        ledger: A ledger that is open already; else the settings say whether one is kept.
        health: Told how delivery goes.

    Raises:
        ConfigurationError: A transport is configured wrongly.

    Thread-safety: one thread looks for new journals, and each relay has its own.
    """

    def __init__(
        self, settings: Settings, directory: Path | None, *, ledger: Ledger | None = None, health: DeliveryHealth | None = None
    ) -> None:
        self.folder = directory if directory is not None else settings.base / "journal"
        self._directory = directory
        self._settings = settings
        self._ledger = ledger
        self._health = health
        self.close_s = CLOSE_S
        self._holder = LedgerHolder(settings)
        self._relays: dict[Path, Relay] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spanline-journals", daemon=True)
        self.consumer_names = [consumer.name for consumer in consumers_of(settings, self._holder, ledger)]

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(CLOSE_S)
        _each(list(self._relays.values()), self.close_s, lambda relay, left: relay.close(left))
        self._holder.close()

    def flush(self, timeout_s: float) -> bool:
        """Deliver what is in the journals now; whether all of it went."""
        return _each(list(self._relays.values()), timeout_s, lambda relay, left: relay.flush(left))

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        with guard("cli.delivery"):
            for folder in journals(self._directory, self._settings):
                if folder not in self._relays and self.consumer_names:
                    observer = self._health.observer(folder) if self._health is not None else None
                    on_drop = self._health.dropped if self._health is not None else None
                    consumers = consumers_of(self._settings, self._holder, self._ledger, on_drop)
                    relay = Relay(folder, consumers, max_bytes=self._settings.journal_max_bytes, on_event=observer, on_drop=on_drop)
                    self._relays[folder] = relay
                    relay.start()


def _each(relays: list[Relay], timeout_s: float, do: Callable[[Relay, float], bool]) -> bool:
    """Do something with every relay within one deadline, also when an earlier one failed."""
    deadline = time.monotonic() + timeout_s
    done = [do(relay, max(0.1, deadline - time.monotonic())) for relay in relays]
    return all(done)
