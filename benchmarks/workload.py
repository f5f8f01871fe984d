"""The work that every variant does: one FastAPI endpoint with three stages, the spans around them, and the in-process driver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.trace import Tracer

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Attributes = dict[str, Any]

PATH = "/v1/answer"


class Question(BaseModel):
    """The request body."""

    question: str
    top_k: int = 4
    session: str | None = None


class Usage(BaseModel):
    """Tokens of one answer."""

    input_tokens: int
    output_tokens: int


class Answer(BaseModel):
    """The response body."""

    answer: str
    sources: list[str]
    model: str
    usage: Usage


TEXT = "The wire fee of a standard account is five euros; it is waived for transfers between own accounts and for premium tiers. " * 5
DOCUMENTS = ["fees/0017#2", "fees/0017#3", "fees/0102#0", "fees/0450#7"]
SCORES = [0.91, 0.89, 0.87, 0.85]
INPUT_TOKENS, OUTPUT_TOKENS = 812, 164

# 15 attributes a span: nine that are known when it starts, six when it ends. Keys are the GenAI conventions where they have one.
RETRIEVAL: tuple[Attributes, Attributes] = (
    {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "fees_corpus",
        "gen_ai.request.model": "e5-small",
        "gen_ai.conversation.id": "session-5f2c9a",
        "db.system.name": "lancedb",
        "db.operation.name": "search",
        "server.address": "vectors.internal",
        "server.port": 6333,
        "retrieval.top_k": 4,
    },
    {
        "retrieval.document.ids": DOCUMENTS,
        "retrieval.document.scores": SCORES,
        "retrieval.index.version": "commit:abc123",
        "retrieval.index.digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "retrieval.best_score": 0.91,
        "db.response.returned_rows": 4,
    },
)
INFERENCE: tuple[Attributes, Attributes] = (
    {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 512,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.conversation.id": "session-5f2c9a",
        "server.address": "api.example.com",
        "server.port": 443,
    },
    {
        "gen_ai.response.model": "gpt-4o-2024-06-18",
        "gen_ai.response.id": "chatcmpl-9f86d081884c",
        "gen_ai.usage.input_tokens": INPUT_TOKENS,
        "gen_ai.usage.output_tokens": OUTPUT_TOKENS,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.output.type": "text",
    },
)
GUARDRAIL: tuple[Attributes, Attributes] = (
    {
        "gen_ai.operation.name": "guardrail",
        "gen_ai.conversation.id": "session-5f2c9a",
        "guardrail.name": "fee-schema",
        "guardrail.version": "3",
        "guardrail.phase": "output",
        "guardrail.policy": "default",
        "guardrail.model": "guard-small",
        "guardrail.threshold": 0.8,
        "guardrail.timeout_ms": 250,
    },
    {
        "guardrail.outcome": "pass",
        "guardrail.score.pii": 0.02,
        "guardrail.score.toxicity": 0.01,
        "guardrail.score.injection": 0.0,
        "guardrail.blocked": False,
        "guardrail.categories": ["pii", "toxicity"],
    },
)


async def retrieve(question: str, top_k: int) -> list[str]:
    """Stage one, a no-op: what is measured is what stands around it."""
    return DOCUMENTS


async def generate(question: str, documents: list[str]) -> str:
    """Stage two, a no-op."""
    return TEXT


async def guard(text: str) -> bool:
    """Stage three, a no-op."""
    return True


def answer(text: str, documents: list[str]) -> Answer:
    """The response of all variants."""
    return Answer(answer=text, sources=documents, model="gpt-4o", usage=Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS))


def bare(app: FastAPI) -> None:
    """The endpoint without spans of its own."""

    @app.post(PATH, response_model=Answer)
    async def endpoint(body: Question) -> Answer:
        documents = await retrieve(body.question, body.top_k)
        text = await generate(body.question, documents)
        await guard(text)
        return answer(text, documents)


def traced(app: FastAPI, tracer: Tracer) -> None:
    """The endpoint with three child spans, as the OpenTelemetry manual writes them: current spans, attributes one by one."""

    @app.post(PATH, response_model=Answer)
    async def endpoint(body: Question) -> Answer:
        with tracer.start_as_current_span("retrieval") as span:
            for key, value in RETRIEVAL[0].items():
                span.set_attribute(key, value)
            documents = await retrieve(body.question, body.top_k)
            for key, value in RETRIEVAL[1].items():
                span.set_attribute(key, value)
        with tracer.start_as_current_span("chat gpt-4o") as span:
            for key, value in INFERENCE[0].items():
                span.set_attribute(key, value)
            text = await generate(body.question, documents)
            for key, value in INFERENCE[1].items():
                span.set_attribute(key, value)
        with tracer.start_as_current_span("guardrail fee-schema") as span:
            for key, value in GUARDRAIL[0].items():
                span.set_attribute(key, value)
            await guard(text)
            for key, value in GUARDRAIL[1].items():
                span.set_attribute(key, value)
        return answer(text, documents)


def operated(app: FastAPI) -> None:
    """The endpoint with the same three stages as spanline's operations; what the API does not set is added, for 15 attributes a span."""
    import spanline

    corpus = spanline.Corpus("fees", version="2026-11-01")
    index = spanline.Index(
        "fees_corpus", version="commit:abc123", digest=f"sha256:{'9f' * 32}", embedding_model="e5-small@1", corpus=corpus
    )
    prompt = spanline.PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
    documents_and_scores = list(zip(DOCUMENTS, SCORES, strict=True))
    common = {key: INFERENCE[0][key] for key in ("gen_ai.conversation.id", "server.address", "server.port")}
    search = {**common, "db.system.name": RETRIEVAL[0]["db.system.name"]}
    search_result = {key: RETRIEVAL[1][key] for key in ("retrieval.best_score", "db.response.returned_rows")}
    verdict = {
        key: GUARDRAIL[0][key] for key in ("gen_ai.conversation.id", "guardrail.policy", "guardrail.threshold", "guardrail.timeout_ms")
    }
    verdict_result = {
        key: GUARDRAIL[1][key]
        for key in (
            "guardrail.score.pii",
            "guardrail.score.toxicity",
            "guardrail.score.injection",
            "guardrail.categories",
            "guardrail.blocked",
        )
    }

    @app.post(PATH, response_model=Answer)
    async def endpoint(body: Question) -> Answer:
        with spanline.retrieval(index, top_k=4) as found:
            found.attributes(search)
            documents = await retrieve(body.question, body.top_k)
            found.documents(documents_and_scores)
            found.attributes(search_result)
        with spanline.inference("openai", "gpt-4o", prompt=prompt, temperature=0.2, max_tokens=512, top_p=1.0) as call:
            text = await generate(body.question, documents)
            call.response(
                model="gpt-4o-2024-06-18",
                id="chatcmpl-9f86d081884c",
                input_tokens=INPUT_TOKENS,
                output_tokens=OUTPUT_TOKENS,
                finish_reasons=["stop"],
            )
        with spanline.guardrail("fee-schema", version="3", phase="output") as check:
            check.attributes(verdict)
            await guard(text)
            check.passed()
            check.attributes(verdict_result)
        return answer(text, documents)


