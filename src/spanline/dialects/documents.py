"""Documents: what a retrieval found, in whatever shape a framework prints it; ids, scores and sources, never the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from spanline.dialects.coerce import MAX_NAME, number, text
from spanline.dialects.decode import decoded
from spanline.record.artifact import Document

MAX_DOCUMENTS = 1000

_LISTS = (
    "documents", "retrieved_documents", "source_nodes", "nodes", "points", "matches", "hits", "results", "result", "output", "outputs",
    "context", "value", "data",
)  # fmt: skip
"""Members that hold the list, where it is not the value itself."""
_INNER = ("document", "node", "kwargs", "chunk", "doc")
"""Members that hold the document, where the item wraps it (a score beside it)."""
_META = ("metadata", "meta", "payload", "extra_info")
_ID = ("id", "id_", "document_id", "doc_id", "node_id", "chunk_id", "uuid", "_id")
_SOURCE = ("source", "doc_uri", "source_uri", "uri", "url", "file_path", "file_name", "path")
_SCORE = ("score", "relevance_score", "similarity", "similarity_score", "distance")
_VERSION = ("version", "revision")

_decoder = msgspec.json.Decoder(tuple[Document, ...])


def documents(value: Any) -> tuple[Document, ...] | None:
    """Retrieved documents: ids, scores, source, version, digest; never their text.

    A document without id is called by its source; one without both is left out.

    Args:
        value: A list of documents, or JSON or Python text of one: the conventions' own form, and those of LangChain,
            LlamaIndex, Haystack, OpenInference, MLflow, Chroma and Qdrant.
    """
    if isinstance(value, str) and len(value) < 1 << 16 and value.isprintable():
        # As spanline's own operations write them, and many others; without escapes in it, what it holds is clean too.
        try:
            found = _decoder.decode(value)
        except msgspec.ValidationError:
            pass
        except msgspec.DecodeError:
            return _documents_of(value)
        else:
            if len(found) <= MAX_DOCUMENTS and "\\" not in value and all(0 < len(document.id) <= MAX_NAME for document in found):
                return found
    return _documents_of(value)


def _documents_of(value: Any) -> tuple[Document, ...] | None:
    items = _items(value, 4)
    if items is None:
        return None
    found: list[Document] = []
    for item in items[:MAX_DOCUMENTS]:
        document = _document(item)
        if document is not None:
            found.append(document)
    return tuple(found)


def _items(value: Any, depth: int) -> Sequence[Any] | None:
    if isinstance(value, str):
        value = decoded(value)
    if isinstance(value, (list, tuple)):
        items = cast(Sequence[Any], value)
        # A list of lists: one for each query.
        if items and depth and all(isinstance(item, list) and _all_mappings(cast(list[Any], item)) for item in items):
            return [item for inner in items for item in inner]
        return items
    if not isinstance(value, Mapping) or depth == 0:
        return None
    holder = cast(Mapping[str, Any], value)
    if isinstance(holder.get("ids"), (list, tuple)):
        return columns(holder)
    for name in _LISTS:
        if name in holder:
            items = _items(holder[name], depth - 1)
            if items is not None:
                return items
    return None


def _all_mappings(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) for item in items)


def columns(holder: Mapping[str, Any]) -> list[Any]:
    """A result in columns, as Chroma gives it: ids, distances, metadatas, each a list for each query."""
    columns = {"id": holder.get("ids"), "score": holder.get("distances"), "metadata": holder.get("metadatas")}
    flat: dict[str, list[Any]] = {}
    for name, column in columns.items():
        if isinstance(column, (list, tuple)):
            rows = cast(Sequence[Any], column)
            flat[name] = [item for row in rows for item in row] if rows and isinstance(rows[0], (list, tuple)) else list(rows)
    return [{name: column[at] for name, column in flat.items() if at < len(column)} for at in range(len(flat["id"]))]


def _document(raw: Any) -> Document | None:
    item = decoded(raw) if isinstance(raw, str) and raw.startswith(("{", "[")) else raw
    score = None
    if isinstance(item, (list, tuple)) and len(cast(Sequence[Any], item)) == 2:
        item, score = cast(Sequence[Any], item)
    if not isinstance(item, Mapping):
        return None
    places: list[Mapping[str, Any]] = [cast(Mapping[str, Any], item)]
    for name in _INNER:
        inner = places[0].get(name)
        inner = decoded(inner) if isinstance(inner, str) and inner.startswith("{") else inner
        if isinstance(inner, Mapping):
            places.append(cast(Mapping[str, Any], inner))
    for place in tuple(places):
        for name in _META:
            meta = place.get(name)
            meta = decoded(meta) if isinstance(meta, str) and meta.startswith(("{", '"')) else meta
            if isinstance(meta, Mapping):
                places.append(cast(Mapping[str, Any], meta))
    source = _said(places, _SOURCE)
    document_id = _said(places, _ID) or source
    if document_id is None:
        return None
    score = number(score)
    if score is None:
        score = next((found for place in places for name in _SCORE if (found := number(place.get(name))) is not None), None)
    digest = _said(places, ("digest",))
    return Document(document_id, score, source, _said(places, _VERSION), digest if digest and ":" in digest and " " not in digest else None)


def _said(places: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> str | None:
    for place in places:
        for name in names:
            value = place.get(name)
            # A text of several lines is no name of anything.
            if value is None or (isinstance(value, str) and ("\n" in value or len(value) > MAX_NAME)):
                continue
            found = text(value)
            if found is not None:
                return found
    return None
