"""`spanline export`: what DuckDB reads from the archive is what the ledger answers; days come whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.errors import SpanlineError
from spanline.export import exporting, writer
from spanline.export.archive import Archive, day_of, first_key
from spanline.export.exporting import Exported, export
from spanline.ledger import Ledger
from spanline.ledger.database import Database
from spanline.record.artifact import Artifact
from spanline.record.run import Evaluation, GuardrailOutcome
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, child_of, end, foreign, index, request, sha, start
from tests.servers.child import eventually

DAY = 86_400
FIRST = date(2026, 9, 21)
LATER = date(2026, 12, 1)
RAW = ("postgres://warehouse", "bank.fees_raw")
CORPUS_MADE = Artifact(kind="corpus", name="fees", version="2026-11-01", digest=sha("corpus"))
PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
SQL = {name.strip(): body for name, body in re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", PAGE, re.DOTALL)}


def filled(ledger: Ledger) -> None:
    """Three days: a corpus made by others, an index of it rebuilt under its label, answers, a child, an evaluation, guardrails."""
    lines: list[Any] = [
        foreign(0, [RAW], [("corpora", "fees")], versions={"fees": "2026-11-01"}),
        end(build(10, [CORPUS_MADE], [index("c1", "c1")], release=None)),
        end(build(DAY + 10, [CORPUS_MADE], [index("c1", "c1 rebuilt")], release=None)),
    ]
    for n in range(60):
        at = 100 + n * 2_500
        made = index("c1", "c1" if at < DAY else "c1 rebuilt", evidence="observed")
        more: dict[str, Any] = {"outcome": "FAIL"} if n % 7 == 0 else {}
        record = request(
            at, made, PROMPT if n % 3 else Artifact(kind="prompt", name="fees", version="v8"), MODEL, CORPUS, tags={"case": str(n)}, **more
        )
        record.guardrails = (GuardrailOutcome(name="fee-schema", version="3", phase="output", outcome="fail" if n % 5 == 0 else "pass"),)
        if n % 10 == 0:
            record.evaluations = (Evaluation(name="faithfulness", score=0.5, passed=n % 20 == 0, evaluator="judge"),)
        lines += [start(record), end(record)]
        if n == 4:
            lines.append(end(child_of(record, "search")))
    ledger.ingest(lines)


@pytest.fixture
def database(ledger: Ledger, ledger_url: str) -> Iterator[Database]:
    filled(ledger)
    opened = Database(ledger_url)
    yield opened
    opened.close()


def exported(database: Database, folder: Path, **options: Any) -> list[Exported]:
    return list(export(database, folder, before=options.pop("before", LATER), **options))


def asking(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB with the views and the macro of the documentation."""
    asked = duckdb.connect()
    for name in ("views", "impact"):
        asked.execute(SQL[name].replace("'archive/", f"'{folder}/"))
    return asked


