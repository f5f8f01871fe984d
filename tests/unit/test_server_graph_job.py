"""The page of a job: verdicts, what changed since the last good run, paging, names that are text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from spanline.identity import run_id_of
from spanline.ledger import Ledger
from spanline.lineage.events import terminal_event
from spanline.record.artifact import Artifact
from spanline.record.run import Evaluation, Release, RunRecord
from spanline.server.app import build_app
from spanline.settings import Settings
from spanline.times import parse_rfc3339
from tests.unit.test_server_pages import Reader

JOB = "svc.POST /chat"
HTML = {"accept": "text/html"}
_EVIL = "<script>alert(1)</script>\u202e"


def record(number: int, release: str, prompt: str, *, passed: bool | None = None, namespace: str = "prod", job: str = JOB) -> RunRecord:
    start = parse_rfc3339("2026-11-21T02:00:00Z") + number * 60_000_000_000
    trace = f"{number + 1:032x}"
    made = RunRecord(
        run_id=run_id_of(int(trace, 16)), trace_id=trace, span_id="00f067aa0ba902b7", namespace=namespace, job=job, service="svc",
        started_ns=start, ended_ns=start + 1_000_000_000, outcome="COMPLETE", release=Release(release=release),
    )  # fmt: skip
    made.artifacts = [
        Artifact(kind="prompt", name="fees", version=prompt, digest=f"sha256:{prompt.encode().hex():0<64}"[:71]),
        Artifact(kind="model", name="openai/gpt-4o"),
    ]
    if passed is not None:
        made.evaluations = [Evaluation(name="faithfulness", score=0.5, passed=passed)]
    return made


@pytest.fixture
async def ask(tmp_path: Path) -> Any:
    """Put records into a ledger, then ask its server."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    app = build_app(ledger, Settings.resolve({}, {}), api=True, require_loopback=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("127.0.0.1", 4000)), base_url="http://127.0.0.1") as http:

        async def get(records: list[RunRecord], path: str, **headers: str) -> httpx.Response:
            ledger.ingest(
                [terminal_event(entry, producer="https://example.com/t", schema_base="https://spanline.dev/schemas") for entry in records]
            )
            return await http.get(path, headers=headers or HTML)

        yield get
    ledger.close()


async def test_it_says_what_is_good_and_what_changed(ask: Any) -> None:
    runs = [record(0, "1.0", "v7", passed=True), record(1, "1.1", "v8", passed=False), record(2, "1.1", "v8")]
    reply = await ask(runs, "/job?namespace=prod&name=svc.POST%20/chat")
    assert reply.status_code == 200
    text = " ".join(Reader(reply.text).text.split())
    at = 0
    for expected in (JOB, "in prod", "last good: 1.0", "What differs", "Releases", "1.1", "evaluation faithfulness failed", "1.0", "good the run that shows it",
                     "Used by the newest run", "fees@v8", "v7", "openai/gpt-4o", "the same", "Last runs", runs[2].trace_id, runs[0].trace_id):  # fmt: skip
        found = text.find(expected, at)
        assert found >= 0, (expected, text[at:])
        at = found
    assert f'on run <a href="./r/{runs[1].run_id}">' in reply.text
    assert 'href="../job?namespace=prod&amp;name=svc.POST%20/chat"' in (await ask([], f"/r/{runs[0].trace_id}")).text
    assert 'href="./job?namespace=prod&amp;name=svc.POST%20/chat"' in (await ask([], "/artifact?ref=prompt:fees")).text


async def test_two_namespaces_are_two_jobs(ask: Any) -> None:
    records = [record(0, "1.0", "v7"), record(1, "2.0", "v8", namespace="staging")]
    for namespace, count in (("prod", 1), ("staging", 1), ("", 2)):
        query = f"namespace={namespace}&" if namespace else ""
        found = (await ask(records, f"/job?{query}name=svc.POST%20/chat", accept="application/json")).json()
        assert len(found["runs"]["items"]) == count
        assert set(found) == {"namespace", "name", "lastgood", "runs"}


async def test_it_has_pages(ask: Any) -> None:
    reply = await ask([record(n, "1.0", "v7") for n in range(25)], "/job?name=svc.POST%20/chat")
    links = [value for tag, name, value in Reader(reply.text).attributes if tag == "a" and name == "href" and "after=" in value]
    assert len(links) == 1
    second = await ask([], f"/{links[0].removeprefix('./')}")
    assert second.text.count('data-label="Outcome"') == 5
    assert "after=" not in second.text


async def test_what_is_wrong_is_said(ask: Any) -> None:
    assert (await ask([], "/job")).status_code == 400
    assert (await ask([record(0, "1.0", "v7")], "/job?name=svc.POST%20/chad")).status_code == 404
    assert (await ask([], "/job?nam=x")).status_code == 400
    assert (await ask([], "/job?name=x", accept="application/json")).headers["content-type"] == "application/problem+json"


async def test_hostile_names_are_text(ask: Any) -> None:
    reply = await ask([record(0, _EVIL, _EVIL, job=_EVIL, passed=True)], f"/job?name={httpx.QueryParams({'n': _EVIL})['n']}")
    assert "<script>alert" not in reply.text
    assert "\u202e" not in reply.text
