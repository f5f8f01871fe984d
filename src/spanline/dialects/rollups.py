"""Roll-ups: which operations repeat what another one reports, so that each response of a model is counted once.

A wrapper and the client's own span, an agent with the sum of its calls, a pipeline with its last one, a span for the
request and one for the end of its stream: all are kept, one of each counts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from spanline.dialects.reading import Reading
from spanline.record.run import MODEL_CALLS, Operation

MAX_DEPTH = 64


def mark_rollups(operations: list[Operation], repeats: frozenset[str] = frozenset()) -> None:
    """Mark the operations that repeat what another one reports.

    Of a call and a call around it the inner one counts, unless only the outer one has usage; of several with one response id
    the first with usage; of an agent or workflow and the calls below it the calls.

    Args:
        operations: Of one run, in the order of their start.
        repeats: Ids of spans that repeat what the call above them reports, where that one reports.
    """
    if len(operations) < 2:
        return
    told = [operation for operation in operations if operation.kind in MODEL_CALLS or operation.usage is not None]
    if len(told) < 2:
        return
    by_id = {operation.span_id: operation for operation in operations}
    for operation in reversed(told):
        if operation.kind in MODEL_CALLS and not operation.rollup:
            _outwards(operation, by_id, repeats)
    _beside(told)
    counted = {
        operation.span_id for operation in told if operation.kind in MODEL_CALLS and not operation.rollup and operation.usage is not None
    }
    for operation in told:
        if operation.span_id in counted or operation.usage is None:
            continue
        if operation.kind not in MODEL_CALLS and _covers(operation, told, counted, by_id):
            operation.rollup = True
    _nested(told, by_id)


def _outwards(inner: Operation, by_id: dict[str, Operation], repeats: frozenset[str]) -> None:
    """Judge a call and the calls around it."""
    outer = by_id.get(inner.parent_span_id or "")
    for _ in range(MAX_DEPTH):
        if outer is None:
            return
        if outer.kind == inner.kind and not outer.rollup and _same(outer, inner, inner.span_id in repeats):
            if outer.usage is not None and (inner.usage is None or inner.span_id in repeats):
                inner.rollup = True
                return
            outer.rollup = True
        outer = by_id.get(outer.parent_span_id or "")


def _same(outer: Operation, inner: Operation, repeats: bool) -> bool:
    """Whether an outer call is the inner one, told again."""
    if repeats or (outer.response_id is not None and outer.response_id == inner.response_id):
        return True
    if outer.response_id is not None and inner.response_id is not None:
        return False
    if outer.usage is not None and outer.usage == inner.usage:
        return True
    models = [model for model in (outer.request_model, outer.response_model) if model]
    others = [model for model in (inner.request_model, inner.response_model) if model]
    if not models or not others:
        return True
    # A dated version answers for a name without date, a gateway's name bears its provider.
    return any(_bare(a).startswith(_bare(b)) or _bare(b).startswith(_bare(a)) for a in models for b in others)


def _bare(model: str) -> str:
    return model.rpartition("/")[2]


def _beside(told: list[Operation]) -> None:
    """Judge calls that are not around one another: one response id, or a span for the end of a stream."""
    first: dict[str, Operation] = {}
    for operation in told:
        if operation.kind not in MODEL_CALLS or operation.rollup:
            continue
        if operation.response_id is not None:
            twin = first.setdefault(operation.response_id, operation)
            if twin is not operation:
                if twin.usage is None and operation.usage is not None:
                    twin.rollup = True
                    first[operation.response_id] = operation
                else:
                    operation.rollup = True
        if operation.duration_seconds == 0.0 and operation.usage is not None:
            _end_of_stream(operation, told)


def _end_of_stream(end: Operation, told: list[Operation]) -> None:
    """A span without length that says what came out of the call beside it: that one takes it over and counts."""
    for call in reversed(told):
        if (
            call is not end
            and call.kind == end.kind
            and not call.rollup
            and call.parent_span_id == end.parent_span_id
            and call.usage is None
            and call.error_type is None
            and call.dialect == end.dialect
            and call.request_model == end.request_model
            and (call.started_at or "") <= (end.started_at or "")
        ):
            call.usage = end.usage
            call.response_id = call.response_id or end.response_id
            call.streamed = True
            call.finish_reasons = call.finish_reasons or end.finish_reasons
            call.response_model = end.response_model or call.response_model
            end.rollup = True
            return


def _covers(outer: Operation, told: list[Operation], counted: set[str], by_id: dict[str, Operation]) -> bool:
    """Whether a call that counts is below an operation."""
    for operation in told:
        if operation.span_id not in counted:
            continue
        above = by_id.get(operation.parent_span_id or "")
        for _ in range(MAX_DEPTH):
            if above is None:
                break
            if above is outer:
                return True
            above = by_id.get(above.parent_span_id or "")
    return False


def _nested(told: list[Operation], by_id: dict[str, Operation]) -> None:
    """Of agents and workflows with usage, none of whose calls was recorded, the outermost counts."""
    for operation in told:
        if operation.kind in MODEL_CALLS or operation.rollup or operation.usage is None:
            continue
        above = by_id.get(operation.parent_span_id or "")
        for _ in range(MAX_DEPTH):
            if above is None:
                break
            if above.usage is not None and not above.rollup:
                operation.rollup = True
                break
            above = by_id.get(above.parent_span_id or "")


class Answers:
    """Responses that were counted, by id: a wrapper and the client under it can be in two traces, where no span is around both.

    An id alone says little, since small servers give the same ones again: the two must be of different dialects and overlap.
    Bounded: the oldest are forgotten. Thread-safe.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[str, str | None, int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def meet(self, trace_id: str, reading: Reading) -> None:
        """Mark a call whose response another trace has counted, else remember it."""
        operation = reading.operation
        response = operation.response_id
        if response is None or operation.rollup or operation.kind not in MODEL_CALLS:
            return
        ended_ns = reading.started_ns + int((operation.duration_seconds or 0.0) * 1e9)
        with self._lock:
            known = self._known.get(response)
            if known is None or known[0] == trace_id:
                self._known[response] = (trace_id, operation.dialect, reading.started_ns, ended_ns)
                if len(self._known) > self._limit:
                    self._known.popitem(last=False)
            elif known[1] != operation.dialect and reading.started_ns <= known[3] and known[2] <= ended_ns:
                operation.rollup = True
