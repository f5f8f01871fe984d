"""The run page and the list: what they say, what they escape, what they refuse."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest

from spanline.errors import LedgerError
from spanline.server.app import build_app
from spanline.server.links import links
from spanline.settings import Settings
from tests.browser.samples import FIRST, HOSTILE, RUN, TRACE, Fake, fee_run, hostile_run

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def client(
    ledger: Fake, *, api: bool = False, root_path: str = "", peer: str = "127.0.0.1", loopback: bool = True, **settings: object
) -> httpx.AsyncClient:
    app = build_app(ledger, Settings.resolve(settings, {}), api=api, require_loopback=loopback)
    transport = httpx.ASGITransport(app, client=(peer, 40000), root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def test_the_page_answers_the_questions_first() -> None:
    async with client(Fake.of(fee_run())) as http:
        reply = await http.get(f"/r/{TRACE}", headers=HTML)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    text = " ".join(Reader(reply.text).text.split())
    order = ["Complete", "fee-assistant.POST /chat", TRACE, "2.41 s", "What made this answer", "fees@2026-11-01", "fees_corpus@commit:abc123", "fees@v7",
             "openai/gpt-4o-2024-06-18", "8a6d43f0c1d2", "not known", "2 version conflicts", "Not known of this run", "Timeline", "execute_tool rates",
             "TimeoutError", "Documents retrieved", "fees/wire-transfer.md#2", "0.8731", "Guardrails", "fee-schema@3", "Evaluations", "Artifacts", "Upstream",
             "Ids and facts", RUN, "chatcmpl-9xyz", "Raw facts"]  # fmt: skip
    at = 0
    for expected in order:
        found = text.find(expected, at)
        assert found >= 0, f"{expected!r} is not after {text[max(at - 60, 0) : at]!r}"
        at = found
    assert f"Prompt fees@v7 has digest 3fa93fa93fa9; the same label was first seen with digest 12ab12ab12ab in run {FIRST}" in text
    assert "1 guardrail failed" in text
    assert "Set service.version" in text


async def test_the_page_is_self_contained_and_its_policy_strict() -> None:
    async with client(Fake.of(fee_run()), jaeger_url="http://jaeger:16686") as http:
        reply = await http.get(f"/r/{TRACE}", headers=HTML)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert {name: reply.headers[name] for name in ("x-content-type-options", "referrer-policy", "cache-control", "x-frame-options")} == {
        "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store", "x-frame-options": "DENY",
    }  # fmt: skip
    read = Reader(reply.text)
    assert read.tags.count("script") == read.tags.count("style") == 1
    assert not set(read.tags) & {"img", "iframe", "object", "embed", "base", "video", "audio"}
    assert not [entry for entry in read.attributes if entry[1] in {"src", "style", "srcset"} or entry[1].startswith("on")]
    assert next(value for tag, name, value in read.attributes if tag == "link" and name == "href").startswith("data:")
    outside = [value for tag, name, value in read.attributes if name == "href" and tag == "a" and "//" in value]
    assert outside == [f"http://jaeger:16686/trace/{TRACE}"]


async def test_foreign_text_is_text() -> None:
    async with client(Fake.of(hostile_run())) as http:
        run, runs = await http.get(f"/r/{TRACE}", headers=HTML), await http.get("/runs", headers=HTML)
    harmless = Reader((await _fee_page()).text)
    for reply in (run, runs):
        assert reply.status_code == 200
        assert "<script>alert" not in reply.text
        assert "\u202e" not in reply.text
        assert "{{7*7}}" in reply.text
        assert "49</" not in reply.text
        read = Reader(reply.text)
        assert HOSTILE.replace("\u202e", "\\u202e") in read.text
        known = {name for _, name, _ in harmless.attributes} | {"value", "placeholder", "selected", "checked", "type"}
        assert {name for _, name, _ in read.attributes} <= known
        assert not set(read.tags) & {"img"}
        assert read.tags.count("script") == 1
        # Ids that are none lead nowhere.
        assert not [value for tag, name, value in read.attributes if tag == "a" and "script" in value and "/r/" in value]


async def _fee_page() -> httpx.Response:
    async with client(Fake.of(fee_run())) as http:
        return await http.get(f"/r/{TRACE}", headers=HTML)


@pytest.mark.parametrize("broken", [
    {}, {"runId": RUN}, {"runId": RUN, "answers": [], "operations": {}, "artifacts": "x", "gaps": ["the prompt"], "conflicts": [{}], "usage": 3, "tags": []},
    {"runId": RUN, "upstream": [{}], "guardrails": [{}], "evaluations": [{"passed": None}], "artifacts": [{"retrieval": {}}, {"retrieval": []}], "others": [{"runId": FIRST}, 3]},
    {"runId": RUN, "startedAt": "\ud800", "durationSeconds": "long", "operations": [{"name": "\ud800", "finishReasons": [None, {}]}]},
])  # fmt: skip
async def test_a_run_of_which_little_is_known_has_a_page(broken: dict[str, object]) -> None:
    ledger = Fake({"x": broken})
    async with client(ledger) as http:
        page, data = await http.get("/r/x", headers=HTML), await http.get("/r/x?format=json")
    assert page.status_code == data.status_code == 200
    assert data.json() == {**broken, "links": {}}


@pytest.mark.parametrize(("accept", "query", "kind"), [
    ("application/*", "", "application/json"), ("text/*", "", "text/html"), ("text/html;q=0", "", "application/json"),
    ("text/html;q=0, application/json;q=0", "", "text/html"),
    ("text/html", "", "text/html"), ("application/json", "", "application/json"), ("*/*", "", "text/html"), (None, "", "text/html"),
    ("application/json;q=0.5, text/html;q=0.4", "", "application/json"), ("text/html", "?format=json", "application/json"),
    ("application/json", "?format=html", "text/html"), ("application/json;q=0", "", "text/html"), ("application/json;q=x", "", "text/html"),
])  # fmt: skip
async def test_html_or_json(accept: str | None, query: str, kind: str) -> None:
    async with client(Fake.of(fee_run())) as http:
        http.headers.pop("accept")
        reply = await http.get(f"/r/{TRACE}{query}", headers={"accept": accept} if accept else {})
    assert reply.headers["content-type"].startswith(kind)


async def test_the_json_is_the_ledgers_with_links() -> None:
    settings = {"jaeger_url": "http://jaeger:16686", "base_url": "https://runs.acme.test"}
    async with client(Fake.of(fee_run()), **settings) as http:
        found = (await http.get(f"/r/{TRACE}", headers={"accept": "application/json"})).json()
    assert found == {**fee_run(), "links": links(fee_run(), Settings.resolve(settings, {}))}
    assert set(found["links"]) == {"jaeger", "self"}


@pytest.mark.parametrize(
    "id", ["a b", "<script>alert(1)</script>", "x" * 129, "é", "..%2f..%2fetc", "a%00", "", "a/b", "%0d%0aset-cookie:x"]
)
async def test_ids_outside_the_grammar_are_400(id: str) -> None:
    async with client(Fake.of(fee_run())) as http:
        data, page = await http.get(f"/r/{id}"), await http.get(f"/r/{id}", headers=HTML)
    assert data.status_code == page.status_code == 400
    assert data.headers["content-type"] == "application/problem+json"
    assert data.json()["status"] == 400
    assert data.json()["title"]
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>alert" not in page.text


async def test_unknown_is_404_with_what_to_try() -> None:
    async with client(Fake.of(fee_run())) as http:
        data, page = await http.get("/r/nope"), await http.get("/r/nope", headers=HTML)
    assert data.status_code == page.status_code == 404
    assert data.headers["content-type"] == "application/problem+json"
    assert "spanline doctor" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


async def test_a_format_that_is_none() -> None:
    async with client(Fake.of(fee_run())) as http:
        assert (await http.get(f"/r/{TRACE}?format=xml")).status_code == 400
        assert (await http.post(f"/r/{TRACE}")).status_code == 405


async def test_the_list_filters_and_pages() -> None:
    ledger = Fake.of(fee_run())
    async with client(ledger) as http:
        first = await http.get(
            "/runs",
            params={
                "outcome": "fail",
                "prompt": "fees@v7",
                "conflict": "true",
                "tag": "case:4711",
                "job": "svc.x",
                "model": "",
                "limit": "20",
            },
            headers=HTML,
        )
        read = Reader(first.text)
        older = next(value for tag, name, value in read.attributes if name == "href" and "after=" in value)
        second = await http.get(str(httpx.URL("http://127.0.0.1/runs").join(older)), headers=HTML)
    assert ledger.asked[0] == (
        "runs",
        {"limit": 20, "after": None, "job": "svc.x", "tag": "case:4711", "outcome": "FAIL", "conflict": True, "artifact": "prompt:fees@v7"},
    )
    assert ledger.asked[1] == ("runs", {**ledger.asked[0][1], "after": "c2"})
    assert ("input", "value", "fees@v7") in read.attributes
    assert "Newest" in Reader(second.text).text
    assert "after=" not in second.text
    assert f"r/{RUN}" in first.text


@pytest.mark.parametrize(
    "query",
    [
        "outcome=maybe",
        "limit=0",
        "limit=501",
        "limit=x",
        "conflict=perhaps",
        "after=broken",
        "colour=red",
        "job=a&job=b",
        "job=" + "x" * 600,
        "prompt=a&model=b",
        "tag=%00",
    ],
)
async def test_wrong_filters_are_told(query: str) -> None:
    async with client(Fake.of(fee_run())) as http:
        reply = await http.get(f"/runs?{query}", headers={"accept": "application/json"})
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"


async def test_a_wrong_parameter_gets_a_hint() -> None:
    async with client(Fake.of(fee_run())) as http:
        assert (await http.get("/runs?outcme=fail")).json()["detail"] == "Did you mean outcome?"


async def test_any_id_opens_from_the_search_box() -> None:
    async with client(Fake.of(fee_run())) as http:
        reply = await http.get("/runs", params={"id": " req-8f21 "})
        assert (reply.status_code, reply.headers["location"]) == (303, "r/req-8f21")
        page = await http.get(f"/{reply.headers['location']}", headers=HTML)
        assert TRACE in page.text
        assert (await http.get("/runs", params={"id": "//evil.test"})).status_code == 400


@pytest.mark.parametrize("prefix", ["", "/internal/rag"])
async def test_links_work_under_any_prefix(prefix: str) -> None:
    async with client(Fake.of(fee_run()), root_path=prefix) as http:
        for start in (f"{prefix}/runs", f"{prefix}/r/{TRACE}", f"{prefix}/r/nope"):
            reply = await http.get(start, headers=HTML)
            inside = {
                value
                for tag, name, value in Reader(reply.text).attributes
                if name in {"href", "action"} and not value.startswith(("#", "?", "data:"))
            }
            assert inside
            for link in inside:
                path = httpx.URL(f"http://127.0.0.1{start}").join(link).path
                assert re.fullmatch(rf"{prefix}/(runs|r/[\w.:-]+)", path), (start, link, path)


async def test_an_empty_list_says_how_to_fill_it() -> None:
    async with client(Fake()) as http:
        assert "spanline doctor" in (await http.get("/runs", headers=HTML)).text
        assert "No run matches" in (await http.get("/runs?job=x", headers=HTML)).text


async def test_a_ledger_that_cannot_be_read_is_503_and_says_why() -> None:
    async with client(Fake(error=LedgerError("ledger.db is from a newer version of spanline"))) as http:
        data, page = await http.get(f"/r/{TRACE}"), await http.get("/runs", headers=HTML)
    assert data.status_code == page.status_code == 503
    assert "newer version" in data.json()["detail"]
    assert "newer version" in page.text


@pytest.mark.internal_errors
async def test_an_internal_error_is_counted_and_tells_nothing() -> None:
    async with client(Fake(error=RuntimeError("secret detail"))) as http:
        reply = await http.get(f"/r/{TRACE}")
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text


async def test_with_a_server_url_the_pages_are_elsewhere() -> None:
    ledger = Fake.of(fee_run())
    async with client(ledger, server_url="https://central.acme.test", peer="203.0.113.7") as http:
        run = await http.get(f"/r/{TRACE}", headers=HTML)
        assert (run.status_code, run.headers["location"]) == (307, f"https://central.acme.test/r/{TRACE}")
        data = await http.get(f"/r/{TRACE}", headers={"accept": "application/json"})
        assert data.headers["location"] == f"https://central.acme.test/r/{TRACE}?format=json"
        runs = await http.get("/runs?job=a%26b&outcome=FAIL", headers=HTML)
        assert runs.headers["location"] == "https://central.acme.test/runs?job=a%26b&outcome=FAIL"
        for bad in ("/r/@evil.test", "/r//evil.test", "/r/%0d%0ax", "/runs?next=//evil.test"):
            assert (await http.get(bad)).status_code == 400
    assert ledger.asked == []
    async with client(ledger, api=True, server_url="https://central.acme.test") as http:
        assert (await http.get(f"/r/{TRACE}", headers=HTML)).status_code == 200
