"""The ledger's database, SQLite and PostgreSQL: migrations, old data, lost connections, several hosts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from spanline.errors import LedgerError
from spanline.ledger import Ledger, database
from spanline.ledger.database import Database
from spanline.ledger.migrations import upgrade
from spanline.ledger.schema import metadata
from spanline.record.run import Evaluation
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, end, foreign, index, request, start


def test_migrations_make_the_tables_of_the_schema(ledger_url):
    opened = Database(ledger_url)
    with opened.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": upgrade.TABLE})
        # Comments are for who reads the code.
        differences = [entry for entry in compare_metadata(context, metadata) if entry[0][0] != "modify_comment"]
        assert differences == []
        assert context.get_current_revision() == upgrade.NEWEST
    opened.close()


def test_old_data_is_migrated(ledger_url):
    ledger = Ledger.open(ledger_url)
    ledger.ingest([foreign(-9, [("s3://lake", "fees")], [("corpora", "fees")]), end(build(0, [CORPUS], [index()]))])
    ledger.ingest(
        [
            end(request(second, outcome="FAIL" if second % 2 else "COMPLETE", evaluations=[Evaluation(name="faithfulness", passed=True)]))
            for second in range(1, 6)
        ]
    )
    questions = [lambda: ledger.impact("corpus:fees"), lambda: ledger.impact("s3://lake/fees"), lambda: ledger.lastgood(request().job)]
    before = [ask() for ask in questions]
    with ledger._database.write() as connection:
        # As version 1 left it.
        for table in ("uses", "derivations", "statics"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        made = (
            "evaluations_judged",
            "releases_in_conflict",
            "runs_blocked",
            "artifacts_by_dataset",
            "releases_by_service",
            "releases_by_repository",
        )
        for name in made:
            connection.exec_driver_sql(f"DROP INDEX {name}")
        for column in ("job", "release"):
            connection.exec_driver_sql(f"ALTER TABLE evaluations DROP COLUMN {column}")
        connection.exec_driver_sql("CREATE INDEX artifacts_by_dataset ON artifacts (namespace, name)")
        connection.exec_driver_sql(f"UPDATE {upgrade.TABLE} SET version_num = '0001'")
    ledger.close()
    ledger = Ledger.open(ledger_url)
    assert [ask() for ask in questions] == before
    assert before[0]["runs"]["count"] == 6
    ledger.ingest([end(request(10))])
    assert ledger.impact("corpus:fees")["runs"]["count"] == 7
    ledger.close()


def test_a_ledger_from_a_newer_version_or_of_something_else_is_not_touched(ledger_url, postgres):
    ledger = Ledger.open(ledger_url)
    with ledger._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {upgrade.TABLE} SET version_num = '0099'")
    ledger.close()
    with pytest.raises(LedgerError, match=r"newer version.*upgrade spanline"):
        Ledger.open(ledger_url)
    other = postgres.url(postgres.create())
    engine = create_engine(other.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE runs (run_uuid TEXT)"))
    engine.dispose()
    with pytest.raises(LedgerError, match="not spanline's") as caught:
        Ledger.open(other)
    assert "spanline:spanline@" not in str(caught.value)


@pytest.fixture
def on_postgresql(postgres, ledger_template) -> Any:
    name = f"lost_{ledger_template}"
    postgres.psql("postgres", f"DROP DATABASE IF EXISTS {name}")
    postgres.psql("postgres", f"CREATE DATABASE {name} TEMPLATE {ledger_template}")
    ledger = Ledger.open(postgres.url(name))
    yield ledger, name
    ledger.close()


@pytest.mark.parametrize(("moment", "beginning"), [("before", "SELECT"), ("before", "WITH write_"), ("after", "WITH write_")])
def test_a_connection_lost_in_mid_transaction_leaves_nothing_half_written(on_postgresql, postgres, moment, beginning):
    ledger, name = on_postgresql
    ledger.ingest([end(request(0))])
    before = postgres.psql(name, "SELECT count(*) FROM runs")
    batch = [end(request(second)) for second in range(1, 30)]

    def cut(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(beginning):
            postgres.psql("postgres", f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")

    event.listen(Engine, f"{moment}_cursor_execute", cut)
    try:
        with pytest.raises(LedgerError, match="does not answer"):
            ledger.ingest(batch)
    finally:
        event.remove(Engine, f"{moment}_cursor_execute", cut)
    for counted in ("runs", "events"):
        assert postgres.psql(name, f"SELECT count(*) FROM {counted}") == before
    # The same ledger goes on by itself, and the batch is whole when it comes again.
    assert ledger.ingest(batch).accepted == len(batch)
    assert int(postgres.psql(name, "SELECT count(*) FROM runs")) == int(before) + len(batch)
    assert ledger.impact("prompt:fees@v7", limit=1)["runs"]["count"] == 30


def test_a_connection_that_died_while_nobody_asked_is_replaced(on_postgresql, postgres, monkeypatch):
    ledger, name = on_postgresql
    ledger.ingest([end(request(0))])
    postgres.psql("postgres", f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
    # As if it had rested for longer.
    monkeypatch.setattr(database, "ASK_AFTER_S", 0.0)
    assert ledger.ingest([end(request(1))]).accepted == 1
    assert len(ledger.runs()["items"]) == 2


def test_several_hosts_write_the_same_runs(ledger_url, tmp_path):
    ledger = Ledger.open(ledger_url)
    events = tmp_path / "events"
    records = [request(second, *([] if second % 5 else [index("c2", f"c{second % 2}"), PROMPT, MODEL])) for second in range(150)]
    events.write_bytes(b"\n".join(line for record in records for line in (start(record), end(record))))
    code = (
        "import random, sys; from spanline.ledger import Ledger; l = Ledger.open(sys.argv[1]); lines = open(sys.argv[2], 'rb').read().split(b'\\n')\n"
        "random.Random(int(sys.argv[3])).shuffle(lines)\nfor first in range(0, 300, 20): l.ingest(lines[first:first + 20])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, ledger_url, str(events), str(number)]) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert ledger.stats()["runs"] == 150
    assert ledger.runs(outcome="RUNNING")["items"] == []
    assert ledger.ingest(events.read_bytes().split(b"\n")).accepted == 0
    found = ledger.impact("prompt:fees@v7", limit=1)
    assert found["runs"]["count"] == sum(entry["runs"] for entry in found["releases"]) == 150
    ledger.close()


def test_an_unreachable_postgresql_is_said_without_its_password(postgres):
    url = postgres.url("nothing_here").replace(f":{postgres.port}/", ":1/")
    with pytest.raises(LedgerError, match="does not answer") as caught:
        Ledger.open(url)
    assert ":spanline@" not in str(caught.value)
