"""OpenLineage of systems that never heard of each other: real dbt events, and the shapes that Airflow, Spark and Flink send."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import uuid
from typing import Any

import httpx
import pytest

from spanline.ledger import Ledger, statics
from spanline.record.artifact import Artifact
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.foreign import after, recorded, rows_by_run
from tests.ledger_events import build, end, foreign, index, request

DUCKDB = "duckdb:///tmp/fees/fees.duckdb"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(("name", "count"), [("dbt_artifacts", 4), ("dbt_structured_logs", 31)])
def test_dbt_in_any_order_any_number_of_times(new_ledger_url, name, count):
    events = recorded(name)
    found = []
    for seed in range(2):
        ledger = Ledger.open(new_ledger_url())
        some = [*events, *events[::3]]
        random.Random(seed).shuffle(some)
        for first in range(0, len(some), 7):
            report = ledger.ingest(some[first : first + 7])
            assert report.rejected == ()
        assert ledger.stats()["runs"] == count
        assert ledger.runs(outcome="RUNNING")["items"] == []
        assert ledger.ingest(events).accepted == 0
        found.append(rows_by_run(ledger))
        root = ledger.runs(job="dbt-run-fees")["items"][0]
        children = {child["job"] for child in ledger.run(root["runId"])["children"]}
        assert len(children) == count - 1
        ledger.close()
    assert found[0] == found[1]


@pytest.mark.parametrize(("name", "source"), [("dbt_artifacts", "fees_clean"), ("dbt_structured_logs", "core_fees")])
def test_from_raw_data_through_dbt_corpus_and_index_to_the_answer(ledger, name, source):
    dbt = recorded(name)
    corpus = Artifact(kind="dataset", name="fees.main.fees_corpus", namespace=DUCKDB)
    second = after(dbt, 10)
    indexing = build(second, [corpus], [index()], job="fees.index")
    answer = request(second + 10)
    ledger.ingest([*dbt, end(indexing), end(answer)])
    graph = ledger.lineage(f"run:{answer.run_id}", direction="up")
    names = {node["name"] for node in graph["nodes"]}
    assert {"fees_corpus", "fees.index", "fees.main.fees_corpus", f"fees.main.{source}"} <= names
    joined = next(edge for edge in graph["edges"] if edge["to"] == f"{DUCKDB}/fees.main.fees_corpus" and edge["role"] == "output")
    assert (joined["evidence"], joined["join"]) == ("inferred", "time")
    down = ledger.lineage(f"{DUCKDB}/fees.main.{source}", direction="down")
    assert f"run:{answer.run_id}" in {node["id"] for node in down["nodes"]}
    impact = ledger.impact(f"{DUCKDB}/fees.main.{source}")
    assert {"index:fees_corpus@c1", f"{DUCKDB}/fees.main.fees_corpus"} <= {entry["id"] for entry in impact["artifacts"]}
    assert answer.job in {entry["job"] for entry in impact["jobs"]}
    data = {entry["name"] for entry in ledger.run(answer.trace_id)["answers"]["data"]}
    assert {"fees.main.fees_corpus", f"fees.main.{source}"} <= data


def test_an_index_built_before_dbt_ran_again_does_not_hang_on_the_second_run(ledger):
    corpus = ("s3://lake", "corpus")
    first, second = foreign(0, [], [corpus], job="dbt"), foreign(100, [], [corpus], job="dbt")
    indexing = build(50, [Artifact(kind="dataset", name="corpus", namespace="s3://lake")], [index()], job="fees.index")
    ledger.ingest([second, end(indexing), first])
    up = {node["id"] for node in ledger.lineage(f"run:{indexing.run_id}", direction="up")["nodes"]}
    assert f"run:{first['run']['runId']}" in up
    assert f"run:{second['run']['runId']}" not in up


def test_parents_of_airflow_and_spark_in_any_order(ledger):
    dag, task, spark = (str(uuid.uuid4()) for _ in range(3))

    def parent(run: str, job: str) -> dict[str, Any]:
        return {
            "run": {"runId": run},
            "job": {"namespace": "airflow", "name": job},
            "root": {"run": {"runId": dag}, "job": {"namespace": "airflow", "name": "fees"}},
        }

    events = [
        foreign(3, [("file", "/raw")], [("file", "/lake/fees")], run_id=spark, job="fees_app.execute_insert", kind="RUNNING", parent=parent(task, "fees.load")),
        foreign(2, [], [], run_id=task, job="fees.load", kind="START", parent=parent(dag, "fees"), airflow={"dag": {"dag_id": "fees"}}),
        foreign(4, [], [], run_id=spark, job="fees_app.execute_insert", parent=parent(task, "fees.load")),
        foreign(9, [], [], run_id=task, job="fees.load", nominalTime={"nominalStartTime": "2026-09-21T00:00:00Z"}),
        foreign(1, [], [], run_id=dag, job="fees", kind="START"),
        foreign(10, [], [], run_id=dag, job="fees"),
    ]  # fmt: skip
    random.Random(3).shuffle(events)
    for event in events:
        ledger.ingest([event])
    found = ledger.run(dag)
    assert {child["job"] for child in found["children"]} == {"fees.load", "fees_app.execute_insert"}
    assert ledger.run(spark)["parent"]["runId"] == task
    assert ledger.run(spark)["root"]["runId"] == dag
    # A later event with nothing in it took nothing away, and unknown facets are kept.
    assert [entry["name"] for entry in ledger.run(spark)["artifacts"]] == ["/raw", "/lake/fees"]
    assert ledger.document(task)["run"]["facets"]["airflow"] == {"dag": {"dag_id": "fees"}}


def test_a_table_and_the_path_it_lies_at_are_one_thing(ledger):
    write = foreign(0, [], [("file", "/lake/fees")], job="spark.write")
    write["outputs"][0]["facets"]["symlinks"] = {
        "identifiers": [{"namespace": "hive://metastore:9083", "name": "db.fees", "type": "TABLE"}]
    }
    read = foreign(10, [("hive://metastore:9083", "db.fees")], [("s3://lake", "report")], job="trino.report")
    ledger.ingest([write, read])
    up = {node["name"] for node in ledger.lineage(f"run:{read['run']['runId']}", direction="up")["nodes"]}
    assert "spark.write" in up
    linked = {entry["name"]: entry.get("symlinkOf") for entry in ledger.run(write["run"]["runId"])["artifacts"]}
    assert linked == {"/lake/fees": None, "db.fees": "file//lake/fees"}
    assert [entry["id"] for entry in ledger.impact("hive://metastore:9083/db.fees")["artifacts"]] == ["s3://lake/report"]


def test_an_alias_means_what_it_meant_at_the_time_of_the_run(ledger):
    def trained(second: float, version: str) -> bytes:
        return end(
            build(
                second,
                [Artifact(kind="dataset", name="raw")],
                [Artifact(kind="model", name="fees-llm", version=version)],
                job=f"train {version}",
            )
        )

    ledger.ingest([trained(0, "1"), trained(100, "2")])
    for second, version in ((50, "1"), (150, "2")):
        record = request(second, Artifact(kind="model", name="fees-llm", stage="prod"))
        served = foreign(second, [("models", "fees-llm@prod")], [], job="serve")
        ledger.ingest([end(record), served])
        for run in (record.run_id, served["run"]["runId"]):
            (up,) = ledger.run(run)["upstream"]
            assert (up["job"], up["made"], up["evidence"], up["join"]) == (
                f"train {version}",
                f"model:fees-llm@{version}",
                "inferred",
                "time",
            )


def static(second: float, **about: Any) -> dict[str, Any]:
    event = {**foreign(second, [], []), **about}
    for key in ("run", "eventType", *({"inputs", "outputs"} - about.keys()), *({"job"} - about.keys())):
        event.pop(key, None)
    return event


def test_events_about_jobs_and_datasets_are_kept_and_merged(ledger):
    dataset = {
        "namespace": "s3://lake",
        "name": "fees",
        "facets": {"ownership": {"owners": [{"name": "pricing"}]}, "schema": {"fields": [1]}},
    }
    later = {"namespace": "s3://lake", "name": "fees", "facets": {"schema": {"fields": [2]}, "version": {"datasetVersion": "7"}}}
    job = {"namespace": "airflow", "name": "fees.load", "facets": {"ownership": {"owners": []}}}
    events = [
        static(5, dataset=later), static(1, dataset=dataset),
        static(2, job=job, inputs=[{"namespace": "s3://lake", "name": "raw"}], outputs=[{"namespace": "s3://lake", "name": "fees"}]),
    ]  # fmt: skip
    assert ledger.ingest(events).accepted == 3
    assert ledger.ingest(events).accepted == 0
    with ledger._database.read() as connection:
        known = statics.read(connection, "s3://lake", "fees", is_dataset=True)
        assert known["dataset"]["facets"] == {**dataset["facets"], **later["facets"]}
        assert statics.read(connection, "airflow", "fees.load", is_dataset=False)["outputs"][0]["name"] == "fees"
    assert {item["ref"] for item in ledger.artifacts(kind="dataset")["items"]} == {"dataset:fees", "dataset:fees@7", "dataset:raw"}
    assert ledger.stats()["runs"] == 0


def test_events_about_a_dataset_in_any_order(ledger):
    def told(second: float, **facets: Any) -> dict[str, Any]:
        return static(second, dataset={"namespace": "s3://lake", "name": "fees", "facets": facets})

    events = [
        told(1, a={"v": 1}), told(3, a={"v": 3}), told(5, b={"v": 5}), told(5, b={"v": 6}), told(2, c={"v": 2}), told(4, c={"_deleted": True}),
    ]  # fmt: skip
    found = []
    for order in itertools.islice(itertools.permutations(events), 0, None, 37):
        name = f"fees{len(found)}"
        some = [{**event, "dataset": {**event["dataset"], "name": name}} for event in order]
        ledger.ingest(some[:3])
        ledger.ingest(some[2:])
        assert ledger.ingest(some).accepted == 0
        with ledger._database.read() as connection:
            known = statics.read(connection, "s3://lake", name, is_dataset=True)
        found.append((known["dataset"]["facets"], known["eventTime"]))
    assert all(one == found[0] for one in found)
    assert found[0][0] == {"a": {"v": 3}, "b": {"v": 6}}


def test_a_facet_that_says_deleted_takes_the_earlier_away(ledger):
    first, second = foreign(0, [("s3://lake", "fees")], [], kind="START"), foreign(1, [("s3://lake", "fees")], [])
    second["run"]["runId"] = first["run"]["runId"]
    first["job"]["facets"] = {"documentation": {"description": "x"}, "sql": {"query": "y"}}
    second["job"]["facets"] = {"documentation": {"_deleted": True}}
    ledger.ingest([second, first])
    assert ledger.document(first["run"]["runId"])["job"]["facets"] == {"sql": {"query": "y"}}


@pytest.fixture
async def http(ledger: Ledger) -> Any:
    app = build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def test_a_batch_over_http_in_part(http, ledger):
    good = recorded("dbt_artifacts")
    broken = [
        b'{"run":',
        json.dumps(foreign(0, [], [], run_id="4711")).encode(),
        json.dumps({**foreign(0, [], []), "eventTime": "x"}).encode(),
    ]
    events = [json.loads(event) for event in good] + [json.loads(event) for event in broken[1:]]
    reply = await http.post(
        "/api/v1/lineage/batch", content=gzip.compress(json.dumps(events).encode()), headers={**JSON, "content-encoding": "gzip"}
    )
    assert reply.status_code == 200
    answer = reply.json()
    assert answer["status"] == "partial_success"
    assert answer["summary"] == {"received": 10, "successful": 8, "failed": 2, "retriable": 0, "non_retriable": 2}
    assert [(entry["index"], entry["retriable"]) for entry in answer["failed_events"]] == [(8, False), (9, False)]
    assert "UUID" in answer["failed_events"][0]["reason"]
    assert ledger.stats()["runs"] == 4
    assert (await http.post("/api/v1/lineage", content=good[0], headers=JSON)).status_code == 201


async def test_odd_events_are_taken_or_refused_and_never_half_written(http, ledger):
    odd: list[tuple[Any, int]] = [
        ({**foreign(0, [("n\x00", "a\x00b")], []), "extra": {"a": [1]}}, 201),
        (foreign(0, [("s3://a", "\ud800lone")], [], job="'; DROP TABLE runs; --"), 201),
        (foreign(0, [("s3://a", "<script>alert(1)</script>")], [], job="<b>"), 201),
        (foreign(0, [("s3://a", "x" * 5000)], [], job="y" * 5000), 201),
        ({**foreign(0, [], []), "eventTime": "9999-12-31T23:59:59Z"}, 201),
        ({**foreign(0, [], []), "eventTime": "1066-10-14T00:00:00Z"}, 201),
        ({**foreign(0, [], []), "eventType": "DONE"}, 400),
        ({**foreign(0, [], []), "job": {"namespace": "", "name": ""}}, 400),
        ({**foreign(0, [], []), "inputs": {"a": 1}, "outputs": [1, None, {"namespace": 5}]}, 201),
    ]
    for event, status in odd:
        reply = await http.post("/api/v1/lineage", content=json.dumps(event).encode(), headers=JSON)
        assert reply.status_code == status, (event, reply.text)
    for body, status in (
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 400),
        (b"[" * 100_000, 400),
        (b'{"run": {"runId": "x"', 400),
        (b"\xff\xfe", 400),
    ):
        reply = await http.post("/api/v1/lineage", content=body, headers=JSON)
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    big = foreign(0, [], [], huge={"text": "x" * 10_000_000})
    assert (await http.post("/api/v1/lineage", content=json.dumps(big).encode(), headers=JSON)).status_code == 201
    assert len((await http.get("/api/v1/runs")).json()["items"]) == sum(status == 201 for _, status in odd) + 1
    twice = b'{"eventType": "START", ' + json.dumps(foreign(0, [], [])).encode()[1:]
    assert (await http.post("/api/v1/lineage", content=twice, headers=JSON)).status_code == 201


def test_parents_in_a_circle(ledger):
    a, b = str(uuid.uuid4()), str(uuid.uuid4())
    job = {"namespace": "n", "name": "j"}
    ledger.ingest([
        foreign(0, [], [("n", "x")], run_id=a, parent={"run": {"runId": b}, "job": job}), foreign(1, [("n", "x")], [], run_id=b, parent={"run": {"runId": a}, "job": job}),
        foreign(2, [], [], run_id=(own := str(uuid.uuid4())), parent={"run": {"runId": own}, "job": job}),
    ])  # fmt: skip
    for run in (a, b, own):
        assert ledger.run(run)["runId"] == run
        assert ledger.lineage(f"run:{run}")["truncated"] is False
