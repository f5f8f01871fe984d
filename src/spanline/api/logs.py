"""Log lines that lead to their trace and run: a filter for `logging`, a processor for structlog."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import trace

from spanline._guard import guard
from spanline.api.context import active
from spanline.record.active import provenance, run_id

_OUTSIDE: Mapping[str, Any] = {"trace_id": "", "span_id": "", "run_id": "", "provenance": {}}


class LineageFilter(logging.Filter):
    """Puts `trace_id`, `span_id`, `run_id` and `provenance` on every record; lets all of them pass.

    Ids are 32 hex, 16 hex and a dashed UUID, as log collectors expect them; `provenance` is an object such as
    `{"prompt": "fees@v7"}`. Outside a run they are there and empty, so that a format string may name them; what the caller
    gave in `extra` stays. Add it to handlers: a logger's filters do not see what its children log. With a `QueueHandler` it
    belongs there, where the request is still known.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; always true."""
        with guard("api.logs"):
            for key, value in {**_OUTSIDE, **lineage_fields()}.items():
                if not hasattr(record, key):
                    setattr(record, key, value)
        return True


def lineage_processor(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: adds `trace_id`, `span_id`, `run_id` and `provenance`, each when it is known and not given.

    Put it before the renderer: `structlog.configure(processors=[…, spanline.lineage_processor, JSONRenderer()])`.
    """
    with guard("api.logs"):
        for key, value in lineage_fields().items():
            event_dict.setdefault(key, value)
    return event_dict


def lineage_fields() -> dict[str, Any]:
    """What is known here: ids of the current span and run, and the run's provenance when there is any."""
    found: dict[str, Any] = {}
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        found = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    run = active()
    if run is None or not run.trace_id:
        return found
    if not found:
        found = {"trace_id": f"{run.trace_id:032x}", "span_id": f"{run.span_id:016x}"}
    found["run_id"] = run_id(run)
    used = provenance(run)
    if used:
        found["provenance"] = used
    return found
