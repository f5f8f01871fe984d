"""Rows and tables: how a dialect names a field, and how its value is coerced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Coercer = Callable[[Any], Any]
"""From an attribute value to a field value; returns None for what it cannot read, never raises."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field of one dialect.

    Args:
        field: Name of the field in a `Reading` (see `reader.py`).
        keys: Attribute keys that hold it, the best first.
        coerce: Reads the value.
        source: Where the row is from: a convention with version, or the package in which it was seen.
    """

    field: str
    keys: tuple[str, ...]
    coerce: Coercer
    source: str = ""


class Dialect:
    """A table of rows, the keys that tell it, and the words it uses for operation kinds.

    Args:
        name: Name in the `dialect` property of an operation.
        markers: Attribute keys of which one shows that a span speaks this dialect.
        kinds: The dialect's word for an operation to our kind.
        rows: Its fields.
        priority: Where markers of several dialects are on one span, the highest wins.
    """

    __slots__ = ("by_key", "kinds", "markers", "name", "priority", "rows")

    def __init__(self, name: str, *, markers: tuple[str, ...], kinds: Mapping[str, str], rows: tuple[Row, ...], priority: int = 0) -> None:
        self.name = name
        self.markers = markers
        self.kinds = kinds
        self.rows = rows
        self.priority = priority
        self.by_key: dict[str, tuple[str, int, Coercer]] = {
            key: (row.field, rank, row.coerce) for row in rows for rank, key in enumerate(row.keys)
        }

    def fields(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of one span. Cost: one look-up an attribute, whatever the number of rows."""
        found: dict[str, Any] = {}
        ranks: dict[str, int] = {}
        by_key = self.by_key
        for key, value in attributes.items():
            entry = by_key.get(key)
            if entry is None:
                continue
            field, rank, coerce = entry
            if field in found and ranks.get(field, 0) <= rank:
                continue
            read = coerce(value)
            if read is not None:
                found[field] = read
                if rank:
                    ranks[field] = rank
                else:
                    ranks.pop(field, None)
        return found
