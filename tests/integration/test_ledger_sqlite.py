"""The ledger's file: made, migrated, damaged, locked, forked, shared between processes; and no question that reads all of it."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_mock_engine, event
from sqlalchemy.engine import Engine

from spanline.errors import ConfigurationError, LedgerError, MissingExtra
from spanline.ledger import Ledger
from spanline.ledger.database import Database
from spanline.ledger.migrations import upgrade
from spanline.ledger.schema import metadata
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, child_of, end, foreign, index, request, start

MIGRATIONS = Path(upgrade.__file__).parent


def opened(path: Path, **limits: Any) -> Ledger:
    return Ledger.open(f"sqlite:///{path}", **limits)


def test_migrations_make_the_tables_of_the_schema(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/a/b/ledger.db")
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": upgrade.TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == upgrade.NEWEST
    database.close()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == upgrade.NEWEST


def test_every_table_has_a_twin_in_postgresql():
    made: list[str] = []
    engine = create_mock_engine("postgresql://", lambda statement, *_, **__: made.append(str(statement.compile(dialect=engine.dialect))))
    metadata.create_all(engine, checkfirst=False)
    text = "\n".join(made)
    assert "ROWID" not in text
    assert "BIGINT" in text
    assert text.count("CREATE TABLE") == len(metadata.tables)
    assert "WHERE conflicts > 0" in text


def test_a_ledger_is_for_its_owner_alone_and_opens_fast_again(tmp_path):
    opened(tmp_path / "ledger.db").close()
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600
    code = "import sys; from spanline.ledger import Ledger; Ledger.open(sys.argv[1]).close(); assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path}/ledger.db"], check=True, timeout=30)


def test_a_ledger_from_a_newer_version_is_not_touched(tmp_path):
    path = tmp_path / "ledger.db"
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {upgrade.TABLE} SET version_num = '0099'")
    connection.close()
    for recover in (False, True):
        with pytest.raises(LedgerError, match=r"newer version.*upgrade spanline"):
            opened(path, recover=recover)
    assert path.exists()


def test_a_database_of_something_else_is_not_touched(tmp_path):
    path = tmp_path / "mlruns.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT)")
    connection.close()
    with pytest.raises(LedgerError, match="not spanline's"):
        opened(path)


@pytest.mark.parametrize("damage", ["all", "head", "middle"])
def test_a_corrupt_file_is_named_and_can_be_moved_aside(tmp_path, damage):
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    records = [request(second) for second in range(50)]
    ledger.ingest([end(record) for record in records])
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "all":
            file.truncate()
            file.write(b"this is no database " * 500)
        else:
            file.seek(0 if damage == "head" else 8192)
            file.write(os.urandom(4096 if damage == "head" else size - 8192))
    with pytest.raises(LedgerError, match=rf"{path} is corrupt.*recover=True"):
        opened(path)
    ledger = opened(path, recover=True)
    assert ledger.moved is not None
    assert re.fullmatch(r"ledger\.db\.corrupt-\d{8}T\d+Z", ledger.moved.name)
    assert ledger.moved.exists()
    assert ledger.ingest([end(records[0])]).accepted == 1
    ledger.close()


def test_a_sound_file_is_not_moved_aside(tmp_path):
    record = request()
    ledger = opened(tmp_path / "ledger.db")
    ledger.ingest([end(record)])
    ledger.close()
    ledger = opened(tmp_path / "ledger.db", recover=True)
    assert ledger.moved is None
    assert ledger.run(record.run_id) is not None
    ledger.close()


def test_damage_that_shows_later_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    records = [request(second) for second in range(300)]
    ledger.ingest([end(record) for record in records])
    ledger.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(path.stat().st_size // 2))
    # As with a file that is too large to be checked whole.
    monkeypatch.setattr("spanline.ledger.database.CHECKED_BYTES", 0)
    ledger = opened(path)
    with pytest.raises(LedgerError, match=r"corrupt.*recover=True"):
        for record in records:
            ledger.run(record.run_id)
    with pytest.raises(LedgerError, match=r"corrupt.*recover=True"):
        for second in range(300):
            ledger.ingest([end(request(second))])
    ledger.close()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="SPANLINE_STATE"):
        opened(tmp_path / "file" / "ledger.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(LedgerError, match=r"folder\.db"):
        opened(tmp_path / "folder.db")


@pytest.mark.parametrize("url", ["ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://localhost/x", "", "http://x"])
def test_what_is_no_url_of_a_ledger_is_said(url):
    with pytest.raises(ConfigurationError, match="ledger"):
        Ledger.open(url)


def test_postgresql_without_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"spanline\[postgres\]"):
        Ledger.open("postgresql://localhost/x")


def test_a_killed_writer_leaves_whole_batches(tmp_path):
    ledger = opened(tmp_path / "ledger.db")
    events = tmp_path / "events"
    events.write_bytes(b"\n".join(end(request(second)) for second in range(2000)))
    code = (
        "import sys; from spanline.ledger import Ledger; l = Ledger.open(sys.argv[1]); lines = open(sys.argv[2], 'rb').read().split(b'\\n')\n"
        "for first in range(0, 2000, 50): l.ingest(lines[first:first + 50]); print(first, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{tmp_path}/ledger.db", str(events)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.kill()
    process.wait(10)
    process.stdout.close()
    runs = ledger.stats()["runs"]
    assert runs >= 150
    assert runs % 50 == 0
    report = ledger.ingest(events.read_bytes().split(b"\n"))
    assert (report.accepted, report.duplicates) == (2000 - runs, runs)
    ledger.close()


def test_several_processes_write_the_same_runs(tmp_path):
    opened(tmp_path / "ledger.db").close()
    events = tmp_path / "events"
    records = [request(second) for second in range(200)]
    events.write_bytes(b"\n".join(line for record in records for line in (start(record), end(record))))
    code = (
        "import random, sys; from spanline.ledger import Ledger; l = Ledger.open(sys.argv[1]); lines = open(sys.argv[2], 'rb').read().split(b'\\n')\n"
        "random.Random(int(sys.argv[3])).shuffle(lines)\nfor first in range(0, 400, 20): l.ingest(lines[first:first + 20])"
    )
    arguments = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/ledger.db", str(events)]
    processes = [subprocess.Popen([*arguments, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    ledger = opened(tmp_path / "ledger.db")
    assert ledger.stats()["runs"] == 200
    assert ledger.runs(outcome="RUNNING")["items"] == []
    assert ledger.ingest(events.read_bytes().split(b"\n")).accepted == 0
    ledger.close()


@pytest.mark.fork
def test_a_forked_child_and_its_parent_both_go_on(tmp_path):
    ledger = opened(tmp_path / "ledger.db")
    records = [request(second) for second in range(3)]
    ledger.ingest([end(records[0])])
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        try:
            ledger.ingest([end(records[1])])
            os._exit(0 if ledger.run(records[0].run_id) else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ledger.ingest([end(records[2])])
    assert ledger.stats()["runs"] == 3
    ledger.close()


@pytest.fixture
def full(tmp_path):
    """A ledger with a little of everything, and every SELECT that is asked of it."""
    ledger = opened(tmp_path / "ledger.db")
    root = request(1, tags={"case": "1"}, response_id="resp")
    ledger.ingest([end(build(0, [CORPUS], [index()])), end(root), end(child_of(root, "retriever")), foreign(-9, [], [("corpora", "fees")])])
    asked: list[tuple[str, object]] = []

    def listen(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield ledger, root, asked, tmp_path / "ledger.db"
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
        ledger.close()


def test_no_question_reads_a_whole_table(full):
    ledger, root, asked, path = full
    ledger.ingest([end(request(2, index(digest="rebuilt"), PROMPT, MODEL))])
    ledger.ingest([start(root)])
    for id in (root.run_id, root.request_id, "resp", "unknown"):
        ledger.run(id)
    ledger.runs(job=root.job)
    ledger.runs(outcome="FAIL")
    ledger.runs(conflict=True)
    ledger.runs(tag="case:1", job=root.job)
    ledger.runs(artifact="prompt:fees@v7", outcome="ok")
    ledger.runs(artifact="release:fee-assistant@1.4.2")
    ledger.runs(since="2026-01-01T00:00:00Z", until="2027-01-01T00:00:00Z", after="7fffffffffffffff")
    ledger.conflicts()
    ledger.gaps()
    ledger.artifacts(kind="index", name="fees_corpus")
    ledger.acknowledge("index:fees_corpus@c1", "sha256:0")
    connection = sqlite3.connect(path)
    plans = set()
    for statement, parameters in asked:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            given = parameters[0] if isinstance(parameters, list) else parameters
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", given):
                plans.add((row[3], statement))
    connection.close()
    assert len(plans) > 20
    # The lists of conflicts and gaps read an index that holds nothing else, in its order.
    fine = re.compile(
        r"USING (COVERING )?INDEX (runs_in_conflict|runs_with_gaps|labels_in_conflict)|SCAN \(subquery|SCAN anon|CONSTANT ROW"
    )
    scans = [(plan, statement) for plan, statement in plans if plan.startswith("SCAN") and not fine.search(plan)]
    assert scans == []
    sorts = [(plan, statement) for plan, statement in plans if "TEMP B-TREE FOR ORDER BY" in plan and "FROM runs" in statement]
    assert [statement for _, statement in sorts if "LIMIT" in statement and "trace_id" not in statement] == []


def test_ingest_is_quick(tmp_path):
    """Not a measurement: a bound that only a mistake (a commit an event, a scan a run) breaks."""
    ledger = opened(tmp_path / "ledger.db")
    lines = [end(request(second)) for second in range(1500)]
    began = time.process_time()
    for first in range(0, 1500, 100):
        ledger.ingest(lines[first : first + 100])
    assert (time.process_time() - began) / 1500 < 0.004
    assert ledger.stats()["bytes"] / 1500 < 2000
    ledger.close()


def test_making_a_ledger_says_nothing_in_the_apps_log(tmp_path: Path) -> None:
    code = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
from spanline.ledger import Ledger
Ledger.open(f"sqlite:///{sys.argv[1]}").close()
logging.getLogger("alembic.runtime.migration").info("mine")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "ledger.db")], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["INFO:alembic.runtime.migration:mine"]
