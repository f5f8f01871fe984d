"""LlamaIndex: the `Index` reference of a vector store index, or of what was made of one. Does not import llama_index."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from spanline.errors import ConfigurationError
from spanline.integrations.stores import embedding_model, followed, index_of_store
from spanline.record.content import digest_of_rows, row, stable_id
from spanline.record.references import Index

_INSIDE = ("_index", "_retriever", "retriever", "_query_engine")
_OWN = frozenset({"document_id", "doc_id", "ref_doc_id", "id_", "relationships"})
"""Keys under which LlamaIndex keeps ids of its own, drawn by chance when a document is read."""


def index_of(index: Any, *, name: str | None = None, version: str | None = None, **more: Any) -> Index:
    """The index behind a `VectorStoreIndex`, its retriever, query engine or chat engine; on Chroma, FAISS, Qdrant or in memory.

    Name, version and digest are the store's own, as `Index.from_chroma` and its kin read them, at the same cost: call it once, when the
    index is opened. Ids that LlamaIndex draws by chance do not count. The embedding model is what the index names.

    Args:
        index: A `VectorStoreIndex` or what was made of one.
        name: For FAISS and the store in memory, which have none; or instead of the store's own.
        version: Instead of the store's own.
        **more: Further arguments of `spanline.Index`: `corpus`, `embedding_model`, `owner` …

    Raises:
        ConfigurationError: Another store, or one without a name.
    """
    found = followed(index, _INSIDE, _is_index)
    if not _is_index(found):
        raise ConfigurationError(f"llamaindex.index_of: expected a VectorStoreIndex or what was made of one, got {type(index).__name__}")
    more.setdefault("embedding_model", embedding_model(getattr(found, "_embed_model", None)))
    store: Any = found.vector_store
    vectors = getattr(getattr(store, "data", None), "embedding_dict", None)
    if not isinstance(vectors, Mapping):
        return index_of_store("llamaindex.index_of", store, name, version, more, lambda: _documents(found), _facts)
    if not name:
        raise ConfigurationError("llamaindex.index_of: a store in memory has no name: give name=")
    held = cast("Mapping[str, list[float]]", vectors)
    digest = digest_of_rows(row(node_id, _node(found, node_id), vector) for node_id, vector in held.items())
    return Index(name, version, digest, **more)


def _is_index(thing: Any) -> bool:
    return hasattr(thing, "vector_store") and hasattr(thing, "index_struct")


def _node(index: Any, node_id: str) -> list[Any]:
    node: Any = index.docstore.docs.get(node_id)
    return [node.get_content(), node.metadata] if node is not None else []


def _documents(index: Any) -> dict[int, Any] | None:
    """Of FAISS: what each row stands for."""
    rows = cast("Mapping[str, str]", getattr(index.index_struct, "nodes_dict", None) or {})
    known = {int(number): [stable_id(node_id), *_node(index, node_id)] for number, node_id in rows.items() if number.isdigit()}
    return known or None


def _facts(facts: Any) -> Any:
    """Metadata without LlamaIndex' own ids; the node that it keeps as JSON is looked into."""
    if not isinstance(facts, Mapping):
        return facts
    kept = {key: value for key, value in cast("Mapping[str, Any]", facts).items() if key not in _OWN}
    if isinstance(kept.get("_node_content"), str):
        with contextlib.suppress(msgspec.MsgspecError):
            kept["_node_content"] = _facts(msgspec.json.decode(kept["_node_content"]))
    return kept
