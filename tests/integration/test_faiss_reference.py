"""`Index.from_faiss` on real indexes: the digest follows vectors and documents, not the order in which they were added."""

from __future__ import annotations

import importlib

import pytest

from spanline.errors import ConfigurationError
from spanline.record import faiss as reading
from spanline.record.references import Corpus, Index
from tests.requirements import require

require("module:faiss", "make test installs it")
faiss = importlib.import_module("faiss")
np = importlib.import_module("numpy")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

VECTORS = np.random.default_rng(7).random((200, 4)).astype("float32")
TEXTS = [f"text {n}" for n in range(200)]
KINDS = ["IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW8", "IVF2,Flat"]


def build(kind, order=None, vectors=VECTORS, metric=faiss.METRIC_L2):
    """An index; with `order`, added in that order with the numbers of the rows as ids."""
    index = faiss.index_factory(vectors.shape[1], kind, metric)
    index.train(VECTORS)
    if order is None:
        index.add(vectors)
    else:
        index.add_with_ids(vectors[order], np.array(order, dtype="int64"))
    return index


def digest(index, documents=None):
    return Index.from_faiss(index, "fees", documents=documents).digest


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_vectors_have_the_same_digest_in_whatever_order(kind):
    forwards, backwards = list(range(200)), list(reversed(range(200)))
    first = digest(build(kind, forwards))
    assert first is not None
    assert digest(build(kind, backwards)) == first
    assert digest(faiss.deserialize_index(faiss.serialize_index(build(kind, backwards)))) == first
    changed = VECTORS.copy()
    changed[5, 1] += 0.25
    others = {digest(build(kind, forwards, changed)), digest(build(kind, forwards[:-1])), digest(build(kind, [*forwards[:-1], 999 - 900]))}
    assert first not in others


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat"])
def test_documents_say_what_a_row_stands_for(kind):
    """The numbers of rows follow the order of adding: with documents they do not count."""
    order = list(reversed(range(200)))
    forwards, backwards = build(kind), build(kind, vectors=VECTORS[order])
    assert digest(forwards) != digest(backwards)
    first = digest(forwards, TEXTS)
    assert digest(backwards, [TEXTS[n] for n in order]) == first
    assert digest(backwards, {row: TEXTS[n] for row, n in enumerate(order)}) == first
    assert digest(forwards, [*TEXTS[:-1], "staging"]) != first
    assert digest(forwards, TEXTS[:-1]) != first


def test_the_metric_counts():
    assert digest(build("Flat")) != digest(build("Flat", metric=faiss.METRIC_INNER_PRODUCT))


@pytest.mark.parametrize("kind", ["SQ8", "IVF2,PQ2x4", "PCA2,Flat"])
def test_codes_count_as_a_whole(kind):
    index = build(kind)
    assert digest(index) == digest(faiss.deserialize_index(faiss.serialize_index(index)))
    changed = VECTORS.copy()
    changed[5] = 1 - changed[5]
    assert digest(index) != digest(build(kind, vectors=changed))
    assert digest(index, TEXTS) != digest(index, [*TEXTS[:-1], "staging"])


def test_reading_changes_nothing():
    index = build("IVF2,Flat", list(range(200)))
    before = bytes(memoryview(faiss.serialize_index(index)))
    digest(index)
    assert bytes(memoryview(faiss.serialize_index(index))) == before


def test_name_version_and_parts():
    index = Index.from_faiss(build("Flat"), "fees", version="v2", corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert index.ref == "index:fees@v2"
    assert [a.kind for a in index.artifacts()] == ["index", "corpus", "model"]
    assert Index.from_faiss(build("Flat"), "fees").version is None
    assert digest(faiss.IndexFlatL2(4)) is not None


def test_a_large_index_has_no_digest(monkeypatch):
    monkeypatch.setattr(reading, "MAX_CONTENT_BYTES", 100)
    assert digest(build("Flat")) is None


def test_what_is_no_index_is_said():
    with pytest.raises(ConfigurationError, match="expected a FAISS index, got dict"):
        Index.from_faiss({}, "fees")
