"""LlamaIndex's own instrumentation: spans that bear nothing but events, named after the classes of its dispatcher."""

from __future__ import annotations

import re

from spanline.dialects.coerce import count, digest_of, finish_reasons, identifier, name, number, text, vendor
from spanline.dialects.documents import documents
from spanline.dialects.table import Dialect, EventTable, Row, events_of

_SEEN = "seen in llama-index-observability-otel 0.7.0"


def _provider(value: object) -> str | None:
    return vendor(value) or (value.removesuffix("_llm") if isinstance(value, str) and value.endswith("_llm") else None)


_CALL = re.compile(r"ToolCall\(tool_name='([A-Za-z_][A-Za-z0-9_.-]{0,127})'")


def _called(value: object) -> str | None:
    found = _CALL.match(value) if isinstance(value, str) else None
    return found[1] if found else None


_R = "response.raw."
_START = events_of(
    "fields",
    Row("request_model", ("model_dict.model_name", "model_dict.model"), text, _SEEN),
    Row("provider", ("model_dict.class_name",), _provider, _SEEN),
    Row("temperature", ("model_dict.temperature",), number, _SEEN, documented=True),
    Row("max_tokens", ("model_dict.num_output",), count, _SEEN),
)
_END = events_of(
    "fields",
    Row("response_id", (f"{_R}id",), text, _SEEN),
    Row("response_model", (f"{_R}model",), text, _SEEN),
    Row("system_fingerprint", (f"{_R}system_fingerprint",), text, _SEEN),
    Row("service_tier", (f"{_R}service_tier",), text, _SEEN),
    Row("input_tokens", (f"{_R}usage.prompt_tokens", f"{_R}usage.input_tokens", "response.additional_kwargs.prompt_tokens"), count, _SEEN),
    Row(
        "output_tokens",
        (f"{_R}usage.completion_tokens", f"{_R}usage.output_tokens", "response.additional_kwargs.completion_tokens"),
        count,
        _SEEN,
    ),
    Row("cache_read_input_tokens", (f"{_R}usage.prompt_tokens_details.cached_tokens",), count, _SEEN),
    Row("reasoning_output_tokens", (f"{_R}usage.completion_tokens_details.reasoning_tokens",), count, _SEEN),
    Row("finish_reasons", (f"{_R}choices",), finish_reasons, _SEEN, path="[].finish_reason"),
)
_TEMPLATE = events_of(
    "fields",
    Row("prompt_name", ("template.metadata.prompt_name",), name, _SEEN),
    Row("prompt_version", ("template.metadata.prompt_version",), name, _SEEN),
    Row("prompt_digest", ("template.template",), digest_of, _SEEN),
)
_RETRIEVED = events_of("fields", Row("documents", ("nodes",), documents, _SEEN))
_TOOL = events_of("fields", Row("tool_name", ("tool.name", "tool"), identifier, _SEEN, documented=True))

_EVENTS: dict[str, EventTable] = {
    "LLMChatStartEvent": _START,
    "LLMCompletionStartEvent": _START,
    "EmbeddingStartEvent": _START,
    "LLMChatEndEvent": _END,
    "LLMCompletionEndEvent": _END,
    "LLMPredictStartEvent": _TEMPLATE,
    "RetrievalEndEvent": _RETRIEVED,
    "AgentToolCallEvent": _TOOL,
}
_KINDS = {
    "*retriever.retrieve": "retrieval",
    "*retriever.aretrieve": "retrieval",
    "*.chat": "inference",
    "*.achat": "inference",
    "*.stream_chat": "inference",
    "*.astream_chat": "inference",
    "*.complete": "inference",
    "*.acomplete": "inference",
    "*.predict": "workflow",
    "*.apredict": "workflow",
    "*.stream": "workflow",
    "*.astream": "workflow",
    "*embedding.get_*": "embedding",
    "*embedding.aget_*": "embedding",
    "*queryengine.query": "workflow",
    "*queryengine.aquery": "workflow",
    "*agent.run": "agent",
    "*agent.run_agent_step": "other",
    "*.call_tool": "tool",
    "functiontool.*call": "tool",
    "*rerank*.postprocess_nodes": "rerank",
}


LLAMAINDEX = Dialect(
    "llama_index",
    markers=(),
    kinds=_KINDS,
    rows=(
        Row("operation", ("S:name",), identifier, _SEEN),
        Row("streamed", ("S:name",), lambda value: True if ".stream_" in value or ".astream_" in value else None, _SEEN),
        Row("tool_name", ("llamaindex.step.input_summary",), _called, _SEEN, kinds=("tool",)),
        Row(
            "retriever_name", ("S:name",), lambda value: value.partition(".")[0] if identifier(value) else None, _SEEN, kinds=("retrieval",)
        ),
    ),
    scopes=("llamaindex.opentelemetry.tracer", "llama_index*"),
    events=_EVENTS,
    sparse=True,
)

DIALECTS = (LLAMAINDEX,)
