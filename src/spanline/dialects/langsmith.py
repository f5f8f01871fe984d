"""LangSmith: the OpenTelemetry export of its SDK; its words for operations are right, those under the conventions' keys are not."""

from __future__ import annotations

from spanline.dialects.coerce import count, finish_reasons, flag, identifier, integer, name, number, text
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.shapes import answer, hub, langchain, request, unseen
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_SEEN = "seen in langsmith 0.14.17"
_M = "langsmith.metadata."

KINDS = {
    "llm": "inference",
    "embedding": "embedding",
    "retriever": "retrieval",
    "tool": "tool",
    "chain": "workflow",
    "prompt": "prompt",
    "parser": "other",
}


def _prompt(value: object) -> str | None:
    """What a prompt was called; not the class it is of, which is what stands there otherwise."""
    found = name(value)
    return None if found is None or found.endswith("PromptTemplate") else found


_ROWS = (
    Row("operation", ("langsmith.span.kind",), text, _SEEN),
    Row("provider", (f"{_M}ls_provider", "gen_ai.system"), text, _SEEN),
    Row("request_model", ("gen_ai.request.model", f"{_M}ls_model_name", f"{_M}model"), text, _SEEN, kinds=("inference", "embedding")),
    Row("system_fingerprint", ("gen_ai.response.system_fingerprint",), text, _SEEN),
    Row("service_tier", ("gen_ai.response.service_tier",), text, _SEEN),
    Row("cache_read_input_tokens", ("gen_ai.usage.input_token_details",), count, _SEEN, path="cache_read"),
    Row("cache_write_input_tokens", ("gen_ai.usage.input_token_details",), count, _SEEN, path="cache_creation", documented=True),
    Row("reasoning_output_tokens", ("gen_ai.usage.output_token_details",), count, _SEEN, path="reasoning"),
    Row(ALL, (f"{_M}usage_metadata",), usage, _SEEN),
    Row("temperature", (f"{_M}temperature", f"{_M}ls_temperature"), number, _SEEN, kinds=("inference",)),
    Row("top_p", (f"{_M}top_p",), number, _SEEN, kinds=("inference",)),
    Row("max_tokens", (f"{_M}max_completion_tokens", f"{_M}max_tokens", f"{_M}ls_max_tokens"), count, _SEEN, kinds=("inference",)),
    Row("seed", (f"{_M}seed",), integer, _SEEN, kinds=("inference",)),
    Row("streamed", ("langsmith.request.streaming", f"{_M}stream"), flag, _SEEN, kinds=("inference",)),
    *unseen(request(f"{_M}ls_invocation_params", _SEEN, model=False), "ature", "top_k", "tokens", "n", "stream", "prompt.id"),
    Row("prompt_name", ("gen_ai.serialized.name",), _prompt, _SEEN, kinds=("prompt",)),
    Row("documents", ("gen_ai.completion",), documents, _SEEN, kinds=("retrieval",)),
    Row("tool_name", ("S:name",), identifier, _SEEN, kinds=("tool",)),
    Row("finish_reasons", ("gen_ai.response.finish_reasons",), finish_reasons, _SEEN),
    *unseen(answer("gen_ai.completion", _SEEN), "stop_reason", "usage"),
    *unseen(langchain("gen_ai.completion", _SEEN), "llm_output.finish_reason"),
    *hub(_M, _SEEN),
)
_NOT = frozenset({"operation", "provider", "tool_name", "agent_name", "request_model"})

LANGSMITH = Dialect(
    "langsmith",
    markers=("langsmith.span.kind",),
    kinds=KINDS,
    rows=(*_ROWS, *(row for row in ROWS if row.field not in _NOT)),
    priority=75,
    scopes=("langsmith",),
    events=EVENTS,
)

DIALECTS = (LANGSMITH,)
