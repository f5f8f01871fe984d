"""Who made an event: `producer` of all events and facets of ours."""

from __future__ import annotations

from spanline.version import VERSION

PRODUCER = f"https://github.com/spanline/spanline/tree/{VERSION}/src/spanline"
"""Source: OpenLineage, "the URI of the producer code, with its version"."""
