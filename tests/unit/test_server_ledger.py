"""The pages over a real ledger: events in by HTTP, the run out by every id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanline.ledger import Ledger
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.incident import BAD, GOOD, events
from tests.unit.test_server_pages import HTML, Reader

JSON = {"content-type": "application/json"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield found
    found.close()


@pytest.fixture
async def http(ledger: Ledger) -> Any:
    app = build_app(ledger, Settings.resolve({"repository_url": "https://git.example/acme/fees"}, {}), api=True, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        body = b"[" + b",".join(events()) + b"]"
        reply = await client.post("/api/v1/lineage/batch", content=body, headers=JSON)
        assert reply.json()["summary"]["successful"] == len(events()), reply.text
        yield client


async def test_the_bad_answer_names_what_changed(http: httpx.AsyncClient) -> None:
    text = " ".join(Reader((await http.get(f"/r/{BAD}", headers=HTML)).text).text.split())
    for expected in ("2 version conflicts", "Prompt fees@v7 has digest", "Index fees_corpus@commit:abc123 has digest", "openai/gpt-4o-2024-06-18", "fees@2026-11-01",
                     "staging/fees-draft.md#1", "fee-assistant.build_index", "1 guardrail failed", "case=4711"):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize("id", [BAD, BAD.upper(), f"{BAD[:8]}-{BAD[8:12]}-{BAD[12:16]}-{BAD[16:20]}-{BAD[20:]}", "req-bad", "chatcmpl-bad"])
async def test_every_id_leads_to_it(http: httpx.AsyncClient, ledger: Ledger, id: str) -> None:
    found = (await http.get(f"/r/{id}?format=json")).json()
    assert found["traceId"] == BAD
    assert found == {**(ledger.run(BAD) or {}), "links": {"repository": f"https://git.example/acme/fees/commit/{'8a6d43f0' * 5}"}}
    assert found == (await http.get(f"/api/v1/runs/{id}")).json()


async def test_the_list_is_filtered(http: httpx.AsyncClient) -> None:
    async def traces(query: str) -> list[str]:
        return [item["traceId"] for item in (await http.get(f"/api/v1/runs?{query}")).json()["items"]]

    assert await traces("conflict=true") == [BAD]
    assert set(await traces("prompt=fees@v7")) == {BAD, GOOD}
    assert await traces("tag=case:4711") == [BAD]
    assert await traces("outcome=fail") == []
    assert len(await traces("job=fee-assistant.POST /chat&model=openai/gpt-4o-2024-06-18")) == 2
    assert len(await traces("limit=1")) == 1
    page = await http.get("/runs?limit=1", headers=HTML)
    older = next(value for _, name, value in Reader(page.text).attributes if name == "href" and "after=" in value)
    assert (await http.get(f"/{older.removeprefix('./')}", headers=HTML)).status_code == 200
    for bad in ("after=zz", "since=yesterday", "tag=x", "artifact=nothing"):
        assert (await http.get(f"/api/v1/runs?{bad}")).status_code == 400


async def test_the_other_lists(http: httpx.AsyncClient) -> None:
    conflicts = (await http.get("/api/v1/conflicts")).json()["items"]
    assert {entry["name"] for entry in conflicts} == {"fees", "fees_corpus"}
    gaps = (await http.get("/api/v1/gaps")).json()["items"]
    assert {gap["missing"] for gap in gaps} >= {"the release", "the code revision"}
    assert all(gap["how"] for gap in gaps)
    assert [entry["version"] for entry in (await http.get("/api/v1/artifacts?kind=prompt&name=fees")).json()["items"]] == ["v7", "v7"]


async def test_what_is_no_event_is_refused(http: httpx.AsyncClient) -> None:
    for body in (b"{}", b'{"eventType":"COMPLETE","run":{"runId":"x"}}', b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"a":"\xff"}'):
        reply = await http.post("/api/v1/lineage", content=body, headers=JSON)
        assert reply.status_code == 400
        assert reply.json()["detail"]
    assert (await http.post("/api/v1/lineage", content=events()[0], headers=JSON)).status_code == 201
