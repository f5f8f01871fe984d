"""Detection: what the other end of an OpenLineage transport is, asked once before the first event."""

from __future__ import annotations

import json
from typing import Any, cast

from spanline.errors import TransportError
from spanline.relay.policy import AGAIN_FOR_EVER
from spanline.transports.base import Transport

PATH = "api/v1/namespaces"
"""Marquez answers it with its namespaces; no other consumer known has it. Source: Marquez API."""

PLAIN = "openlineage"


def detect(transport: Transport) -> str:
    """The preset for what answers there: `marquez`, or `openlineage` for anything else.

    Raises:
        TransportError: It gives no answer, or one that does not last (a 503 while Marquez starts), so it has to be asked
            again: events that were sent in another one's dialect meanwhile could not be taken back.
    """
    status, answer = cast(Any, transport).probe(PATH)
    if status in AGAIN_FOR_EVER:
        raise TransportError(f"HTTP {status} when asked what it is", status=status)
    if status == 500:
        # Marquez without its database says that. An event would be parked after two of them; this one is asked for ever.
        raise TransportError("HTTP 500 when asked what it is; SPANLINE_OPENLINEAGE_PRESET may say so", status=503)
    if status != 200:
        return PLAIN
    try:
        found: Any = json.loads(answer)
    except ValueError:
        return PLAIN
    return "marquez" if isinstance(found, dict) and isinstance(cast(dict[str, Any], found).get("namespaces"), list) else PLAIN
