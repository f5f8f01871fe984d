"""Several `spanline serve` on one PostgreSQL, as behind a balancer: each takes events and shows what the others took."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from spanline.identity import run_id_of
from tests.integration.test_cli_serve_and_relay import serving
from tests.ledger_events import CORPUS, MODEL, PROMPT, build, end, index, request

TOKEN = "balanced"
RUNS, BATCH = 60, 20


def lines() -> list[dict[str, Any]]:
    """An index build and the requests that used it, with the same ids however often they are made."""
    ids = [{"run_id": run_id_of(n), "trace_id": f"{n:032x}", "span_id": f"{n:016x}", "response_id": f"r{n}"} for n in range(1, RUNS)]
    found = [end(build(0, [CORPUS], [index()])), *(end(request(n, index(), PROMPT, MODEL, **some)) for n, some in enumerate(ids, 1))]
    return [json.loads(line) for line in found]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_they_are_one(tmp_path: Path, postgres: Any) -> None:
    url = postgres.url(postgres.create())
    settings = {"SPANLINE_LEDGER_URL": url, "SPANLINE_TOKENS": TOKEN, "SPANLINE_HASH_KEY": "00" * 32}
    bearer = {"authorization": f"Bearer {TOKEN}"}
    events = lines()
    with serving(tmp_path / "a", **settings) as (a, _), serving(tmp_path / "b", **settings) as (b, _):
        statuses: list[int] = []

        def send(server: str, order: int) -> None:
            # Both bring all of it, in other orders and at the same time.
            for first in range(0, RUNS, BATCH):
                some = events[first : first + BATCH][::order]
                statuses.append(httpx.post(f"{server}/api/v1/lineage/batch", json=some, headers=bearer, timeout=30).status_code)

        senders = [threading.Thread(target=send, args=pair) for pair in ((a, 1), (b, -1))]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert statuses == [200] * 6
        answers = []
        for server in (a, b):
            listed = httpx.get(f"{server}/api/v1/runs?limit=100", headers=bearer).json()
            assert len(listed["items"]) == RUNS
            impact = httpx.get(f"{server}/api/v1/impact?ref=index:fees_corpus", headers=bearer).json()
            assert impact["runs"]["count"] == RUNS - 1
            run = httpx.get(f"{server}/r/{1:032x}?format=json", headers=bearer).json()
            # Each calls itself by its own address.
            assert run.pop("links")["self"].startswith(server)
            answers.append((listed, impact, run))
        assert answers[0] == answers[1]

        # Who signed in at one is known at the other: a cookie is signed with the token, which both have.
        with httpx.Client() as browser:
            form = urlencode({"token": TOKEN, "next": "runs"})
            browser.post(f"{a}/r/-/sign-in", content=form, headers={"content-type": "application/x-www-form-urlencoded"})
            page = browser.get(f"{b}/r/{1:032x}", headers={"accept": "text/html"})
            assert page.status_code == 200
            assert 'class="graph"' in page.text
        assert httpx.get(f"{b}/r/{1:032x}", headers={"accept": "text/html"}).status_code == 401
