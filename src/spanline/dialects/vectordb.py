"""Vector databases: client spans of OpenLLMetry, OpenLIT and others, by the database conventions."""

from __future__ import annotations

from spanline.dialects.coerce import count, identifier, locator, number, text
from spanline.dialects.genai import EVENTS
from spanline.dialects.table import Dialect, EventTable, Row, events_of

_OPENLLMETRY = "seen in opentelemetry-instrumentation-chromadb and -qdrant 0.62.4"
_OPENLIT = "seen in openlit 1.45.0"
_READ = "read in opentelemetry-instrumentation-pinecone, -milvus, -weaviate, -lancedb, -marqo 0.62.4"

_READS = ("query", "search", "get", "fetch", "scroll", "recommend", "retrieve", "discover", "hybrid_search", "query_points", "knn")
_WRITES = (
    "add", "insert", "upsert", "update", "delete", "create_collection", "delete_collection", "upload_points", "upload_collection", "modify",
    "overwrite_payload", "set_payload", "delete_payload", "update_vectors", "delete_vectors", "put", "merge", "upload_records",
)  # fmt: skip
_KINDS = {
    **dict.fromkeys(_READS, "retrieval"),
    **{f"*.{word}": "retrieval" for word in _READS},
    **{f"*.{word}*": "retrieval" for word in ("query", "search")},
    "*": "other",
}


def _written(value: object) -> bool | None:
    word = value.lower().rpartition(".")[2] if isinstance(value, str) else ""
    return True if word in _WRITES or word.startswith(("upsert", "upload", "insert", "delete", "create")) else None


_COLLECTIONS = tuple(
    f"qdrant.{call}.collection_name"
    for call in (
        "search",
        "search_batch",
        "query",
        "query_points",
        "upsert",
        "upload_points",
        "recommend",
        "discover",
        "scroll",
        "retrieve",
    )
)
_ROWS = (
    Row("operation", ("db.operation.name", "db.operation"), text, f"{_OPENLIT}; the second {_OPENLLMETRY}"),
    Row("operation", ("S:name",), identifier, _OPENLLMETRY),
    Row("index_written", ("db.operation.name", "db.operation", "S:name"), _written, f"{_OPENLIT}; the others {_OPENLLMETRY}"),
    Row("index_name", ("db.collection.name",), lambda value: None if value == "unknown" else locator(value), _OPENLIT),
    Row("index_name", _COLLECTIONS[:1], locator, _OPENLLMETRY),
    Row("index_name", _COLLECTIONS[1:], locator, _OPENLLMETRY),
    Row("index_name", ("db.milvus.search.collection_name", "db.milvus.query.collection_name"), locator, _READ, documented=True),
    Row("index_name", ("db.milvus.insert.collection_name", "db.milvus.upsert.collection_name"), locator, _READ, documented=True),
    Row("index_name", ("pinecone.query.namespace", "db.marqo.search.index_name", "gen_ai.data_source.id"), locator, _READ, documented=True),
    Row("retriever_name", ("db.system.name", "db.system"), lambda value: value.lower() if identifier(value) else None, _OPENLIT),
    Row("retrieval_top_k", ("db.vector.query.top_k", "db.chroma.query.n_results"), count, _OPENLLMETRY),
    Row("hits", ("db.response.returned_rows",), count, _OPENLIT, kinds=("retrieval",)),
    Row("error_type", ("error.type",), identifier, _READ, documented=True),
)
_RESULT = events_of(
    "fields",
    Row("documents.id", ("db.query.result.id", "id", "db.search.result.id"), text, _OPENLLMETRY),
    Row(
        "documents.score",
        ("db.query.result.distance", "db.query.result.score", "distance", "score", "db.search.result.distance"),
        number,
        _OPENLLMETRY,
    ),
    Row("documents.metadata", ("db.query.result.metadata", "metadata"), text, _OPENLLMETRY),
)
_SYSTEMS = (
    "chroma", "chromadb", "qdrant", "Qdrant", "pinecone", "Pinecone", "milvus", "Milvus", "weaviate", "Weaviate", "lancedb", "marqo", "Marqo",
    "astra", "faiss", "pgvector", "vespa", "turbopuffer",
)  # fmt: skip
_EVENTS: dict[str, EventTable] = {**EVENTS, "db.query.result": _RESULT, "db.search.result": _RESULT}

VECTORS = Dialect(
    "vector_database",
    markers=(
        *(f"db.system={system}" for system in _SYSTEMS),
        *(f"db.system.name={system}" for system in _SYSTEMS),
        "gen_ai.operation.name=vectordb",
    ),
    kinds=_KINDS,
    rows=_ROWS,
    priority=58,
    events=_EVENTS,
)  # fmt: skip

DIALECTS = (VECTORS,)
