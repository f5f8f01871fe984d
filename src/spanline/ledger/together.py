"""Together: what many threads bring while one of them writes is written next, in one transaction; each waits until its own is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from spanline.errors import LedgerError
from spanline.ledger.database import Database
from spanline.ledger.ingest import Ingester, IngestReport

MOST = 500
"""Events of one transaction, unless one caller alone brings more."""


class _Call(msgspec.Struct):
    events: Sequence[bytes | Mapping[str, Any]]
    report: IngestReport | None = None
    error: BaseException | None = None


class Together:
    """Lets the callers of one process share transactions: a server gets single events from many connections.

    Args:
        database: The ledger's.
        ingester: Writes.
    """

    def __init__(self, database: Database, ingester: Ingester) -> None:
        self._database = database
        self._ingester = ingester
        # Anybody appends; only who holds the writer's lock takes.
        self._waiting: deque[_Call] = deque()

    def ingest(self, events: Sequence[bytes | Mapping[str, Any]]) -> IngestReport:
        """Write a batch, with those of others who wait.

        Raises:
            LedgerError: The database does not answer; nothing of the batch was written.
        """
        call = _Call(events)
        self._waiting.append(call)
        with self._database.lock:
            while call.report is None and call.error is None:
                self._write(self._next() or [call])
        if call.error is not None:
            raise call.error
        assert call.report is not None
        return call.report

    def _next(self) -> list[_Call]:
        some: list[_Call] = []
        count = 0
        while self._waiting and (not some or count + len(self._waiting[0].events) <= MOST):
            some.append(self._waiting.popleft())
            count += len(some[-1].events)
        return some

    def _write(self, some: list[_Call]) -> None:
        try:
            for call, report in zip(some, self._ingester.ingest([call.events for call in some]), strict=True):
                call.report = report
        except LedgerError as error:
            for call in some:
                call.error = LedgerError(str(error))
                call.error.__cause__ = error.__cause__
        except Exception as error:  # noqa: BLE001  (told to who brought it)
            if len(some) == 1:
                some[0].error = error
                return
            # Something in one batch is what no test foresaw: the others are not to suffer for it.
            for call in some:
                self._write([call])
        except BaseException:
            # Whoever interrupts the writer interrupts nobody else.
            self._waiting.extendleft(reversed(some))
            raise
