"""Vector stores as frameworks wrap them: the store's own object inside, told by what it can do, as an `Index` reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.record import chroma, qdrant
from spanline.record.content import FactsOf, unchanged
from spanline.record.references import Index, Model

FAISS_UNNAMED = "a FAISS index has no name: give name="

_MODEL_NAMES = ("model_name", "model", "repo_id", "deployment")
_NAME = re.compile(r"[\w./:+-]+")


def index_of_store(
    caller: str,
    store: Any,
    name: str | None,
    version: str | None,
    more: dict[str, Any],
    documents: Callable[[], Any],
    facts_of: FactsOf = unchanged,
) -> Index:
    """The `Index` of a framework's vector store.

    Args:
        caller: Who is asked, for messages: `langchain.index_of`.
        store: LangChain's or LlamaIndex' object around Chroma, FAISS, LanceDB or Qdrant.
        name: For a store that has none (FAISS), or instead of its own.
        version: Instead of the store's own.
        more: Further arguments of `Index`.
        documents: Gives what the rows of a FAISS index stand for.
        facts_of: What counts of the metadata of a row in Chroma or Qdrant.

    Raises:
        ConfigurationError: Another store; the message says what to do.
    """
    collection = _first(store, "_collection", "_chroma_collection")
    if collection is not None and hasattr(collection, "count"):
        return Index.of_read(chroma.describe(collection, facts_of), name, version, more)
    client = _first(store, "client", "_client")
    named = _first(store, "collection_name")
    if isinstance(named, str) and hasattr(client, "scroll"):
        return Index.of_read(qdrant.describe(client, named, facts_of), name, version, more)
    faiss_index = next((found for key in ("index", "_faiss_index", "client") if hasattr(found := _first(store, key), "ntotal")), None)
    if faiss_index is not None:
        if not name:
            raise ConfigurationError(f"{caller}: {FAISS_UNNAMED}")
        return Index.from_faiss(faiss_index, name, version=version, documents=documents(), **more)
    table = _table(store)
    if table is not None:
        return Index.from_lancedb(table, name=name, version=version, **more)
    raise ConfigurationError(
        f"{caller}: {type(store).__name__} is not known (Chroma, FAISS, LanceDB, Qdrant are); "
        f'name its index by hand: spanline.Index("name", version="…", digest="…")'
    )


def embedding_model(embeddings: Any) -> Model | None:
    """The model that a framework's embeddings object names; None where it names none."""
    for key in _MODEL_NAMES:
        found = getattr(embeddings, key, None)
        if isinstance(found, str) and _NAME.fullmatch(found) and found != "unknown":
            return Model(found)
    return None


def followed(thing: Any, keys: Sequence[str], wanted: Callable[[Any], bool]) -> Any:
    """What is wanted, at most six steps inside a thing along the attributes `keys`; the thing itself where there is none."""
    seen = [thing]
    for _ in range(6):
        for one in seen:
            if wanted(one):
                return one
        seen = [inner for one in seen for key in keys if (inner := _first(one, key)) is not None]
    return thing


def _table(store: Any) -> Any:
    table = _first(store, "_table", "table")
    opener = getattr(store, "get_table", None)
    if table is None and callable(opener):
        table = cast(Any, opener())
    return table if hasattr(table, "to_arrow") else None


def _first(thing: Any, *keys: str) -> Any:
    """The first attribute that is there. Wrappers raise many things where an attribute is not ready."""
    for key in keys:
        try:
            found = getattr(thing, key, None)
        except (AttributeError, RuntimeError, TypeError, ValueError, NotImplementedError):
            continue
        if found is not None:
            return found
    return None
