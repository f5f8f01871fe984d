"""The ledger as a consumer of the relay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spanline.errors import LedgerError, TransportError
from spanline.ledger.ingest import Rejected
from spanline.ledger.ledger import Ledger


class HasLine(Protocol):
    """An entry of the journal."""

    @property
    def line(self) -> bytes:
        """The event."""
        ...


class PoisonError(TransportError):
    """One entry is no event that a ledger can take; all others of the batch were taken.

    Args:
        rejected: Which, and why.
    """

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(f"not an event of a run ({rejected.reason})", status=400)
        self.index = rejected.index


class LedgerConsumer:
    """Writes events into a ledger, many in one transaction.

    Args:
        ledger: The ledger; closing it is its owner's.
    """

    name = "ledger"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def deliver(self, entries: Sequence[HasLine]) -> None:
        """Write events; what was taken already is recognised when it comes again.

        Raises:
            PoisonError: One entry (`index`) can never be taken; every other one before or after it was, unless it is as bad.
            TransportError: The database does not answer, nothing was taken; without status, so it is tried again.
        """
        try:
            report = self._ledger.ingest([entry.line for entry in entries])
        except LedgerError as error:
            raise TransportError(str(error)) from error
        if report.rejected:
            raise PoisonError(report.rejected[0])

    def close(self, timeout_s: float) -> bool:
        """Nothing is kept back."""
        del timeout_s
        return True
