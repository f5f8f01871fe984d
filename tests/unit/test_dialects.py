"""Dialects: words, shapes, what is documented and not in the corpus, and dialects that other packages register."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from spanline.dialects import registry as module
from spanline.dialects.assemble import assemble
from spanline.dialects.coerce import cost, error_type, finish_reasons, instant, locator, name, vendor, wait
from spanline.dialects.decode import decoded, steps_of, walk
from spanline.dialects.documents import documents
from spanline.dialects.reader import read, read_event
from spanline.dialects.reading import Reading
from spanline.dialects.registry import registry
from spanline.dialects.rollups import Answers
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage
from spanline.record.artifact import Artifact, Document, Retrieval
from spanline.record.redact import clean_documents, clean_id
from spanline.record.run import RunRecord
from tests.support import MemorySink

SECOND = 1_000_000_000


def reading(attributes: dict[str, Any], span: int = 1, parent: int | None = None, **more: Any) -> Reading:
    found = read(
        attributes,
        span_id=f"{span:016x}",
        parent_span_id=None if parent is None else f"{parent:016x}",
        started_ns=more.pop("started_ns", span * SECOND),
        ended_ns=more.pop("ended_ns", (span + 1) * SECOND),
        failed=more.pop("failed", False),
        service="svc",
        **more,
    )
    assert found is not None
    return found


def record_of(*readings: Reading, declared: tuple[Artifact, ...] = (), trace: str = "ab" * 16, answers: Answers | None = None) -> RunRecord:
    record = RunRecord(run_id="r", trace_id=trace, span_id="s", namespace="n", job="j", service="svc", started_ns=0)
    assemble(record, readings, declared, 0, answers)
    return record


CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}
USAGE = {"gen_ai.usage.input_tokens": 41, "gen_ai.usage.output_tokens": 17}


# ---- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[1, 2]", [1, 2]),
        ('"[1, 2]"', [1, 2]),
        ('"{\\"a\\": \\"[1]\\"}"', {"a": "[1]"}),
        ("{'a': None, 'b': [True]}", {"a": None, "b": [True]}),
        ('"plain"', "plain"),
        ("plain", None),
        ("{'a': __import__('os')}", None),
        (r"{'a': '\d'}", None),
        ("(" * 5000, None),
        ("{'a': " + "'" + "x" * (1 << 17) + "'}", None),
    ],
)
def test_texts_are_decoded(value: str, expected: Any) -> None:
    assert decoded(value) == expected


def test_a_path_leads_through_texts() -> None:
    value = {"a": '{"b": [{"c": 1}, {"c": null}, {"c": 3}]}'}
    assert walk(value, steps_of("a.b[].c")) == [1, 3]
    assert walk(value, steps_of("a.b[0].c")) == 1
    assert walk(value, steps_of("a.x.c")) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("FinishReason.STOP", ["stop"]),
        ("FinishReason.STOP,FinishReason.LENGTH", ["stop", "length"]),
        ('["tool_use"]', ["tool_calls"]),
        (("stop", "stop"), ["stop"]),
        (["weird"], ["other"]),
        ([], None),
        (7, None),
    ],
)
def test_finish_reasons_are_six_words(value: Any, expected: list[str] | None) -> None:
    assert finish_reasons(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.25, 0.25), ("3", 3.0), (0, 0.0), (-1, None), (-(2**63), None), ("NaN", None), (True, None)]
)
def test_no_time_and_no_price_is_below_nothing(value: Any, expected: float | None) -> None:
    assert wait(value) == expected
    assert cost(value) == (expected or None)


def test_names_hold_no_content() -> None:
    assert name("support-answer") == "support-answer"
    assert name('"quoted"') == "quoted"
    assert name("ask jane.doe@example.com") is None
    assert name("two\nlines") is None
    assert name("x" * 129) is None
    assert error_type("openai.RateLimitError") == "openai.RateLimitError"
    assert error_type("it failed for jane") is None
    assert locator("postgresql://me:secret@db/kb?sslmode=off") == "postgresql://db/kb"
    assert vendor("haystack.components.OpenAIChatGenerator") == "openai"
    assert vendor("anthropic/claude") == "anthropic"
    assert instant('"2026-11-21T08:00:00.5Z"') == 1_795_248_000_500_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"prompt_tokens": 41, "completion_tokens": 17, "total_tokens": 58, "prompt_tokens_details": {"cached_tokens": 24}}, (41, 17, 24)),
        ({"input": 17, "input_cache_read": 24, "output": 12, "output_reasoning": 5, "total": 58}, (41, 17, 24)),
        ({"input_tokens": 41, "output_tokens": 17, "cache_read_input_tokens": 24, "total_tokens": 58}, (41, 17, 24)),
        ({"input_tokens": 41, "output_tokens": 17, "cache_read_input_tokens": 24, "cache_creation_input_tokens": 6}, (71, 17, 24)),
        ({"prompt_token_count": 41, "candidates_token_count": 12, "thoughts_token_count": 5, "total_token_count": 58}, (41, 17, None)),
        ("{'prompt_tokens': 41, 'completion_tokens': 17, 'cached_prompt_tokens': 24}", (41, 17, 24)),
    ],
)
def test_usage_of_any_provider(value: Any, expected: tuple[int, int, int | None]) -> None:
    found = usage(value)
    assert found is not None
    assert (found["input_tokens"], found["output_tokens"], found.get("cache_read_input_tokens")) == expected


@pytest.mark.parametrize(
    "value",
    [
        [{"id": "d1", "score": 0.5, "metadata": {"source": "kb/a.md"}, "page_content": "SECRET"}],
        [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "Document"],
                "kwargs": {"id": "d1", "metadata": {"source": "kb/a.md"}},
                "score": 0.5,
            }
        ],
        [{"node": {"id_": "d1", "text": "SECRET", "metadata": {"source": "kb/a.md"}}, "score": 0.5}],
        '{"documents": [{"document": {"id": "d1", "content": "SECRET", "metadata": {"source": "kb/a.md"}}, "score": 0.5}]}',
        {"ids": [["d1"]], "distances": [[0.5]], "metadatas": [[{"source": "kb/a.md"}]], "documents": [["SECRET"]]},
        {"points": [{"id": "d1", "score": 0.5, "payload": {"source": "kb/a.md", "text": "SECRET"}}]},
        [[{"id": "d1", "metadata": {"source": "kb/a.md"}}, 0.5]],
    ],
)
def test_documents_of_any_framework(value: Any) -> None:
    found = documents(value)
    assert found is not None
    assert [(document.id, document.score, document.source) for document in found] == [("d1", 0.5, "kb/a.md")]


def test_a_document_with_an_id_keeps_what_stands_beside_it() -> None:
    found = documents('[{"id": "d1", "metadata": {"source": "kb/a.md", "score": 0.5}, "page_content": "SECRET"}]')
    assert found is not None
    assert [(document.id, document.score, document.source) for document in found] == [("d1", 0.5, "kb/a.md")]


@pytest.mark.parametrize("alias", ["latest", "production"])
def test_an_alias_is_no_version_of_a_prompt(alias: str) -> None:
    found = reading({"gen_ai.operation.name": "chat", "gen_ai.prompt.name": "p", "gen_ai.prompt.version": alias})
    (prompt,) = [artifact for artifact in found.artifacts if artifact.kind == "prompt"]
    assert (prompt.label, prompt.version, prompt.stage) == ("p", None, alias)


def test_texts_are_no_documents() -> None:
    assert documents(["SECRET text"]) == ()
    assert documents([{"page_content": "SECRET", "metadata": {}}]) == ()
    assert documents([{"id": "SECRET\ntext", "metadata": {"source": "kb"}}])[0].id == "kb"


# ---- documented dialects ----------------------------------------------------------------------------------------------


def test_semantic_kernel() -> None:
    found = reading(
        {
            "gen_ai.operation.name": "chat.completions",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.finish_reason": "FinishReason.STOP",
            **USAGE,
        },
        scope="semantic_kernel.utils.telemetry.model_diagnostics.decorators",
    ).operation
    assert (found.kind, found.name, found.finish_reasons, found.dialect) == ("inference", "chat gpt-4o-mini", ["stop"], "semantic_kernel")


def test_strands_counts_milliseconds_and_names_no_provider() -> None:
    found = reading(
        {**CHAT, "gen_ai.provider.name": "strands-agents", "gen_ai.server.time_to_first_token": 250, **USAGE},
        scope="strands.telemetry.tracer",
        events=[("gen_ai.choice", {"finish_reason": "end_turn", "message": "SECRET"}, 0)],
    ).operation
    assert (found.time_to_first_token_seconds, found.provider, found.finish_reasons) == (0.25, None, ["stop"])


def test_google_adk_takes_the_total_of_the_answer() -> None:
    answer = (
        '{"usage_metadata": {"prompt_token_count": 41, "candidates_token_count": 17, "total_token_count": 58,'
        ' "thoughts_token_count": 5}, "finish_reason": "STOP"}'
    )
    found = reading(
        {
            "gen_ai.system": "gcp.vertex.agent",
            "gen_ai.request.model": "openai/gpt-4o-mini",
            "gen_ai.usage.output_tokens": 22,
            "gcp.vertex.agent.llm_response": answer,
            "gcp.vertex.agent.llm_request": '{"model": "openai/gpt-4o-mini", "config": {"temperature": 0.31}}',
        },
        name="call_llm",
        scope="gcp.vertex.agent",
    ).operation
    assert found.usage is not None
    assert (found.kind, found.usage.input_tokens, found.usage.output_tokens, found.provider) == ("inference", 41, 17, "openai")
    assert found.parameters is not None
    assert found.parameters.temperature == 0.31


def test_platforms_that_were_read_of() -> None:
    contexts = '[{"document_id": "d1", "chunk_id": "c1", "content": "SECRET"}]'
    (index,) = reading({"langwatch.span.type": "rag", "langwatch.rag.contexts": contexts}).artifacts
    assert index.retrieval is not None
    assert [document.id for document in index.retrieval.documents] == ["d1"]
    tool = reading({"agentops.span.kind": "tool", "operation.name": "get_weather"}).operation
    assert (tool.kind, tool.tool_name) == ("tool", "get_weather")
    metrics = '{"prompt_tokens": 41, "completion_tokens": 17, "tokens": 58}'
    call = reading(
        {
            "braintrust.span_attributes": '{"type": "llm"}',
            "braintrust.metadata": '{"provider": "openai", "model": "m", "temperature": 0.31}',
            "braintrust.metrics": metrics,
        }
    ).operation
    assert call.usage is not None
    assert (call.kind, call.provider, call.request_model, call.usage.input_tokens) == ("inference", "openai", "m", 41)


def test_laminar_marks_other_spans() -> None:
    found = reading({"lmnr.span.type": "LLM", "gen_ai.system": "openai", "gen_ai.request.model": "m", **USAGE}, scope="lmnr.sdk.decorators")
    assert (found.operation.kind, found.operation.dialect) == ("inference", "laminar")


def test_exclusive_buckets_are_put_together() -> None:
    usage_details = '{"input": 17, "input_cache_read": 24, "output": 12, "output_reasoning": 5, "total": 58}'
    outer = reading({"langfuse.observation.type": "generation", "langfuse.observation.usage_details": usage_details}, 1)
    inner = reading({"langfuse.observation.type": "generation", "langfuse.observation.usage_details": usage_details}, 2, 1)
    record = record_of(outer, inner)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (41, 17)
    anthropic = {"gen_ai.usage.input_tokens": 41, "gen_ai.usage.cache_read.input_tokens": 24, "gen_ai.usage.cache_creation.input_tokens": 6}
    found = reading({**CHAT, "gen_ai.provider.name": "anthropic", "telemetry.sdk.name": "openlit", **anthropic}).operation.usage
    assert found is not None
    assert found.input_tokens == 71


def test_mlflow_with_anthropic() -> None:
    answer = '{"id": "msg_1", "model": "claude-resp", "stop_reason": "end_turn", "usage": {"input_tokens": 41, "output_tokens": 17,'
    answer += ' "cache_read_input_tokens": 24, "cache_creation_input_tokens": 6}}'
    found = reading(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.message.format": '"anthropic"',
            "mlflow.spanInputs": '{"model": "claude", "max_tokens": 77, "messages": [{"role": "user", "content": "SECRET"}]}',
            "mlflow.spanOutputs": answer,
            "mlflow.chat.tokenUsage": '{"input_tokens": 41, "output_tokens": 17, "total_tokens": 58}',
        },
        scope="mlflow.tracing.provider",
    ).operation
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (71, 17)
    assert (found.request_model, found.response_model, found.finish_reasons) == ("claude", "claude-resp", ["stop"])


def test_nemo_rails_are_guardrails() -> None:
    found = reading({"rail.name": "self check input", "rail.type": "input", "rail.stop": True}, name="guardrails.rail").guardrail
    assert found is not None
    assert (found.name, found.phase, found.outcome) == ("self check input", "input", "fail")


def test_guardrail_events_on_a_span_that_nothing_else_tells() -> None:
    event = {"guard.name": "pii", "guard.phase": "preflight", "guard.action": "deny", "guard.score": 0.7, "guard.explanation": "SECRET"}
    record = record_of(reading({"http.route": "/chat"}, events=[("guard.evaluation", event, 1)]))
    outcome = record.guardrails[0]
    assert (outcome.name, outcome.phase, outcome.outcome, outcome.action, outcome.score) == ("pii", "input", "fail", "block", 0.7)
    assert "SECRET" not in repr(record)


# ---- one record -------------------------------------------------------------------------------------------------------


def test_native_and_wrapper_in_two_traces_are_counted_once() -> None:
    answers = Answers()
    attributes = {**CHAT, **USAGE, "gen_ai.response.id": "msg_1", "gen_ai.provider.name": "anthropic"}
    native = reading(attributes, 1, scope="com.anthropic.sdk.python")
    wrapper = reading(attributes, 1, scope="opentelemetry.instrumentation.anthropic")
    first = record_of(native, trace="aa" * 16, answers=answers)
    second = record_of(wrapper, trace="bb" * 16, answers=answers)
    assert first.usage is not None
    assert second.usage is None
    assert second.operations[0].rollup
    again = reading(attributes, 1, scope="com.anthropic.sdk.python")
    assert record_of(again, trace="cc" * 16, answers=answers).usage is not None, "a small server gives ids again"


def test_an_agent_without_calls_counts_itself() -> None:
    agent = reading({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a", **USAGE})
    record = record_of(agent)
    assert record.usage is not None
    assert record.usage.input_tokens == 41


def test_a_template_without_name_takes_that_of_the_nearest_prompt() -> None:
    named = reading({"gen_ai.operation.name": "chat", "gen_ai.prompt.name": "fees", "gen_ai.prompt.version": "v7"}, 1)
    bare = reading({"openinference.span.kind": "LLM", "llm.prompt_template.template": "Use {x}"}, 2, 1)
    prompts = [artifact for artifact in record_of(named, bare).artifacts if artifact.kind == "prompt"]
    assert {(prompt.name, prompt.version) for prompt in prompts} == {("fees", "v7")}
    assert {prompt.evidence for prompt in prompts if prompt.digest} == {"inferred"}


def test_a_declared_prompt_goes_before_what_is_near() -> None:
    declared = Artifact(kind="prompt", name="fees", version="v7", digest="sha256:aa", evidence="declared")
    bare = reading({"openinference.span.kind": "LLM", "llm.prompt_template.template": "Use {x}"})
    prompts = [artifact for artifact in record_of(bare, declared=(declared,)).artifacts if artifact.kind == "prompt"]
    assert prompts == [declared]


def test_documents_hang_on_the_index_of_the_span_below() -> None:
    retriever = reading(
        {"openinference.span.kind": "RETRIEVER", "output.value": '{"documents": [{"id": "d1", "metadata": {"source": "kb/a.md"}}]}'}, 1
    )
    client = reading(
        {"db.system": "chroma", "db.operation": "query", "db.collection.name": "kb"},
        2,
        1,
        events=[("db.query.result", {"db.query.result.id": "d1", "db.query.result.distance": 0.5}, 0)],
    )
    (index,) = [artifact for artifact in record_of(retriever, client).artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    assert (index.name, index.retrieval.hits) == ("kb", 1)
    assert [(document.id, document.score, document.source) for document in index.retrieval.documents] == [("d1", 0.5, "kb/a.md")]


def test_spanlines_own_retrieval_goes_before_the_clients() -> None:
    own = reading(
        {
            "spanline.operation": "retrieval",
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": "fees_corpus",
            "gen_ai.retrieval.documents": '[{"id":"d1"}]',
        },
        1,
    )
    client = reading({"db.system": "chroma", "db.operation": "query"}, 2, 1, events=[("db.query.result", {"db.query.result.id": "d1"}, 0)])
    (index,) = [artifact for artifact in record_of(own, client).artifacts if artifact.kind == "index"]
    assert index.retrieval is not None
    assert (index.name, len(index.retrieval.documents)) == ("fees_corpus", 1)


def test_an_event_of_the_conventions_is_read() -> None:
    found = read_event("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5})
    assert found is not None
    assert (found[0], found[1].evaluation_name, found[1].evaluation_score) == ("evaluation", "relevance", 0.5)
    assert read_event("other", {}) is None


# ---- other packages ---------------------------------------------------------------------------------------------------

ACME = Dialect("acme", markers=("acme.kind",), kinds={"talk": "inference"}, rows=(Row("operation", ("acme.kind",), name),), priority=200)
BROKEN = "no dialect"


@pytest.mark.internal_errors
def test_other_packages_add_dialects(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("missing", "acme_that_is_not_there:DIALECT", module.GROUP),
        EntryPoint("broken", f"{__name__}:BROKEN", module.GROUP),
        EntryPoint("acme", f"{__name__}:ACME", module.GROUP),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: entries if group == module.GROUP else [])
    registry.cache_clear()
    try:
        found = registry().dialect_of({"acme.kind": "talk", "gen_ai.operation.name": "chat"})
        assert found is not None
        assert found.name == "acme"
    finally:
        registry.cache_clear()


def test_attributes_go_before_the_scope() -> None:
    known = registry()
    told = known.dialect_of({"openinference.span.kind": "LLM", "gen_ai.provider.name": "x"}, "opentelemetry.instrumentation.openai.v1")
    assert told is not None
    assert told.name == "openinference"
    told = known.dialect_of({"gen_ai.provider.name": "x"}, "opentelemetry.instrumentation.openai.v1")
    assert told is not None
    assert told.name == "openllmetry"
    assert known.dialect_of({"http.route": "/"}, "opentelemetry.instrumentation.fastapi") is None


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        ("doc-kb-001", "doc-kb-001"),
        ("https://me:secret@kb.example/a.md?sig=abc#top", "https://kb.example/a.md"),
        ("kb/a.md?sig=abc", "kb/a.md"),
        ("what?is this", "what?is this"),
        ("mail/jane.doe@example.com/1", "mail/D/1"),
        ("data:text/plain;base64,U0VDUkVU", "D"),
    ],
)
def test_ids_of_documents_as_they_leave(given: str, leaves: str) -> None:
    assert clean_id(given, lambda _: "D") == leaves
    retrieval = Retrieval(documents=(Document(given, source=given),))
    cleaned = clean_documents([Artifact(kind="index", name="kb", retrieval=retrieval)], lambda _: "D")[0].retrieval
    assert cleaned is not None
    assert (cleaned.documents[0].id, cleaned.documents[0].source) == (leaves, leaves)


def test_the_processor_hands_on_scope_name_and_events(sink: MemorySink) -> None:
    tracer = sink.provider.get_tracer("llamaindex.opentelemetry.tracer")
    with tracer.start_as_current_span("OpenAI.chat") as span:
        span.add_event("LLMChatStartEvent", {"model_dict.model_name": "gpt-4o-mini", "messages": "SECRET"})
        span.add_event("LLMChatEndEvent", {"response.raw.usage.prompt_tokens": 41, "response.raw.usage.completion_tokens": 17})
    record = sink.record
    assert record.usage is not None
    assert (record.usage.input_tokens, record.operations[0].request_model, record.operations[0].dialect) == (
        41,
        "gpt-4o-mini",
        "llama_index",
    )
    assert "SECRET" not in repr(record)
