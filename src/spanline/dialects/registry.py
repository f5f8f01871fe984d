"""The dialects there are, and which of them a span speaks: ours, and what other packages register.

A package registers dialects by an entry point of the group `spanline.dialects`; it names a `Dialect`, or a sequence of
them. All are loaded at the first span that is not one of spanline's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from spanline._guard import guard
from spanline.dialects.table import Dialect

GROUP = "spanline.dialects"
CONVENTIONS = 20
"""Dialects below this priority are conventions that many speak: a scope that we know says more."""

FAMILIES = (
    "genai", "openllmetry", "openinference", "openlit", "logfire", "langfuse", "mlflow", "langsmith", "litellm", "vercel", "haystack",
    "laminar", "trulens", "strands", "semantic_kernel", "agent_framework", "adk", "sdks", "mcp", "llamaindex", "vectordb", "guardrails", "platforms",
)  # fmt: skip
"""Modules of this package, each with `DIALECTS`."""


class Registry:
    """Look-ups by marker, scope and event.

    Args:
        dialects: All of them.
    """

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.dialects = tuple(dialects)
        self._markers: dict[str, list[tuple[str | None, int, Dialect]]] = {}
        self._scopes: dict[str, Dialect] = {}
        self._beginnings: list[tuple[str, Dialect]] = []
        for dialect in self.dialects:
            for marker in dialect.markers:
                key, asks, value = marker.partition("=")
                self._markers.setdefault(key, []).append((value if asks else None, dialect.priority, dialect))
            for key in dialect.weak:
                self._markers.setdefault(key, []).append((None, 1, dialect))
            for scope in dialect.scopes:
                if scope.endswith("*"):
                    self._beginnings.append((scope[:-1], dialect))
                else:
                    self._scopes[scope] = dialect
        self._keys = frozenset(self._markers)
        self.by_event = {event: dialect for dialect in self.dialects for event in dialect.by_events}
        self._of_scope: dict[str, Dialect | None] = {}

    def dialect_of(self, attributes: Mapping[str, Any], scope: str | None = None) -> Dialect | None:
        """The dialect of a span: told by its attributes, where those are of a wide convention or none by its scope."""
        best: Dialect | None = None
        highest = 0
        for key in self._keys.intersection(attributes):
            for value, priority, dialect in self._markers[key]:
                if priority > highest and (value is None or attributes[key] == value):
                    best, highest = dialect, priority
        if highest < CONVENTIONS and scope:
            return self._scope(scope) or best
        return best

    def _scope(self, scope: str) -> Dialect | None:
        try:
            return self._of_scope[scope]
        except KeyError:
            found = self._scopes.get(scope)
            if found is None:
                found = next((dialect for beginning, dialect in self._beginnings if scope.startswith(beginning)), None)
            if len(self._of_scope) < 4096:
                self._of_scope[scope] = found
            return found


@cache
def registry() -> Registry:
    """The registry of this process, made at the first call."""
    found: list[Dialect] = []
    for family in FAMILIES:
        found.extend(import_module(f"spanline.dialects.{family}").DIALECTS)
    for entry in entry_points(group=GROUP):
        with guard("dialects.entry_point"):
            found.extend(_dialects(entry.load()))
    return Registry(found)


def _dialects(loaded: Any) -> Sequence[Dialect]:
    """What an entry point names: a dialect or several; anything else raises `TypeError`."""
    several = cast(Sequence[Any], loaded) if isinstance(loaded, (list, tuple)) else [loaded]
    for dialect in several:
        if not isinstance(dialect, Dialect):
            msg = f"not a Dialect: {type(dialect).__name__}"
            raise TypeError(msg)
    return several
