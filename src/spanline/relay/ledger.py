"""The ledger as a consumer of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from spanline.errors import LedgerError, TransportError
from spanline.journal.reader import Entry
from spanline.relay.consumer import DeliveryError


class _Rejected(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def reason(self) -> str: ...


class _Report(Protocol):
    @property
    def rejected(self) -> Sequence[_Rejected]: ...


class TakesEvents(Protocol):
    """What is needed of a ledger."""

    def ingest(self, events: Sequence[bytes]) -> Any:
        """Write events; idempotent."""
        ...


class LedgerConsumer:
    """Writes events into a ledger: many in one transaction; what it cannot read is parked.

    Args:
        ledger: The ledger; closing it is its owner's.
        name: Name of the consumer.
    """

    def __init__(self, ledger: TakesEvents, name: str = "ledger") -> None:
        self._ledger = ledger
        self._name = name

    @property
    def name(self) -> str:
        """Name of the consumer."""
        return self._name

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Write events.

        Raises:
            DeliveryError: Some are not events that a ledger can read.
            TransportError: The database does not answer; tried again for ever.
        """
        try:
            report: _Report = self._ledger.ingest([entry.line for entry in entries])
        except LedgerError as error:
            raise TransportError(f"ledger does not answer ({type(error.__cause__ or error).__name__})") from error
        if report.rejected:
            first = min(report.rejected, key=lambda rejected: rejected.index)
            refused = TransportError(f"not an event of a run ({first.reason})", status=422)
            raise DeliveryError(refused, sorted(rejected.index for rejected in report.rejected))

    def close(self, timeout_s: float) -> bool:
        """Nothing is kept."""
        return True
