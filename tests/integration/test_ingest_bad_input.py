"""Bad input at a real `spanline serve`, on SQLite and PostgreSQL: a clear answer, nothing lost, nothing half-written."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import sqlite3
import string
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from spanline.ledger import Ledger
from spanline.ledger.migrations import upgrade
from tests.integration.test_cli_serve_and_relay import serving, spanline
from tests.ledger_events import end, foreign, request
from tests.servers.child import eventually

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"
# Does not shrink when it is packed: an index of PostgreSQL takes 2.7 kB of a row.
LONG = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=9000))
HTML = "<script>alert(1)</script>"
SQL = "'; DROP TABLE runs; --"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URLs of a server and of its ledger."""
    home = tmp_path_factory.mktemp("server")
    url = f"sqlite:///{home}/ledger.db"
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create())
    with serving(home, SPANLINE_LEDGER_URL=url) as (server, _):
        yield server, url


@pytest.fixture
def post(served: tuple[str, str]) -> Callable[[Any], httpx.Response]:
    """Sends one event, given as data or as bytes."""

    def send(event: Any) -> httpx.Response:
        content = event if isinstance(event, bytes) else json.dumps(event).encode()
        return httpx.post(f"{served[0]}/api/v1/lineage", content=content, headers=JSON, timeout=30)

    return send


