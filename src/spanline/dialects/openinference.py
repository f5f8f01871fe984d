"""OpenInference: Arize's conventions, spoken by its instrumentations, Phoenix, and LiteLLM's Arize callback."""

from __future__ import annotations

from typing import Any, cast

from spanline.dialects.coerce import cost, count, digest_of, finish_reasons, flag, identifier, name, number, text
from spanline.dialects.decode import decoded
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.shapes import answer, hub, langchain, request, unseen
from spanline.dialects.table import Dialect, EventTable, Row
from spanline.dialects.usage import usage

_OPENAI = "seen in openinference-instrumentation-openai 0.1.66"
_ANTHROPIC = "seen in openinference-instrumentation-anthropic 3.1.0"
_LANGCHAIN = "seen in openinference-instrumentation-langchain 0.1.80"
_AGENTS = "seen in openinference-instrumentation-openai-agents 2.6.0"
_CORE = "seen in openinference-instrumentation 0.1.72"
_ARIZE = "seen in litellm 1.106.2, callback arize"
_SPEC = "read in openinference-semantic-conventions 0.1"

KINDS = {
    "llm": "inference",
    "embedding": "embedding",
    "retriever": "retrieval",
    "reranker": "rerank",
    "tool": "tool",
    "agent": "agent",
    "chain": "workflow",
    "guardrail": "guardrail",
    "evaluator": "evaluation",
    "prompt": "prompt",
    "unknown": "other",
}


def _asked(value: Any) -> str | None:
    """The requested model; not the one in an answer, which the instrumentation of openai-agents puts in the place of a request."""
    held = decoded(value) if isinstance(value, str) else value
    if not isinstance(held, dict) or "created_at" in held:
        return None
    parameters = cast("dict[str, Any]", held)
    return text(parameters.get("model") or parameters.get("model_name"))


BASE: tuple[Row, ...] = (
    Row("operation", ("openinference.span.kind",), text, _OPENAI),
    Row("provider", ("llm.provider", "llm.system"), text, f"{_ANTHROPIC}; the second {_OPENAI}"),
    Row("request_model", ("llm.request.model_name",), text, _ANTHROPIC),
    Row("request_model", ("llm.invocation_parameters",), _asked, _OPENAI),
    *unseen(request("llm.invocation_parameters", _OPENAI, model=False), "top_k"),
    Row("request_model", ("embedding.invocation_parameters",), text, _OPENAI, path="model"),
    Row("response_model", ("llm.response.model_name",), text, _ANTHROPIC),
    # LangChain's streams have the requested model under `llm.model_name`.
    *(row for row in langchain("output.value", _LANGCHAIN) if row.field == "response_model"),
    Row("response_model", ("llm.model_name", "embedding.model_name"), text, _OPENAI),
    Row("input_tokens", ("llm.token_count.prompt",), count, _OPENAI),
    Row("output_tokens", ("llm.token_count.completion",), count, _OPENAI),
    Row("cache_read_input_tokens", ("llm.token_count.prompt_details.cache_read",), count, _OPENAI),
    Row("cache_write_input_tokens", ("llm.token_count.prompt_details.cache_write",), count, _ANTHROPIC),
    Row("reasoning_output_tokens", ("llm.token_count.completion_details.reasoning",), count, _OPENAI),
    Row("finish_reasons", ("llm.finish_reason",), finish_reasons, _OPENAI),
    Row("cost_usd", ("llm.cost.total",), cost, _ARIZE),
    Row("prompt_name", ("prompt.name", "prompt.id"), name, _SPEC, documented=True),
    Row("prompt_version", ("llm.prompt_template.version",), name, _CORE),
    Row("prompt_digest", ("llm.prompt_template.template",), digest_of, _LANGCHAIN),
    Row("tool_name", ("tool.name",), name, _LANGCHAIN),
    Row("agent_name", ("agent.name",), name, _AGENTS),
    Row("agent_name", ("graph.node.id",), name, _AGENTS, kinds=("agent",)),
    Row("documents.id", ("retrieval.documents.*.document.id",), text, _SPEC, documented=True),
    Row("documents.score", ("retrieval.documents.*.document.score",), number, _SPEC, documented=True),
    Row("documents.metadata", ("retrieval.documents.*.document.metadata",), text, _LANGCHAIN),
    Row("documents.id", ("reranker.output_documents.*.document.id",), text, _SPEC, documented=True),
    Row("documents.score", ("reranker.output_documents.*.document.score",), number, _SPEC, documented=True),
    Row("documents", ("output.value",), documents, _LANGCHAIN, kinds=("retrieval",)),
    Row(ALL, ("output.value",), usage, "seen in openinference-instrumentation-crewai 1.1.21", path="token_usage", kinds=("workflow",)),
    Row("retrieval_top_k", ("reranker.top_k",), count, _SPEC, documented=True),
    # The span of a guardrail is called after it; a name that could be a sentence is left out.
    Row("guardrail_name", ("S:name",), identifier, _AGENTS, kinds=("guardrail",)),
    *answer("output.value", _OPENAI),
    *unseen(langchain("output.value", _LANGCHAIN), "llm_output.finish_reason"),
    *hub("metadata", _LANGCHAIN, path="json"),
)

_LITELLM: tuple[Row, ...] = (
    Row("response_id", ("llm.response.id",), text, _ARIZE),
    Row("request_model", ("llm.model_name",), text, _ARIZE),
    Row("response_model", ("llm.response.model",), text, _ARIZE),
    Row("streamed", ("llm.is_streaming",), flag, _ARIZE),
    Row("temperature", ("llm.request.temperature",), number, _ARIZE),
    Row("top_p", ("llm.request.top_p",), number, _ARIZE),
    Row("max_tokens", ("llm.request.max_tokens",), count, _ARIZE),
    Row(ALL, ("metadata",), usage, _ARIZE, path="usage_object"),
)

_EVENTS: dict[str, EventTable] = {
    **EVENTS,
    "First Token Stream Event": EventTable("first_token", Dialect("event", markers=(), rows=())),
}

OPENINFERENCE = Dialect(
    "openinference", markers=("openinference.span.kind",), kinds=KINDS, rows=(*BASE, *ROWS), priority=80, events=_EVENTS
)
ARIZE = Dialect("litellm_arize", markers=("llm.response.cost",), kinds=KINDS, rows=(*_LITELLM, *BASE, *ROWS), priority=82, events=_EVENTS)

DIALECTS = (OPENINFERENCE, ARIZE)
