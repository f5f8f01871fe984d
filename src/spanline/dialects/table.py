"""Rows and tables: how a dialect names a field, and how its value is coerced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

from msgspec import Meta, ValidationError, convert

from spanline.dialects import coerce
from spanline.dialects.fields import Fields, fields_type

Coercer = Callable[[Any], Any]
"""From an attribute value to a field value; returns None for what it cannot read, never raises."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field of one dialect.

    Args:
        field: Name of the field in `Fields`.
        keys: Attribute keys that hold it, the best first.
        coerce: Reads the value.
        source: Where the row is from: a convention with version, or the package in which it was seen.
    """

    field: str
    keys: tuple[str, ...]
    coerce: Coercer
    source: str = ""


_TYPES: dict[Coercer, Any] = {
    coerce.text: Annotated[str, Meta(min_length=1, max_length=coerce.MAX_NAME)],
    coerce.count: Annotated[int, Meta(ge=0, lt=1 << 53)],
    coerce.integer: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)],
    # The bounds keep out NaN and infinity.
    coerce.number: Annotated[float, Meta(ge=-1e300, le=1e300)],
    coerce.flag: bool,
}
"""What a coercer passes unchanged, as a type: values that have it need no coercer."""


class Dialect:
    """A table of rows, the keys that tell it, and the words it uses for operation kinds.

    Args:
        name: Name in the `dialect` property of an operation.
        markers: Attribute keys of which one shows that a span speaks this dialect.
        kinds: The dialect's word for an operation to our kind.
        rows: Its fields.
        priority: Where markers of several dialects are on one span, the highest wins.
    """

    __slots__ = ("_others", "_special", "_texts", "_type", "by_key", "kinds", "markers", "name", "priority", "rows")

    def __init__(self, name: str, *, markers: tuple[str, ...], kinds: Mapping[str, str], rows: tuple[Row, ...], priority: int = 0) -> None:
        self.name = name
        self.markers = markers
        self.kinds = kinds
        self.rows = rows
        self.priority = priority
        self.by_key: dict[str, tuple[str, int, Coercer]] = {
            key: (row.field, rank, row.coerce) for row in rows for rank, key in enumerate(row.keys)
        }
        self._type: type[Fields] | None = None
        self._others = frozenset(key for key, (_, rank, _) in self.by_key.items() if rank)
        self._special = tuple((row.field, row.coerce) for row in rows if row.coerce not in _TYPES)
        self._texts = attrgetter(*(row.field for row in rows if row.coerce is coerce.text))

    def fields(self, attributes: dict[str, Any]) -> Fields:
        """Fields of one span.

        Nearly all spans hold what the conventions say: one call in C takes their fields; what does not fit, on any field, is read
        row by row.
        """
        if self._others.isdisjoint(attributes):
            try:
                found = convert(attributes, self._type or self._struct())
            except (ValidationError, UnicodeError):
                return self.coerced(attributes)
            if "".join(filter(None, self._texts(found))).isprintable():
                for field, read in self._special:
                    value = getattr(found, field)
                    if value is not None:
                        setattr(found, field, read(value))
                return found
        return self.coerced(attributes)

    def _struct(self) -> type[Fields]:
        """Made at the first span of this dialect: a process meets few of them."""
        self._type = fields_type(
            f"{self.name}_fields",
            {row.field: row.keys[0] for row in self.rows},
            {row.field: _TYPES[row.coerce] for row in self.rows if row.coerce in _TYPES},
        )
        return self._type

    def coerced(self, attributes: Mapping[str, Any]) -> Fields:
        """Fields of one span, each read by its row's coercer. Cost: one look-up an attribute, whatever the number of rows."""
        found: dict[str, Any] = {}
        ranks: dict[str, int] = {}
        by_key = self.by_key
        for key, value in attributes.items():
            entry = by_key.get(key)
            if entry is None:
                continue
            field, rank, read = entry
            if field in found and ranks[field] <= rank:
                continue
            clean = read(value)
            if clean is not None:
                found[field] = clean
                ranks[field] = rank
        return Fields(**found)
