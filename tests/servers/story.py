"""Runs as users make them: an offline job, and a service that asks another one, under real servers. What they journal is what consumers get."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.util._once import Once
from prometheus_client import CollectorRegistry

import spanline
from spanline.identity import run_id_of
from spanline.journal.reader import Entry, read, segments
from spanline.record.active import SINKS
from spanline.relay.consumer import TransportConsumer
from spanline.runtime.runtime import Runtime
from tests.servers.child import eventually

CORPUS = spanline.Corpus("fees", version="2026-11-01", digest="sha256:" + "1" * 64)
INDEX = spanline.Index("fees_corpus", version="commit:abc123", digest="sha256:" + "9f" * 32, embedding_model="e5-small@1", corpus=CORPUS)
TARIFFS = spanline.Index("tariffs", version="3", digest="sha256:" + "7" * 64)
FEES = spanline.PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
ASSISTANT = "fee-assistant.POST /chat"
TOOLS = "fee-tools.POST /lookup"
BROKEN = "fee-assistant.POST /broken"
BUILD = "indexer.index_build"
NAMESPACE = "rag-prod"


@dataclass
class Story:
    """What was asked, and what the journals hold."""

    home: Path
    answered: list[str] = field(default_factory=list)
    """Trace ids of `/chat`, 32 hex, in order."""
    failed: str = ""
    """Trace id of the request that failed."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """All journalled events, service by service, each in the order written."""
        return [event for folder in sorted((self.home / "journal").iterdir()) for event in journalled(folder)]

    def of(self, job: str) -> list[dict[str, Any]]:
        """Terminal events of a job."""
        return [event for event in self.events if event["job"]["name"] == job and event["eventType"] != "START"]

    @property
    def run_id(self) -> str:
        """The first answer's run."""
        return run_id_of(int(self.answered[0], 16))


def journalled(folder: Path) -> list[dict[str, Any]]:
    """The events of one journal."""
    return [json.loads(entry.line) for segment in segments(folder) for entry in read(segment, max_bytes=1 << 30)]


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app under uvicorn, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def _tools(app: FastAPI) -> None:
    @app.post("/lookup")
    async def lookup() -> dict[str, int]:
        with spanline.retrieval(TARIFFS) as found:
            found.documents(["row-7"])
        return {"fee": 12}


def _assistant(app: FastAPI, tools_url: str) -> None:
    @app.post("/chat")
    async def chat(question: str) -> dict[str, str]:
        with spanline.retrieval(INDEX, top_k=3) as found:
            found.documents([("doc-17", 0.83), ("doc-4", 0.61)])
        async with httpx.AsyncClient() as client:
            await client.post(f"{tools_url}/lookup", headers=spanline.headers())
        with spanline.inference("openai", "gpt-4o", prompt=FEES, temperature=0.2) as call:
            FEES.render(context="c", question=question)
            call.response(model="gpt-4o-2024-06-18", id=f"resp-{question}", input_tokens=812, output_tokens=96, finish_reasons=["stop"])
        with spanline.guardrail("fee-schema", version="3", phase="output") as guard:
            guard.passed()
        return {"answer": "12"}

    @app.post("/broken")
    async def broken() -> None:
        with spanline.inference("openai", "gpt-4o", prompt=FEES):
            raise RuntimeError("secret text")


@contextlib.contextmanager
def own_provider() -> Iterator[None]:
    """For fixtures that live longer than a test: no global tracer provider before and after."""
    _forget_provider()
    try:
        yield
    finally:
        for sink in list(SINKS):
            sink.close()
        _forget_provider()


def _forget_provider() -> None:
    provider: Any = trace._TRACER_PROVIDER
    if provider is not None and hasattr(provider, "shutdown"):
        provider.shutdown()
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()


def copied(event: dict[str, Any], run_id: str, **more: Any) -> dict[str, Any]:
    """The same event, of another run."""
    copy = json.loads(json.dumps(event))
    copy["run"]["runId"] = run_id
    return {**copy, **more}


def entries(*events: dict[str, Any]) -> list[Entry]:
    """Events as the relay hands them to a consumer."""
    return [Entry("s", number, number + 1, json.dumps(event).encode()) for number, event in enumerate(events)]


class Recording:
    """A transport that keeps what a consumer would be sent."""

    kind = "recording"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def emit(self, event: Any) -> None:
        self.events.append(json.loads(json.dumps(event)))

    def close(self, timeout_s: float) -> bool:
        return True


def sent(told: Story, preset: str, **options: Any) -> list[dict[str, Any]]:
    """What the relay makes of the journals for a consumer, in order."""
    transport = Recording()
    for folder in sorted((told.home / "journal").iterdir()):
        TransportConsumer("recording", transport, {"preset": preset, **options}).deliver(entries(*journalled(folder)))
    return transport.events


def sent_event(preset: str, event: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """What the relay makes of one event for a consumer, in order."""
    transport = Recording()
    TransportConsumer("recording", transport, {"preset": preset, **options}).deliver(entries(event))
    return transport.events


def play(home: Path, questions: int = 1, *, evaluated: bool = False, **settings: Any) -> Story:
    """Build the index, ask so many questions, let one request fail, and wait until all consumers have everything.

    Args:
        home: Folder of the journals.
        questions: Requests to `/chat`.
        evaluated: The first answer is evaluated after it was given, for which a ledger is needed.
        settings: Of all three services, e.g. `openlineage_config`.
    """
    story = Story(home)
    more: dict[str, Any] = {"home": home, "namespace": NAMESPACE, "registry": CollectorRegistry(), "ledger": evaluated, **settings}
    with contextlib.ExitStack() as stack:
        tools, assistant = FastAPI(), FastAPI()
        runtimes: list[Runtime] = [
            spanline.instrument(tools, service="fee-tools", **more),
            spanline.instrument(assistant, service="fee-assistant", **more),
            # The last one takes what has no middleware.
            spanline.configure(service="indexer", **more),
        ]
        stack.callback(lambda: [runtime.close(20) for runtime in runtimes])
        with spanline.job("index_build", inputs=[CORPUS, spanline.Model("e5-small", version="1")], outputs=[INDEX]) as work:
            work.parameters(chunk_size=200)
            work.metrics(chunks=42)
        _tools(tools)
        with serving(tools) as tools_url:
            _assistant(assistant, tools_url)
            with serving(assistant) as url, httpx.Client(base_url=url) as client:
                for number in range(questions):
                    answer = client.post("/chat", params={"question": str(number)}, headers={"x-request-id": f"req-{number}"})
                    assert answer.status_code == 200, answer.text
                    story.answered.append(answer.headers["x-trace-id"])
                with contextlib.suppress(httpx.HTTPError):
                    story.failed = client.post("/broken").headers["x-trace-id"]
        if evaluated:
            assert all(runtime.flush(30) for runtime in runtimes)
            spanline.evaluation(story.answered[0], "faithfulness", score=0.9, passed=True, evaluator="judge")
            eventually(lambda: len(story.of(ASSISTANT)) > questions, 20, "the evaluation is not journalled")
        if settings.get("relay") != "off":
            assert all(runtime.flush(30) for runtime in runtimes)
    return story
