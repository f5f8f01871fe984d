"""LangChain: the `Index` reference of a vector store or of a retriever on one. Does not import langchain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.errors import ConfigurationError
from spanline.integrations.stores import embedding_model, followed, index_of_store
from spanline.record.content import stable_id
from spanline.record.references import Index

_INSIDE = ("vectorstore", "base_retriever", "retriever")


def index_of(store: Any, *, name: str | None = None, version: str | None = None, **more: Any) -> Index:
    """The index behind LangChain's Chroma, FAISS, LanceDB or Qdrant, or behind a retriever on one of them.

    Name, version and digest are the store's own, as `Index.from_chroma` and its kin read them, at the same cost: call it once, when the
    store is opened. The embedding model is what the embeddings object names. LangChain gives texts random ids unless you give some; they
    do not count, but for LanceDB, whose digest is one of whole rows: give ids there.

    Args:
        store: A vector store, a retriever (`as_retriever()`), or a retriever around one (compression, multi-query).
        name: For FAISS, which has none; or instead of the store's own.
        version: Instead of the store's own.
        **more: Further arguments of `spanline.Index`: `corpus`, `embedding_model`, `owner` …

    Raises:
        ConfigurationError: Another store, or FAISS without a name.
    """
    found = followed(store, _INSIDE, _is_store)
    if not _is_store(found):
        raise ConfigurationError(f"langchain.index_of: expected a vector store or a retriever on one, got {type(store).__name__}")
    more.setdefault("embedding_model", embedding_model(getattr(found, "embeddings", None)))
    return index_of_store("langchain.index_of", found, name, version, more, lambda: _documents(found))


def _is_store(thing: Any) -> bool:
    return callable(getattr(thing, "similarity_search", None))


def _documents(store: Any) -> dict[int, Any] | None:
    """Of FAISS: what each row stands for."""
    ids = getattr(store, "index_to_docstore_id", None)
    search = getattr(getattr(store, "docstore", None), "search", None)
    if not isinstance(ids, Mapping) or not callable(search):
        return None
    found: dict[int, Any] = {}
    for number, document_id in cast("Mapping[int, str]", ids).items():
        document: Any = search(document_id)
        # A text where there is no such document.
        text = getattr(document, "page_content", None)
        found[int(number)] = [stable_id(document_id), text, getattr(document, "metadata", None)]
    return found
