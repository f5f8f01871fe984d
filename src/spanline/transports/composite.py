"""The composite transport: several transports as one.

The relay does not use it: each child of a configured `composite` is a consumer of its own, so that one that is away
does not hold up the others. It is for programs that emit by hand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from spanline.errors import ConfigurationError, TransportError
from spanline.transports.base import Transport, create


class CompositeTransport:
    """Sends each event to all its transports; one that fails does not keep it from the others."""

    kind = "composite"

    def __init__(self, transports: Sequence[Transport]) -> None:
        self.transports = tuple(transports)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CompositeTransport:
        """From `openlineage.yml`: `transports`, a list or a mapping by name."""
        return cls([create(str(child.get("type")), child) for _, child in children(options)])

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event to all.

        Raises:
            TransportError: The first failure, after all were tried.
        """
        failure: TransportError | None = None
        for transport in self.transports:
            try:
                transport.emit(event)
            except TransportError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def close(self, timeout_s: float) -> bool:
        """Close all within one deadline."""
        deadline = time.monotonic() + timeout_s
        closed = [transport.close(max(0.0, deadline - time.monotonic())) for transport in self.transports]
        return all(closed)


def children(options: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and options of a composite's transports.

    Raises:
        ConfigurationError: `transports` is neither a list nor a mapping of mappings.
    """
    found = options.get("transports")
    if isinstance(found, Mapping):
        pairs = [(str(name), child) for name, child in cast(Mapping[Any, Any], found).items()]
    elif isinstance(found, list):
        pairs = [("", child) for child in cast(list[Any], found)]
    else:
        raise ConfigurationError("transport option transports: expected a list or a mapping of transports")
    named: list[tuple[str, dict[str, Any]]] = []
    for name, child in pairs:
        if not isinstance(child, Mapping):
            raise ConfigurationError(f"transport option transports: expected a mapping for each, got {child!r}")
        options_of = dict(cast(Mapping[str, Any], child))
        named.append((str(options_of.get("name") or name), options_of))
    return named
