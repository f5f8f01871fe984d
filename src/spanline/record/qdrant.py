"""Qdrant collections, read just enough to name them: name, version and digest. Does not import qdrant_client."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

from spanline._guard import guard
from spanline.errors import ConfigurationError
from spanline.record.content import MAX_ROWS, FactsOf, Read, digest_of_rows, labelled, row, unchanged

VERSION_KEYS = ("version", "spanline.version")
"""Keys of a collection's metadata (Qdrant 1.16 and later) that hold its version: Qdrant counts none."""

_PAGE = 1000


def describe(client: Any, collection: str, facts_of: FactsOf = unchanged) -> Read:
    """Name, version and digest of a collection, by its name or by an alias of it.

    The version is what the collection's metadata names; of an alias without that, the name of the collection behind it.

    Args:
        client: A synchronous one.
        collection: Its name, or an alias.
        facts_of: What counts of a point's payload.

    Raises:
        ConfigurationError: Not a Qdrant client, an asynchronous one, or there is no such collection.
    """
    for method in ("scroll", "get_collection", "count", "get_aliases"):
        found = getattr(client, method, None)
        if inspect.iscoroutinefunction(found):
            raise ConfigurationError("Index.from_qdrant: an asynchronous client; use QdrantClient() for this")
        if not callable(found):
            raise ConfigurationError(f"Index.from_qdrant: expected a Qdrant client, got {type(client).__name__}")
    try:
        config = client.get_collection(collection).config
    except Exception as error:  # local mode, HTTP and gRPC each have a class of their own
        raise ConfigurationError(f"Index.from_qdrant: collection {collection!r} cannot be read: {type(error).__name__}") from error
    # Read behind the alias: it may be moved while the rows are read.
    behind = None
    with guard("record.qdrant"):  # a key for one collection may not list aliases
        behind = next((alias.collection_name for alias in client.get_aliases().aliases if alias.alias_name == collection), None)
    metadata = cast("Mapping[str, Any]", getattr(config, "metadata", None) or {})
    version, stage = labelled(next((metadata[key] for key in VERSION_KEYS if metadata.get(key) not in (None, "")), behind))
    return Read(collection, version, stage, _digest(client, behind or collection, config.params, facts_of))


def _digest(client: Any, collection: str, parameters: Any, facts_of: FactsOf) -> str | None:
    """Of ids, payloads and vectors, in whatever order they were added, and of how vectors are compared."""
    if int(client.count(collection, exact=True).count) > MAX_ROWS:
        return None
    return digest_of_rows(_rows(client, collection, facts_of), _comparison(parameters))


def _rows(client: Any, collection: str, facts_of: FactsOf) -> Iterator[bytes]:
    offset = None
    while True:
        points, offset = client.scroll(collection, limit=_PAGE, offset=offset, with_payload=True, with_vectors=True)
        for point in points:
            given: Any = point.vector
            named = cast("dict[str, Any]", given if isinstance(given, Mapping) else {"": given})
            names = sorted(name for name, vector in named.items() if vector is not None)
            numbers = [_numbers(named[name]) for name in names]
            yield row(point.id, [facts_of(point.payload), names, [len(one) for one in numbers]], *numbers)
        if offset is None:
            return


def _numbers(vector: Any) -> list[float]:
    """A dense vector, a sparse one (positions, then values), or several vectors in one."""
    if hasattr(vector, "indices"):
        return [*map(float, vector.indices), *map(float, vector.values)]
    if vector and isinstance(vector[0], (list, tuple)):
        return [float(len(vector)), *(float(number) for one in vector for number in one)]
    return [float(number) for number in vector]


def _comparison(parameters: Any) -> dict[str, str]:
    vectors: Any = getattr(parameters, "vectors", None)
    named = cast("dict[str, Any]", vectors if isinstance(vectors, Mapping) else {"": vectors})
    return {name: str(getattr(one.distance, "value", one.distance)) for name, one in named.items() if one is not None}
