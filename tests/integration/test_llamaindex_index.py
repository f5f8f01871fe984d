"""`spanline.integrations.llamaindex.index_of` on LlamaIndex' real indexes, retrievers and query engines."""

from __future__ import annotations

import importlib
import uuid

import pytest

from spanline.errors import ConfigurationError
from spanline.integrations.llamaindex import index_of
from tests.requirements import require

for module in (
    "llama_index.core",
    "llama_index.vector_stores.chroma",
    "llama_index.vector_stores.qdrant",
    "chromadb",
    "qdrant_client",
    "faiss",
):
    require(f"module:{module.split('.')[0]}", "make test installs it")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

TEXTS = [f"text {n}" for n in range(12)]
KINDS = ["memory", "chroma", "qdrant", "faiss"]


@pytest.fixture(scope="module")
def core():
    return importlib.import_module("llama_index.core")


@pytest.fixture
def build(core, tmp_path):
    """`build(kind, texts)`: an index of LlamaIndex, filled by LlamaIndex."""

    class Embedding(importlib.import_module("llama_index.core.embeddings").MockEmbedding):
        """Another vector for another text."""

        def _get_text_embedding(self, text):
            return [float(len(text)), *(float(byte) for byte in text.encode()[-3:])]

    def store(kind):
        name = f"fees-{uuid.uuid4().hex[:8]}"
        if kind == "chroma":
            chromadb = importlib.import_module("chromadb")
            client = chromadb.PersistentClient(str(tmp_path / name), chromadb.Settings(anonymized_telemetry=False))
            collection = client.create_collection(name, embedding_function=None)
            return importlib.import_module("llama_index.vector_stores.chroma").ChromaVectorStore(chroma_collection=collection)
        if kind == "qdrant":
            client = importlib.import_module("qdrant_client").QdrantClient(":memory:")
            return importlib.import_module("llama_index.vector_stores.qdrant").QdrantVectorStore(client=client, collection_name=name)
        if kind == "faiss":
            index = importlib.import_module("faiss").IndexFlatL2(4)
            return importlib.import_module("llama_index.vector_stores.faiss").FaissVectorStore(faiss_index=index)
        return None

    def made(kind, texts=TEXTS):
        return core.VectorStoreIndex.from_documents(
            [core.Document(text=text, metadata={"page": text[-1]}) for text in texts],
            embed_model=Embedding(embed_dim=4, model_name="e5-small"),
            storage_context=core.StorageContext.from_defaults(vector_store=store(kind)),
        )

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_index_and_what_is_made_of_it(build, kind):
    made = build(kind)
    index = index_of(made, name="fees", version="v2", corpus="fees@2026-11-01")
    assert index.digest is not None
    assert [a.ref for a in index.artifacts()] == ["index:fees@v2", "corpus:fees@2026-11-01", "model:e5-small"]
    llm = importlib.import_module("llama_index.core.llms").MockLLM()
    for thing in (made.as_retriever(), made.as_query_engine(llm=llm), made.as_chat_engine(chat_mode="context", llm=llm)):
        assert index_of(thing, name="fees").digest == index.digest
    assert len(made.as_retriever(similarity_top_k=2).retrieve("text 3")) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_rebuild_of_the_same_texts_is_the_same_and_of_others_another(build, kind):
    first = index_of(build(kind), name="fees").digest
    assert index_of(build(kind), name="fees").digest == first
    assert index_of(build(kind, list(reversed(TEXTS))), name="fees").digest == first
    assert index_of(build(kind, [*TEXTS[:-1], "staging"]), name="fees").digest != first
    assert index_of(build(kind, TEXTS[:-1]), name="fees").digest != first


def test_names(build):
    assert index_of(build("chroma")).name.startswith("fees-")
    assert index_of(build("qdrant")).name.startswith("fees-")
    for kind in ("memory", "faiss"):
        with pytest.raises(ConfigurationError, match="has no name: give name="):
            index_of(build(kind))
    with pytest.raises(ConfigurationError, match="expected a VectorStoreIndex"):
        index_of({})
