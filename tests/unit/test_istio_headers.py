"""Behind Envoy: what a sidecar adds to a request, what spanline makes of it, and what goes on to the next service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from spanline.api.context import headers
from spanline.api.steps import tool
from spanline.asgi.install import install
from spanline.identity import child_run_id, run_id_of
from spanline.tracing.sampler import LineageSampler
from tests.support import MemorySink

MakeSink = Callable[..., MemorySink]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REQUEST_ID = "7f1b0c2e-5d6a-9b1f-8c3d-0a1b2c3d4e5f"
ENVOY = {
    "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    "tracestate": "es=s:1,congo=t61rcWkgMzE",
    "x-request-id": REQUEST_ID,
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-envoy-attempt-count": "1",
    "x-envoy-external-address": "203.0.113.9",
    "x-forwarded-client-cert": "By=spiffe://cluster.local/ns/fees/sa/default",
}


def app_of(sink: MemorySink, then: Callable[[dict[str, str]], Any] | None = None) -> FastAPI:
    """A service that calls the next one with `spanline.headers()` and answers what it sent."""
    app = FastAPI()
    install(app, sink)

    @app.get("/step")
    async def step() -> dict[str, str]:
        with tool("next"):
            sent = headers()
            if then is not None:
                await then(sent)
        return sent

    return app


async def asked(app: FastAPI, given: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://mesh.test") as http:
        return await http.get("/step", headers=given)


def sidecar(sent: dict[str, str], span_id: str = "aaaabbbbccccdddd") -> dict[str, str]:
    """What the receiving side gets: the sidecar's own span is the parent now, everything else passes."""
    version, trace_id, _, flags = sent["traceparent"].split("-")
    return {**sent, "traceparent": f"{version}-{trace_id}-{span_id}-{flags}"}


async def test_the_meshs_trace_is_the_run(sink: MemorySink) -> None:
    response = await asked(app_of(sink), ENVOY)
    record = sink.record
    assert record.trace_id == TRACE
    assert record.run_id == run_id_of(int(TRACE, 16))
    assert record.parent is None, "no entry of ours in tracestate: the mesh's gateway is no spanline service"
    assert record.request_id == REQUEST_ID
    assert response.headers["x-trace-id"] == TRACE
    # Nothing of the caller's address or certificate is kept.
    kept = repr(record) + repr([dict(span.attributes) for span in sink.spans()])
    assert "203.0.113.9" not in kept
    assert "spiffe" not in kept


async def test_trace_state_and_request_id_go_on(sink: MemorySink) -> None:
    sent = (await asked(app_of(sink), ENVOY)).json()
    assert sent["x-request-id"] == REQUEST_ID
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"].endswith("-01")
    assert sent["traceparent"][36:52] != "00f067aa0ba902b7", "the parent of what follows is our span"
    assert sent["tracestate"] == "spanline=default/svc.GET%20%2Fstep,es=s:1,congo=t61rcWkgMzE"


async def test_the_next_service_is_a_child_although_a_sidecar_stands_between(make_sink: MakeSink) -> None:
    second_sink = make_sink(service="index")
    second = app_of(second_sink)

    async def call(sent: dict[str, str]) -> None:
        assert (await asked(second, sidecar(sent))).status_code == 200

    first_sink = make_sink(service="fees")
    await asked(app_of(first_sink, call), ENVOY)
    first, child = first_sink.record, second_sink.record
    assert child.run_id == child_run_id(int(TRACE, 16), int(child.span_id, 16))
    assert child.parent is not None
    assert (child.parent.run_id, child.parent.name) == (first.run_id, "fees.GET /step")
    assert child.request_id == first.request_id == REQUEST_ID


async def test_a_proxy_that_drops_trace_state_makes_a_second_claim(make_sink: MakeSink) -> None:
    """Why meshes must pass `tracestate`: without it nobody can tell that somebody claimed the trace. The ledger re-keys it and says so."""
    second_sink = make_sink(service="index")
    second = app_of(second_sink)

    async def call(sent: dict[str, str]) -> None:
        through = sidecar(sent)
        del through["tracestate"]
        # In one process the first claim is remembered; two hosts are two processes.
        await asked(second, through | {"traceparent": through["traceparent"].replace(TRACE, TRACE[::-1])})

    first_sink = make_sink(service="fees")
    await asked(app_of(first_sink, call), ENVOY)
    assert first_sink.record.parent is None
    assert second_sink.record.parent is None


@pytest.mark.parametrize("flags", ["00", "02"])
async def test_what_the_mesh_does_not_sample_has_lineage_all_the_same(make_sink: MakeSink, flags: str) -> None:
    sink = make_sink(LineageSampler(DEFAULT_ON))
    sent = (await asked(app_of(sink), {**ENVOY, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-{flags}"})).json()
    assert sink.record.run_id == run_id_of(int(TRACE, 16))
    assert sink.record.sampled is False
    assert int(sent["traceparent"][-2:], 16) & 1 == 0, "the decision of the mesh is passed on"
    assert sink.spans() == [], "and nothing is exported"


async def test_sampled_with_the_random_bit(make_sink: MakeSink) -> None:
    sink = make_sink(LineageSampler(DEFAULT_ON))
    await asked(app_of(sink), {**ENVOY, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-03"})
    assert sink.record.sampled is True


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a" * 129, "id with space", "$(reboot)", ""])
async def test_a_request_id_that_is_none_is_neither_kept_nor_passed_on(sink: MemorySink, hostile: str) -> None:
    sent = (await asked(app_of(sink), {**ENVOY, "x-request-id": hostile})).json()
    assert sink.record.request_id is None
    assert "x-request-id" not in sent


async def test_without_a_mesh_nothing_is_invented(sink: MemorySink) -> None:
    sent = (await asked(app_of(sink), {})).json()
    assert sink.record.request_id is None
    assert set(sent) == {"traceparent", "tracestate"}
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", sent["traceparent"])


async def test_public_edges_start_a_new_trace_and_keep_the_request_id(make_sink: MakeSink) -> None:
    sink = make_sink(trust_remote="never")
    sent = (await asked(app_of(sink), ENVOY)).json()
    assert sink.record.trace_id != TRACE
    assert sent["x-request-id"] == REQUEST_ID
    (server,) = [span for span in sink.spans() if span.kind is trace.SpanKind.SERVER]
    assert f"{server.links[0].context.trace_id:032x}" == TRACE


async def test_b3_alone_starts_a_trace_of_our_own(sink: MemorySink) -> None:
    """An old mesh with B3 headers: OpenTelemetry reads them where OTEL_PROPAGATORS names b3, and otherwise nobody does."""
    await asked(app_of(sink), {"x-b3-traceid": TRACE, "x-b3-spanid": "00f067aa0ba902b7", "x-b3-sampled": "1", "x-request-id": REQUEST_ID})
    assert sink.record.trace_id != TRACE
    assert sink.record.request_id == REQUEST_ID
