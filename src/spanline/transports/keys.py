"""Keys of messages: what keeps its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

_decoder = msgspec.json.Decoder(dict[str, Any])


def key_of(event: bytes | Mapping[str, Any]) -> str:
    """`run:<id>` of the trace's root run; `job:` or `dataset:` and the name for an event without a run."""
    found = _mapping(_decoder.decode(event) if isinstance(event, bytes) else event)
    if "run" not in found:
        kind = "job" if "job" in found else "dataset"
        named = _mapping(found.get(kind))
        return f"{kind}:{named.get('namespace')}/{named.get('name')}"
    run = _mapping(found["run"])
    parent = _mapping(_mapping(run.get("facets")).get("parent"))
    root = _mapping((_mapping(parent.get("root")) or parent).get("run")) or run
    return f"run:{root.get('runId')}"


def _mapping(value: object) -> Mapping[str, Any]:
    """What should be an object; empty when it is none, in somebody else's event."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
