"""Found: the fields of one span; the best row wins, and large texts are opened last, for what is still missing.

A plan holds the rows that count for one operation kind, so that a span costs one look-up for each attribute its dialect
knows, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from spanline.dialects.decode import Step, decoded, walk
from spanline.dialects.documents import documents
from spanline.dialects.fields import Fields

ALL = "*"
"""The field of a row whose coercer gives several fields, by name."""
DOCUMENTS = "documents."
"""What begins the fields that are parts of one document."""

MAX_NUMBER = 5
_USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "reasoning_output_tokens")
_LAST = 1 << 30


class Entry(NamedTuple):
    """A row, as it is looked up by key."""

    field: str
    rank: int
    coerce: Callable[[Any], Any]
    steps: tuple[Step, ...]
    kinds: tuple[str, ...]
    key: str = ""
    stem: int = 0
    """One number for each key and path up to the last step: what it leads to is looked up once."""


class Plan:
    """The entries of a dialect that count for one kind of operation.

    Args:
        entries: Of all rows, by rank.
        kind: Our kind; None where the span does not say.
    """

    __slots__ = ("direct", "inner", "keys", "opened")

    def __init__(self, entries: tuple[Entry, ...], kind: str | None) -> None:
        self.direct: dict[str, tuple[Entry, ...]] = {}
        """Entries whose value is the attribute's."""
        self.inner: dict[str, tuple[Entry, ...]] = {}
        """Entries whose value stands inside of the attribute's."""
        stems: dict[tuple[str, tuple[Step, ...]], int] = {}
        for entry in entries:
            if entry.kinds and kind not in entry.kinds:
                continue
            place = self.inner if entry.steps else self.direct
            stem = stems.setdefault((entry.key, entry.steps[:-1]), len(stems))
            place[entry.key] = (*place.get(entry.key, ()), entry._replace(stem=stem))
        self.keys = self.direct.keys()
        self.opened = self.inner.keys()


class Found:
    """What was found of one span, while its attributes are read.

    Args:
        plan: For the kind of the operation.
        listed: Entries with a number in their key, by what is before and after it.
        prefixes: What begins such keys.
    """

    __slots__ = ("_documents", "_listed", "_lists", "_parsed", "_plan", "_prefixes", "_ranks", "values")

    def __init__(self, plan: Plan, listed: Mapping[tuple[str, str], tuple[Entry, ...]], prefixes: tuple[str, ...]) -> None:
        self._plan = plan
        self._listed = listed
        self._prefixes = prefixes
        self.values: dict[str, Any] = {}
        self._ranks: dict[str, int] = {}
        self._parsed: set[str] = set()
        self._lists: dict[Entry, dict[int, Any]] = {}
        self._documents: dict[int, dict[str, Any]] = {}

    def take(self, attributes: Mapping[str, Any]) -> None:
        """Read attributes: first what is said plainly, then numbered keys, then what stands inside of JSON."""
        values, ranks, direct = self.values, self._ranks, self._plan.direct
        for key in self._plan.keys & attributes.keys():
            raw = attributes[key]
            for entry in direct[key]:
                field = entry.field
                if ranks.get(field, _LAST) > entry.rank:
                    found = entry.coerce(raw)
                    if found is None:
                        continue
                    if field == ALL or field.startswith(DOCUMENTS):
                        self._spread(entry, found)
                    else:
                        values[field] = found
                        ranks[field] = entry.rank
        if self._prefixes:
            self._numbered(attributes)
        present = self._plan.opened & attributes.keys()
        if present:
            self._open(attributes, present)
        if self._documents and "documents" not in values:
            values["documents"] = documents([self._documents[number] for number in sorted(self._documents)])

    def _numbered(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            if not key.startswith(self._prefixes):
                continue
            for (prefix, suffix), entries in self._listed.items():
                if not (key.startswith(prefix) and key.endswith(suffix)):
                    continue
                number = key[len(prefix) : len(key) - len(suffix)] if suffix else key[len(prefix) :]
                if number.isascii() and number.isdigit() and len(number) <= MAX_NUMBER:
                    for entry in entries:
                        if entry.field.startswith(DOCUMENTS):
                            self._documents.setdefault(int(number), {})[entry.field.removeprefix(DOCUMENTS)] = value
                        else:
                            self._lists.setdefault(entry, {})[int(number)] = value
                    break
        for entry, items in self._lists.items():
            self._put(entry, entry.coerce([items[number] for number in sorted(items)]))

    def _open(self, attributes: Mapping[str, Any], present: set[str]) -> None:
        """Open large texts for what is still missing: those of the best row first."""
        inner = self._plan.inner
        entries = inner[next(iter(present))] if len(present) == 1 else sorted([entry for key in present for entry in inner[key]], key=_rank)
        opened: dict[str, Any] = {}
        stems: dict[int, Any] = {}
        for entry in entries:
            field = entry.field
            if self._ranks.get(field, _LAST) <= entry.rank or (field == ALL and all(name in self.values for name in _USAGE)):
                continue
            stem = entry.stem
            if stem not in stems:
                key = entry.key
                if key not in opened:
                    raw = attributes[key]
                    opened[key] = decoded(raw) if isinstance(raw, str) else raw
                stems[stem] = walk(opened[key], entry.steps[:-1])
            found = _last(stems[stem], entry.steps)
            if found is not None:
                self._put(entry, entry.coerce(found))

    def _put(self, entry: Entry, found: Any) -> None:
        if found is None:
            return
        field = entry.field
        if field == ALL or field.startswith(DOCUMENTS):
            self._spread(entry, found)
        elif self._ranks.get(field, _LAST) > entry.rank:
            self.values[field] = found
            self._ranks[field] = entry.rank
            if entry.steps:
                self._parsed.add(field)

    def _spread(self, entry: Entry, found: Any) -> None:
        if entry.field == ALL:
            for name, value in found.items():
                if self._ranks.get(name, _LAST) > entry.rank:
                    self.values[name] = value
                    self._ranks[name] = entry.rank
        else:
            self._documents.setdefault(0, {}).setdefault(entry.field.removeprefix(DOCUMENTS), found)

    def fields(self) -> Fields:
        """What was found."""
        if self._parsed:
            self.values["parsed"] = frozenset(self._parsed)
        return Fields(**self.values)


def _last(value: Any, steps: tuple[Step, ...]) -> Any:
    """The last step of a path; after `[]` it is taken of every item, which `walk` does."""
    if value is None:
        return None
    if None in steps[:-1]:
        found = [walk(item, steps[-1:]) for item in value]
        return [item for item in found if item is not None] or None
    return walk(value, steps[-1:])


def _rank(entry: Entry) -> int:
    return entry.rank
