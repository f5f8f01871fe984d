"""Chroma collections, read just enough to name them: name, version and digest. Does not import chromadb."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.record.content import MAX_ROWS, FactsOf, Read, digest_of_rows, labelled, row, unchanged

VERSION_KEYS = ("version", "spanline.version")
"""Keys of a collection's metadata that hold its version: Chroma itself has none."""

_PAGE = 1000


def describe(collection: Any, facts_of: FactsOf = unchanged) -> Read:
    """Name, version (of its metadata) and digest of a collection.

    Args:
        collection: Of a synchronous client.
        facts_of: What counts of a row's metadata.

    Raises:
        ConfigurationError: Not a Chroma collection, or one of an asynchronous client.
    """
    name, get = getattr(collection, "name", None), getattr(collection, "get", None)
    if inspect.iscoroutinefunction(get):
        raise ConfigurationError("Index.from_chroma: a collection of an asynchronous client; open it with chromadb.HttpClient() for this")
    if not isinstance(name, str) or not callable(get) or not callable(getattr(collection, "count", None)):
        raise ConfigurationError(f"Index.from_chroma: expected a Chroma collection, got {type(collection).__name__}")
    metadata = cast("Mapping[str, Any]", getattr(collection, "metadata", None) or {})
    version, stage = labelled(next((metadata[key] for key in VERSION_KEYS if metadata.get(key) not in (None, "")), None))
    return Read(name, version, stage, _digest(collection, facts_of))


def _digest(collection: Any, facts_of: FactsOf) -> str | None:
    """Of ids, texts, metadata and vectors, in whatever order they were added."""
    total = int(collection.count())
    return None if total > MAX_ROWS else digest_of_rows(_rows(collection, total, facts_of))


def _rows(collection: Any, total: int, facts_of: FactsOf) -> Iterator[bytes]:
    for start in range(0, total, _PAGE):
        page = collection.get(limit=_PAGE, offset=start, include=["embeddings", "documents", "metadatas"])
        for position, row_id in enumerate(page["ids"]):
            facts = [_at(page.get("documents"), position), facts_of(_at(page.get("metadatas"), position))]
            vector = _at(page.get("embeddings"), position)
            yield row(row_id, facts, [float(number) for number in vector] if vector is not None else [])


def _at(values: Sequence[Any] | None, position: int) -> Any:
    return None if values is None else values[position]