def ok(served: tuple[str, str], path: str, **about: Any) -> dict[str, Any]:
    reply = httpx.get(f"{served[0]}{path}", params=about, timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("change", [
    {"eventType": "DONE"}, {"eventType": 5}, {"eventType": "complete"}, {"eventType": ["COMPLETE"]}, {"eventType": {}},
    {"eventTime": "yesterday"}, {"eventTime": 5}, {"eventTime": None}, {"eventTime": ""}, {"eventTime": "2026-13-45T00:00:00Z"},
    {"eventTime": "2026-09-21T25:00:00Z"}, {"eventTime": "٢٠٢٦-09-21T00:00:00Z"},
    {"run": {"runId": "4711"}}, {"run": {"runId": 5}}, {"run": {"runId": None}}, {"run": {}}, {"run": None}, {"run": []}, {"run": "x"},
    {"run": {"runId": "{" + str(uuid.uuid4()) + "}"}}, {"run": {"runId": "urn:uuid:" + str(uuid.uuid4())}}, {"run": {"runId": uuid.uuid4().hex[:31]}},
    {"run": {"runId": str(uuid.uuid4()) + "\n"}}, {"job": None}, {"job": {"namespace": "", "name": ""}}, {"job": {"namespace": "n"}},
    {"job": {"namespace": ["n"], "name": "j"}}, {"job": {"namespace": "\x00", "name": "\x00"}},
], ids=repr)  # fmt: skip
def test_what_is_no_event_is_refused_and_says_why(post, served, change):
    before = httpx.get(f"{served[0]}/api/v1/runs").json()
    reply = post({**foreign(0, [], []), **change})
    assert (reply.status_code, reply.headers["content-type"]) == (400, PROBLEM)
    problem = reply.json()
    assert problem["status"] == 400
    assert problem["title"] == "Not a valid event"
    (name,) = change
    assert name in problem["detail"]
    assert httpx.get(f"{served[0]}/api/v1/runs").json() == before


@pytest.mark.parametrize("change", [
    {"eventTime": "9999-12-31T23:59:59Z"}, {"eventTime": "1066-10-14T00:00:00Z"}, {"eventTime": "0001-01-01T00:00:00Z"}, {"eventTime": "2016-12-31T23:59:60Z"}, {"eventTime": "2026-09-21T00:00:00"},
    {"eventTime": "2026-09-21T00:00:00.123456789+14:00"}, {"eventTime": "2026-09-21T00:00:00-23:59"}, {"eventTime": "2026-09-21t00:00:00z"},
    {"inputs": {"a": 1}}, {"inputs": [1, None, "x", {"namespace": 5}, {"name": "n"}]}, {"outputs": None},
    {"job": {"namespace": LONG, "name": LONG[::-1]}}, {"job": {"namespace": SQL, "name": HTML}}, {"job": {"namespace": "n\x00", "name": "\ud800 \udfff\x00j"}},
    {"inputs": [{"namespace": LONG, "name": LONG[::-1], "facets": {"version": {"datasetVersion": LONG}}}]},
    {"inputs": [{"namespace": SQL, "name": HTML}], "outputs": [{"namespace": HTML, "name": SQL}]},
    {"inputs": [{"namespace": "n\x00", "name": "a\x00b\ud800", "facets": {"\x00": "\x00", "symlinks": {"identifiers": [{"namespace": "\x00", "name": LONG}, 5]}}}]},
    {"inputs": [{"namespace": "n", "name": f"d{n}"} for n in range(300)]},
    {"producer": LONG * 20, "schemaURL": 5, "extra": {"\ud800": ["\x00"]}},
    {"run": {"runId": "00000000-0000-0000-0000-000000000000"}}, {"run": {"runId": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}},
], ids=lambda change: f"{change!r}"[:60])  # fmt: skip
def test_odd_events_are_taken_and_can_be_read(post, served, change):
    event = {**foreign(0, [], []), **change}
    reply = post(event)
    assert (reply.status_code, reply.text) == (201, "")
    assert post(event).status_code == 201
    run_id = event["run"]["runId"]
    found = ok(served, f"/api/v1/runs/{run_id}")
    assert found["runId"] == run_id.lower()
    page = httpx.get(f"{served[0]}/r/{run_id}", headers={"accept": "text/html"}, timeout=30)
    assert page.status_code == 200
    assert HTML not in page.text
    assert ok(served, "/api/v1/lineage", ref=f"run:{run_id}")["root"] == f"run:{run_id.lower()}"
    listed = httpx.get(f"{served[0]}/runs", headers={"accept": "text/html"}, timeout=30)
    assert (listed.status_code, HTML in listed.text) == (200, False)
    for entry in found["artifacts"][:3]:
        shown = httpx.get(
            f"{served[0]}/artifact", params={"ref": f"{entry['namespace']}/{entry['name']}"}, headers={"accept": "text/html"}, timeout=30
        )
        assert shown.status_code in (200, 400, 404), shown.text
        assert HTML not in shown.text


def test_odd_evaluations_and_facets_of_ours(post, served):
    """A facet of ours in somebody else's hands may hold anything."""
    for number, value in enumerate((LONG, "\x00", "\ud800", 5, -1, 1e308, None, [], {}, [LONG], {"a": LONG}, True, 1 << 70)):
        facets = {
            name: dict.fromkeys(("startedAt", "traceId", "durationSeconds", "service", "environment", "requestId", "tags", "tenant", "operations",
                                 "outcomes", "conflicts", "evaluations", "release", "codeRevision", "repository", "imageDigest"), value)
            for name in ("spanline_trace", "spanline_release", "spanline_operations", "spanline_guardrails", "spanline_conflicts", "spanline_evaluations")
        }  # fmt: skip
        entry = dict.fromkeys(
            ("name", "score", "label", "passed", "evaluator", "evaluatorVersion", "evalSet", "evalSetVersion", "evaluatedAt"), value
        )
        facets["spanline_evaluations"] = {"evaluations": [entry, {**entry, "name": "n"}]}
        operation = dict.fromkeys(("spanId", "kind", "name", "provider", "responseModel", "responseId", "usage", "startedAt"), value)
        facets["spanline_operations"] = {"operations": [operation, value]}
        artifact = dict.fromkeys(("kind", "name", "version", "digest", "evidence", "label", "stage"), value)
        dataset = {"namespace": "n", "name": f"d{number}", "facets": {"spanline_artifact": artifact},
                   "inputFacets": {"spanline_retrieval": {"topK": value, "hits": value, "documents": [{"id": value, "score": value}, value]}}}  # fmt: skip
        for some in ({"parent": value}, {"parent": {"run": value, "job": value}}, {"spanline_trace": value}, facets):
            event = {**foreign(0, [], [], **some), "inputs": [dataset], "outputs": [dataset]}
            reply = post(event)
            assert (reply.status_code, reply.text) == (201, ""), (value, list(some))
        assert ok(served, f"/api/v1/runs/{event['run']['runId']}")["artifacts"] is not None
        page = httpx.get(f"{served[0]}/r/{event['run']['runId']}", headers={"accept": "text/html"}, timeout=30)
        assert page.status_code == 200, page.text[:500]


def test_big_and_deep_events(post, served):
    big = foreign(0, [], [], huge={"text": "x" * 10_000_000})
    assert post(big).status_code == 201
    ledger = Ledger.open(served[1])
    assert ledger.document(big["run"]["runId"])["run"]["facets"] == big["run"]["facets"]
    ledger.close()
    for body, status in (
        (json.dumps(foreign(0, [], [], huge={"text": "x" * (17 << 20)})).encode(), 413), (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 400),
        (b'{"run": {"runId": "x"', 400), (b"\xff\xfe", 400), (b"", 400), (b"null", 400), (b"[]", 400), (b"{} {}", 400),
    ):  # fmt: skip
        reply = post(body)
        assert (reply.status_code, reply.headers["content-type"]) == (status, PROBLEM)
        assert reply.json()["detail"]


def test_a_key_twice(post, served):
    event = foreign(0, [], [("s3://lake", "fees")])
    raw = json.dumps(event).encode()
    assert post(b'{"eventType": "START", "run": {"runId": "x"}, "outputs": 5, ' + raw[1:]).status_code == 201
    # The last of two stands, as in most readers of JSON.
    run = ok(served, f"/api/v1/runs/{event['run']['runId']}")
    assert (run["outcome"], len(run["artifacts"])) == ("COMPLETE", 1)


def test_one_broken_event_does_not_cost_the_batch(served):
    good = [json.dumps(foreign(n, [], [])).encode() for n in range(3)]
    surrogate = json.dumps(foreign(3, [("n", "\ud800")], [])).encode()
    broken = [b'{"a": nul}', b'{"a":' * 20_000 + b"1" + b"}" * 20_000, b'{"a":"\x01"}', b'{"a":"\xff"}', b"5", b"", b'"],"', b"{}"]
    batch = [good[0], *broken[:4], surrogate, good[1], *broken[4:], good[2]]
    for content, coding in (
        (b"[" + b",".join(batch) + b"]", {}),
        (gzip.compress(b"[" + b" , ".join(batch) + b"]"), {"content-encoding": "gzip"}),
    ):
        reply = httpx.post(f"{served[0]}/api/v1/lineage/batch", content=content, headers={**JSON, **coding}, timeout=30)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        assert answer["summary"] == {"received": 12, "successful": 4, "failed": 8, "retriable": 0, "non_retriable": 8}
        assert [failure["index"] for failure in answer["failed_events"]] == [1, 2, 3, 4, 7, 8, 9, 10]
        assert all(failure["reason"] and failure["retriable"] is False for failure in answer["failed_events"])
    for event in (*good, surrogate):
        ok(served, f"/api/v1/runs/{json.loads(event)['run']['runId']}")


def test_parents_in_a_circle(post, served):
    runs = [str(uuid.uuid4()) for _ in range(3)]
    for place, run in enumerate(runs):
        parent = {"run": {"runId": runs[place - 1]}, "job": {"namespace": "dbt", "name": "fees_raw"}}
        parent["root"] = {"run": {"runId": runs[place - 2]}, "job": {"namespace": "dbt", "name": "fees_raw"}}
        assert post(foreign(place, [("n", f"x{place}")], [("n", f"x{(place + 1) % 3}")], run_id=run, parent=parent)).status_code == 201
    for run in runs:
        assert ok(served, f"/api/v1/runs/{run}")["runId"] == run
        for ref in (f"run:{run}", "n/x0"):
            graph = ok(served, "/api/v1/lineage", ref=ref, depth=100)
            assert graph["truncated"] is False
        assert httpx.get(f"{served[0]}/r/{run}", headers={"accept": "text/html"}).status_code == 200
    assert {entry["id"] for entry in ok(served, "/api/v1/impact", ref="n/x0")["artifacts"]} >= {"n/x1", "n/x2"}


def test_two_jobs_on_one_run_id(post, served):
    first, second = foreign(0, [], [("n", "a")], job="one"), foreign(1, [], [("n", "b")], job="two")
    second["run"]["runId"] = first["run"]["runId"]
    for event in (first, second, first, second):
        assert post(event).status_code == 201
    # The id is the first's; the other is found by it too.
    assert ok(served, f"/api/v1/runs/{first['run']['runId']}")["job"] == "one"
    (other,) = ok(served, "/api/v1/runs", job="two")["items"]
    assert other["runId"] != first["run"]["runId"]
    assert [entry["name"] for entry in ok(served, f"/api/v1/runs/{other['runId']}")["artifacts"]] == ["b"]


def test_clocks_that_lie(post, served):
    first = foreign(100, [], [("n", "late")], job="clocks", kind="START")
    ends = {**foreign(0, [], [("n", "late")], job="clocks"), "run": first["run"], "eventTime": "1970-01-01T00:00:00Z"}
    again = {**ends, "eventTime": "9999-12-31T23:59:59.999999999Z", "eventType": "FAIL"}
    for event in (first, ends, again):
        assert post(event).status_code == 201
    run = ok(served, f"/api/v1/runs/{first['run']['runId']}")
    assert run["outcome"] == "FAIL"
    assert run["endedAt"] is None or run["endedAt"] >= run["startedAt"]
    user = foreign(200, [("n", "late")], [], job="reader")
    assert post(user).status_code == 201
    assert ok(served, "/api/v1/lineage", ref=f"run:{user['run']['runId']}")["nodes"]
    assert httpx.get(f"{served[0]}/r/{first['run']['runId']}", headers={"accept": "text/html"}).status_code == 200


def test_a_bomb_is_not_unpacked(served):
    bomb = gzip.compress(b"[" + b" " * (300 << 20) + b"]", 1)
    for path in ("lineage", "lineage/batch"):
        began = time.process_time()
        reply = httpx.post(f"{served[0]}/api/v1/{path}", content=bomb, headers={**JSON, "content-encoding": "gzip"}, timeout=30)
        assert (reply.status_code, reply.headers["content-type"]) == (413, PROBLEM)
        assert time.process_time() - began < 5
    twice = gzip.compress(gzip.compress(json.dumps(foreign(0, [], [])).encode()))
    assert httpx.post(f"{served[0]}/api/v1/lineage", content=twice, headers={**JSON, "content-encoding": "gzip, gzip"}).status_code == 415
    assert httpx.post(f"{served[0]}/api/v1/lineage", content=twice, headers={**JSON, "content-encoding": "gzip"}).status_code == 400


def test_all_that_was_sent_is_whole(served):
    """After all of the above: what the tables say is what the events say."""
    ledger = Ledger.open(served[1])
    ledger.ingest([end(request(500))])
    after, seen = None, 0
    while True:
        page = ledger.runs(limit=100, after=after)
        for item in page["items"]:
            seen += 1
            assert ledger.document(item["runId"]) is not None
        after = page["next"]
        if after is None:
            break
    assert seen == ledger.stats()["runs"]
    ledger.close()


def test_a_ledger_from_a_newer_version_is_not_served(tmp_path):
    def held() -> list[str]:
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            return list(connection.iterdump())

    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    ledger.ingest([end(request(0))])
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute(f"UPDATE {upgrade.TABLE} SET version_num = '0099'")
        connection.commit()
    before = held()
    done = spanline(tmp_path, "serve", "--port", "0")
    assert (done.returncode != 0, "Traceback" in done.stderr) == (True, False)
    assert "newer version of spanline" in done.stderr
    assert "upgrade spanline" in done.stderr
    assert held() == before


def test_a_postgresql_that_goes_away_in_mid_transaction(tmp_path, postgres):
    name = postgres.create()
    batch = [json.loads(end(request(second))) for second in range(20)]

    def counted(table: str) -> int:
        return int(postgres.psql(name, f"SELECT count(*) FROM {table}"))

    with serving(tmp_path, SPANLINE_LEDGER_URL=postgres.url(name)) as (server, _), ThreadPoolExecutor(1) as pool:

        def sent() -> httpx.Response:
            return httpx.post(f"{server}/api/v1/lineage/batch", json=batch, timeout=30)

        with psycopg.connect(postgres.url(name)) as other:
            # The server's transaction has written artifacts, and waits for this table when its connection is cut.
            other.execute("LOCK TABLE edges")
            reply = pool.submit(sent)
            where = f"FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
            eventually(lambda: postgres.psql(name, f"SELECT pg_terminate_backend(pid) {where}") or reply.done())
            eventually(reply.done)
        refused = reply.result()
        assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM)
        assert "does not answer" in refused.json()["detail"]
        assert "spanline:spanline@" not in refused.text
        assert [counted(table) for table in ("runs", "events", "edges", "artifacts", "terms")] == [0] * 5
        assert sent().json()["summary"]["successful"] == 20
        assert [counted("runs"), counted("events")] == [20, 20]
        for event in batch:
            assert len(httpx.get(f"{server}/api/v1/runs/{event['run']['runId']}").json()["artifacts"]) == 6
