"""Operations by hand, where users go off the straight way: odd documents, reranks, generators in turn."""

from __future__ import annotations

import contextvars
import uuid
from collections.abc import AsyncGenerator, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace

from spanline.api.inference import embedding, inference
from spanline.api.job import job
from spanline.api.retrieval import rerank, retrieval
from spanline.api.steps import tool, workflow
from spanline.record.references import Corpus, Index
from tests.support import MemorySink


@pytest.mark.parametrize(
    ("found", "documents"),
    [
        (None, []),
        ("doc-1", [("doc-1", None)]),
        ({"id": "doc-1", "score": 0.5}, [("doc-1", 0.5)]),
        (SimpleNamespace(page_content="secret", id="doc-1", metadata={}), [("doc-1", None)]),
        ([uuid.UUID(int=7)], [("00000000-0000-0000-0000-000000000007", None)]),
        ([(np.int64(7), np.float32(0.5)), ("b", np.float64(0.25))], [("7", 0.5), ("b", 0.25)]),
        ({"ids": [["a", "b"]], "distances": [[0.5, 0.25]], "documents": [["secret", "secret"]]}, [("a", 0.5), ("b", 0.25)]),
        (SimpleNamespace(id="p", payload={"source": "kb/a.md"}, score=0.5), [("p", 0.5)]),
        ([("docs/a.md?token=secret", 0.5)], [("docs/a.md", 0.5)]),
    ],
)
def test_documents_of_any_shape(sink: MemorySink, found: Any, documents: list[tuple[str, float | None]]) -> None:
    with retrieval(Index("i", version="1")) as search:
        search.documents(found)
    (index,) = [artifact for artifact in sink.record.artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    assert [(document.id, document.score) for document in index.retrieval.documents] == documents
    assert index.retrieval.hits == len(documents)


def test_a_second_call_adds_documents(sink: MemorySink) -> None:
    with retrieval("i") as search:
        search.documents(["a"])
        search.documents(["b", "c"])
    (index,) = [artifact for artifact in sink.record.artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    assert index.retrieval.hits == 3
    assert [document.id for document in index.retrieval.documents] == ["a", "b", "c"]


def test_a_rerank_fetches_nothing_and_uses_its_model(sink: MemorySink) -> None:
    with workflow("answer"):
        with retrieval(Index("i", version="1")) as search:
            search.documents(["a", "b"])
        with rerank("bge-reranker", top_k=1) as best:
            best.documents([("b", 0.9)])
    record = sink.record
    assert [operation.name for operation in record.operations] == ["invoke_workflow answer", "retrieval i", "rerank bge-reranker"]
    assert {artifact.dataset for artifact in record.artifacts} == {("indexes", "i@1"), ("models", "bge-reranker")}
    (index,) = [artifact for artifact in record.artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    assert index.retrieval.hits == 2


def test_the_usage_of_an_embedding_is_no_input_of_an_inference(sink: MemorySink) -> None:
    with embedding("openai", "e5") as call:
        call.response(input_tokens=7)
    (operation,) = sink.record.operations
    assert operation.usage is not None
    assert (operation.usage.input_tokens, operation.usage.embedding_input_tokens) == (None, 7)


def test_a_prompt_by_its_name(sink: MemorySink) -> None:
    for prompt in ("fees@v7", "plain", 7):
        with inference("openai", "m", prompt=prompt):
            pass
    prompts = [[artifact.label for artifact in record.artifacts if artifact.kind == "prompt"] for record in sink.records]
    assert prompts == [["fees@v7"], ["plain"], []]


def test_a_job_leaves_out_what_is_no_reference(sink: MemorySink, caplog: pytest.LogCaptureFixture) -> None:
    with job("build", inputs=["corpus:fees", Corpus("fees", version="1")]):
        pass
    assert [artifact.label for artifact in sink.record.artifacts] == ["fees@1"]
    assert "str is no reference" in caplog.text


def _current() -> int:
    return trace.get_current_span().get_span_context().span_id


def test_generators_are_current_only_while_they_run(sink: MemorySink) -> None:
    @tool("g")
    def numbers(n: int) -> Generator[int, str, str]:
        for i in range(n):
            with tool("inside"):
                assert (yield i) in (None, "sent")
        return "done"

    with workflow("w"):
        outside = _current()
        for _ in zip(numbers(2), numbers(3), strict=False):
            assert _current() == outside
            with tool("consumer"):
                pass
        assert _current() == outside
        sending = numbers(1)
        assert next(sending) == 0
        with pytest.raises(StopIteration) as stop:
            sending.send("sent")
        assert stop.value.value == "done"
        broken = numbers(1)
        next(broken)
        with pytest.raises(KeyError):
            broken.throw(KeyError("secret"))
        left = numbers(1)
        next(left)
        left.close()
    operations = sink.record.operations
    root = operations[0].span_id
    assert {operation.parent_span_id for operation in operations if operation.tool_name in ("g", "consumer")} == {root}
    inner = {operation.span_id for operation in operations if operation.tool_name == "g"}
    assert {operation.parent_span_id for operation in operations if operation.tool_name == "inside"} <= inner
    assert [operation.error_type for operation in operations if operation.tool_name == "g"] == [None, None, None, "KeyError", None]


async def test_async_generators_are_current_only_while_they_run(sink: MemorySink) -> None:
    @tool("g")
    async def numbers(n: int) -> AsyncGenerator[int, None]:
        for i in range(n):
            yield i

    async with workflow("w"):
        outside = _current()
        async for _ in numbers(2):
            assert _current() == outside
        breaking = numbers(2)
        async for _ in breaking:
            break
        await breaking.aclose()
        assert _current() == outside
    assert [operation.error_type for operation in sink.record.operations] == [None, None, None]


def test_a_generator_that_a_thread_pool_steps_loses_nothing(sink: MemorySink, caplog: pytest.LogCaptureFixture) -> None:
    def body() -> Iterator[int]:
        with job("build"), tool("t"):
            yield 1

    work = body()
    for _ in range(2):
        contextvars.copy_context().run(next, work, None)
    assert sink.record.job == "svc.build"
    assert [operation.tool_name for operation in sink.record.operations] == ["t"]
    assert caplog.records == []


def test_a_job_takes_a_generator(sink: MemorySink) -> None:
    @job("build")
    def work() -> Iterator[int]:
        with tool("t"):
            yield 1

    assert list(work()) == [1]
    assert [operation.tool_name for operation in sink.record.operations] == ["t"]
