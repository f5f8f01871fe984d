"""`spanline.integrations.langchain.index_of` on LangChain's real vector stores and retrievers."""

from __future__ import annotations

import importlib
import json
import uuid

import pytest

import spanline
from spanline.errors import ConfigurationError
from spanline.integrations.langchain import index_of
from spanline.record.references import Index
from tests.requirements import require

for module in ("langchain_core", "langchain_chroma", "langchain_qdrant", "langchain_community", "faiss", "lancedb"):
    require(f"module:{module}", "make test installs it")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

TEXTS = [f"text {n}" for n in range(12)]


@pytest.fixture(scope="module")
def embeddings():
    fake = importlib.import_module("langchain_core.embeddings").DeterministicFakeEmbedding

    class Embeddings(fake):
        model: str = "e5-small"

    return Embeddings(size=4)


@pytest.fixture
def build(tmp_path, embeddings):
    """`build(kind, texts)`: a store of LangChain, filled by LangChain."""

    def made(kind, texts=TEXTS, **more):
        name = f"fees-{uuid.uuid4().hex[:8]}"
        if kind == "chroma":
            chromadb = importlib.import_module("chromadb")
            client = chromadb.PersistentClient(str(tmp_path / name), chromadb.Settings(anonymized_telemetry=False))
            cls, more = importlib.import_module("langchain_chroma").Chroma, {"collection_name": name, "client": client, **more}
        elif kind == "qdrant":
            cls = importlib.import_module("langchain_qdrant").QdrantVectorStore
            more = {"location": ":memory:", "collection_name": name, **more}
        elif kind == "faiss":
            cls = importlib.import_module("langchain_community.vectorstores").FAISS
        else:
            cls = importlib.import_module("langchain_community.vectorstores").LanceDB
            store = cls(uri=str(tmp_path / name), table_name=name, embedding=embeddings)
            store.add_texts(texts, [{"page": text[-1]} for text in texts], [f"doc-{text}" for text in texts])
            return store
        return cls.from_texts(texts, embeddings, [{"page": text[-1]} for text in texts], **more)

    return made


@pytest.mark.parametrize("kind", ["chroma", "qdrant", "faiss", "lancedb"])
def test_the_index_of_a_store_and_of_a_retriever_on_it(build, kind):
    store = build(kind)
    index = index_of(store, name="fees", version="v2", corpus="fees@2026-11-01")
    assert isinstance(index, Index)
    assert index.digest is not None
    assert [a.ref for a in index.artifacts()] == ["index:fees@v2", "corpus:fees@2026-11-01", "model:e5-small"]
    assert index_of(store.as_retriever(search_kwargs={"k": 2}), name="fees", version="v2").digest == index.digest
    assert [document.page_content for document in store.similarity_search("text 3", k=1)] == ["text 3"]


@pytest.mark.parametrize("kind", ["chroma", "qdrant", "faiss", "lancedb"])
def test_a_rebuild_of_the_same_texts_is_the_same_and_of_others_another(build, kind):
    first = index_of(build(kind), name="fees").digest
    assert index_of(build(kind), name="fees").digest == first
    if kind != "lancedb":
        assert index_of(build(kind, list(reversed(TEXTS))), name="fees").digest == first
    assert index_of(build(kind, [*TEXTS[:-1], "staging"]), name="fees").digest != first
    assert index_of(build(kind, TEXTS[:-1]), name="fees").digest != first


@pytest.mark.parametrize("kind", ["chroma", "qdrant", "lancedb"])
def test_the_name_is_the_stores_own(build, kind):
    assert index_of(build(kind)).name.startswith("fees-")


def test_a_retriever_around_a_retriever(build):
    store = build("qdrant")
    core = importlib.import_module("langchain_core.retrievers")

    class Compressing(core.BaseRetriever):
        base_retriever: core.BaseRetriever  # pyright: ignore[reportInvalidTypeForm]

        def _get_relevant_documents(self, query, *, run_manager):
            return self.base_retriever.invoke(query)

    assert index_of(Compressing(base_retriever=store.as_retriever())) == index_of(store)


def test_it_is_the_index_of_a_run(build, tmp_path):
    store = build("faiss")
    index = index_of(store, name="fees", version="v2")
    runtime = spanline.configure(service="svc", home=str(tmp_path / "home"), relay="off")
    try:
        with spanline.retrieval(index, top_k=2, provider="faiss") as found:
            found.documents(store.as_retriever(search_kwargs={"k": 2}).invoke("text 3"))
    finally:
        assert runtime.close(10)
    (line,) = [line for file in (tmp_path / "home").rglob("*.ndjson") for line in file.read_text().splitlines() if "eventType" in line]
    event = json.loads(line)
    (used,) = [entry for entry in event["inputs"] if entry["namespace"] == "indexes"]
    assert used["name"] == "fees@v2"
    assert used["facets"]["spanline_artifact"]["digest"] == index.digest
    assert len(used["inputFacets"]["spanline_retrieval"]["documents"]) == 2
    assert "text 3" not in line


def test_what_is_not_known_is_said(build, embeddings):
    with pytest.raises(ConfigurationError, match="a FAISS index has no name"):
        index_of(build("faiss"))
    with pytest.raises(ConfigurationError, match="expected a vector store or a retriever on one, got dict"):
        index_of({})
    memory = importlib.import_module("langchain_core.vectorstores").InMemoryVectorStore(embeddings)
    with pytest.raises(ConfigurationError, match="InMemoryVectorStore is not known"):
        index_of(memory)
