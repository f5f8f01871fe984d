"""A small RAG service in which everything happens that a board can show: `uvicorn tests.board_service:app`.

Its model and index are made up, its spans, metrics, journal and deliveries are real. `BOARD_SPEED` shortens its pauses.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import spanline
from spanline._guard import guard
from spanline.record.artifact import Artifact
from spanline.record.run import RunRecord

SPEED = float(os.environ.get("BOARD_SPEED", "10"))
PATIENCE = random.Random(7)

app = FastAPI()
runtime = spanline.instrument(app, service="fee-assistant", namespace="rag-prod", max_spans=40)

CORPUS = spanline.Corpus("fees", version="2026-11-01")
FEES = spanline.PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
EDITED = spanline.PromptTemplate("fees", version="v7", text="Use {context} to answer in one word: {question}")
OLD = spanline.Index("fees_corpus", version="commit:abc123", digest="sha256:" + "9f" * 32, embedding_model="e5-small@1", corpus=CORPUS)
NEW = spanline.Index("fees_corpus", version="commit:def456", digest="sha256:" + "7c" * 32, embedding_model="e5-small@1", corpus=CORPUS)


async def pause(seconds: float) -> None:
    await asyncio.sleep(PATIENCE.lognormvariate(0, 0.4) * seconds / SPEED)


@app.post("/chat")
async def chat(
    index: str = "old", found: int = 3, prompt: str = "v7", fail: str = "", guard_says: str = "pass", slow: float = 0.0
) -> dict[str, str]:
    with spanline.embedding("local", "e5-small") as vector:
        await pause(0.05)
        vector.response(model="e5-small", input_tokens=12)
    with spanline.retrieval(NEW if index == "new" else OLD, top_k=3) as search:
        await pause(0.15)
        if fail == "retrieval":
            raise HTTPException(503, "the index is away")
        search.documents([(f"fees/{n}.md", 0.9 - n / 10) for n in range(found)])
    with spanline.inference("openai", "gpt-4o", prompt=EDITED if prompt == "edited" else FEES, temperature=0.2) as call:
        await pause(1.2 + slow)
        if fail == "model":
            raise TimeoutError("the model is away")
        call.response(model="gpt-4o-2024-06-18", input_tokens=400 + 150 * found, output_tokens=96, finish_reasons=["stop"])
    for name in ("fee-schema", "no-advice"):
        with suppress(ConnectionError), spanline.guardrail(name, version="3", phase="output") as rule:
            says = guard_says if name == "fee-schema" else "pass"
            if says == "error":
                raise ConnectionError("the rule's own model is away")
            {"pass": rule.passed, "fail": rule.failed, "skip": rule.skipped}[says]()
    now = spanline.current()
    assert now is not None
    return {"answer": "15 euros", "trace": now.trace_id}


@app.post("/stream")
async def stream() -> StreamingResponse:
    async def words() -> AsyncIterator[str]:
        with spanline.inference("openai", "gpt-4o", prompt=FEES) as call:
            await pause(0.5)
            for word in ["A", "wire", "transfer", "costs", "15", "euros"]:
                call.first_token()
                yield word
                await pause(0.1)
            call.response(model="gpt-4o-2024-06-18", input_tokens=600, output_tokens=7, finish_reasons=["stop"])

    return StreamingResponse(words())


@app.post("/judge/{trace}")
def judge(trace: str, score: float, name: str = "faithfulness") -> None:
    spanline.evaluation(trace, name, score=score, passed=score >= 0.5, evaluator="rubric", evaluator_version="2")


@app.post("/too-many-spans")
def too_many_spans() -> None:
    for _ in range(60):
        with spanline.tool("look_up"):
            pass


@app.post("/inner-error")
def inner_error() -> None:
    """What is caught by spanline's guard is counted, and the request goes on."""
    with guard("page"):
        raise RuntimeError("something of spanline's own")


@app.post("/long-ago")
def long_ago() -> None:
    """An index version that went out of use half an hour ago; time alone cannot be hurried in a test."""
    then = time.time_ns() - 30 * 60 * 10**9
    index = Artifact(kind="index", name="fees_corpus", version="commit:0001", digest="sha256:" + "01" * 32)
    record = RunRecord(
        run_id="00000000-0000-0000-0000-000000000001", trace_id="1".zfill(32), span_id="1".zfill(16), namespace="rag-prod",
        job="fee-assistant.POST /chat", service="fee-assistant", started_ns=then, ended_ns=then, outcome="COMPLETE", artifacts=[index], live=False,
    )  # fmt: skip
    assert runtime.metrics is not None
    runtime.metrics.record(record, route=None, sampled=False)
