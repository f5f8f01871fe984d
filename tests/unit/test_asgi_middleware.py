"""The middleware around real FastAPI and Starlette apps, in process."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from spanline.api.context import context, current, headers
from spanline.api.job import job
from spanline.api.steps import tool
from spanline.asgi.exchange import Exchange
from spanline.asgi.install import install
from spanline.asgi.middleware import SpanlineMiddleware
from spanline.identity import child_run_id, run_id_of
from tests.support import MemorySink

MakeSink = Callable[..., MemorySink]


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=False, **options), base_url="http://test")


def app_with(sink: MemorySink) -> FastAPI:
    app = FastAPI()
    install(app, sink)

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        with tool("look"):
            return item

    return app


async def test_a_request_is_a_span_and_a_run(sink: MemorySink) -> None:
    async with client(app_with(sink)) as http:
        response = await http.get("/items/7?secret=1", headers={"user-agent": "ua"})
    record = sink.record
    assert response.headers["x-trace-id"] == record.trace_id
    assert record.run_id == run_id_of(int(record.trace_id, 16))
    assert record.job == "svc.GET /items/{item}"
    assert (record.outcome, record.http_status_code, record.parent) == ("COMPLETE", 200, None)
    (span,) = [span for span in sink.spans() if span.kind is SpanKind.SERVER]
    assert span.name == "GET /items/{item}"
    attributes = dict(span.attributes)
    assert attributes["http.request.method"] == "GET"
    assert attributes["http.route"] == "/items/{item}"
    assert attributes["http.response.status_code"] == 200
    assert attributes["url.path"] == "/items/7"
    assert attributes["url.scheme"] == "http"
    assert attributes["server.address"] == "test"
    assert attributes["openlineage.run.id"] == record.run_id
    assert attributes["openlineage.job.name"] == record.job
    assert "secret" not in str(attributes)
    assert sink.flying == 0


async def test_errors_bear_the_header_too_and_exceptions_pass_untouched(sink: MemorySink) -> None:
    app = app_with(sink)

    class BoomError(Exception):
        pass

    @app.get("/boom")
    async def boom() -> None:
        with tool("x"):
            pass
        raise BoomError("secret text")

    async with client(app) as http:
        assert (await http.get("/nowhere")).headers["x-trace-id"]
        response = await http.get("/boom")
    assert response.status_code == 500
    record = sink.record
    assert response.headers["x-trace-id"] == record.trace_id
    assert record.outcome == "FAIL"
    assert record.error_type is not None
    assert record.error_type.endswith("BoomError")
    (span,) = sink.spans("GET /boom")
    assert span.status.description is None
    assert "secret" not in str(dict(span.attributes))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        with pytest.raises(BoomError, match="secret text"):
            await http.get("/boom")


async def test_remote_parent_without_entry_owns_the_run_with_entry_is_a_child(sink: MemorySink) -> None:
    trace_hex, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with client(app_with(sink)) as http:
        await http.get("/items/1", headers={"traceparent": f"00-{trace_hex}-{parent}-03"})
        sink.processor.runs._claims.clear()
        await http.get(
            "/items/1", headers={"traceparent": f"00-{trace_hex}-{parent}-01", "tracestate": "x=1,spanline=prod/gate.POST%20%2Fask"}
        )
    owner, child = sink.records
    assert owner.run_id == run_id_of(int(trace_hex, 16))
    assert owner.parent is None
    assert child.trace_id == trace_hex
    assert child.run_id == child_run_id(int(trace_hex, 16), int(child.span_id, 16))
    assert child.parent is not None
    assert child.root is not None
    assert (child.parent.run_id, child.parent.namespace, child.parent.name) == (owner.run_id, "prod", "gate.POST /ask")
    assert child.root.run_id == owner.run_id


async def test_twenty_requests_of_one_trace_are_one_owner_and_children(sink: MemorySink) -> None:
    async with client(app_with(sink)) as http:
        await asyncio.gather(
            *(http.get("/items/1", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) for _ in range(20))
        )
    assert len({record.run_id for record in sink.records}) == 20
    assert sum(record.parent is None for record in sink.records) == 1
    assert {record.parent.name for record in sink.records if record.parent} == {"svc.GET /items/{item}"}


@pytest.mark.parametrize(
    "traceparent",
    ["", "garbage", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
     "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319C", "é" * 10, "00-" * 1000],
)  # fmt: skip
async def test_a_malformed_traceparent_starts_a_new_trace(sink: MemorySink, traceparent: str) -> None:
    async with client(app_with(sink)) as http:
        response = await http.get(
            "/items/1", headers=[(b"traceparent", traceparent.encode("latin-1", "replace")), (b"tracestate", b"=,=;;,\xff")]
        )
    assert response.status_code == 200
    assert sink.record.parent is None


async def test_public_edges_start_a_new_trace_and_link_the_callers(make_sink: MakeSink) -> None:
    sink = make_sink(trust_remote="never")
    async with client(app_with(sink)) as http:
        await http.get("/items/1", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    (span,) = sink.spans("GET /items/{item}")
    assert f"{span.context.trace_id:032x}" != "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.links[0].context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"


async def test_people_and_request_ids(make_sink: MakeSink) -> None:
    sink = make_sink(tenant_header="x-tenant", subject_header="X-User", session_header="x-session")
    async with client(app_with(sink)) as http:
        await http.get("/items/1", headers={"x-request-id": "req-1", "x-tenant": "acme", "x-user": "ann", "x-session": "s1"})
        await http.get("/items/1", headers={"x-request-id": "not valid!"})
    first, second = sink.records
    assert (first.request_id, first.tenant, first.subject) == ("req-1", "hmac-sha256:test:4", "hmac-sha256:test:3")
    assert second.request_id is None
    assert not any("ann" in str(dict(span.attributes)) for span in sink.spans())


async def test_context_adds_tags_and_digests(sink: MemorySink) -> None:
    app = FastAPI()
    install(app, sink)

    @app.get("/")
    async def root() -> dict[str, Any]:
        context(tenant="acme", tags={"case": "4711"})
        now = current()
        assert now is not None
        with tool("x"):
            return {"now": now.trace_id, "headers": headers()}

    async with client(app) as http:
        body = (await http.get("/")).json()
    assert sink.record.tags == {"case": "4711"}
    assert sink.record.tenant == "hmac-sha256:test:4"
    assert body["now"] == sink.record.trace_id
    assert body["headers"]["tracestate"] == "spanline=default/svc.GET%20%2F"
    assert current() is None


async def test_streams_are_passed_on_unbuffered_and_end_the_run(sink: MemorySink) -> None:
    app = FastAPI()
    sent: list[bytes] = []
    at_last: list[int] = []

    @app.get("/sse")
    async def sse() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for number in range(3):
                with tool(f"step{number}"):
                    yield f"data: {number}\n\n"
                assert len(sent) > number, "each chunk is out before the next is asked for"

        return StreamingResponse(events(), media_type="text/event-stream")

    middleware = SpanlineMiddleware(app, sink)

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])
            if not message.get("more_body"):
                at_last.append(len(sink.records))

    await middleware(_scope("/sse"), receive, send)
    assert at_last == [0], "the run ends after the last byte, not before"
    assert len(sink.record.operations) == 3


async def test_background_tasks_make_a_second_terminal_record(sink: MemorySink) -> None:
    app = FastAPI()
    install(app, sink)

    def later() -> None:
        with tool("late"):
            pass

    @app.get("/")
    async def root(tasks: BackgroundTasks) -> int:
        tasks.add_task(later)
        with tool("early"):
            return 1

    async with client(app) as http:
        await http.get("/")
    sink.processor.force_flush()
    first, second = sink.records
    assert [len(first.operations), len(second.operations)] == [1, 2]
    assert (first.run_id, first.ended_ns, second.sequence) == (second.run_id, second.ended_ns, 1)


async def test_client_disconnect_and_cancellation_are_aborts(sink: MemorySink) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tool("x"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def drop(message: Any) -> None:
        return None

    await SpanlineMiddleware(app, sink)(_scope("/"), gone, drop)
    assert sink.record.outcome == "ABORT"

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        with tool("x"):
            await asyncio.sleep(3600)

    task = asyncio.ensure_future(SpanlineMiddleware(slow, sink)(_scope("/"), gone, drop))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.records[-1].outcome == "ABORT"
    assert sink.records[-1].error_type == "asyncio.exceptions.CancelledError"


async def test_the_apps_own_answer_to_exceptions_stays(sink: MemorySink) -> None:
    """Starlette puts added middlewares inside of what answers exceptions."""

    async def apology(request: Any, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("sorry", 503)

    def broken(request: Any) -> PlainTextResponse:
        raise KeyError("x")

    app = Starlette(routes=[Route("/", broken)], exception_handlers={Exception: apology})
    app.add_middleware(cast(Any, SpanlineMiddleware), runtime=sink)
    async with client(app) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.text) == (503, "sorry")


@pytest.mark.parametrize(("code", "outcome"), [(1000, "COMPLETE"), (1001, "COMPLETE"), (1006, "ABORT")])
async def test_a_broken_websocket_is_an_abort(sink: MemorySink, code: int, outcome: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        with tool("x"):
            await receive()

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": code}

    async def drop(message: Any) -> None:
        return None

    await SpanlineMiddleware(app, sink)({"type": "websocket", "path": "/", "headers": [], "scheme": "ws"}, receive, drop)
    assert sink.record.outcome == outcome


async def test_an_unsampled_request_knows_its_trace(make_sink: MakeSink) -> None:
    sink = make_sink(ALWAYS_OFF)
    known: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        known.append(current())
        await PlainTextResponse("x")(scope, receive, send)

    async with client(SpanlineMiddleware(app, sink)) as http:
        answer = await http.get("/")
    assert known[0].trace_id == answer.headers["x-trace-id"]
    assert sink.records == []


async def test_a_request_around_a_job_is_recorded(sink: MemorySink) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with job("build"):
            pass
        await PlainTextResponse("x")(scope, receive, send)

    async with client(SpanlineMiddleware(app, sink)) as http:
        await http.get("/")
    inner, outer = sink.records
    assert inner.parent is not None
    assert inner.parent.run_id == outer.run_id


async def test_the_request_that_claimed_a_trace_is_recorded_when_a_later_one_holds_lineage(sink: MemorySink) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/ask":
            with tool("x"):
                pass
        await PlainTextResponse("x")(scope, receive, send)

    async with client(SpanlineMiddleware(app, sink)) as http:
        await http.get("/page", headers=parent)
        assert sink.records == []
        await http.get("/ask", headers=parent)
    sink.processor.force_flush()
    assert [record.run_id == run_id_of(int(trace_id, 16)) for record in sink.records] == [False, True]


async def test_a_websocket_session_is_a_run_and_lifespan_passes(sink: MemorySink) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            return
        with tool("x"):
            await send({"type": "websocket.accept"})
            await receive()
            await send({"type": "websocket.close"})

    async def receive() -> Any:
        return {"type": "websocket.receive", "text": "hi"}

    async def send(message: Any) -> None:
        seen.append(message)

    middleware = SpanlineMiddleware(app, sink)
    await middleware({**_scope("/ws"), "type": "websocket", "scheme": "ws"}, receive, send)
    assert sink.record.job == "svc.WS"
    assert sink.record.outcome == "COMPLETE"
    assert (b"x-trace-id", sink.record.trace_id.encode()) in seen[0]["headers"]
    await middleware({"type": "lifespan"}, receive, send)
    assert seen[-1] == {"type": "lifespan.startup.complete"}


async def test_interleaved_requests_do_not_mix(sink: MemorySink) -> None:
    app = FastAPI()
    install(app, sink)
    gates = {str(number): asyncio.Event() for number in range(5)}

    @app.get("/wait/{number}")
    async def wait(number: str) -> str:
        with tool(f"t{number}"):
            await gates[number].wait()
        now = current()
        assert now is not None
        return now.trace_id

    async with client(app) as http:
        tasks = [asyncio.ensure_future(http.get(f"/wait/{number}")) for number in gates]
        await asyncio.sleep(0.05)
        assert sink.flying == 5
        for number in reversed(gates):
            gates[number].set()
        responses = await asyncio.gather(*tasks)
    for number, response in zip(gates, responses, strict=True):
        (record,) = [record for record in sink.records if record.trace_id == response.json()]
        assert [operation.tool_name for operation in record.operations] == [f"t{number}"]


async def test_mounts_included_routers_and_starlette(make_sink: MakeSink) -> None:
    sink = make_sink(record="all")
    sub = FastAPI()

    @sub.get("/leaf/{x}")
    def leaf(x: str) -> str:
        return x

    router = APIRouter(prefix="/api/{version}")
    router.add_api_route("/chat", leaf_root)
    app = FastAPI()
    app.include_router(router)
    app.mount("/tenants/{tenant}", sub)
    install(app, sink)

    async def plain(request: Any) -> PlainTextResponse:
        return PlainTextResponse("x")

    other = Starlette(routes=[Route("/a/{b}", plain), Mount("/m", routes=[Route("/c", plain)])])
    install(other, sink)
    async with client(app) as http:
        await http.get("/api/1/chat")
        await http.get("/tenants/acme/leaf/3")
    async with client(other) as http:
        await http.get("/a/1")
        await http.get("/m/c")
        await http.get("/nope")
    assert [record.job for record in sink.records] == [
        "svc.GET /api/{version}/chat", "svc.GET /tenants/{tenant}/leaf/{x}", "svc.GET /a/{b}", "svc.GET /m/c", "svc.GET",
    ]  # fmt: skip


def leaf_root(version: str) -> str:
    return version


async def test_unknown_methods_are_no_content_in_names(make_sink: MakeSink) -> None:
    sink = make_sink(record="all")
    async with client(app_with(sink)) as http:
        await http.request("SECRETVERB", "/items/1")
    assert sink.record.job == "svc._OTHER /items/{item}"


async def test_excluded_paths_have_no_span(make_sink: MakeSink) -> None:
    sink = make_sink(record="all", excluded=("/health", "/static/*"))
    async with client(app_with(sink)) as http:
        assert "x-trace-id" not in (await http.get("/health")).headers
        await http.get("/static/x.js")
    assert sink.records == []
    assert sink.spans() == []


@pytest.mark.parametrize("order", ["spanline", "spanline then otel", "otel then spanline", "native adopted"])
async def test_exactly_one_server_span_whoever_makes_it(make_sink: MakeSink, fresh_provider: None, order: str) -> None:
    sink = make_sink(server_span="adopt" if order == "native adopted" else "replace")
    trace.set_tracer_provider(sink.provider)
    app = FastAPI()
    sub = FastAPI()

    @sub.get("/x/{y}")
    def leaf(y: str) -> str:
        with tool("t"):
            return y

    app.mount("/sub", sub)
    app.get("/x/{y}")(leaf)
    if order == "otel then spanline":
        FastAPIInstrumentor.instrument_app(app, tracer_provider=sink.provider)
    install(app, sink)
    if order == "spanline then otel":
        FastAPIInstrumentor.instrument_app(app, tracer_provider=sink.provider)
    async with client(app) as http:
        first = await http.get("/x/1", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        second = await http.get("/sub/x/1")
    assert [record.job for record in sink.records] == ["svc.GET /x/{y}", "svc.GET /sub/x/{y}"]
    for response, record in zip((first, second), sink.records, strict=True):
        assert response.headers["x-trace-id"] == record.trace_id
        servers = [s for s in sink.spans() if s.kind is SpanKind.SERVER and f"{s.context.trace_id:032x}" == record.trace_id]
        assert len(servers) == 1, [span.name for span in servers]
        assert record.run_id == run_id_of(int(record.trace_id, 16))
        assert f"{servers[0].context.span_id:016x}" == record.span_id
        assert servers[0].attributes["openlineage.job.name"] == record.job
    assert sink.records[0].trace_id == "0af7651916cd43dd8448eb211c80319c"


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [], "client": ("127.0.0.1", 1), "server": ("h", 80),
    }  # fmt: skip


async def test_metrics_only_measures_without_a_server_span(make_sink: MakeSink) -> None:
    sink = make_sink(features=("metrics",))
    async with client(app_with(sink)) as http:
        response = await http.get("/items/1")
    assert len(response.headers["x-trace-id"]) == 32
    assert not [span for span in sink.spans() if span.kind is SpanKind.SERVER]
    record = sink.record
    assert (record.job, record.sampled, len(record.operations)) == ("svc.GET /items/{item}", False, 1)
    assert record.ended_ns is not None
    assert record.ended_ns >= record.started_ns


@pytest.mark.parametrize("options", [{}, {"sampler": ALWAYS_OFF}, {"features": ("metrics",)}], ids=["traced", "unsampled", "metrics only"])
async def test_no_request_is_left_to_pythons_collector(make_sink: MakeSink, options: dict[str, Any]) -> None:
    """A cycle would hold each request, with all that the app keeps on its scope, until a full collection."""
    sampler = options.get("sampler")
    sink = make_sink(*([sampler] if sampler else []), **{key: value for key, value in options.items() if key != "sampler"})
    app = app_with(sink)
    async with client(app) as http:
        await http.get("/items/1")
        gc.collect()
        gc.disable()
        try:
            for number in range(3):
                await http.get(f"/items/{number}")
            left = [thing for thing in gc.get_objects() if isinstance(thing, Exchange)]
        finally:
            gc.enable()
    assert left == []
