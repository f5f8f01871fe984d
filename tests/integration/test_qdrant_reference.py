"""`Index.from_qdrant` on real collections: the digest follows the points, not the order in which they were added."""

from __future__ import annotations

import importlib
import uuid

import pytest

from spanline.errors import ConfigurationError
from spanline.record import qdrant as reading
from spanline.record.references import Corpus, Index
from tests.requirements import require

require("module:qdrant_client", "make test installs it")
qdrant = importlib.import_module("qdrant_client")
models = importlib.import_module("qdrant_client.models")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

ROWS = [(n, [float(n), 0.1], {"text": f"text {n}", "page": n}) for n in range(25)]


@pytest.fixture
def client():
    made = qdrant.QdrantClient(":memory:")
    yield made
    made.close()


def fill(client, rows, name="", distance=models.Distance.DOT, **metadata):
    name = name or f"fees-{uuid.uuid4().hex[:8]}"
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=distance), metadata=metadata or None)
    for start in range(0, len(rows), 10):
        client.upsert(name, [models.PointStruct(id=i, vector=v, payload=p) for i, v, p in rows[start : start + 10]])
    return name


def digest(client, rows, **more):
    return Index.from_qdrant(client, fill(client, rows, **more)).digest


def test_name_version_and_digest(client):
    name = fill(client, ROWS, version="commit:abc123")
    index = Index.from_qdrant(client, name, corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert (index.name, index.version) == (name, "commit:abc123")
    assert index.digest is not None
    assert len(index.digest) == len("sha256:") + 64
    assert [a.kind for a in index.artifacts()] == ["index", "corpus", "model"]
    assert Index.from_qdrant(client, name, name="fees_corpus", version="v2").ref == "index:fees_corpus@v2"


def test_the_same_points_have_the_same_digest_in_whatever_order(client, monkeypatch):
    first = digest(client, ROWS)
    assert digest(client, list(reversed(ROWS))) == first
    monkeypatch.setattr(reading, "_PAGE", 7)
    assert digest(client, ROWS) == first


def test_a_silent_rebuild_shows_under_the_version_that_stayed(client):
    changes = {
        "none": ROWS,
        "text": [*ROWS[:-1], (24, [24.0, 0.1], {"text": "staging", "page": 24})],
        "vector": [*ROWS[:-1], (24, [24.5, 0.1], {"text": "text 24", "page": 24})],
        "id": [*ROWS[:-1], (99, [24.0, 0.1], {"text": "text 24", "page": 24})],
        "fewer": ROWS[:-1],
    }
    digests = {digest(client, rows, version="v1") for rows in changes.values()}
    assert len({*digests, digest(client, ROWS, distance=models.Distance.EUCLID)}) == len(changes) + 1


def test_ids_drawn_by_chance_are_no_content(client):
    first, second = ([(str(uuid.uuid4()), vector, payload) for _, vector, payload in ROWS] for _ in range(2))
    assert digest(client, first) == digest(client, second)
    named = [(str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))), vector, payload) for n, vector, payload in ROWS]
    assert digest(client, named) != digest(client, first)


def test_the_version_of_an_alias_is_the_collection_behind_it(client):
    for build in ("fees-1", "fees-2"):
        fill(client, ROWS[:3], build)
        client.update_collection_aliases(
            [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=build, alias_name="fees"))]
        )
        index = Index.from_qdrant(client, "fees")
        assert index.ref == f"index:fees@{build}"
    assert index.digest == Index.from_qdrant(client, "fees-1").digest


@pytest.mark.internal_errors
def test_who_may_not_list_aliases_has_a_digest_all_the_same(client, monkeypatch):
    name = fill(client, ROWS)
    digest = Index.from_qdrant(client, name).digest
    monkeypatch.setattr(client, "get_aliases", lambda: 1 / 0)
    assert Index.from_qdrant(client, name).digest == digest


def test_an_alias_word_is_a_stage_and_no_version_is_no_guess(client):
    index = Index.from_qdrant(client, fill(client, ROWS[:2], version="latest"))
    assert (index.version, index.stage) == (None, "latest")
    assert Index.from_qdrant(client, fill(client, ROWS[:2])).version is None


def test_named_sparse_and_multiple_vectors(client):
    def build(name, weight):
        client.create_collection(
            name,
            vectors_config={
                "a": models.VectorParams(size=2, distance=models.Distance.DOT),
                "many": models.VectorParams(
                    size=2, distance=models.Distance.DOT,
                    multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                ),
            },
            sparse_vectors_config={"s": models.SparseVectorParams()},
        )  # fmt: skip
        sparse = models.SparseVector(indices=[3, 1], values=[weight, 0.2])
        client.upsert(name, [models.PointStruct(id=1, vector={"a": [1, 2], "many": [[1, 2], [3, 4]], "s": sparse})])
        return Index.from_qdrant(client, name).digest

    assert build("one", 0.1) == build("two", 0.1)
    assert build("three", 0.3) != build("four", 0.1)


def test_a_large_collection_has_no_digest(client, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROWS", 5)
    assert digest(client, ROWS) is None


def test_what_is_no_collection_is_said(client):
    with pytest.raises(ConfigurationError, match="expected a Qdrant client, got dict"):
        Index.from_qdrant({}, "fees")
    with pytest.raises(ConfigurationError, match="'nope' cannot be read"):
        Index.from_qdrant(client, "nope")
    with pytest.raises(ConfigurationError, match="asynchronous"):
        Index.from_qdrant(qdrant.AsyncQdrantClient(":memory:"), "fees")
