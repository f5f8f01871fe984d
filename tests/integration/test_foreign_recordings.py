"""Real events of Airflow, Spark, Flink, Great Expectations and dbt (data/openlineage): taken by a real server, merged, joined with our runs."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanline.ledger import Ledger
from spanline.record.artifact import Artifact
from tests.foreign import RECORDED, after, decoded, recorded, rows_by_run
from tests.integration.test_cli_serve_and_relay import serving, spanline
from tests.ledger_events import PROMPT, build, end, index, request

JSON = {"content-type": "application/json"}
CORPUS, RAW, QUESTIONS = "/tmp/fees/lake/corpus", "/tmp/fees/raw/fees.csv", "/tmp/fees/raw/questions.csv"
MODEL_FILE = "/tmp/fees/models/reranker.json"


def runs_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """Events of a recording by run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in decoded(name):
        found.setdefault(event["run"]["runId"], []).append(event)
    return found


def of_job(name: str, job: str) -> str:
    """Run id of the first run of a job whose name ends so."""
    return next(run for run, events in runs_of(name).items() if events[0]["job"]["name"].endswith(job))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """A real server that took all recordings, and our own runs that used what they made: its URL, its folder, our runs."""
    home = tmp_path_factory.mktemp("server")
    ours = own_runs(after(recorded(*RECORDED), 10))
    with serving(home) as (url, _):
        for event in recorded("airflow", "great_expectations"):
            assert httpx.post(f"{url}/api/v1/lineage", content=event, headers=JSON).status_code == 201
        rest = decoded("spark", "flink", "dbt_artifacts", "dbt_structured_logs") + [json.loads(end(run)) for run in ours.values()]
        for content, coding in ((json.dumps(rest).encode(), {}), (gzip.compress(json.dumps(rest).encode()), {"content-encoding": "gzip"})):
            reply = httpx.post(f"{url}/api/v1/lineage/batch", content=content, headers={**JSON, **coding}, timeout=30)
            assert (reply.status_code, reply.json()["status"], reply.json()["failed_events"]) == (200, "success", [])
        yield url, home, ours


def own_runs(second: float) -> dict[str, Any]:
    """The index of Spark's corpus; answers with it and with Airflow's model by version, by an alias, and by the file it lies in."""
    corpus = Artifact(kind="dataset", name=CORPUS, namespace="file")
    version = Artifact(kind="model", name="fees-reranker", version="3", evidence="declared")
    alias = Artifact(kind="model", name="fees-reranker", stage="prod")
    file = Artifact(kind="model", name=MODEL_FILE, namespace="file")
    return {
        "index": build(second, [corpus], [index()], job="fees.index"),
        "answer": request(second + 10, index(), PROMPT, version),
        # The same index under no version: its digest says which it is.
        "aliased": request(second + 20, index(version=None), PROMPT, alias),
        "from file": request(second + 30, index(), file),
    }


def asked(url: str, question: str, **about: Any) -> dict[str, Any]:
    reply = httpx.get(f"{url}/api/v1/{question}", params=about)
    assert reply.status_code == 200, reply.text
    return reply.json()


def edge(graph: dict[str, Any], artifact: str, role: str) -> tuple[str, str | None]:
    """Evidence and join of the edge of an artifact."""
    found = next(entry for entry in graph["edges"] if entry["role"] == role and artifact in (entry["from"], entry["to"]))
    return found["evidence"], found.get("join")


def test_every_run_is_there_once_and_whole(told):
    ledger = Ledger.open(f"sqlite:///{told[1]}/ledger.db")
    for name in RECORDED:
        for run_id, events in runs_of(name).items():
            document = ledger.document(run_id)
            for event in events:
                for owner in ("run", "job"):
                    kept, sent = document[owner]["facets"], event[owner].get("facets") or {}
                    assert kept.keys() >= sent.keys(), (name, run_id)
                for direction in ("inputs", "outputs"):
                    known = {(dataset["namespace"], dataset["name"]): dataset for dataset in document.get(direction, [])}
                    for dataset in event.get(direction) or []:
                        kept = known[dataset["namespace"], dataset["name"]]
                        for part in ("facets", "inputFacets", "outputFacets"):
                            assert (kept.get(part) or {}).keys() >= (dataset.get(part) or {}).keys()
    assert ledger.stats()["runs"] == sum(len(runs_of(name)) for name in RECORDED) + len(told[2])
    ledger.close()


