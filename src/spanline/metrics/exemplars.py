"""Exemplars: the trace and span that a sample came from."""

from __future__ import annotations

import re

from spanline.metrics.instruments import Labels
from spanline.record.run import RunRecord

_TRACE = re.compile(r"[0-9a-f]{32}\Z")


class Exemplars:
    """The exemplars of one run, from ids that are checked here; none when the trace is not sampled."""

    __slots__ = ("_trace", "root")

    def __init__(self, record: RunRecord, sampled: bool) -> None:
        self._trace = record.trace_id if sampled and _TRACE.match(record.trace_id) else None
        self.root: Labels = None
        self.root = self.of(record.span_id)

    def of(self, span_id: str | None) -> Labels:
        """Labels of the exemplar of an operation; the run's own where its span is not known."""
        if self._trace is None:
            return None
        if span_id is None or len(span_id) != 16 or not span_id.isalnum() or not span_id.isascii():
            return self.root or {"trace_id": self._trace}
        return {"trace_id": self._trace, "span_id": span_id}
