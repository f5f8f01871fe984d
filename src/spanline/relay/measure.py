"""What the relays of several journals tell, as one set of metrics."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanline.metrics.engine import Metrics
    from spanline.relay.health import Observer


class DeliveryHealth:
    """Adds up over journals what metrics have once: parked events and unread bytes; lag is that of the slowest.

    Thread-safety: called by the relays' threads.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._last: dict[str, dict[tuple[Path, str], float]] = {}

    def observer(self, journal: Path) -> Observer:
        """The observer of one journal's relay."""

        def observe(consumer: str, what: str, value: float) -> None:
            with self._lock:
                self._observe(journal, consumer, what, value)

        return observe

    def dropped(self, reason: str) -> None:
        """An event was not delivered, for that reason."""
        self._metrics.dropped(reason)

    def _observe(self, journal: Path, consumer: str, what: str, value: float) -> None:
        if what == "sent":
            self._metrics.sent(consumer, int(value))
            return
        if what == "dropped":
            self._metrics.dropped("relay", int(value))
            return
        known = self._last.setdefault(what, {})
        known[journal, consumer] = value
        of_consumer = [amount for (_, name), amount in known.items() if name == consumer]
        if what == "parked":
            self._metrics.parked(consumer, int(sum(of_consumer)))
        elif what == "lag_seconds":
            self._metrics.lag(consumer, max(of_consumer))
        elif what == "backlog_bytes":
            # A byte that two consumers have yet to read is one byte of backlog.
            folders = {folder for folder, _ in known}
            self._metrics.backlog(int(sum(max(amount for (where, _), amount in known.items() if where == folder) for folder in folders)))
