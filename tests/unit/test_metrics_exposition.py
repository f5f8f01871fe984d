"""`/metrics`: the format that was asked for, from a worker thread."""

from __future__ import annotations

import asyncio
import gzip
import threading

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from spanline.metrics.engine import Metrics
from spanline.metrics.exposition import asgi_metrics
from tests.unit.test_metrics_engine import run

OPENMETRICS = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2"


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Metrics(registry).record(run(), route="/chat", sampled=True)
    return registry


async def get(app, *, method="GET", query=b"", **headers):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    await app({"type": "http", "method": method, "path": "/metrics", "query_string": query, "headers": pairs}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    fields = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
    return sent[0]["status"], fields, sent[1]["body"]


async def test_openmetrics_has_exemplars(registry):
    status, headers, body = await get(asgi_metrics(registry), accept=OPENMETRICS)
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert headers["content-length"] == str(len(body))
    found = [s for family in parse_openmetrics(body.decode()) for s in family.samples if s.exemplar]
    assert found
    assert all(set(s.exemplar.labels) == {"trace_id", "span_id"} for s in found)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "application/json",
        "application/openmetrics-text;version=abc",
        "application/openmetrics-text;version=0.0.1",
        ",;,=;version",
    ],
)
async def test_text_has_none(registry, accept):
    status, headers, body = await get(asgi_metrics(registry), accept=accept)
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b" # {" not in body
    names = {s.name for family in parse_text(body.decode()) for s in family.samples}
    assert {"llm_tokens_total", "llm_latency_seconds_bucket", "rag_retrieval_hits_total", "llm_requests_in_flight"} <= names


@pytest.mark.parametrize(
    ("asked", "zipped"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.00, *", False),
        ("br", False),
        ("", False),
        ("identity;q=1, *;q=0", False),
    ],
)
async def test_gzip_when_asked(registry, asked, zipped):
    _, headers, body = await get(asgi_metrics(registry), accept_encoding=asked)
    assert (headers.get("content-encoding") == "gzip") == zipped
    assert b"llm_tokens_total" in (gzip.decompress(body) if zipped else body)
    assert "accept-encoding" in headers["vary"]


async def test_methods_and_restriction(registry):
    app = asgi_metrics(registry)
    full = await get(app)
    head = await get(app, method="HEAD")
    assert (head[0], head[2], head[1]["content-length"]) == (200, b"", full[1]["content-length"])
    status, headers, _ = await get(app, method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    _, _, body = await get(app, query=b"name[]=llm_tokens_total")
    assert {family.name for family in parse_text(body.decode())} == {"llm_tokens"}


async def test_the_event_loop_goes_on_while_a_collector_is_slow(registry):
    entered, free = threading.Event(), threading.Event()

    class Slow:
        def collect(self):
            entered.set()
            assert free.wait(20)
            return []

    registry.register(Slow())
    scrape = asyncio.create_task(get(asgi_metrics(registry)))
    # If collecting held the loop, this would never come to set the event that it waits for.
    while not entered.is_set():
        await asyncio.sleep(0.001)
    free.set()
    assert (await scrape)[0] == 200


async def test_somebody_s_broken_collector_is_a_500(registry, caplog):
    class Broken:
        def collect(self):
            raise RuntimeError("secret")

    registry.register(Broken())
    status, _, body = await get(asgi_metrics(registry))
    assert (status, body) == (500, b"collecting failed: RuntimeError\n")
    assert "secret" not in caplog.text


async def test_the_default_registry():
    from prometheus_client import REGISTRY

    status, _, body = await get(asgi_metrics())
    assert status == 200
    assert REGISTRY is not None
    assert b"python_info" in body
