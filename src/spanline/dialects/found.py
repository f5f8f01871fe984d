"""Found: the fields of one span, gathered attribute by attribute; the best row wins, large texts are opened last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from spanline.dialects.decode import Step, decoded, walk
from spanline.dialects.documents import documents
from spanline.dialects.fields import Fields

ALL = "*"
"""The field of a row whose coercer gives several fields, by name."""
DOCUMENTS = "documents."
"""What begins the fields that are parts of one document."""

MAX_NUMBER = 5


class Entry(NamedTuple):
    """A row, as it is looked up by key."""

    field: str
    rank: int
    coerce: Callable[[Any], Any]
    steps: tuple[Step, ...]
    kinds: tuple[str, ...]


class Table(Protocol):
    """What is looked up in: a `Dialect`."""

    by_key: dict[str, tuple[Entry, ...]]
    listed: dict[tuple[str, str], tuple[Entry, ...]]
    prefixes: tuple[str, ...]
    kind: str | None

    def kind_of(self, word: str) -> str | None:
        """Our kind for the dialect's word."""
        ...


class Found:
    """What was found of one span, while its attributes are read."""

    __slots__ = ("_dialect", "_documents", "_later", "_lists", "_parsed", "_ranks", "_values")

    def __init__(self, dialect: Table) -> None:
        self._dialect = dialect
        self._values: dict[str, Any] = {}
        self._ranks: dict[str, int] = {}
        self._parsed: set[str] = set()
        self._later: list[tuple[Entry, Any]] = []
        self._lists: dict[Entry, dict[int, Any]] = {}
        self._documents: dict[int, dict[str, Any]] = {}

    def take(self, attributes: Mapping[str, Any]) -> None:
        """Read attributes. Cost: one look-up for each."""
        by_key = self._dialect.by_key
        prefixes = self._dialect.prefixes
        for key, value in attributes.items():
            entries = by_key.get(key)
            if entries is None:
                if prefixes and key.startswith(prefixes):
                    self._listed(key, value)
                continue
            for entry in entries:
                if entry.steps or entry.kinds:
                    self._later.append((entry, value))
                else:
                    self._put(entry, entry.coerce(value))

    def _listed(self, key: str, value: Any) -> None:
        for (prefix, suffix), entries in self._dialect.listed.items():
            if key.startswith(prefix) and key.endswith(suffix):
                number = key[len(prefix) : len(key) - len(suffix)] if suffix else key[len(prefix) :]
                if number.isascii() and number.isdigit() and len(number) <= MAX_NUMBER:
                    for entry in entries:
                        if entry.field.startswith(DOCUMENTS):
                            self._documents.setdefault(int(number), {})[entry.field.removeprefix(DOCUMENTS)] = value
                        else:
                            self._lists.setdefault(entry, {})[int(number)] = value
                    return

    def _put(self, entry: Entry, clean: Any) -> None:
        if clean is None:
            return
        field = entry.field
        if field == ALL:
            for name, value in clean.items():
                self._put(Entry(name, entry.rank, entry.coerce, entry.steps, ()), value)
            return
        if field.startswith(DOCUMENTS):
            self._documents.setdefault(0, {}).setdefault(field.removeprefix(DOCUMENTS), clean)
            return
        known = self._ranks.get(field)
        if known is not None and not self._beats(field, clean, entry.rank, known):
            return
        self._values[field] = clean
        self._ranks[field] = entry.rank
        if entry.steps:
            self._parsed.add(field)
        else:
            self._parsed.discard(field)

    def _beats(self, field: str, clean: Any, rank: int, known: int) -> bool:
        if field != "operation":
            return rank < known
        # A word that the dialect knows beats one that it does not.
        kind_of = self._dialect.kind_of
        new, old = kind_of(clean) is not None, kind_of(self._values[field]) is not None
        return rank < known if new == old else new

    def fields(self) -> Fields:
        """What was found: lists put together, the kind settled, then what stands inside of JSON or goes with one kind only."""
        for entry, items in self._lists.items():
            values = [items[number] for number in sorted(items)]
            self._put(entry, entry.coerce(values))
        dialect = self._dialect
        values = self._values
        word = values.get("operation")
        kind = values.get("kind") or (dialect.kind_of(word) if word is not None else None) or dialect.kind
        if kind is not None:
            values["kind"] = kind
        opened: dict[int, Any] = {}
        for entry, raw in sorted(self._later, key=_rank):
            if entry.kinds and kind not in entry.kinds:
                continue
            if self._ranks.get(entry.field, entry.rank + 1) < entry.rank and entry.field != "operation":
                continue  # said already, and better: large texts are not opened for nothing
            inner = raw
            if entry.steps:
                if id(raw) not in opened:
                    opened[id(raw)] = decoded(raw) if isinstance(raw, str) else raw
                inner = walk(opened[id(raw)], entry.steps)
                if inner is None:
                    continue
            self._put(entry, entry.coerce(inner))
            if entry.field == "operation" and values.get("operation") != word:
                word = values["operation"]
                kind = values.get("kind") or dialect.kind_of(word) or kind
        if kind is not None:
            values["kind"] = kind
        if self._documents and "documents" not in values:
            values["documents"] = documents([self._documents[number] for number in sorted(self._documents)])
        if self._parsed:
            values["parsed"] = frozenset(self._parsed)
        return Fields(**values)


def _rank(item: tuple[Entry, Any]) -> int:
    return item[0].rank
