"""`Index.from_lancedb` on real tables: the digest follows the rows, not the way they were written."""

from __future__ import annotations

import pytest

from spanline.errors import ConfigurationError
from spanline.record import lancedb as reading
from spanline.record.references import Corpus, Index

lancedb = pytest.importorskip("lancedb")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = [{"id": f"doc-{n}", "vector": [float(n), 2.0], "text": None if n == 3 else f"text {n}"} for n in range(20)]


@pytest.fixture
def db(tmp_path):
    return lancedb.connect(tmp_path / "a")


def test_name_version_and_digest(db):
    table = db.create_table("fees_corpus", ROWS)
    index = Index.from_lancedb(table, corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert (index.name, index.version) == ("fees_corpus", "1")
    assert index.digest is not None
    assert len(index.digest) == len("sha256:") + 64
    assert index == Index.from_lancedb(db.open_table("fees_corpus"), corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert [a.kind for a in index.artifacts()] == ["index", "corpus", "model"]


def test_the_same_rows_have_the_same_digest_however_written(db, tmp_path):
    once = db.create_table("t", ROWS)
    digest = Index.from_lancedb(once).digest
    pieces = lancedb.connect(tmp_path / "b").create_table("t", ROWS[:7])
    pieces.add(ROWS[7:15])
    pieces.add(ROWS[15:])
    assert pieces.version == 3
    assert Index.from_lancedb(pieces).digest == digest
    pieces.optimize()
    assert Index.from_lancedb(pieces).digest == digest


def test_a_silent_rebuild_shows_under_the_label_that_stayed(db):
    good = Index.from_lancedb(db.create_table("t", ROWS), version="commit:abc123")
    staging = [{**row, "text": "staging"} if row["id"] == "doc-5" else row for row in ROWS]
    bad = Index.from_lancedb(db.create_table("t", staging, mode="overwrite"), version="commit:abc123")
    assert good.ref == bad.ref
    assert good.digest != bad.digest
    for change in (ROWS[:-1], list(reversed(ROWS)), [{**row, "vector": [0.5, 2.0]} for row in ROWS]):
        assert Index.from_lancedb(db.create_table("t", change, mode="overwrite")).digest not in {good.digest, bad.digest}


def test_the_open_version_counts_and_its_tag_names_it(db):
    table = db.create_table("t", ROWS[:5])
    first = Index.from_lancedb(table)
    table.tags.create("prod", 1)
    table.tags.create("v7", 1)
    table.add(ROWS[5:])
    assert Index.from_lancedb(table).version == "2"
    table.checkout(1)
    tagged = Index.from_lancedb(table)
    assert (tagged.version, tagged.stage, tagged.digest) == ("v7", "prod", first.digest)


def test_a_large_table_is_known_by_its_manifest(db, monkeypatch, tmp_path):
    table = db.create_table("t", ROWS)
    content = Index.from_lancedb(table).digest
    monkeypatch.setattr(reading, "MAX_CONTENT_BYTES", 10)
    first = Index.from_lancedb(table).digest
    assert first not in {None, content}
    assert Index.from_lancedb(db.open_table("t")).digest == first
    table.add(ROWS[:1])
    second = Index.from_lancedb(table).digest
    assert second not in {None, first}
    monkeypatch.setattr(reading, "Path", lambda _: tmp_path / "elsewhere")  # no such folder: the list of versions is asked
    assert Index.from_lancedb(table).digest not in {None, first, second}


def test_an_empty_table(db):
    import pyarrow as pa

    table = db.create_table("t", schema=pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), 2))]))
    assert Index.from_lancedb(table).digest is not None


async def test_an_asynchronous_table_is_refused(tmp_path):
    connection = await lancedb.connect_async(tmp_path / "c")
    table = await connection.create_table("t", ROWS)
    with pytest.raises(ConfigurationError, match="asynchronous"):
        Index.from_lancedb(table)
