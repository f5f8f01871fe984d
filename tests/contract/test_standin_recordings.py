"""The OpenLineage stand-in answers as the real Marquez 0.51 did, where the tests lean on it.

The exchanges were recorded with a real server (`tests/data/marquez/README.md`); here the same requests go, in the same
order, to the stand-in. This says how true the stand-in is; it is no test of Marquez.
"""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.standins.openlineage.server import StandIn

DATA = Path(__file__).parents[1] / "data" / "marquez"
FILES = sorted(path.name.removesuffix(".json.gz") for path in DATA.glob("*.json.gz"))

NOT_PLAYED = ("/api/v1/runlineage/", "/api/v1/search", "/api/v1/namespaces/indexes/datasets/", "/versions?")
"""What the stand-in does not have: no test of ours asks for it."""

SERVERS_OWN = {"version", "currentVersion", "parentJobUuid"}
"""Ids that the server makes up: only whether they are there is compared."""

NOT_KEPT = {"createdAt", "updatedAt", "lastLifecycleState"}

ELSEWHERE = {"10-statuses": "01-root-run"}
"""A recording that asks for a run of another one."""

MADE_UP = {"09-identity": {"203c2ff9-0c21-3582-85a7-e234390129ce"}}
"""Run ids of the real server whose making is not known; the stand-in's is another (09: of a parent given as 32 hex)."""

ORDERED = {"runs", "latestRuns", "events"}


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def recording(name: str) -> list[dict[str, Any]]:
    exchanges: list[dict[str, Any]] = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))["exchanges"]
    return exchanges


def ask(connection: http.client.HTTPConnection, request: dict[str, Any]) -> tuple[int, Any]:
    body = request.get("raw")
    if body is None and "json" in request:
        body = json.dumps(request["json"], ensure_ascii=False)
    connection.request(request["method"], request["path"], body.encode() if body is not None else None, request.get("headers") or {})
    response = connection.getresponse()
    text = response.read().decode()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


def comparable(value: Any, name: str = "") -> Any:
    """What must be equal: everything but the server's own ids and clocks, order where it means nothing, and wording."""
    if name in SERVERS_OWN:
        return None if value is None else "…"
    if isinstance(value, dict):
        if value.get("code") in {400, 500}:
            return {"code": value["code"]}
        return {key: comparable(entry, key) for key, entry in value.items() if key not in NOT_KEPT}
    if isinstance(value, list):
        entries = [comparable(entry) for entry in value]
        return entries if name in ORDERED else sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))
    return "<html>" if isinstance(value, str) and value.lstrip().startswith("<html>") else value


def recorded_answer(name: str, exchange: dict[str, Any]) -> Any:
    """The recorded body, without what other recordings left in the real server's database."""
    answer = exchange["response"].get("json", exchange["response"].get("text"))
    if isinstance(answer, dict) and "jobs" in answer:
        first = recording(name)[0]["request"]["json"]["eventTime"]
        jobs = [job for job in answer["jobs"] if job["createdAt"] >= first[:19]]
        return {"totalCount": len(jobs), "jobs": jobs}
    return answer


def without(answer: Any, run_ids: set[str]) -> Any:
    if run_ids and isinstance(answer, dict) and "runs" in answer:
        return {**answer, "runs": [{**run, "id": None} for run in answer["runs"]]}
    if isinstance(answer, dict) and "events" in answer:
        return {"totalCount": answer["totalCount"], "events": [(each["eventType"], each["run"]["runId"]) for each in answer["events"]]}
    return answer


@pytest.mark.parametrize("name", FILES)
def test_the_stand_in_answers_as_recorded(standin: StandIn, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", standin.server_address[1], timeout=10)
    try:
        replay(connection, name)
    finally:
        connection.close()


def replay(connection: http.client.HTTPConnection, name: str) -> None:
    compared = 0
    for exchange in recording(ELSEWHERE[name]) if name in ELSEWHERE else ():
        ask(connection, exchange["request"])
    for number, exchange in enumerate(recording(name)):
        request = exchange["request"]
        if any(part in request["path"] for part in NOT_PLAYED):
            continue
        status, answer = ask(connection, request)
        where = f"{name}[{number}] {exchange.get('note', '')} {request['method']} {request['path']}"
        assert status == exchange["response"]["status"], where
        if not exchange.get("note", "").startswith("unstable"):
            same = MADE_UP.get(name, set()) if "id-parent" in request["path"] else set()
            assert without(comparable(answer), same) == without(comparable(recorded_answer(name, exchange)), same), where
        compared += 1
    assert compared > 10
