"""Held: the runs that a span processor holds, open ones and finished ones that wait for what comes late.

A busy service holds thousands that have ended; none of them is looked at before its time.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from spanline.record.active import LATE, RUN_OF_SPAN, ActiveRun

CLAIMS_KEPT = 10_000


class Held:
    """Runs by the id of their root span. Thread-safety: single look-ups and stores only."""

    def __init__(self) -> None:
        self.all: OrderedDict[int, ActiveRun] = OrderedDict()
        """Oldest first; finished ones stay for the grace."""
        self._open: OrderedDict[int, ActiveRun] = OrderedDict()
        self._ended: deque[tuple[int, ActiveRun]] = deque()
        self._claims: OrderedDict[int, ActiveRun] = OrderedDict()
        self.weight = 0
        """Estimated bytes of what the runs hold."""

    def claim(self, run: ActiveRun) -> ActiveRun | None:
        """Claim the run's trace for it; the run that has claimed it before, if any."""
        claimed = self._claims.get(run.trace_id)
        if claimed is None:
            self._claims[run.trace_id] = run
            if len(self._claims) > CLAIMS_KEPT:
                self._claims.popitem(last=False)
        return claimed

    def of_trace(self, trace_id: int) -> ActiveRun | None:
        """The run that claimed a trace, as long as it is here."""
        run = self._claims.get(trace_id)
        return run if run is not None and run.span_id in self.all else None

    def take(self, run: ActiveRun) -> None:
        """Hold a run that has begun."""
        self.all[run.span_id] = self._open[run.span_id] = run

    def open(self) -> list[ActiveRun]:
        """Those that have not ended, oldest first."""
        return list(self._open.values())

    def end(self, run: ActiveRun) -> None:
        """It has ended."""
        self._open.pop(run.span_id, None)
        # Not its own time: clocks are set back.
        self._ended.append((time.monotonic_ns(), run))

    def late(self) -> list[ActiveRun]:
        """Those that something came for after their end."""
        return [run for run in list(LATE.values()) if self.all.get(run.span_id) is run]

    def oldest(self) -> ActiveRun | None:
        """Take out of the ended ones the first; those that are forgotten are passed over."""
        found = self._first()
        return found[1] if found is not None else None

    def due(self) -> list[ActiveRun]:
        """Those whose time to wait for late spans is over, and that wait for nothing."""
        now = time.monotonic_ns()
        found: list[ActiveRun] = []
        late: list[tuple[int, ActiveRun]] = []
        while (first := self._first()) is not None:
            ended, run = first
            if (now - ended) / 1e9 <= run.sink.settings.straggler_grace_s:
                self._ended.appendleft(first)
                break
            if run.last_late_ns:
                late.append(first)
            else:
                found.append(run)
        self._ended.extend(late)
        return found

    def _first(self) -> tuple[int, ActiveRun] | None:
        while True:
            try:
                found = self._ended.popleft()
            except IndexError:
                return None
            if self.all.get(found[1].span_id) is found[1]:
                return found

    def forget(self, run: ActiveRun) -> None:
        """Let go of a run and of what it holds."""
        self.all.pop(run.span_id, None)
        self._open.pop(run.span_id, None)
        LATE.pop(run.span_id, None)
        RUN_OF_SPAN.pop(run.span_id, None)
        self.weight -= run.weight
        if self._claims.get(run.trace_id) is run:
            # The claim outlives the run: a later local root of the trace is a child. Only what it holds goes.
            run.readings = []
        run.record = None
        run.span = None
