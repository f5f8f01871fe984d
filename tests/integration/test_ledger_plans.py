"""How the database reads for each question: never a whole table. SQLite's and PostgreSQL's own plans of every statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from spanline.ledger import Ledger
from spanline.record.run import Evaluation, Release
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, child_of, end, foreign, index, request

HOUR = "2026-09-21T14:00:00Z/2026-09-21T15:00:00Z"


@contextmanager
def listening() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is executed, with its parameters."""
    asked: list[tuple[str, Any]] = []

    def listen(_connection: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool) -> None:
        asked.append((statement, parameters[0] if many or isinstance(parameters, list) else parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


@pytest.fixture
def story(ledger: Ledger) -> dict[str, str]:
    passed = [Evaluation(name="faithfulness", score=0.9, passed=True)]
    root = request(1, tags={"case": "1"}, response_id="resp", evaluations=passed)
    rebuilt = request(2, index(digest="rebuilt"), PROMPT, MODEL, release=Release(release="1.5.0"))
    made = build(0, [CORPUS], [index()])
    ledger.ingest(
        [foreign(-9, [("s3://lake", "fees")], [("corpora", "fees")]), end(made), end(root), end(child_of(root, "retriever")), end(rebuilt)]
    )
    return {"root": root.run_id, "rebuilt": rebuilt.run_id, "made": made.run_id}


QUESTIONS: dict[str, Callable[[Ledger, dict[str, str]], object]] = {
    "run": lambda ledger, ids: [ledger.run(id) for id in (ids["root"], "resp", "unknown")],
    "runs of a job": lambda ledger, ids: ledger.runs(job=JOB),
    "runs by outcome": lambda ledger, ids: ledger.runs(outcome="FAIL"),
    "runs by tag": lambda ledger, ids: ledger.runs(tag="case:1", job=JOB),
    "runs of an artifact": lambda ledger, ids: ledger.runs(artifact="prompt:fees@v7", outcome="ok"),
    "runs of a release": lambda ledger, ids: ledger.runs(artifact="release:fee-assistant@1.4.2"),
    "runs in conflict": lambda ledger, ids: ledger.runs(conflict=True),
    "conflicts": lambda ledger, ids: ledger.conflicts(),
    "gaps": lambda ledger, ids: ledger.gaps(),
    "artifacts": lambda ledger, ids: ledger.artifacts(kind="index", name="fees_corpus"),
    "lineage of a run": lambda ledger, ids: ledger.lineage(ids["root"], depth=5),
    "lineage of an artifact": lambda ledger, ids: ledger.lineage("corpus:fees", depth=5),
    "lineage of a dataset": lambda ledger, ids: ledger.lineage("s3://lake/fees", direction="down"),
    "impact": lambda ledger, ids: ledger.impact("corpus:fees"),
    "impact of a run": lambda ledger, ids: ledger.impact(f"run:{ids['made']}"),
    "impact of a release": lambda ledger, ids: ledger.impact("release:fee-assistant@1.4.2"),
    "diff of runs": lambda ledger, ids: ledger.diff(ids["root"], ids["rebuilt"]),
    "diff of releases": lambda ledger, ids: ledger.diff("release:fee-assistant@1.4.2", "release:fee-assistant@1.5.0", job=JOB),
    "diff of hours": lambda ledger, ids: ledger.diff(HOUR, HOUR),
    "lastgood": lambda ledger, ids: ledger.lastgood(JOB),
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_table(ledger, story, question, backend):
    with listening() as asked:
        QUESTIONS[question](ledger, story)
    asked = [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT") and "FROM" in statement]
    assert asked
    found = (_scans_of_sqlite if backend == "sqlite" else _scans_of_postgresql)(ledger, asked)
    assert found == []


def _scans_of_sqlite(ledger: Ledger, asked: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    # An index of nothing else, read in its order; and what the statement itself made.
    fine = (
        "runs_in_conflict",
        "runs_with_gaps",
        "labels_in_conflict",
        "evaluations_",
        "runs_blocked",
        "SCAN (subquery",
        "SCAN anon",
        "CONSTANT ROW",
    )
    with ledger._database.read() as connection:
        for statement, parameters in asked:
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                plan = str(row[3])
                if plan.startswith("SCAN") and not any(word in plan for word in fine) and not ("LIMIT" in statement and "USING" in plan):
                    found.append((plan, statement))
    return found


def _scans_of_postgresql(ledger: Ledger, asked: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    with ledger._database.read() as connection:
        # Tables of a few rows are read whole by a wise planner: a plan that does so now has no index to go by.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            plan = json.loads(plan) if isinstance(plan, str) else plan
            found += [(reads, statement) for reads in _reads(plan[0]["Plan"], bounded=False)]
    return found


def _reads(node: dict[str, Any], *, bounded: bool) -> Iterator[str]:
    kind, bounded = node["Node Type"], bounded or node["Node Type"] == "Limit"
    if kind == "Seq Scan":
        yield f"Seq Scan on {node['Relation Name']}"
    if kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in node and not bounded:
        yield f"all of {node['Index Name']}"
    for child in node.get("Plans", ()):
        # What is sorted or gathered is read to its end, limit or not.
        yield from _reads(child, bounded=bounded and kind not in ("Sort", "HashAggregate", "Hash"))
