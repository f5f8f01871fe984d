"""Exemplars: the trace and span that a sample came from; and the few things done to instruments that may not be there."""

from __future__ import annotations

import math
import re
from typing import Any

from spanline.record.run import RunRecord

Exemplar = dict[str, str] | None

_TRACE = re.compile(r"[0-9a-f]{32}\Z")
_SPAN = re.compile(r"[0-9a-f]{16}\Z")


class Exemplars:
    """The exemplars of one run. Built from ids that are checked here, since prometheus_client raises on others after counting."""

    __slots__ = ("_trace", "root")

    def __init__(self, record: RunRecord, sampled: bool) -> None:
        self._trace = record.trace_id if sampled and _TRACE.match(record.trace_id) else None
        self.root = None
        self.root = self.of(record.span_id)

    def of(self, span_id: str | None) -> Exemplar:
        """The exemplar of an operation; the run's own where its span is not known."""
        if self._trace is None:
            return None
        if span_id is None or not _SPAN.match(span_id):
            return self.root or {"trace_id": self._trace}
        return {"trace_id": self._trace, "span_id": span_id}


def count(counter: Any, amount: float, exemplar: Exemplar) -> None:
    """Add to a counter, if there is one; what is no count (negative, NaN) is left out."""
    if counter is not None and 0 <= amount < math.inf:
        counter.inc(amount, exemplar)


def observe(histogram: Any, value: float, exemplar: Exemplar) -> None:
    """Observe a value, if there is a histogram and the value is finite."""
    # One NaN would make the sum NaN for ever.
    if histogram is not None and math.isfinite(value):
        histogram.observe(value, exemplar)


def set_to(gauge: Any, value: float) -> None:
    """Set a gauge, if there is one."""
    if gauge is not None:
        gauge.set(value)
