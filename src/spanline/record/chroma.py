"""Chroma collections, read just enough to name them: name, version and digest. Does not import chromadb."""

from __future__ import annotations

import hashlib
import inspect
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from spanline.errors import ConfigurationError
from spanline.naming import is_alias

MAX_ROWS = 200_000
"""A collection of more rows is not read for its digest."""
VERSION_KEYS = ("version", "spanline.version")
"""Keys of a collection's metadata that hold its version: Chroma itself has none."""

_PAGE = 1000


class Read(NamedTuple):
    """What a collection says of itself."""

    name: str
    version: str | None
    stage: str | None
    digest: str | None


def describe(collection: Any) -> Read:
    """Name, version (of its metadata) and digest of a collection.

    Raises:
        ConfigurationError: Not a Chroma collection, or one of an asynchronous client.
    """
    name, get = getattr(collection, "name", None), getattr(collection, "get", None)
    if inspect.iscoroutinefunction(get):
        raise ConfigurationError("Index.from_chroma: a collection of an asynchronous client; open it with chromadb.HttpClient() for this")
    if not isinstance(name, str) or not callable(get) or not callable(getattr(collection, "count", None)):
        raise ConfigurationError(f"Index.from_chroma: expected a Chroma collection, got {type(collection).__name__}")
    metadata = cast("Mapping[str, Any]", getattr(collection, "metadata", None) or {})
    label = next((str(metadata[key]) for key in VERSION_KEYS if metadata.get(key) not in (None, "")), None)
    stage = None
    if label is not None and is_alias(label):
        label, stage = None, label
    return Read(name, label.replace("@", "_") if label else None, stage, _digest(collection))


def _digest(collection: Any) -> str | None:
    """SHA-256 over ids, texts, metadata and vectors, by id: the same rows have the same digest, in whatever order they were added."""
    if int(collection.count()) > MAX_ROWS:
        return None
    total = hashlib.sha256()
    for row in _rows(collection):
        total.update(row)
    return f"sha256:{total.hexdigest()}"


def _rows(collection: Any) -> Iterator[bytes]:
    ids = sorted(cast("list[str]", collection.get(include=[])["ids"]))
    encode = msgspec.json.Encoder(order="deterministic").encode
    for start in range(0, len(ids), _PAGE):
        wanted = ids[start : start + _PAGE]
        page = collection.get(ids=wanted, include=["embeddings", "documents", "metadatas"])
        # An answer is in the order of the store.
        place = {row_id: position for position, row_id in enumerate(page["ids"])}
        for row_id in wanted:
            position = place[row_id]
            text = _at(page.get("documents"), position)
            facts = _at(page.get("metadatas"), position)
            vector = _at(page.get("embeddings"), position)
            numbers = [float(number) for number in vector] if vector is not None else []
            # Chroma keeps vectors in single precision.
            yield encode([row_id, text, facts]) + struct.pack(f"<I{len(numbers)}f", len(numbers), *numbers)


def _at(values: Sequence[Any] | None, position: int) -> Any:
    return None if values is None else values[position]
