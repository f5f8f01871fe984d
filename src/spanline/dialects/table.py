"""Rows and tables: how a dialect names a field, and how its value is coerced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, ValidationError, convert

from spanline.dialects import coerce
from spanline.dialects.decode import decoded, steps_of, walk
from spanline.dialects.fields import FIELDS, Fields, fields_type
from spanline.dialects.found import Entry, Found, Plan

Coercer = Callable[[Any], Any]
"""From an attribute value to a field value; returns None for what it cannot read, never raises."""

_SCALES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_KNOWN = frozenset(FIELDS)


@dataclass(frozen=True, slots=True)
class Row:
    """One field of one dialect. Of several rows for one field the first that holds something counts.

    Args:
        field: Name of the field in `Fields`; `*` where the coercer gives several; `documents.id` and the like are parts of
            one document.
        keys: Attribute keys that hold it, the best first; `*` in a key stands for a number (`a.0.b`, `a.1.b`, a list).
        coerce: Reads the value.
        source: Where the row is from: a convention with version, or the package in which it was seen.
        path: Inside of the value, which is JSON: `choices[].finish_reason`. What is found so is inferred.
        kinds: Operation kinds for which the row counts; empty for all.
        unit: Unit of a duration in the recording; the field is in seconds.
        documented: Read in the source or its documentation, not seen in a recording.
    """

    field: str
    keys: tuple[str, ...]
    coerce: Coercer
    source: str = ""
    path: str = ""
    kinds: tuple[str, ...] = ()
    unit: str = "s"
    documented: bool = False


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
        markers: Attribute keys of which one shows that a span speaks this dialect; `key=value` asks for the value too.
        kinds: The dialect's word for an operation, in lower case, to our kind; a word may be a pattern (`*retriever`).
        rows: Its fields.
        priority: Where markers of several dialects are on one span, the highest wins; below 20 are conventions that many speak.
        scopes: Names of instrumentation scopes that speak it; asked where attributes show no dialect above 20. A name that
            ends in `*` is a beginning.
        events: Span events by name, and the table that reads their attributes.
        exclusive: Providers whose input tokens are reported without the cached ones.
        repeats: Its spans repeat what the span above them reports.
        kind: Kind of a span that says none.
        weak: Attribute keys that show this dialect where there is no marker of any.
        sparse: A span of unknown kind is no operation: the dialect is also spoken by spans that have nothing to do with models.
        by_events: Names of span events that show it on a span that nothing else tells.
    """

    __slots__ = (
        "_others", "_plain", "_plans", "_special", "_texts", "_told", "_type", "_words", "by_events", "entries", "events", "exclusive", "keys", "kind", "kinds",
        "listed", "markers", "name", "prefixes", "priority", "repeats", "rows", "scopes", "sparse", "weak",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        markers: tuple[str, ...],
        rows: tuple[Row, ...],
        kinds: Mapping[str, str] | None = None,
        priority: int = 0,
        scopes: tuple[str, ...] = (),
        events: Mapping[str, EventTable] | None = None,
        exclusive: tuple[str, ...] = (),
        repeats: bool = False,
        kind: str | None = None,
        weak: tuple[str, ...] = (),
        by_events: tuple[str, ...] = (),
        sparse: bool = False,
    ) -> None:
        self.name = name
        self.markers = markers
        self.kinds = kinds or {}
        self.rows = rows
        self.priority = priority
        self.scopes = scopes
        self.events = events or {}
        self.exclusive = exclusive
        self.repeats = repeats
        self.kind = kind
        self.weak = weak
        self.by_events = by_events
        self.sparse = sparse
        self._plans: dict[str | None, Plan] = {}
        self.listed: dict[tuple[str, str], tuple[Entry, ...]] = {}
        self._words: dict[str, str | None] = {}
        self._type: type[Fields] | None = None
        self._plain: dict[str, tuple[str, Coercer]] = {}
        taken: set[str] = set()
        others: set[str] = set()
        entries: list[Entry] = []
        for number, row in enumerate(rows):
            for position, key in enumerate(row.keys):
                entry = Entry(row.field, number * 16 + position, _scaled(row), steps_of(row.path), row.kinds, key)
                prefix, star, suffix = key.partition("*")
                if star:
                    self.listed[prefix, suffix] = (*self.listed.get((prefix, suffix), ()), entry)
                    continue
                entries.append(entry)
                plain = not position and not row.path and not row.kinds and row.field in _KNOWN and row.unit == "s"
                if plain and row.field not in self._plain and key not in taken:
                    self._plain[row.field] = (key, row.coerce)
                    taken.add(key)
                else:
                    others.add(key)
        self.entries = tuple(entries)
        self.keys = frozenset(entry.key for entry in entries)
        self._told = tuple(entry for entry in entries if entry.field in ("operation", "kind"))
        self.prefixes = tuple({prefix for prefix, _ in self.listed})
        self._others = frozenset(others)
        self._special = tuple((field, read) for field, (_, read) in self._plain.items() if read not in _TYPES)
        texts = [field for field, (_, read) in self._plain.items() if read is coerce.text]
        self._texts = attrgetter(*texts) if len(texts) > 1 else None

    def kind_of(self, word: str) -> str | None:
        """Our kind for the dialect's word, or None where it does not know the word."""
        try:
            return self._words[word]
        except KeyError:
            lower = word.lower()
            kind = self.kinds.get(lower)
            if kind is None:
                kind = next((kind for pattern, kind in self.kinds.items() if "*" in pattern and fnmatchcase(lower, pattern)), None)
            if len(self._words) < 1024:
                self._words[word] = kind
            return kind

    def fields(self, attributes: dict[str, Any]) -> Fields:
        """Fields of one span.

        Nearly all spans hold what the conventions say: one call in C takes their fields; what does not fit, on any field, is read
        row by row.
        """
        if self._texts is not None and not self.prefixes and self._others.isdisjoint(attributes):
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
        keys = {field: key for field, (key, _) in self._plain.items()}
        types = {field: _TYPES[read] for field, (_, read) in self._plain.items() if read in _TYPES}
        self._type = fields_type(f"{self.name}_fields", keys, types)
        return self._type

    def coerced(self, attributes: Mapping[str, Any]) -> Fields:
        """Fields of one span, each read by its row's coercer. Cost: one look-up an attribute, whatever the number of rows."""
        word, kind = self._kind(attributes)
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = Plan(self.entries, kind)
        found = Found(plan, self.listed, self.prefixes)
        found.take(attributes)
        if word is not None:
            found.values["operation"] = word
        if kind is not None:
            found.values["kind"] = kind
        return found.fields()

    def _kind(self, attributes: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """The dialect's word for the operation, and our kind; a word that the dialect knows beats one that it does not."""
        word: str | None = None
        for entry in self._told:
            raw = attributes.get(entry.key)
            if raw is None:
                continue
            found = entry.coerce(walk(decoded(raw), entry.steps) if entry.steps else raw)
            if found is None:
                continue
            if entry.field == "kind":
                return word, found
            kind = self.kind_of(found)
            if kind is not None:
                return found, kind
            word = word or found
        return word, self.kind


class EventTable(NamedTuple):
    """How the attributes of an event are read, and what becomes of them."""

    becomes: str
    """`fields` fill what the span did not say, `guardrail` and `evaluation` are outcomes of their own, `first_token` is a time."""
    table: Dialect


def events_of(becomes: str, *rows: Row) -> EventTable:
    """A table of event attributes."""
    return EventTable(becomes, Dialect("event", markers=(), rows=rows))


def _scaled(row: Row) -> Coercer:
    scale = _SCALES[row.unit]
    if scale == 1.0:
        return row.coerce
    read = row.coerce

    def scaled(value: Any) -> float | None:
        found = read(value)
        return None if found is None else found * scale

    return scaled
