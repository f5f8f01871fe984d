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
    """Give an event a UUIDv7, and its own id in a facet.

    The parent's start is not known here, so a `parent` facet goes: a wrong id would be refused.
    """
    run = event["run"]
    facets = run.setdefault("facets", {})
    trace: dict[str, Any] = facets.get("spanline_trace") or {}
    own = str(run["runId"])
    started = trace.get("startedAt") or event["eventTime"]
    run["runId"] = v7_of(own, parse_rfc3339(str(started)))
    facets.pop("parent", None)
    if external_id:
        facet: dict[str, Any] = {"_producer": event.get("producer", _PRODUCER), "_schemaURL": _PRODUCER, "external_id": own}
        if trace.get("runUrl"):
            facet["persistent_log_url"] = trace["runUrl"]
        facets[external_id] = facet
