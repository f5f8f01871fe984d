"""Evaluations of runs that are over: the run is looked up by a thread of its own, and gets a further terminal event."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from spanline._guard import guard, warn_once_a_minute
from spanline.errors import LedgerError, TransportError
from spanline.lineage.evaluated import evaluated_event, only_evaluations
from spanline.lineage.producer import PRODUCER
from spanline.record.run import Evaluation, RunRecord
from spanline.runtime.delivery import LedgerHolder
from spanline.settings import Settings
from spanline.transports.http import HttpTransport

PATIENCE_S = 60.0
"""How long a run is waited for that the ledger does not know yet. Unit: seconds."""

RETRY_S = 0.25
MAX_WAITING = 10_000
REMEMBERED = 100
"""Runs whose last event is kept until the ledger has it."""


@dataclass(slots=True)
class _Waiting:
    id: str
    evaluation: Evaluation
    give_up_at: float


class LateEvaluations:
    """Puts evaluations on runs that this process does not hold.

    With `SPANLINE_SERVER_URL` the server is asked to; else the run is read from the ledger and its event journalled once more
    with the evaluation. What cannot be placed within `PATIENCE_S` is counted as dropped (`evaluation`) and logged.

    Args:
        settings: Where runs are.
        ledgers: The ledger of this process.
        write: Journals a line.
        measured: Told of each run's evaluations, as a record with nothing else.
        on_drop: Told of what had to be left out.

    Thread-safety: `add` from any thread; one daemon thread does the work. A forked child begins with none.
    """

    def __init__(
        self,
        settings: Settings,
        ledgers: LedgerHolder,
        *,
        write: Callable[[bytes], None],
        measured: Callable[[RunRecord], None],
        on_drop: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._ledgers = ledgers
        self._write = write
        self._measured = measured
        self._on_drop = on_drop
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0
        self._last: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, id: str, evaluation: Evaluation) -> None:
        """Take one; never waits."""
        if self._pid != os.getpid():
            self._reset()
        with self._wake:
            if self._closed:
                return
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._on_drop("evaluation")
            self._waiting.append(_Waiting(id, evaluation, time.monotonic() + PATIENCE_S))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spanline-evaluations", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    @property
    def waiting(self) -> bool:
        """Something is not settled yet."""
        return self._pid == os.getpid() and bool(self._waiting or self._busy)

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more, or the deadline has passed. Unit: seconds."""
        if self._pid != os.getpid():
            return True
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting and not self._busy, max(timeout_s, 0.0))

    def close(self, timeout_s: float) -> bool:
        """Flush, then stop. What could not be placed is counted."""
        done = self.flush(timeout_s)
        with self._wake:
            self._closed = True
            left = len(self._waiting)
            self._waiting.clear()
            self._wake.notify_all()
        for _ in range(left):
            self._on_drop("evaluation")
        return done

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                batch, self._waiting = list(self._waiting), deque()
                self._busy = len(batch)
            left: list[_Waiting] = []
            for item in batch:
                placed = True
                with guard("evaluations"):
                    placed = self._place(item)
                if not placed:
                    left.append(item)
            with self._wake:
                self._waiting.extendleft(reversed(left))
                self._busy = 0
                self._wake.notify_all()
                if left:
                    self._wake.wait_for(lambda: self._closed, RETRY_S)

    def _place(self, item: _Waiting) -> bool:
        """Whether it is settled: placed, or given up."""
        try:
            done = self._send(item) if self._settings.server_url else self._enrich(item)
        except (TransportError, LedgerError) as error:
            # The other end will be back: what waits is bounded by number, not by time.
            warn_once_a_minute("evaluations.waiting", "spanline: an evaluation waits: %s", error)
            return False
        if done or time.monotonic() < item.give_up_at:
            return done
        self._give_up(item, "no such run")
        return True

    def _give_up(self, item: _Waiting, reason: str) -> None:
        self._on_drop("evaluation")
        warn_once_a_minute("evaluations.lost", "spanline: evaluation %r of %s is lost: %s", item.evaluation.name, item.id[:64], reason)

    def _enrich(self, item: _Waiting) -> bool:
        if not self._ledgers.wanted:
            self._give_up(item, "no ledger here (pip install 'spanline[server]', or set SPANLINE_SERVER_URL)")
            return True
        ledger = self._ledgers.get()
        if ledger is None:
            raise LedgerError("the ledger cannot be opened")
        document = ledger.document(item.id)
        if document is None:
            return False
        run_id = document["run"]["runId"]
        last = self._last.get(run_id)
        if last is not None and last["eventTime"] >= document["eventTime"]:
            document = last  # What was journalled a moment ago is not in the ledger yet.
        line = evaluated_event(document, [item.evaluation], producer=PRODUCER, schema_base=self._settings.schema_base)
        if line is not None:
            self._write(line)
            self._last[run_id] = msgspec.json.decode(line)
            if len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
            self._measured(only_evaluations(document, [item.evaluation]))
        return True

    def _send(self, item: _Waiting) -> bool:
        settings = self._settings
        endpoint = f"api/v1/runs/{quote(item.id, safe='')}/evaluations"
        transport = HttpTransport(settings.server_url or "", endpoint=endpoint, api_key=settings.tokens[0] if settings.tokens else None)
        try:
            transport.emit(msgspec.to_builtins(item.evaluation))
        except TransportError as error:
            if error.status == 404:
                return False
            if error.status is not None and error.status < 500 and error.status not in {408, 429}:
                self._give_up(item, f"the server answered with status {error.status}")
                return True
            raise
        finally:
            transport.close(0.1)
        return True
