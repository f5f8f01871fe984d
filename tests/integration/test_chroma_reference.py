"""`Index.from_chroma` on real collections: the digest follows the rows, not the order in which they were added."""

from __future__ import annotations

import importlib
import uuid

import pytest

from spanline.errors import ConfigurationError
from spanline.record import chroma as reading
from spanline.record.references import Corpus, Index
from tests.requirements import require

require("module:chromadb", "make test installs it")
chromadb = importlib.import_module("chromadb")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

ROWS = [(f"doc-{n}", [float(n), 0.1], f"text {n}", {"page": n}) for n in range(25)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return chromadb.PersistentClient(str(tmp_path_factory.mktemp("chroma")), chromadb.Settings(anonymized_telemetry=False))


@pytest.fixture
def collection(client):
    def make(rows, **metadata):
        made = client.create_collection(f"fees-{uuid.uuid4().hex[:8]}", metadata=metadata or None, embedding_function=None)
        for start in range(0, len(rows), 10):
            ids, vectors, texts, facts = zip(*rows[start : start + 10], strict=True)
            made.add(ids=list(ids), embeddings=list(vectors), documents=list(texts), metadatas=list(facts))
        return made

    return make


def test_name_version_and_digest(collection):
    made = collection(ROWS, version="commit:abc123")
    index = Index.from_chroma(made, corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert (index.name, index.version) == (made.name, "commit:abc123")
    assert index.digest is not None
    assert len(index.digest) == len("sha256:") + 64
    assert [a.kind for a in index.artifacts()] == ["index", "corpus", "model"]
    assert Index.from_chroma(made, name="fees_corpus", version="v2").ref == "index:fees_corpus@v2"


def test_the_same_rows_have_the_same_digest_in_whatever_order(collection, monkeypatch):
    digest = Index.from_chroma(collection(ROWS)).digest
    assert Index.from_chroma(collection(list(reversed(ROWS)))).digest == digest
    monkeypatch.setattr(reading, "_PAGE", 7)
    assert Index.from_chroma(collection(ROWS)).digest == digest


def test_ids_drawn_by_chance_are_no_content(collection):
    first, second = ([(str(uuid.uuid4()), *rest) for _, *rest in ROWS] for _ in range(2))
    assert Index.from_chroma(collection(first)).digest == Index.from_chroma(collection(second)).digest


def test_a_silent_rebuild_shows_under_the_version_that_stayed(collection):
    good = Index.from_chroma(collection(ROWS, version="v1"), name="fees")
    changes = {
        "text": [*ROWS[:-1], ("doc-24", [24.0, 0.1], "staging", {"page": 24})],
        "vector": [*ROWS[:-1], ("doc-24", [24.5, 0.1], "text 24", {"page": 24})],
        "metadata": [*ROWS[:-1], ("doc-24", [24.0, 0.1], "text 24", {"page": 25})],
        "fewer": ROWS[:-1],
    }
    digests = {what: Index.from_chroma(collection(rows, version="v1"), name="fees").digest for what, rows in changes.items()}
    assert len({good.digest, *digests.values()}) == 5


def test_an_alias_is_a_stage_and_no_version_is_no_guess(collection):
    index = Index.from_chroma(collection(ROWS[:2], version="latest"))
    assert (index.version, index.stage) == (None, "latest")
    assert Index.from_chroma(collection(ROWS[:2])).version is None


def test_a_large_collection_has_no_digest(collection, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROWS", 5)
    assert Index.from_chroma(collection(ROWS)).digest is None


def test_what_is_no_collection_is_said():
    with pytest.raises(ConfigurationError, match="expected a Chroma collection, got dict"):
        Index.from_chroma({})
