"""Operations by hand: spans with the conventions' attributes, streams, decorators, errors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from spanline._guard import internal_errors
from spanline.api.context import context, current
from spanline.api.inference import embedding, inference
from spanline.api.job import job
from spanline.api.retrieval import rerank, retrieval
from spanline.api.steps import agent, guardrail, tool, workflow
from spanline.identity import child_run_id, run_id_of
from spanline.record.references import Corpus, Index, Model, PromptTemplate
from spanline.semconv import GUARDRAIL_REASON
from tests.support import MemorySink

FEES = PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
INDEX = Index(
    "fees_corpus",
    version="commit:abc123",
    digest="sha256:" + "9f" * 32,
    embedding_model="e5-small@1",
    corpus=Corpus("fees", version="2026-11-01"),
)


def artifacts(record: Any) -> dict[str, str]:
    return {f"{artifact.kind}:{artifact.dataset[1]}": artifact.evidence for artifact in record.artifacts}


def test_the_contracts_example_becomes_a_record(sink: MemorySink) -> None:
    with workflow("chat"):
        with retrieval(INDEX, top_k=3) as found:
            found.documents([("d1", 0.5), ("d2", 0.25)])
        with inference("openai", "gpt-4o", prompt=FEES, temperature=0.2) as call:
            call.response(model="gpt-4o-2024-06-18", id="r1", input_tokens=812, output_tokens=96, finish_reasons=["stop"])
        with guardrail("fee-schema", version="3", phase="output") as guard:
            guard.failed(reason="secret reason", action="block")
    record = sink.record
    assert record.job == "svc.invoke_workflow chat"
    assert [operation.kind for operation in record.operations] == ["workflow", "retrieval", "inference", "guardrail"]
    chat = record.operations[2]
    assert (chat.name, chat.provider, chat.request_model, chat.response_model) == ("chat gpt-4o", "openai", "gpt-4o", "gpt-4o-2024-06-18")
    assert chat.parent_span_id == record.operations[0].span_id
    assert chat.finish_reasons == ["stop"]
    assert chat.parameters is not None
    assert chat.parameters.temperature == 0.2
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (812, 96)
    assert artifacts(record) == {
        "index:fees_corpus@commit:abc123": "observed", "corpus:fees@2026-11-01": "declared", "model:e5-small@1": "declared",
        "prompt:fees@v7": "observed", "model:openai/gpt-4o-2024-06-18": "observed",
    }  # fmt: skip
    index = next(artifact for artifact in record.artifacts if artifact.kind == "index")
    assert index.retrieval is not None
    assert [(document.id, document.score) for document in index.retrieval.documents] == [("d1", 0.5), ("d2", 0.25)]
    assert (index.retrieval.top_k, index.retrieval.hits) == (3, 2)
    prompt = next(artifact for artifact in record.artifacts if artifact.kind == "prompt")
    assert prompt.digest == FEES.digest
    (outcome,) = record.guardrails
    assert (outcome.name, outcome.version, outcome.phase, outcome.outcome, outcome.action) == ("fee-schema", "3", "output", "fail", "block")
    everything = msgspec.json.encode(record).decode() + str([dict(span.attributes) for span in sink.spans()])
    assert "secret" not in everything
    assert "Use {context}" not in everything


@pytest.mark.parametrize("allow", [(), ("spanline.guardrail.reason",), ("spanline.guardrail.*",)])
def test_a_reason_leaves_only_where_it_is_allowed(sink: MemorySink, allow: tuple[str, ...]) -> None:
    sink.settings = dataclasses.replace(sink.settings, allow=allow)
    with guardrail("fee-schema") as check:
        check.failed(reason="unknown tier")
    with guardrail("borrowed") as check:
        # Who writes the attribute by hand asks the settings no less.
        check.attributes({GUARDRAIL_REASON: "unknown tier"})
        check.failed()
    reasons = [outcome.reason for record in sink.records for outcome in record.guardrails]
    assert reasons == (["unknown tier", "unknown tier"] if allow else [None, None])


def test_spans_bear_the_conventions_attributes(sink: MemorySink) -> None:
    with inference("openai", "gpt-4o", prompt=FEES, max_tokens=5, seed=None) as call:
        call.response(input_tokens=1, cost_usd=0.5)
    with embedding("openai", "e5") as call:
        call.response(input_tokens=7)
    (chat, embed) = sink.spans()
    assert chat.name == "chat gpt-4o"
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert chat.attributes["gen_ai.request.max_tokens"] == 5
    assert "gen_ai.request.seed" not in chat.attributes
    assert chat.attributes["gen_ai.prompt.name"] == "fees"
    assert embed.attributes["gen_ai.operation.name"] == "embeddings"
    assert sink.records[1].usage is not None
    assert sink.records[1].usage.embedding_input_tokens == 7
    assert sink.records[0].usage is not None
    assert sink.records[0].usage.cost_usd == 0.5


async def test_async_with_and_decorators(sink: MemorySink) -> None:
    @tool("sync")
    def one() -> int:
        return 1

    @agent("async")
    async def two() -> int:
        await asyncio.sleep(0)
        return one()

    @tool("generator")
    def three() -> Iterator[int]:
        yield 1
        yield 2

    @tool("agenerator")
    async def four() -> AsyncIterator[int]:
        yield 1

    @guardrail("check")
    def five(ok: bool) -> bool:
        return ok

    assert await two() == 1
    assert list(three()) == [1, 2]
    assert [item async for item in four()] == [1]
    assert five(True)
    assert not five(False)
    async with tool("plain"):
        pass
    kinds = [[operation.kind for operation in record.operations] for record in sink.records]
    assert kinds == [["agent", "tool"], ["tool"], ["tool"], ["guardrail"], ["guardrail"], ["tool"]]
    assert [record.guardrails[0].outcome for record in sink.records if record.guardrails] == ["pass", "fail"]


@pytest.mark.parametrize(
    "make", [lambda: tool("x"), lambda: inference("p", "m"), lambda: retrieval("i"), lambda: agent("a"), lambda: rerank("r")]
)
def test_errors_pass_and_leave_their_type_only(sink: MemorySink, make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="secret"), make():
        raise ValueError("secret text")
    (span,) = sink.spans()
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.description is None
    assert not span.events
    assert sink.record.operations[0].error_type == "ValueError"


def test_a_blocking_guardrail_is_no_error(sink: MemorySink) -> None:
    with pytest.raises(PermissionError), guardrail("g") as guard:
        guard.failed(action="block")
        raise PermissionError
    assert sink.record.operations[0].error_type is None
    assert sink.record.guardrails[0].outcome == "fail"
    with pytest.raises(ZeroDivisionError), guardrail("g"):
        raise ZeroDivisionError
    assert sink.records[1].guardrails[0].outcome == "error"
    with guardrail("g"):
        pass
    assert sink.records[2].guardrails[0].outcome == "skip"


OPENAI_CHUNKS = [
    {
        "id": "c1",
        "model": "m-2024",
        "object": "chat.completion.chunk",
        "choices": [{"delta": {"content": "secret"}, "finish_reason": None}],
    },
    {"id": "c1", "model": "m-2024", "choices": [{"delta": {}, "finish_reason": "length"}]},
    {
        "id": "c1",
        "model": "m-2024",
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
    },
]
ANTHROPIC_EVENTS = [
    {"type": "message_start", "message": {"id": "c1", "model": "m-2024", "usage": {"input_tokens": 1, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1}}},
    {"type": "content_block_delta", "delta": {"text": "secret"}},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 2}},
]  # fmt: skip


@pytest.mark.parametrize("chunks", [OPENAI_CHUNKS, ANTHROPIC_EVENTS])
def test_a_stream_marks_the_first_token_and_reads_usage(sink: MemorySink, chunks: list[Any]) -> None:
    with inference("p", "m") as call:
        stream = call.stream(iter(chunks))
    assert sink.records == [], "the span ends with the stream, not with the block"
    assert list(stream) == chunks
    (operation,) = sink.record.operations
    assert operation.streamed is True
    assert operation.time_to_first_token_seconds is not None
    assert 0 <= operation.time_to_first_token_seconds < 5
    assert operation.finish_reasons == ["length"]
    assert (operation.response_id, operation.response_model) == ("c1", "m-2024")
    assert operation.usage is not None
    assert (operation.usage.input_tokens, operation.usage.output_tokens, operation.usage.cache_read_input_tokens) == (5, 2, 3)


async def test_an_async_stream_that_breaks_marks_the_span(sink: MemorySink) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("secret")

    with pytest.raises(ConnectionError):
        async with inference("p", "m") as call:
            async for _ in call.stream(broken()):
                pass
    assert sink.record.operations[0].error_type == "ConnectionError"


def test_response_takes_client_objects(sink: MemorySink) -> None:
    reply = SimpleNamespace(
        id="r", model="m", system_fingerprint="fp", service_tier=None, object="chat.completion",
        choices=[SimpleNamespace(finish_reason="tool_calls", message=SimpleNamespace(content="secret"))],
        usage=SimpleNamespace(prompt_tokens=3, completion_tokens=4, completion_tokens_details=SimpleNamespace(reasoning_tokens=2)),
    )  # fmt: skip
    with inference("openai", "m") as call:
        call.response(reply, output_tokens=5)
    (operation,) = sink.record.operations
    assert (operation.response_id, operation.system_fingerprint, operation.finish_reasons) == ("r", "fp", ["tool_calls"])
    assert operation.usage is not None
    assert (operation.usage.output_tokens, operation.usage.reasoning_output_tokens) == (5, 2)


class _Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


@pytest.mark.internal_errors
@pytest.mark.parametrize("response", [_Hostile, 3, "text", b"x", [1], {"usage": {"prompt_tokens": "many"}}, {"choices": [None]}])
def test_absurd_responses_do_no_harm(sink: MemorySink, response: Any) -> None:
    with inference("p", "m") as call:
        call.response(response() if response is _Hostile else response)
    assert len(sink.records) == 1


@pytest.mark.internal_errors
@pytest.mark.filterwarnings("ignore")
def test_absurd_attribute_values_lose_no_run(sink: MemorySink) -> None:
    nested: Any = []
    for _ in range(2000):
        nested = [nested]
    with inference("p" * 10_000_000, "m\x00\ud800", temperature=float("nan"), max_tokens=-3, top_p=float("inf")) as call:
        call.response(id=b"bytes", input_tokens=10**30, output_tokens=-1, finish_reasons=nested)
    with retrieval("i", top_k=3) as found:
        found.documents([nested, None, {"id": None}, ("x" * 10_000_000, float("nan")), {"id": "a\ud800", "score": "0.5"}, object()])
    first, second = sink.records
    assert first.operations[0].parameters is None or first.operations[0].parameters.temperature is None
    encoded = msgspec.json.encode([first, second])
    assert len(encoded) < 20_000


def test_documents_of_langchain_and_llamaindex(sink: MemorySink) -> None:
    chain = SimpleNamespace(
        id="c1", page_content="secret", metadata={"source": "https://ann:pw@kb.example/fees.md?token=1", "version": "3"}
    )
    llama = SimpleNamespace(node=SimpleNamespace(node_id="n1", text="secret", metadata={}), score=0.75)
    with retrieval("i") as found:
        found.documents([chain, llama, "plain", "https://u:p@h/x?q=secret#f", "ann@example.com", {"id": 7, "score": 1}])
    (index,) = [artifact for artifact in sink.record.artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    documents = index.retrieval.documents
    assert [document.id for document in documents] == ["c1", "n1", "plain", "https://h/x", "hmac-sha256:test:15", "7"]
    assert documents[0].source == "https://kb.example/fees.md"
    assert documents[0].digest == "hmac-sha256:test:6"
    assert documents[1].score == 0.75
    assert "secret" not in msgspec.json.encode(sink.record).decode()


def test_a_job_is_a_run_with_inputs_and_outputs(sink: MemorySink) -> None:
    corpus = Corpus("fees", version="1")
    with job("index_build", inputs=[corpus]) as work:
        work.parameters(chunk_size=200, overlap=0.5)
        work.metrics(rows=12)
        work.outputs(INDEX)
        now = current()
    (start,) = sink.starts
    record = sink.record
    assert record.job == start.job == "svc.index_build"
    assert not record.live
    assert now is not None
    assert now.run_id == record.run_id == run_id_of(int(record.trace_id, 16))
    assert record.parameters == {"chunk_size": "200", "overlap": "0.5"}
    assert record.metrics == {"rows": 12.0}
    roles = {f"{artifact.kind}:{artifact.name}": artifact.role for artifact in record.artifacts}
    assert roles == {"corpus:fees": "input", "index:fees_corpus": "output", "model:e5-small": "input"}
    assert record.source_path is not None


def test_a_job_inside_a_job_is_a_child_with_parent_and_root(sink: MemorySink) -> None:
    with job("outer"), job("middle"), job("inner"), tool("t"):
        pass
    inner, middle, outer = sink.records
    assert outer.parent is None
    assert middle.parent is not None
    assert inner.parent is not None
    assert inner.root is not None
    assert inner.run_id == child_run_id(int(inner.trace_id, 16), int(inner.span_id, 16))
    assert (inner.parent.run_id, inner.parent.name) == (middle.run_id, "svc.middle")
    assert (inner.root.run_id, inner.root.name) == (outer.run_id, "svc.outer")
    assert [len(record.operations) for record in sink.records] == [1, 0, 0]


def test_a_job_honours_traceparent(sink: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    with job("x"):
        pass
    assert sink.record.run_id == "0af76519-16cd-43dd-8448-eb211c80319c"


@pytest.mark.parametrize(("error", "outcome"), [(ValueError, "FAIL"), (KeyboardInterrupt, "ABORT"), (asyncio.CancelledError, "ABORT")])
def test_a_job_that_ends_badly(sink: MemorySink, error: type[BaseException], outcome: str) -> None:
    with pytest.raises(error), job("x"):
        raise error
    assert sink.record.outcome == outcome


def test_context_block_reaches_runs_that_begin_inside(sink: MemorySink) -> None:
    with context(tags={"team": "a"}, subject="ann"), job("x"):
        context(tags={"case": "1"})
    assert sink.record.tags == {"team": "a", "case": "1"}
    assert sink.record.subject == "hmac-sha256:test:3"


def test_without_a_runtime_everything_passes() -> None:
    with inference("p", "m", prompt=FEES) as call, job("x") as work:
        call.response(id="x")
        work.parameters(a=1)
        assert list(call.stream([1, 2])) == [1, 2]
        assert current() is None
    assert internal_errors() == {}


def test_a_model_reference_is_the_model(sink: MemorySink) -> None:
    model = Model("smollm2-135m", version="q4_1", digest="sha256:" + "a" * 64)
    with inference("openai", model) as call:
        call.response(model="smollm2-135m")
    assert artifacts(sink.record) == {"model:smollm2-135m@q4_1": "observed"}
