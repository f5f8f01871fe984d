"""What a shaper remembers of the events that a consumer has taken."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from typing import Any

MOST = 10_000
"""Entries; the oldest go first."""


class Memory:
    """Facts that last only if the consumer takes the event that they come from; bounded.

    Several events may be on their way (a batch): what an earlier one of them says counts for the later ones.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._open: list[dict[Hashable, Any]] = []

    def begin(self) -> None:
        """A further event."""
        self._open.append({})

    def later(self, key: Hashable, value: Any = True) -> None:
        """Remember this if the event is taken."""
        self._open[-1][key] = value

    def now(self, key: Hashable, value: Any) -> None:
        """Remember this whatever becomes of the event."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        self._trim()

    def accept(self, but: Collection[int] = ()) -> None:
        """The events since the last `accept` or `forget` have been taken, but for those of these numbers."""
        for number, facts in enumerate(self._open):
            if number not in but:
                for key, value in facts.items():
                    self._kept[key] = value
                    self._kept.move_to_end(key)
        self._open = []
        self._trim()

    def forget(self) -> None:
        """The events that are on their way have not been taken."""
        self._open = []

    def get(self, key: Hashable, default: Any = None) -> Any:
        """What is remembered, events on their way included."""
        for facts in reversed(self._open):
            if key in facts:
                return facts[key]
        return self._kept.get(key, default)

    def _trim(self) -> None:
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
