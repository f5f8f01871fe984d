"""Who made an event: `producer` of all events and facets of ours."""

from __future__ import annotations

PRODUCER = "https://github.com/spanline/spanline/tree/0.1.0/src/spanline"
"""Source: OpenLineage, "the URI of the producer code, with its version"."""
