"""What `spanline serve` answers beside the pages: health, lists, OpenLineage in, schemas."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from spanline.errors import LedgerError
from spanline.lineage import schema_store
from spanline.server import ingest
from tests.browser.samples import RUN, TRACE, Fake, fee_run
from tests.unit.test_server_pages import client

EVENT = {"eventType": "COMPLETE", "run": {"runId": RUN}, "job": {"namespace": "n", "name": "j"}}
JSON = {"content-type": "application/json"}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


async def test_health() -> None:
    async with client(Fake(), api=True, peer="203.0.113.7", tokens=("t",)) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}


@pytest.mark.internal_errors
async def test_not_ready_without_a_ledger() -> None:
    async with client(Fake(error=LedgerError("gone")), api=True) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503


async def test_lists() -> None:
    ledger = Fake.of(fee_run())
    async with client(ledger, api=True) as http:
        runs = (await http.get("/api/v1/runs?tag=case:4711&limit=5")).json()
        assert runs["items"][0]["runId"] == RUN
        assert (await http.get(f"/api/v1/runs/{TRACE}")).json() == {**fee_run(), "links": {}}
        assert (await http.get("/api/v1/runs/a b")).status_code == 400
        assert (await http.get("/api/v1/runs/nope")).status_code == 404
        for name in ("conflicts", "gaps", "artifacts"):
            assert (await http.get(f"/api/v1/{name}?after=c&limit=7")).json() == {"items": [], "next": None}
        await http.get("/api/v1/artifacts?kind=prompt")
        assert (await http.get("/api/v1/nothing")).headers["content-type"] == "application/problem+json"
        root = await http.get("/")
        assert (root.status_code, root.headers["location"]) == (307, "runs")
    assert ledger.asked[1:] == [
        ("conflicts", {"limit": 7, "after": "c"}), ("gaps", {"limit": 7, "after": "c"}), ("artifacts", {"limit": 7, "after": "c"}),
        ("artifacts", {"limit": 50, "after": None, "kind": "prompt"}),
    ]  # fmt: skip


async def test_in_an_app_there_are_only_the_pages() -> None:
    async with client(Fake.of(fee_run())) as http:
        for path in ("/api/v1/runs", "/healthz", "/schemas", "/"):
            assert (await http.get(path)).status_code == 404


async def test_one_event() -> None:
    ledger = Fake()
    async with client(ledger, api=True) as http:
        reply = await http.post("/api/v1/lineage", content=body(EVENT), headers=JSON)
        assert (reply.status_code, reply.content) == (201, b"")
        assert ledger.events == [body(EVENT)]
        bad = await http.post("/api/v1/lineage", content=b'{"bad": 1}', headers=JSON)
        assert (bad.status_code, bad.json()["detail"]) == (400, "run.runId is not a UUID")
        assert (await http.post("/api/v1/lineage", content=body([EVENT]), headers=JSON)).status_code == 400
        assert (await http.post("/api/v1/lineage", content=b"", headers=JSON)).status_code == 400
        assert (await http.get("/api/v1/lineage")).json()["title"] == "Parameter ref is missing"
        assert (await http.put("/api/v1/lineage")).status_code == 405


async def test_a_batch_in_part() -> None:
    ledger = Fake()
    async with client(ledger, api=True) as http:
        full = await http.post("/api/v1/lineage/batch", content=body([EVENT] * 3), headers=JSON)
        assert full.status_code == 200
        assert full.json() == {
            "status": "success",
            "summary": {"received": 3, "successful": 3, "failed": 0, "retriable": 0, "non_retriable": 0},
            "failed_events": [],
        }
        part = (await http.post("/api/v1/lineage/batch", content=body([EVENT, {"bad": 1}, EVENT]), headers=JSON)).json()
        assert part["status"] == "partial_success"
        assert part["summary"]["failed"] == part["summary"]["non_retriable"] == 1
        assert part["failed_events"] == [{"index": 1, "reason": "run.runId is not a UUID", "retriable": False}]
        assert (await http.post("/api/v1/lineage/batch", content=b"[]", headers=JSON)).json()["summary"]["received"] == 0
        for broken in (b"{}", b"[{]", b"", b"\xff", b"[" * 200_000, b"[1" + b"," * 10):
            assert (await http.post("/api/v1/lineage/batch", content=broken, headers=JSON)).status_code == 400


async def test_a_batch_when_the_ledger_is_gone_is_to_be_sent_again() -> None:
    class Gone(Fake):
        def ingest(self, events: Any) -> Any:
            raise LedgerError("the ledger does not answer")

    async with client(Gone(), api=True) as http:
        for path in ("/api/v1/lineage/batch", "/api/v1/lineage"):
            content = body([EVENT]) if path.endswith("batch") else body(EVENT)
            assert (await http.post(path, content=content, headers=JSON)).status_code == 503


@pytest.mark.parametrize(("headers", "status"), [
    ({"content-type": "application/json; charset=utf-8"}, 201), ({"content-type": "text/plain"}, 415), ({}, 415),
    ({"content-type": "application/x-www-form-urlencoded"}, 415), ({**JSON, "content-encoding": "br"}, 415), ({**JSON, "content-encoding": "identity"}, 201),
    ({**JSON, "content-encoding": "gzip"}, 400),
])  # fmt: skip
async def test_content_types(headers: dict[str, str], status: int) -> None:
    async with client(Fake(), api=True) as http:
        reply = await http.post("/api/v1/lineage", content=body(EVENT), headers=headers)
    assert reply.status_code == status


async def test_gzip_and_its_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_UNPACKED", 1 << 20)
    packed = {**JSON, "content-encoding": "gzip"}
    ledger = Fake()
    async with client(ledger, api=True) as http:
        assert (await http.post("/api/v1/lineage", content=gzip.compress(body(EVENT)), headers=packed)).status_code == 201
        assert ledger.events == [body(EVENT)]
        bomb = gzip.compress(b"[" + b" " * (2 << 20) + b"]")
        assert (await http.post("/api/v1/lineage/batch", content=bomb, headers=packed)).status_code == 413
        assert (await http.post("/api/v1/lineage", content=gzip.compress(body(EVENT))[:-4], headers=packed)).status_code == 400
        assert (await http.post("/api/v1/lineage", content=gzip.compress(body(EVENT)) + b"x", headers=packed)).status_code == 400


async def test_bodies_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_BODY", 1000)
    monkeypatch.setattr(ingest, "MAX_EVENTS", 2)

    async def endless() -> Any:
        for _ in range(10):
            yield b" " * 400

    async with client(Fake(), api=True) as http:
        assert (await http.post("/api/v1/lineage", content=b"{" + b" " * 2000, headers=JSON)).status_code == 413
        assert (await http.post("/api/v1/lineage", content=endless(), headers=JSON)).status_code == 413
        assert (await http.post("/api/v1/lineage/batch", content=body([{}, {}, {}]), headers=JSON)).status_code == 413


async def test_a_body_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from spanline.server.app import build_app
    from spanline.settings import Settings

    monkeypatch.setattr(ingest, "BODY_TIMEOUT_S", 0.05)
    app = build_app(Fake(), Settings.resolve({}, {}), api=True, require_loopback=False)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/lineage",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_writes_need_a_bearer_token_not_the_cookie() -> None:
    async with client(Fake(), api=True, tokens=("t",)) as http:
        await http.post("/r/-/sign-in", data={"token": "t", "next": "runs"})
        assert (await http.get("/api/v1/runs")).status_code == 200
        assert (await http.post("/api/v1/lineage", content=body(EVENT), headers=JSON)).status_code == 401
        http.cookies.clear()
        headers = {**JSON, "authorization": "Bearer t"}
        assert (await http.post("/api/v1/lineage", content=body(EVENT), headers=headers)).status_code == 201
        assert (await http.get("/api/v1/runs")).status_code == 401


async def test_the_api_keeps_the_loopback_rule() -> None:
    async with client(Fake(), api=True, peer="203.0.113.7") as http:
        for reply in (await http.get("/api/v1/runs"), await http.post("/api/v1/lineage", content=body(EVENT), headers=JSON)):
            assert reply.status_code == 403


async def test_every_schema_is_served_where_its_url_says() -> None:
    async with client(Fake(), api=True) as http:
        listed = (await http.get("/schemas")).json()["items"]
        assert listed
        for entry in listed:
            reply = await http.get(f"/schemas/{entry['facet']}/{entry['version']}")
            assert reply.json() == schema_store.schema(entry["facet"], entry["version"])
            assert reply.headers["content-type"].startswith("application/schema+json")
        for path in ("/schemas/spanline_trace/9-9-9", "/schemas/x/..%2f..", "/schemas/spanline_trace/1-0-0/x"):
            assert (await http.get(path)).status_code == 404


async def test_every_answer_bears_the_headers() -> None:
    async with client(Fake.of(fee_run()), api=True) as http:
        replies: list[httpx.Response] = [
            await http.get(path) for path in ("/", "/runs", f"/r/{TRACE}", "/r/nope", "/api/v1/runs", "/healthz", "/schemas", "/nothing")
        ]
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["cache-control"] == "no-store"
