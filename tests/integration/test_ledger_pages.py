"""The pages of an artifact and of a comparison, and the search box that takes any id; over a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanline.ledger import Ledger
from spanline.record.artifact import Artifact
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, end, foreign, index, request
from tests.unit.test_server_pages import HTML, Reader

HOSTILE = "<script>alert(1)</script>\"'>"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield found
    found.close()


@pytest.fixture
async def http(ledger: Ledger) -> Any:
    app = build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=HTML) as client:
        yield client


def text_of(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return " ".join(Reader(reply.text).text.split())


async def test_the_page_of_an_artifact(http, ledger):
    raw = foreign(-20, [("s3://lake", "fees.csv")], [("corpora", "fees@2026-11-01")], job="fees_raw")
    good, bad = request(1), request(2, index(digest="rebuilt"), PROMPT, MODEL)
    ledger.ingest([raw, end(build(-10, [CORPUS], [index()], job="fees.index")), end(good), end(bad)])
    page = text_of(await http.get("/artifact", params={"ref": "index:fees_corpus@c1"}))
    for expected in (
        "index:fees_corpus@c1",
        "used by 2 runs",
        "Version conflict",
        "Made by",
        "fees.index",
        "fee-assistant@1.4.2",
        good.trace_id,
        bad.trace_id,
    ):
        assert expected in page, expected
    reply = await http.get("/artifact", params={"ref": "index:fees_corpus@c1"})
    for link in {value for _, name, value in Reader(reply.text).attributes if name == "href" and "artifact?ref" in value}:
        assert (await http.get(f"/{link}")).status_code == 200, link
    page = text_of(await http.get("/artifact", params={"ref": "s3://lake/fees.csv"}))
    assert "Made from it" in page
    assert "index:fees_corpus@c1" in page
    assert "through what was made from it" in page
    run = await http.get(f"/r/{bad.trace_id}")
    links = [value for _, name, value in Reader(run.text).attributes if name == "href"]
    assert any("artifact?ref=index%3Afees_corpus%40c1" in link for link in links)
    (compared,) = [link for link in links if "diff?a=" in link]
    page = text_of(await http.get(f"/r/{compared}"))
    assert "What differs" in page
    assert "digest" in page


async def test_the_page_of_a_comparison(http, ledger):
    a, b = request(1), request(2, index("c2", "c2"), PROMPT, MODEL, outcome="FAIL")
    ledger.ingest([end(a), end(b)])
    assert "Compare" in text_of(await http.get("/diff"))
    page = text_of(await http.get("/diff", params={"a": a.trace_id, "b": b.trace_id}))
    for expected in ("version", "index fees_corpus", "c1", "c2", "removed", "corpus fees", "COMPLETE", "FAIL"):
        assert expected in page, expected
    assert "same versions" in text_of(await http.get("/diff", params={"a": a.trace_id, "b": a.run_id}))
    missing = await http.get("/diff", params={"a": a.trace_id, "b": "f" * 32})
    assert (missing.status_code, "not known" in missing.text) == (404, True)


async def test_the_search_box_takes_any_id_and_any_reference(http, ledger):
    record = request(1, response_id="chatcmpl-1", request_id="req:1")
    ledger.ingest([end(record)])
    for id in (record.trace_id, record.run_id, "req:1", "chatcmpl-1"):
        assert (await http.get("/runs", params={"id": id})).headers["location"].startswith("r/")
    for ref in ("prompt:fees@v7", "prompt:fees", "indexes/fees_corpus"):
        reply = await http.get("/runs", params={"id": ref})
        assert reply.headers["location"].startswith("artifact?ref=")
        assert (await http.get(f"/{reply.headers['location']}")).status_code == 200
    assert (await http.get("/runs", params={"id": "a b"})).status_code == 400
    unknown = await http.get("/artifact", params={"ref": "prompt:fee@v7"})
    assert unknown.status_code == 404
    assert "did you mean prompt:fees" in unknown.text


async def test_names_are_escaped_everywhere(http, ledger):
    hostile = Artifact(kind="index", name=HOSTILE, version=HOSTILE)
    a, b = request(1, hostile, job=f"j {HOSTILE}"), request(2)
    ledger.ingest([end(a), end(b)])
    for path, query in (
        ("/artifact", {"ref": f"index:{HOSTILE}@{HOSTILE}"}),
        ("/diff", {"a": a.run_id, "b": b.run_id}),
        (f"/r/{a.trace_id}", {}),
    ):
        reply = await http.get(path, params=query)
        assert reply.status_code == 200, reply.text
        assert "<script>alert" not in reply.text
        assert Reader(reply.text).tags.count("script") == 1


async def test_in_an_app_these_pages_are_not_there(ledger):
    record = request(1)
    ledger.ingest([end(record)])
    app = build_app(ledger, Settings.resolve({}, {}), api=False, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=HTML) as http:
        assert (await http.get("/artifact?ref=prompt:fees")).status_code == 404
        assert "artifact?ref" not in (await http.get(f"/r/{record.trace_id}")).text
