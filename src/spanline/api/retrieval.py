"""Retrieval and rerank by hand: which index, which documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any, cast
from uuid import UUID

import msgspec
from opentelemetry.trace import SpanKind

import spanline.semconv as s
from spanline._guard import report
from spanline.api.operation import Operation, current_sink
from spanline.dialects.coerce import MAX_DOCUMENTS, number, text
from spanline.dialects.documents import columns
from spanline.record.artifact import Document
from spanline.record.redact import clean_id
from spanline.record.references import Index, Model

_encode = msgspec.json.Encoder().encode
_SOURCE = ("source", "file_path", "file_name", "url", "uri")


class Retrieval(Operation):
    """One search in an index, or one rerank; made by `retrieval()` and `rerank()`."""

    _found: tuple[Document, ...] = ()
    _hits = 0

    def documents(self, found: Iterable[Any] | Mapping[str, Any] | None) -> None:
        """Record the documents that were found, best first; a further call adds to them.

        Args:
            found: Ids, `(id, score)` pairs, mappings with `id`, `score`, `source`, `version`, `digest`, or documents of LangChain and
                LlamaIndex; also one of these alone, or a result in columns as Chroma gives it. Texts are never kept: of LangChain and
                LlamaIndex documents a keyed digest of the text is.

        Raises:
            Nothing of its own; what the iterable raises passes.
        """
        items = _items(found)
        try:
            sink = current_sink()
            digest = sink.digest if sink is not None else _withheld
            documents = [document for item in items[:MAX_DOCUMENTS] if (document := _document(item, digest)) is not None]
            self._found = (*self._found, *documents)[:MAX_DOCUMENTS]
            self._hits += len(items)
            self.attributes({s.HITS: self._hits, s.DOCUMENTS: _encode(self._found).decode()})
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("api.documents", error)

    def hits(self, count: int) -> None:
        """Record the number of documents found, where their ids are not known."""
        self.attributes({s.HITS: count})

    def _returned(self, result: Any) -> None:
        if isinstance(result, (list, tuple)):
            self.documents(cast("list[Any]", result))


def retrieval(index: Index | str | None = None, *, top_k: int | None = None, provider: str | None = None) -> Retrieval:
    """A retrieval: `with retrieval(INDEX, top_k=3) as found: found.documents(…)`.

    Args:
        index: An `Index` reference with version and digest, or its name.
        top_k: How many documents were asked for.
        provider: The vector store, e.g. `lancedb`.

    Source: OpenTelemetry GenAI semantic conventions, retrieval span.
    """
    return _search("retrieval", "retrieval", index, top_k, provider)


def rerank(model: Model | str | None = None, *, top_k: int | None = None, provider: str | None = None) -> Retrieval:
    """A rerank of documents by a model."""
    name = model.name if isinstance(model, Model) else model
    attributes = {
        s.REQUEST_MODEL: name,
        s.TOP_K: top_k,
        s.PROVIDER_NAME: provider,
        s.SPANLINE_ARTIFACTS: model.encoded if isinstance(model, Model) else None,
    }
    return Retrieval("rerank", "rerank", name, attributes, span_kind=SpanKind.CLIENT)


def _search(kind: str, word: str, index: Index | str | None, top_k: int | None, provider: str | None) -> Retrieval:
    attributes: dict[str, Any] = {s.TOP_K: top_k, s.PROVIDER_NAME: provider}
    name = index
    if isinstance(index, Index):
        name = index.name
        attributes[s.INDEX_VERSION] = index.version
        attributes[s.INDEX_DIGEST] = index.digest
        attributes[s.SPANLINE_ARTIFACTS] = index.encoded
    attributes[s.DATA_SOURCE_ID] = name
    return Retrieval(kind, word, str(name) if name else None, attributes, span_kind=SpanKind.CLIENT)


def _items(found: Any) -> list[Any]:
    """What was found as a list. One document alone is one: a string would come apart into its letters, a mapping into its keys."""
    if isinstance(found, Mapping):
        holder = cast("Mapping[str, Any]", found)
        return columns(holder) if isinstance(holder.get("ids"), (list, tuple)) else [holder]
    if isinstance(found, (str, bytes)) or hasattr(found, "page_content") or hasattr(found, "node_id") or hasattr(found, "node"):
        return [found]
    return list(found) if hasattr(found, "__iter__") or hasattr(found, "__getitem__") else [] if found is None else [found]


def _withheld(_value: str) -> str:
    return "withheld"


def _document(item: Any, digest: Callable[[str], str]) -> Document | None:
    score: Any = None
    if isinstance(item, (tuple, list)) and item:
        parts = cast("tuple[Any, ...]", item)
        item, score = parts[0], (parts[1] if len(parts) > 1 else None)
    if isinstance(item, str) and isinstance(score, float):
        # The ordinary case: an id that is a short name, and a score.
        identifier = text(item)
        if identifier is None:
            return None
        return Document(clean_id(identifier, digest), float(score) if isfinite(score) else None)
    if isinstance(item, Mapping):
        entry = cast(Mapping[str, Any], item)
        score = score if score is not None else entry.get("score")
        return _made(entry.get("id", entry.get("source")), score, entry.get("source"), entry.get("version"), entry.get("digest"), digest)
    if isinstance(item, (str, Integral, UUID)):
        return _made(item, score, None, None, None, digest)
    thing = cast(Any, item)
    node = getattr(thing, "node", thing)
    content = getattr(node, "page_content", None) or getattr(node, "text", None)
    metadata = getattr(node, "metadata", None) or getattr(node, "payload", None)
    facts = cast(Mapping[str, Any], metadata) if isinstance(metadata, Mapping) else cast(Mapping[str, Any], {})
    score = score if score is not None else getattr(thing, "score", None)
    name = getattr(node, "id", None) or getattr(node, "node_id", None) or getattr(node, "id_", None) or facts.get("id")
    text_digest = digest(content) if isinstance(content, str) and content else None
    source = next((facts[key] for key in _SOURCE if facts.get(key)), None)
    return _made(name or text_digest, score, source, facts.get("version"), facts.get("digest") or text_digest, digest)


def _made(name: Any, score: Any, source: Any, version: Any, content_digest: Any, digest: Callable[[str], str]) -> Document | None:
    identifier = text(str(name) if isinstance(name, (Integral, UUID)) else name)
    if identifier is None:
        return None
    where = text(source)
    # Scores come as numpy's numbers, too.
    score = float(score) if isinstance(score, Real) else score
    return Document(
        clean_id(identifier, digest), number(score), clean_id(where, digest) if where else None, text(version), text(content_digest)
    )
