"""How the database reads for each question: never a whole table. SQLite's and PostgreSQL's own plans of every statement."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spanline.ledger import Ledger
from spanline.record.run import Evaluation, Release
from tests.ledger_events import CORPUS, JOB, MODEL, PROMPT, build, child_of, end, foreign, index, request, start
from tests.ledger_plans import listening, scans

HOUR = "2026-09-21T14:00:00Z/2026-09-21T15:00:00Z"


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
def test_no_question_reads_a_whole_table(ledger, story, question):
    with listening() as asked:
        QUESTIONS[question](ledger, story)
    assert asked
    with ledger._database.read() as connection:
        assert scans(connection, asked) == []


def test_one_event_takes_few_statements(ledger, backend):
    """Each is a way to the database and back. First a job, its release and its artifacts become known; then nothing is said twice."""
    for second in range(3):
        record = request(second)
        ledger.ingest([start(record)])
        ledger.ingest([end(record)])
    record, counts = request(4), []
    for event in (start(record), end(record), end(request(5))):
        with listening() as asked:
            ledger.ingest([event])
        counts.append(len([statement for statement, _ in asked if not statement.startswith("BEGIN")]))
    # SQLite is written table by table, which costs it nothing.
    assert counts == ([5, 9, 6] if backend == "sqlite" else [2, 5, 2])
    assert ledger.impact("prompt:fees@v7")["runs"]["count"] == 5
    with ledger._database.read() as connection:
        # What a START alone could not say (its release) is counted nowhere any more.
        assert connection.exec_driver_sql("SELECT count(*) FROM uses WHERE release = 0").scalar_one() == 0
        assert connection.exec_driver_sql("SELECT DISTINCT offline FROM jobs").all() == [(0,)]


def test_questions_take_no_more_statements_for_more_runs(ledger):
    asks = (lambda: ledger.lineage("corpus:fees", depth=5), lambda: ledger.run(first.run_id), lambda: ledger.impact("corpus:fees"))
    made, first = build(0, [CORPUS], [index()]), request(1)
    ledger.ingest([end(made), end(first)])
    counts = []
    for seconds in (range(2, 4), range(4, 24)):
        ledger.ingest([end(request(second)) for second in seconds])
        for ask in asks:
            ask()
        counts.append([])
        for ask in asks:
            with listening() as asked:
                ask()
            counts[-1].append(len(asked))
    assert counts[0] == counts[1]