def test_the_same_questions_have_the_same_answers(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    done = exported(database, tmp_path / "archive")
    assert [(one.day, one.what) for one in done] == [(date(2026, 9, 21 + n), "written") for n in range(3)]
    assert sum(one.runs for one in done) == ledger.stats()["runs"] == 64
    asked = asking(tmp_path / "archive")

    def column(sql: str, place: int = 0) -> list[str]:
        return [str(row[place]) for row in asked.execute(sql.replace(", started_at\nFROM", ", started_at::VARCHAR\nFROM")).fetchall()]

    def plain(sql: str) -> str:
        # Times are left out: this Python needs one more library for them.
        return re.sub(
            r"SELECT (DISTINCT )?run_id, [^\n]*?(started_at[^\n]*?)?(?=\n| FROM)",
            r"SELECT \1run_id::VARCHAR, epoch_us(started_at) AS started_at",
            sql,
            count=1,
        )

    by_version = ledger.runs(artifact="prompt:fees@v7", limit=20)
    assert column(plain(SQL["runs by artifact version"])) == [item["runId"] for item in by_version["items"]]
    assert column(plain(SQL["latest runs of a job"])) == [item["runId"] for item in ledger.runs(job=JOB, limit=20)["items"]]

    impact = ledger.impact("corpus:fees@2026-11-01", limit=100)
    rows = asked.execute("SELECT kind, name, version, digest, runs FROM impact('corpus', 'fees', '2026-11-01') WHERE NOT itself").fetchall()
    told = [(item["kind"], item["name"], item["version"], item["digest"], item["runs"]) for item in impact["artifacts"]]
    assert sorted(rows, key=str) == sorted(told, key=str)
    assert len(rows) == 2, "the index, as it was built twice"
    used = asked.execute(SQL["what used it"]).fetchall()
    assert {job for job, _, _ in used} == {item["job"] for item in impact["jobs"]}
    assert {(service, release) for _, service, release in used if release} == {
        (one["service"], one["release"]) for one in impact["releases"]
    }
    count = asked.execute(
        "SELECT count(DISTINCT run_id) FROM edges WHERE role = 'input' AND kind = 'corpus' AND name = 'fees' AND version = '2026-11-01'"
    ).fetchall()
    assert count == [(impact["runs"]["count"],)]


def test_everything_of_a_run_is_there(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    exported(database, tmp_path)
    asked = asking(tmp_path)
    for table in ("guardrails", "evaluations", "conflicts"):
        asked.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{tmp_path}/{table}/*/*.parquet', hive_partitioning = true)")
    wanted = ledger.runs(tag="case:50")["items"][0]["runId"]
    run = ledger.run(wanted)
    assert run is not None

    def one(sql: str) -> tuple[Any, ...]:
        (row,) = asked.execute(f"{sql} WHERE run_id = '{wanted}'").fetchall()
        return row

    of_run = (
        "SELECT replace(trace_id::VARCHAR, '-', ''), status, request_id, release, tags['case'], http_status, input_tokens, gaps FROM runs"
    )
    assert one(of_run) == (
        run["traceId"], run["status"], run["requestId"], "1.4.2", "50", 200, 812, [gap["missing"] for gap in run["gaps"]] or None
    )  # fmt: skip
    assert one("SELECT name, score, passed, evaluator FROM evaluations") == ("faithfulness", 0.5, False, "judge")
    assert one("SELECT name, version, phase, outcome FROM guardrails") == ("fee-schema", "3", "output", "fail")
    (conflict,) = run["conflicts"]
    named = (conflict["kind"], conflict["name"], conflict["version"], conflict["digest"], conflict["expectedDigest"])
    assert one("SELECT kind, name, version, digest, expected_digest FROM conflicts") == named
    documents = asked.execute(f"SELECT document, rank, score FROM documents WHERE run_id = '{wanted}' ORDER BY rank").fetchall()
    assert documents == [("fees/wire.md", 1, 0.9), ("fees/cards.md", 2, None)]
    operations = asked.execute(
        f"SELECT kind, response_model, output_tokens FROM operations WHERE run_id = '{wanted}' ORDER BY span_id"
    ).fetchall()
    assert operations == [("retrieval", None, None), ("inference", "gpt-4o-2024-06-18", 96)]
    bodies = asked.execute(f"SELECT body FROM events WHERE run_id = '{wanted}' ORDER BY event_at").fetchall()
    originals = [line for line in ledger.originals("2026-09-01T00:00:00Z", "2026-12-01T00:00:00Z") if wanted.encode() in line]
    assert [body.encode() for (body,) in bodies] == originals
    # The events alone make the same ledger again.
    again = Ledger.open(f"sqlite:///{tmp_path}/again.db")
    again.ingest([body.encode() for (body,) in asked.execute("SELECT body FROM events ORDER BY event_at").fetchall()])
    assert again.stats()["runs"] == ledger.stats()["runs"]
    assert again.run(wanted) == run
    again.close()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_only_what_is_new_is_written(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    assert [one.what for one in exported(database, tmp_path, before=date(2026, 9, 23))] == ["written", "written"]
    assert [one.what for one in exported(database, tmp_path)] == ["unchanged", "unchanged", "written"]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    # A judgement that comes a week later: that day is written anew, the others are not.
    late = request(200)
    ledger.ingest([end(late)])
    assert [one.what for one in exported(database, tmp_path)] == ["written", "unchanged", "unchanged"]
    changed = {path.parent.name for path in tmp_path.rglob("*.parquet") if files.get(path) != path.stat().st_mtime_ns}
    assert changed == {"day=2026-09-21"}
    # Retention has been at the ledger: the archive keeps what it has.
    before = ledger.stats()["runs"]
    with database.write() as connection:
        from spanline.ledger.retention import delete_runs
        from spanline.ledger.schema import runs

        delete_runs(connection, [run for (run,) in connection.execute(runs.select().with_only_columns(runs.c.run).limit(5))])
    assert [one.what for one in exported(database, tmp_path)] == ["kept", "unchanged", "unchanged"]
    asked = asking(tmp_path)
    assert asked.execute("SELECT count(*) FROM runs").fetchall() == [(before,)]
    # Unless it is told that this was an erasure.
    assert [one.what for one in exported(database, tmp_path, again=True, before=date(2026, 9, 22))] == ["written"]
    assert asked.execute("SELECT count(*) FROM runs").fetchall() == [(before - 5,)]
    # Without the events, and with them when they are wanted after all.
    shutil.rmtree(tmp_path)
    assert {one.what for one in exported(database, tmp_path, bodies=False)} == {"written"}
    assert not (tmp_path / "events").exists()
    assert {one.what for one in exported(database, tmp_path)} == {"written"}
    assert (tmp_path / "events").exists()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_killed_at_any_rename_the_next_call_ends_it(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a process was about to do when it was killed: no day is ever half there for good, and none is lost."""
    rename, steps = Path.rename, 0

    class Killed(BaseException):
        pass

    for fatal in range(30):
        folder, steps = tmp_path / str(fatal), 0
        exported(database, folder, before=date(2026, 9, 22))

        def dying(self: Path, target: Any, fatal: int = fatal) -> Path:
            nonlocal steps
            steps += 1
            if steps > fatal:
                raise Killed
            return rename(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", dying)
            try:
                exported(database, folder, again=True, before=date(2026, 9, 22))
            except Killed:
                pass
            else:
                break
        assert [one.day for one in exported(database, folder, before=date(2026, 9, 22))] == [FIRST]
        assert not [path for path in (folder / "_writing").iterdir() if path.name != "lock"]
        asked = asking(folder)
        ((day, count, different),) = asked.execute("SELECT min(day)::VARCHAR, count(*), count(DISTINCT run_id) FROM runs").fetchall()
        assert (day, count) == ("2026-09-21", different)
        assert asked.execute("SELECT count(DISTINCT run_id) FROM events").fetchall() == [(different,)]
    assert steps >= 9, "each rename was the last one once"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_process_that_is_killed(ledger_url: str, database: Database, ledger: Ledger, tmp_path: Path) -> None:
    for hour in range(24):
        ledger.ingest([end(request(3 * DAY + hour * 3000 + n)) for n in range(50)])
    folder = tmp_path / "archive"
    command = [sys.executable, "-m", "spanline.cli", "export", str(folder), "--ledger", ledger_url, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    eventually(lambda: (folder / "_days").exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    told = json.loads(done.stdout)
    assert sum(item["runs"] for item in told["items"]) == 64 + 1200
    assert asking(folder).execute("SELECT count(DISTINCT run_id) FROM runs").fetchall() == [(1264,)]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_files_and_groups_are_bounded(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((exporting, "CHUNK", 5), (writer, "GROUP_ROWS", 10), (writer, "PART_ROWS", 20)):
        monkeypatch.setattr(module, name, value)
    exported(database, tmp_path)
    files = sorted((tmp_path / "runs" / "day=2026-09-22").iterdir())
    assert [path.name for path in files] == ["part-00000.parquet", "part-00001.parquet"]
    assert [pq.ParquetFile(path).num_row_groups for path in files] == [2, 2]
    assert asking(tmp_path).execute("SELECT count(*) FROM runs").fetchall() == [(64,)]
    manifest = json.loads((tmp_path / "_days" / "2026-09-22.json").read_text())
    assert manifest["tables"]["runs"]["files"] == [path.name for path in files]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_two_at_once_and_what_cannot_be_read(database: Database, tmp_path: Path) -> None:
    with Archive(tmp_path).writing():
        with pytest.raises(SpanlineError, match="another export writes into"):
            exported(database, tmp_path)
    exported(database, tmp_path)
    manifest = tmp_path / "_days" / "2026-09-22.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(SpanlineError, match="of a newer version"):
        exported(database, tmp_path)
    manifest.write_text("{")
    with pytest.raises(SpanlineError, match="is damaged"):
        exported(database, tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SpanlineError, match="cannot be written"):
        exported(database, blocked / "archive")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_command(ledger_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "archive")
    told = CliRunner().invoke(main, ["export", folder, "--ledger", ledger_url, "--before", "2026-09-23T18:00:00Z"])
    assert told.exit_code == 0, told.output
    assert [line.split()[:2] for line in told.stdout.splitlines()] == [["2026-09-21", "written"], ["2026-09-22", "written"]]
    told = CliRunner().invoke(main, ["export", folder, "--ledger", ledger_url, "--since", "2026-09-22T18:00:00Z", "--json"])
    answer = json.loads(told.stdout)
    assert [(item["day"], item["what"]) for item in answer["items"]] == [("2026-09-22", "unchanged"), ("2026-09-23", "written")]
    told = CliRunner().invoke(main, ["export", folder, "--ledger", ledger_url, "--older-than", "4000d"])
    assert "no whole day before" in told.stdout
    told = CliRunner().invoke(main, ["export", folder, "--ledger", f"sqlite:///{tmp_path}/none.db"])
    assert (told.exit_code, "no ledger at" in told.output) == (1, True)
    monkeypatch.setenv("SPANLINE_SERVER_URL", "http://127.0.0.1:1")
    told = CliRunner().invoke(main, ["export", folder])
    assert (told.exit_code, "export them where its ledger is" in told.output) == (1, True)


def test_days_and_keys() -> None:
    assert day_of(first_key(FIRST)) == FIRST
    assert day_of(first_key(FIRST) - 1) == date(2026, 9, 20)
