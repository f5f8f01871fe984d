"""Run ids for consumers that take UUIDv7 only: made from ours and the run's start, the same for every event of it."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from spanline.times import parse_rfc3339

_PRODUCER = "https://github.com/spanline/spanline"


def v7_of(run_id: str, started_ns: int) -> str:
    """A UUIDv7 from a run id and its start. Unit: Unix nanoseconds. Source: RFC 9562 §5.7."""
    noise = int.from_bytes(hashlib.blake2b(run_id.encode(), digest_size=10).digest())
    value = (started_ns // 1_000_000 & (1 << 48) - 1) << 80 | noise & (1 << 80) - 1
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def as_v7(event: dict[str, Any], external_id: str | None) -> None:
    """Give an event a UUIDv7, and its trace and its own id in a facet: `<trace id, 32 hex>/<run id>`, found by either.

    The parent's start is not known here, so a `parent` facet goes: a wrong id would be refused. All runs of a trace are found
    by its id all the same.
    """
    run = event["run"]
    facets: dict[str, Any] = run.setdefault("facets", {})
    trace: dict[str, Any] = facets.get("spanline_trace") or {}
    own = str(run["runId"])
    started = trace.get("startedAt") or event["eventTime"]
    run["runId"] = v7_of(own, parse_rfc3339(str(started)))
    parent: dict[str, Any] = facets.pop("parent", None) or {}
    if external_id:
        trace_id = trace.get("traceId") or _root_of(parent, own).replace("-", "")
        facet: dict[str, Any] = {
            "_producer": event.get("producer", _PRODUCER), "_schemaURL": _PRODUCER, "external_id": f"{trace_id}/{own}",
        }  # fmt: skip
        if trace.get("runUrl"):
            facet["persistent_log_url"] = trace["runUrl"]
        facets[external_id] = facet


def _root_of(parent: dict[str, Any], own: str) -> str:
    """The trace's run, which a START does not name otherwise."""
    named: dict[str, Any] = parent.get("root") or parent
    root: dict[str, Any] = named.get("run") or {}
    return str(root.get("runId") or own)