def test_from_the_raw_file_over_airflow_and_spark_to_the_answer(told):
    url, home, ours = told
    answer = f"run:{ours['answer'].run_id}"
    graph = asked(url, "lineage", ref=answer, direction="up", depth=10)
    names = {node["name"] for node in graph["nodes"]}
    assert names >= {"fees_corpus", "fees.index", CORPUS, "fees_corpus.adaptive_spark_plan.lake_corpus", RAW, "fees_daily.export"}
    # A name of files is joined by time, which is an inference; our own index by version and digest, which is none.
    assert edge(graph, f"file/{CORPUS}", "output") == ("inferred", "time")
    assert edge(graph, f"file/{RAW}", "output") == ("inferred", "time")
    assert edge(graph, "index:fees_corpus@c1", "output")[0] == "observed"
    assert edge(graph, "model:fees-reranker@3", "input")[0] == "declared"
    down = asked(url, "lineage", ref=f"file/{RAW}", direction="down", depth=10)
    assert answer in {node["id"] for node in down["nodes"]}
    impact = asked(url, "impact", ref=f"file/{RAW}")
    assert {f"file/{CORPUS}", "index:fees_corpus@c1"} <= {entry["id"] for entry in impact["artifacts"]}
    assert ours["answer"].job in {entry["job"] for entry in impact["jobs"]}
    # The same on the command line.
    for command in (["lineage", answer, "--up", "--depth", "10"], ["impact", f"file/{RAW}"]):
        done = spanline(home, *command, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == (graph if command[0] == "lineage" else asked(url, "impact", ref=f"file/{RAW}", limit=20))


@pytest.mark.parametrize(("which", "join", "evidence"), [("answer", "version", "observed"), ("aliased", "time", "inferred")])
def test_from_training_data_over_airflow_to_the_answer(told, which, join, evidence):
    url, _, ours = told
    up = asked(url, f"runs/{ours[which].run_id}")["upstream"]
    trained = next(entry for entry in up if entry["job"] == "fees_daily.train")
    assert (trained["made"], trained["join"], trained["evidence"]) == ("model:fees-reranker@3", join, evidence)
    graph = asked(url, "lineage", ref=f"run:{ours[which].run_id}", direction="up", depth=10)
    assert {"fees_daily.train", QUESTIONS, "fees_daily.export"} <= {node["name"] for node in graph["nodes"]}
    impact = asked(url, "impact", ref=f"file/{QUESTIONS}")
    assert {"model:fees-reranker@3", f"file/{MODEL_FILE}"} <= {entry["id"] for entry in impact["artifacts"]}


def test_a_model_known_by_its_file_and_an_index_by_its_digest(told):
    url, _, ours = told
    up = {entry["job"]: entry for entry in asked(url, f"runs/{ours['from file'].run_id}")["upstream"]}
    assert (up["fees_daily.train"]["join"], up["fees_daily.train"]["evidence"]) == ("time", "inferred")
    up = {entry["job"]: entry for entry in asked(url, f"runs/{ours['aliased'].run_id}")["upstream"]}
    assert (up["fees.index"]["join"], up["fees.index"]["evidence"]) == ("digest", "observed")


def test_from_the_tables_of_a_database(told):
    url, _, _ = told
    graph = asked(url, "lineage", ref="postgres://db.example.org:5432/fees.public.core_fees", direction="down")
    assert {"fees_daily.clean", "fees.public.fees_clean"} <= {node["name"] for node in graph["nodes"]}


def test_parents_over_systems(told):
    url, _, _ = told
    dag = asked(url, f"runs/{of_job('airflow', 'fees_daily')}")
    children = {child["job"] for child in dag["children"]}
    assert {"fees_daily.export", "fees_daily.clean", "fees_daily.train", "fees_daily.corpus", "fees_corpus"} <= children
    spark = asked(url, f"runs/{of_job('spark', 'lake_corpus')}")
    assert spark["parent"]["job"] == "fees_corpus"
    assert spark["root"]["runId"] == dag["runId"]
    # The task that ran Spark shows what Spark did below it.
    task = asked(url, f"runs/{of_job('airflow', 'fees_daily.corpus')}")
    assert "fees_corpus.adaptive_spark_plan.lake_corpus" in {child["job"] for child in task["children"]}


def test_a_table_is_known_by_its_path_and_by_its_name(told):
    url, _, _ = told
    run = asked(url, f"runs/{of_job('spark', 'default_corpus_table')}")
    alias = next(entry for entry in run["artifacts"] if entry.get("symlinkOf"))
    assert alias["symlinkOf"].endswith("/tmp/fees/warehouse/corpus_table")
    impact = asked(url, "impact", ref=f"{alias['namespace']}/{alias['name']}")
    assert "file//tmp/fees/lake/sample" in {entry["id"] for entry in impact["artifacts"]}


def test_what_failed_failed(told):
    url, _, _ = told
    broken = of_job("spark", "lake_broken")
    assert {event["eventType"] for event in runs_of("spark")[broken]} >= {"FAIL", "COMPLETE"}, "Spark says both"
    assert asked(url, f"runs/{broken}")["outcome"] == "FAIL"
    assert asked(url, f"runs/{of_job('airflow', 'fees_check.check')}")["outcome"] == "FAIL"
    assert asked(url, f"runs/{of_job('airflow', 'fees_check')}")["outcome"] == "FAIL"
    page = httpx.get(f"{url}/r/{of_job('airflow', 'fees_check.check')}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_later_events_take_nothing_away(told):
    url, _, _ = told
    for run_id, events in runs_of("flink").items():
        kinds = [event["eventType"] for event in events]
        run = asked(url, f"runs/{run_id}")
        # Its later events name no dataset; one listener never hears of the end.
        assert [entry["name"] for entry in run["artifacts"]] == ["fees.raw", "fees.priced"]
        assert run["outcome"] == ("COMPLETE" if "COMPLETE" in kinds else None)
    train = asked(url, f"runs/{of_job('airflow', 'fees_daily.train')}")
    assert {MODEL_FILE, "fees-reranker"} <= {entry["name"] for entry in train["artifacts"]}


@pytest.mark.parametrize("name", ["airflow", "spark", "flink", "great_expectations"])
def test_in_any_order_any_number_of_times(new_ledger_url, name):
    events = recorded(name)
    found = []
    for seed in range(3):
        ledger = Ledger.open(new_ledger_url())
        some = [*events, *events[::3]]
        if seed:
            random.Random(seed).shuffle(some)
        for first in range(0, len(some), 5):
            assert ledger.ingest(some[first : first + 5]).rejected == ()
        assert ledger.stats()["runs"] == len(runs_of(name))
        assert ledger.ingest(events).accepted == 0
        found.append(rows_by_run(ledger))
        ledger.close()
    assert found[0] == found[1] == found[2]