BODY = json.dumps({"question": "What does a wire transfer cost on a standard account, and when is it free?", "top_k": 4}).encode()
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"bench/1.0"),
    (b"accept", b"*/*"),
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"x-request-id", b"5f2c9a7e0b1d4c8f"),
]


async def request(app: AsgiApp) -> None:
    """One request, given to the app as an ASGI server gives it; a status other than 200 raises."""
    sent: list[Any] = []
    pending = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> Any:
        if not pending:
            await asyncio.Event().wait()  # as with a server: no disconnect comes while the app answers
        return pending.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 51234),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    await app(scope, receive, send)
    if sent[0]["status"] != 200 or not any(message.get("body") for message in sent):
        raise RuntimeError(f"unexpected answer: {sent}")


async def drive(app: AsgiApp, count: int) -> None:
    """`count` requests one after the other, each in a task of its own, as uvicorn runs them."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_task(request(app))


@asynccontextmanager
async def lifespan(app: AsgiApp) -> AsyncIterator[None]:
    """Startup and shutdown of an app, as an ASGI server does them around its requests."""
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    message = await outgoing.get()
    if message["type"] != "lifespan.startup.complete":
        raise RuntimeError(f"the app did not start: {message}")
    yield
    await incoming.put({"type": "lifespan.shutdown"})
    await outgoing.get()
    await task
