"""The corpus: recordings of real instrumentations, the truth behind each scenario, and what each instrumentation does not record.

`python -m tests.corpus` prints the score; `--write` puts it into docs/dialects.md.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from spanline.dialects.assemble import assemble
from spanline.dialects.reader import read
from spanline.dialects.reading import Reading
from spanline.dialects.rollups import Answers
from spanline.identity import run_id_of
from spanline.record.digest import keyed_digest
from spanline.record.redact import clean_documents
from spanline.record.run import Operation, RunRecord

ARCHIVE = Path(__file__).parent / "data" / "corpus" / "recordings.tar.xz"
MARKERS = (
    "SYS-MARK", "jane.doe@example.com", "COMPL-MARK", "TMPL-MARK", "VAR-MARK", "DOCTEXT-", "Paris-ARG", "TOOLRES", "ERR-ECHO", "TOOLERR",
    "PIIEMB", "GUARD-MARK", "EVAL-EXPL", "user-u123",
)  # fmt: skip
"""What must never leave."""


@cache
def recordings() -> dict[str, dict[str, Any]]:
    """All recordings by `<instrumentation>__<version>/<scenario>[@variant]`."""
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                found[member.name.removesuffix(".json")] = json.load(file)
    return found


def reading_of(span: dict[str, Any]) -> Reading | None:
    return read(
        dict(span["attributes"]),
        span_id=span["span_id"],
        parent_span_id=span["parent_span_id"],
        started_ns=span["start_time_unix_nano"],
        ended_ns=span["end_time_unix_nano"],
        failed=span["status"]["code"] == "ERROR",
        service="corpus",
        scope=span["scope"]["name"],
        name=span["name"],
        events=[(event["name"], event.get("attributes"), _time(event)) for event in span["events"]],
    )


def _time(event: dict[str, Any]) -> int:
    return event.get("time_unix_nano") or event.get("timestamp_unix_nano") or event.get("timestamp") or 0


def records(recording: dict[str, Any], spans: list[dict[str, Any]] | None = None) -> list[RunRecord]:
    """One record a trace, as the span processor and `spanline convert` make them."""
    traces: dict[str, list[dict[str, Any]]] = {}
    for span in recording["spans"] if spans is None else spans:
        traces.setdefault(span["trace_id"], []).append(span)
    found: list[RunRecord] = []
    answers = Answers()
    for trace_id, members in traces.items():
        record = RunRecord(
            run_id=run_id_of(int(trace_id, 16)),
            trace_id=trace_id,
            span_id=members[0]["span_id"],
            namespace="corpus",
            job="corpus.trace",
            service="corpus",
            started_ns=min(span["start_time_unix_nano"] for span in members),
            ended_ns=max(span["end_time_unix_nano"] for span in members),
        )
        assemble(record, [reading for span in members if (reading := reading_of(span)) is not None], [], 0, answers)
        record.artifacts = clean_documents(record.artifacts, lambda value: keyed_digest(b"k" * 32, value))
        found.append(record)
    return found


# ---- the truth ------------------------------------------------------------------------------------------------------

CHAT, CHAT_ANSWER = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
CLAUDE, CLAUDE_ANSWER = "claude-sonnet-4-5", "claude-sonnet-4-5-resp"
EMBEDDING, EMBEDDING_ANSWER = "text-embedding-3-small", "text-embedding-3-small-resp"
PARAMETERS = {"temperature": 0.31, "top_p": 0.91, "max_tokens": 77, "seed": 4242, "frequency_penalty": 0.11, "presence_penalty": 0.12}


@dataclass(frozen=True)
class Truth:
    """What a scenario is about; None or empty where it has none of it."""

    calls: int = 0
    """Answers of a chat model."""
    silent: int = 0
    """Of these, answers that the provider sent without usage."""
    embeddings: int | None = 0
    """Calls of the embedding model; None where frameworks differ in how many they make."""
    claude: bool = False
    finish: frozenset[str] = frozenset()
    parameters: tuple[str, ...] = ()
    failed: bool = False
    """A call of a model failed."""
    streamed: bool = False
    choices: int | None = None
    documents: frozenset[str] = frozenset()
    prompt: tuple[str, str | None] | None = None
    tool: str | None = None
    index: str | None = None
    guardrail: str | None = None
    evaluation: tuple[str, float] | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def _finish(*words: str) -> frozenset[str]:
    return frozenset(words)


ALL_PARAMETERS = tuple(PARAMETERS)
SAMPLING = ("temperature", "top_p")
MOST = ("temperature", "top_p", "max_tokens", "seed")
DOCS = frozenset({"doc-kb-001", "doc-kb-002"})

TRUTHS: tuple[tuple[str, Truth], ...] = (
    ("chat_error_*", Truth(failed=True, parameters=())),
    ("chat_content_filter", Truth(calls=1, finish=_finish("content_filter"))),
    ("chat_linked_prompt", Truth(calls=1, finish=_finish("stop"), prompt=("support-answer", "7"))),
    ("chat_using_prompt_template_stream", Truth(calls=1, finish=_finish("stop"), streamed=True)),
    ("chat_n2", Truth(calls=1, finish=_finish("stop"), choices=2)),
    ("chat_stream_no_usage", Truth(calls=1, silent=1, finish=_finish("stop"), streamed=True)),
    ("chat_stream*", Truth(calls=1, finish=_finish("stop"), streamed=True, parameters=ALL_PARAMETERS)),
    ("chat", Truth(calls=1, finish=_finish("stop"), parameters=ALL_PARAMETERS)),
    ("chat_async", Truth(calls=1, finish=_finish("stop"))),
    ("embeddings_error_*", Truth(failed=True, embeddings=None)),
    ("embeddings", Truth(embeddings=1)),
    ("structured_output", Truth(calls=1, finish=_finish("stop"))),
    ("tool_call", Truth(calls=2, finish=_finish("tool_calls", "stop"))),
    ("tool_call_stream", Truth(calls=1, finish=_finish("tool_calls"), streamed=True)),
    ("responses_error_*", Truth(failed=True)),
    ("responses_prompt", Truth(calls=1, finish=_finish("stop"), prompt=("pmpt_support-answer", "7"))),
    ("responses_stream", Truth(calls=1, finish=_finish("stop"), streamed=True)),
    ("responses_tool", Truth(calls=1)),
    ("responses", Truth(calls=1, finish=_finish("stop"), parameters=SAMPLING)),
    ("anthropic_error_*", Truth(failed=True, claude=True)),
    ("anthropic_tool_call", Truth(calls=1, claude=True, finish=_finish("tool_calls"))),
    ("anthropic_stream*", Truth(calls=1, claude=True, finish=_finish("stop"), streamed=True)),
    ("anthropic_chat", Truth(calls=1, claude=True, finish=_finish("stop"))),
    ("lc_chat_error_*", Truth(failed=True)),
    ("lc_chat_stream", Truth(calls=1, finish=_finish("stop"), streamed=True, parameters=SAMPLING)),
    ("lc_chat", Truth(calls=1, finish=_finish("stop"), parameters=MOST)),
    ("lc_embeddings", Truth(embeddings=None)),
    ("lc_retriever", Truth(embeddings=None, documents=DOCS)),
    ("lc_similarity_with_score", Truth(embeddings=None)),
    ("lc_rag_error_*", Truth(embeddings=None)),
    ("lc_rag_llm_error_*", Truth(embeddings=None, failed=True)),
    ("lc_rag_stream", Truth(calls=1, embeddings=None, finish=_finish("stop"), documents=DOCS, prompt=("support-answer", None))),
    ("lc_rag*", Truth(calls=1, embeddings=None, finish=_finish("stop"), documents=DOCS, prompt=("support-answer", None))),
    ("langgraph_rag", Truth(calls=1, embeddings=None, finish=_finish("stop"), documents=DOCS)),
    ("lc_tool_call", Truth(calls=1, finish=_finish("tool_calls"))),
    ("lc_agent_tool_error", Truth(calls=1, finish=_finish("tool_calls"), tool="get_weather")),
    ("lc_agent*", Truth(calls=2, finish=_finish("tool_calls", "stop"), tool="get_weather")),
    ("agent_error_*", Truth(failed=True)),
    ("agent_tool_error", Truth(calls=1, finish=_finish("tool_calls"), tool="get_weather")),
    ("agent_handoff", Truth(calls=3, tool="get_weather")),
    ("agent_guardrail_pass", Truth(calls=1, guardrail="pass")),
    ("agent_guardrail_tripped", Truth(guardrail="fail")),
    ("agent_stored_prompt", Truth(calls=1, finish=_finish("stop"))),
    ("agent_decorators", Truth(calls=2, tool="get_weather_tool")),
    ("agent*", Truth(calls=2, finish=_finish("tool_calls", "stop"), tool="get_weather")),
    ("tool_agent", Truth(calls=2, finish=_finish("tool_calls", "stop"), tool="get_weather")),
    ("crew", Truth(calls=2, tool="get_weather")),
    ("li_chat_error_*", Truth(failed=True)),
    ("li_chat_stream", Truth(calls=1, finish=_finish("stop"), streamed=True)),
    ("li_chat", Truth(calls=1, finish=_finish("stop"))),
    ("li_predict_template", Truth(calls=1, prompt=("corpus.template-*", None))),
    ("li_retriever", Truth(embeddings=None, documents=frozenset({"doc-kb-001", "doc-kb-003"}))),
    ("li_rag*", Truth(calls=1, embeddings=None, documents=frozenset({"doc-kb-001", "doc-kb-003"}))),
    ("li_agent", Truth(calls=2, tool="get_weather")),
    ("li_*", Truth(embeddings=None)),
    ("litellm_*_error_*", Truth(failed=True)),
    ("litellm_aembeddings", Truth(embeddings=1)),
    ("litellm_*tool_call", Truth(calls=1, finish=_finish("tool_calls"))),
    ("litellm_*stream", Truth(calls=1, finish=_finish("stop"), streamed=True)),
    ("litellm_*responses", Truth(calls=1)),
    ("litellm_*", Truth(calls=1, finish=_finish("stop"), parameters=SAMPLING)),
    ("hs_rag_error_*", Truth(documents=frozenset({"doc-kb-001"}))),
    ("hs_rag", Truth(calls=1, finish=_finish("stop"), documents=frozenset({"doc-kb-001"}))),
    ("hs_agent", Truth(calls=2)),
    ("wrap_openai_embeddings", Truth(embeddings=1)),
    ("wrap_openai_tool_call", Truth(calls=2, finish=_finish("tool_calls", "stop"))),
    ("wrap_openai_responses", Truth(calls=1)),
    ("wrap_openai_chat_stream", Truth(calls=1, finish=_finish("stop"), streamed=True)),
    ("wrap_openai_chat", Truth(calls=1, finish=_finish("stop"), parameters=("temperature", "max_tokens"))),
    ("traceable_rag", Truth(calls=1, embeddings=None)),
    ("rag_observe", Truth(calls=1, embeddings=None)),
    ("manual_rag", Truth(calls=1, embeddings=None)),
    ("generation_full", Truth(calls=1)),
    ("prompt_registry", Truth(calls=1)),
    ("prompt_managed", Truth(calls=1, prompt=("*", "7"))),
    ("managed_variable", Truth(prompt=("support_prompt", None))),
    ("conversation", Truth(calls=1)),
    ("workflow_error_*", Truth(failed=True)),
    ("guardrail_pass", Truth(calls=1, guardrail="pass")),
    ("guardrail_fail", Truth(calls=1, guardrail="fail")),
    ("guard_fail_fix", Truth(guardrail="fail")),
    ("guard_pass", Truth(guardrail="pass")),
    ("guard_redact", Truth(calls=1, guardrail="fail")),
    ("eval_score", Truth(calls=1, evaluation=("relevance", 0.87))),
    ("mcp_call_tool*", Truth(tool="get_weather")),
    ("mcp_get_prompt", Truth(prompt=("support_answer", None))),
    ("chroma_query_*", Truth(index="kb_refunds_v3")),
    ("qdrant_*", Truth(index="kb_refunds_v3")),
    ("chroma_*", Truth(index="kb_refunds_v3")),
)
"""Scenario to its truth (the corpus's README); the first pattern that fits counts, others have no model in them."""


def truth_of(scenario: str) -> Truth | None:
    return next((truth for pattern, truth in TRUTHS if fnmatchcase(scenario, pattern)), None)


# ---- the facts ------------------------------------------------------------------------------------------------------

Check = Callable[[Truth, list[RunRecord]], str | None]
"""Compares one fact: None where it is right, else what is there instead."""


def operations(found: list[RunRecord], *kinds: str) -> Iterator[Operation]:
    for record in found:
        for operation in record.operations:
            if operation.kind in kinds:
                yield operation


def _sum(found: list[RunRecord], name: str) -> int:
    return sum(getattr(record.usage, name) or 0 for record in found if record.usage is not None)


def _input(truth: Truth, found: list[RunRecord]) -> str | None:
    expected = (truth.calls - truth.silent) * (71 if truth.claude else 41)
    got = _sum(found, "input_tokens"), _sum(found, "output_tokens")
    return None if got == (expected, (truth.calls - truth.silent) * 17) else f"{got[0]} in, {got[1]} out"


def _cached(truth: Truth, found: list[RunRecord]) -> str | None:
    got, calls = _sum(found, "cache_read_input_tokens"), truth.calls - truth.silent
    return None if got == calls * 24 else str(got)


def _reasoning(truth: Truth, found: list[RunRecord]) -> str | None:
    got, calls = _sum(found, "reasoning_output_tokens"), truth.calls - truth.silent
    return None if got == calls * 5 else str(got)


def _embedded(truth: Truth, found: list[RunRecord]) -> str | None:
    got = _sum(found, "embedding_input_tokens")
    right = got == truth.embeddings * 13 if truth.embeddings is not None else got > 0 and got % 13 == 0
    return None if right else str(got)


def _model(name: str, kind: str) -> Check:
    def check(truth: Truth, found: list[RunRecord]) -> str | None:
        models = (CLAUDE, CLAUDE_ANSWER) if truth.claude else (EMBEDDING, EMBEDDING_ANSWER) if kind == "embedding" else (CHAT, CHAT_ANSWER)
        expected = models[name == "response_model"]
        got = {getattr(operation, name) for operation in operations(found, kind) if getattr(operation, name) is not None}
        # A stored prompt holds its own model; a chain of embeddings has both kinds of spans.
        return None if expected in got and got <= {*models} else str(sorted(got))

    return check


def _finished(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {word for operation in operations(found, "inference") for word in operation.finish_reasons or []}
    return None if got == truth.finish else str(sorted(got))


def _parameters(truth: Truth, found: list[RunRecord]) -> str | None:
    wrong: list[str] = []
    for name in truth.parameters:
        got = {
            value
            for operation in operations(found, "inference", "agent", "workflow")
            if operation.parameters is not None and (value := getattr(operation.parameters, name)) is not None
        }
        if got != {PARAMETERS[name]}:
            wrong.append(f"{name} {sorted(got)}")
    return ", ".join(wrong) or None


def _failed(_truth: Truth, found: list[RunRecord]) -> str | None:
    return None if any(operation.error_type for operation in operations(found, "inference", "embedding")) else "no error"


def _streamed(_truth: Truth, found: list[RunRecord]) -> str | None:
    return None if any(operation.streamed for operation in operations(found, "inference")) else "not said"


def _first_token(_truth: Truth, found: list[RunRecord]) -> str | None:
    got = [operation.time_to_first_token_seconds for operation in operations(found, "inference")]
    return None if any(value is not None and 0 < value < 5 for value in got) else str(got)


def _choices(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {operation.parameters.choices for operation in operations(found, "inference") if operation.parameters is not None}
    return None if truth.choices in got else str(got)


def _documents(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {
        document.id
        for record in found
        for artifact in record.artifacts
        if artifact.retrieval is not None
        for document in artifact.retrieval.documents
    }
    return None if got == truth.documents else str(sorted(got))


def _prompt(truth: Truth, found: list[RunRecord]) -> str | None:
    assert truth.prompt is not None
    name, version = truth.prompt
    got = {(artifact.name, artifact.version) for record in found for artifact in record.artifacts if artifact.kind == "prompt"}
    right = any(fnmatchcase(known, name) and (version is None or label == version) for known, label in got)
    return None if right else str(sorted(got, key=str))


def _tool(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {operation.tool_name for operation in operations(found, "tool")}
    return None if truth.tool in got else str(sorted(got, key=str))


def _index(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {artifact.name for record in found for artifact in record.artifacts if artifact.kind == "index"}
    return None if got == {truth.index} else str(sorted(got))


def _guardrail(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {guardrail.outcome for record in found for guardrail in record.guardrails}
    return None if truth.guardrail in got else str(sorted(got))


def _evaluation(truth: Truth, found: list[RunRecord]) -> str | None:
    got = {(evaluation.name, evaluation.score) for record in found for evaluation in record.evaluations}
    return None if truth.evaluation in got else str(sorted(got, key=str))


FACTS: tuple[tuple[str, Callable[[Truth], bool], Check], ...] = (
    ("tokens", lambda truth: True, _input),
    ("cached tokens", lambda truth: truth.calls > truth.silent, _cached),
    ("reasoning tokens", lambda truth: truth.calls > truth.silent and not truth.claude, _reasoning),
    ("embedding tokens", lambda truth: truth.embeddings == 1 or (truth.embeddings is None and not truth.failed), _embedded),
    ("requested model", lambda truth: truth.calls > 0 or (truth.failed and truth.embeddings == 0), _model("request_model", "inference")),
    ("model that answered", lambda truth: truth.calls > 0, _model("response_model", "inference")),
    ("embedding model", lambda truth: truth.embeddings == 1, _model("request_model", "embedding")),
    ("embedding model that answered", lambda truth: truth.embeddings == 1, _model("response_model", "embedding")),
    ("finish reason", lambda truth: bool(truth.finish), _finished),
    ("parameters", lambda truth: bool(truth.parameters), _parameters),
    ("error", lambda truth: truth.failed, _failed),
    ("streamed", lambda truth: truth.streamed, _streamed),
    ("first token", lambda truth: truth.streamed, _first_token),
    ("choices", lambda truth: truth.choices is not None, _choices),
    ("documents", lambda truth: bool(truth.documents), _documents),
    ("prompt", lambda truth: truth.prompt is not None, _prompt),
    ("tool", lambda truth: truth.tool is not None, _tool),
    ("index", lambda truth: truth.index is not None, _index),
    ("guardrail", lambda truth: truth.guardrail is not None, _guardrail),
    ("evaluation", lambda truth: truth.evaluation is not None, _evaluation),
)
"""Fact, whether a scenario has it, how it is compared."""


@dataclass(frozen=True)
class Verdict:
    """One fact of one recording."""

    recording: str
    fact: str
    got: str | None

    @property
    def instrumentation(self) -> str:
        return self.recording.partition("/")[0]

    @property
    def scenario(self) -> str:
        return self.recording.partition("/")[2]


def verdicts() -> Iterator[Verdict]:
    """Every fact of every recording that holds spans."""
    for name, recording in recordings().items():
        truth = truth_of(name.partition("/")[2].partition("@")[0])
        if truth is None or not recording["spans"]:
            continue
        found = records(recording)
        for fact, applies, check in FACTS:
            if applies(truth):
                yield Verdict(name, fact, check(truth, found))


# ---- what the instrumentations do not record -------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """A fact that recordings of an instrumentation do not hold."""

    instrumentation: str
    scenario: str
    facts: tuple[str, ...]
    reason: str

    def covers(self, verdict: Verdict) -> bool:
        return (
            verdict.fact in self.facts
            and fnmatchcase(verdict.instrumentation, self.instrumentation)
            and any(fnmatchcase(verdict.scenario, pattern) for pattern in self.scenario.split(" "))
        )


GAPS: tuple[Gap, ...] = (
    Gap("haystack-native*", "*", ("requested model",), "the generator's span has the answer's model only"),
    Gap("langfuse-*", "*", ("requested model", "embedding model"), "the model that answered is written over the requested one"),
    Gap("langfuse-openai*", "*", ("finish reason",), "finish reasons of streams only"),
    Gap("langfuse-openai*", "rag_observe", ("embedding tokens",), "the observed retriever makes no span for its embedding"),
    Gap("langfuse-openai*", "responses_prompt", ("prompt",), "stored prompts of the Responses API are not recorded"),
    Gap("langfuse-sdk*", "generation_full", ("model that answered", "reasoning tokens"), "a generation by hand: what its author gave"),
    Gap("langsmith*", "*", ("embedding tokens",), "LangChain makes no span for embeddings"),
    Gap("langsmith*", "*stream", ("first token", "streamed"), "no time of a first token; LangChain's streams are said to be none"),
    Gap(
        "litellm*", "*stream*", ("finish reason", "first token", "model that answered"), "streams: the requested model stands for the other"
    ),
    Gap("litellm-otel*", "*@v2", ("reasoning tokens",), "no reasoning tokens"),
    Gap(
        "llama-index-observability*",
        "li_*stream li_agent",
        ("tokens", "cached tokens", "reasoning tokens", "model that answered", "finish reason", "first token"),
        "the end event of a stream does not reach its span",
    ),
    Gap("llama-index-observability*", "li_*", ("embedding tokens",), "embedding events have no tokens"),
    Gap("logfire*", "*stream*", ("finish reason", "first token", "model that answered"), "streams: requested model, text and tokens only"),
    Gap("logfire*", "responses*", ("finish reason", "model that answered"), "answers of the Responses API have no finish reason"),
    Gap("logfire*", "responses_prompt*", ("prompt",), "stored prompts of the Responses API are not recorded"),
    Gap("mlflow-*", "*@genai_semconv", ("cached tokens", "reasoning tokens", "embedding tokens"), "left out by this mode"),
    Gap("mlflow-*", "*stream*", ("first token",), "chunks are events, their times those of the export"),
    Gap("mlflow-openai*", "tool_call_stream", ("finish reason",), "says `stop` of every stream that it puts together"),
    Gap("mlflow-sdk*", "manual_rag*", ("embedding tokens",), "the retriever by hand makes no span for its embedding"),
    Gap("*-crewai*", "crew", ("model that answered", "requested model", "tool"), "calls of models need another instrumentation"),
    Gap("openinference-*langchain*", "*@hide_inputs_outputs", ("documents",), "hidden by its switch, ids too"),
    Gap("openinference-*langchain*", "lc_r* langgraph_rag*", ("embedding tokens",), "LangChain makes no span for embeddings"),
    Gap("openinference-*langchain*", "lc_*stream*", ("first token", "streamed"), "streams are said to be none"),
    Gap(
        "openinference-*langchain*",
        "lc_*stream@hide*",
        ("model that answered",),
        "the answer's model stands in what is hidden by its switch",
    ),
    Gap("openinference-*openai-agents*", "*", ("requested model",), "the model that answered is written over the requested one"),
    Gap("openinference-*openai-agents*", "agent*", ("finish reason",), "the Responses API says `completed` of a call for tools"),
    Gap(
        "openinference-*openai-agents*",
        "agent_chat_completions",
        ("model that answered", "cached tokens", "reasoning tokens"),
        "a generation span has the requested model and two counts",
    ),
    Gap("openinference-*-openai__*", "responses*@hide*", ("finish reason",), "hidden by its switch"),
    Gap("openlit-anthropic*", "anthropic_stream", ("tokens", "cached tokens"), "a stream's cached tokens are written as 0"),
    Gap("openlit-features*", "guard_redact", ("guardrail",), "without a span around it a guardrail leaves a metric only"),
    Gap("openlit-*", "*", ("reasoning tokens",), "reasoning tokens of the Responses API only"),
    Gap("openlit-openai*", "embeddings*", ("embedding model that answered",), "the requested model stands for the other"),
    Gap("openlit-openai*", "responses_prompt*", ("prompt",), "stored prompts of the Responses API are not recorded"),
    Gap("openlit-openai*", "chat_stream_no_usage*", ("tokens",), "tokens that the provider did not send are estimated"),
    Gap("openlit-vectordb*", "qdrant_ingest", ("index",), "the collection is written as `unknown`"),
    Gap("openllmetry-haystack*", "hs_rag", ("documents",), "needs the content tracing of Haystack"),
    Gap("openllmetry-langchain*", "lc_retriever* langgraph_rag* *@no_content", ("documents",), "ids are left out; sources stand for them"),
    Gap("openllmetry-langchain*", "lc_*", ("parameters",), "no seed"),
    Gap("openllmetry-langchain*", "*", ("reasoning tokens",), "no reasoning tokens"),
    Gap("openllmetry-langchain*", "lc_*stream*", ("first token", "streamed", "model that answered"), "streams are told as calls"),
    Gap(
        "openllmetry-llamaindex*",
        "li_*",
        ("tokens", "cached tokens", "reasoning tokens", "embedding tokens", "first token"),
        "the generation of 0.40: no usage of streams, none of embeddings",
    ),
    Gap(
        "openllmetry-openai__0.40*",
        "*",
        ("tokens", "cached tokens", "reasoning tokens", "first token", "parameters"),
        "the generation of 0.40: no usage of streams, no reasoning tokens, no seed",
    ),
    Gap(
        "openllmetry-openai__0.62*", "*", ("choices", "first token", "parameters"), "no number of choices, no seed; first token as a metric"
    ),
    Gap("openllmetry-openai__0.62*", "*stream*", ("reasoning tokens",), "no reasoning tokens of streams"),
    Gap("openllmetry-openai__0.62*", "responses_prompt*", ("prompt",), "stored prompts of the Responses API are not recorded"),
    Gap("openllmetry-vectordb__*", "chroma_*", ("index",), "the collection of Chroma is not recorded"),
    Gap("*genai-langchain*", "lc_*", ("documents",), "documents are content: left out unless it is captured"),
    Gap("*genai-langchain*", "lc_* langgraph_rag*", ("embedding tokens",), "embeddings need the client's instrumentation"),
    Gap(
        "*genai-llama-index*",
        "li_*",
        ("tokens", "cached tokens", "reasoning tokens", "embedding tokens", "model that answered", "requested model"),
        "calls of models need the client's instrumentation",
    ),
    Gap(
        "*genai-llama-index*", "li_rag li_rag_stream li_retriever", ("documents",), "documents are content: left out unless it is captured"
    ),
    Gap("*genai-openai*", "responses_prompt*", ("prompt",), "stored prompts of the Responses API are not recorded"),
    Gap("*openai-v2*", "*", ("cached tokens", "reasoning tokens"), "no cached or reasoning tokens"),
    Gap("*openai-v2*", "*stream*", ("finish reason", "first token", "streamed"), "streams are told as calls; finish reasons in log events"),
    Gap("traceloop-sdk*", "*", ("parameters", "first token", "reasoning tokens"), "as openllmetry-openai"),
    Gap("vercel*", "embeddings*", ("embedding model that answered",), "the requested embedding model only"),
    Gap("vercel*", "*@genai", ("reasoning tokens",), "no reasoning tokens"),
)
"""Each is checked to be needed: one that a recording fills is an error."""


def gap_of(verdict: Verdict) -> Gap | None:
    return next((gap for gap in GAPS if gap.covers(verdict)), None)
