"""Vercel AI SDK (JavaScript): its own attributes, and the conventions that its newer integration writes."""

from __future__ import annotations

from spanline.dialects.coerce import count, finish_reasons, integer, name, number, text, wait
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row

_LEGACY = "seen in ai 7.0.173, legacy telemetry"
_GENAI = "seen in ai 7.0.173, GenAI telemetry"
_READ = "read in ai 7.0.173"

_KINDS = {
    "*.dogenerate": "inference",
    "*.dostream": "inference",
    "*.doembed": "embedding",
    "ai.toolcall": "tool",
    "ai.generatetext": "workflow",
    "ai.streamtext": "workflow",
    "ai.generateobject": "workflow",
    "ai.streamobject": "workflow",
    "ai.embed": "workflow",
    "ai.embedmany": "workflow",
    "ai.rerank": "rerank",
}
_ROWS = (
    Row("operation", ("ai.operationId",), text, _LEGACY),
    Row("provider", ("ai.model.provider",), text, _LEGACY),
    Row("request_model", ("ai.model.id",), text, _LEGACY),
    Row("response_model", ("ai.response.model",), text, _LEGACY),
    Row("response_id", ("ai.response.id",), text, _LEGACY),
    Row("finish_reasons", ("ai.response.finishReason",), finish_reasons, _LEGACY),
    Row("time_to_first_token_seconds", ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"), wait, _READ, unit="ms", documented=True),
    Row("input_tokens", ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"), count, _LEGACY),
    Row("output_tokens", ("ai.usage.outputTokens", "ai.usage.completionTokens"), count, _LEGACY),
    Row("cache_read_input_tokens", ("ai.usage.cachedInputTokens", "ai.usage.inputTokenDetails.cacheReadTokens"), count, _LEGACY),
    Row("cache_write_input_tokens", ("ai.usage.inputTokenDetails.cacheWriteTokens",), count, _READ, documented=True),
    Row("reasoning_output_tokens", ("ai.usage.reasoningTokens", "ai.usage.outputTokenDetails.reasoningTokens"), count, _LEGACY),
    Row("temperature", ("ai.settings.temperature",), number, _LEGACY),
    Row("top_p", ("ai.settings.topP",), number, _LEGACY),
    Row("top_k", ("ai.settings.topK",), number, _READ, documented=True),
    Row("max_tokens", ("ai.settings.maxOutputTokens", "ai.settings.maxTokens"), count, _LEGACY),
    Row("seed", ("ai.settings.seed",), integer, _LEGACY),
    Row("frequency_penalty", ("ai.settings.frequencyPenalty",), number, _LEGACY),
    Row("presence_penalty", ("ai.settings.presencePenalty",), number, _LEGACY),
    Row(
        "prompt_name",
        ("ai.telemetry.metadata.langfusePrompt",),
        name,
        "read in langfuse's guide for ai 4 to 6",
        path="name",
        documented=True,
    ),
    Row(
        "prompt_version",
        ("ai.telemetry.metadata.langfusePrompt",),
        name,
        "read in langfuse's guide for ai 4 to 6",
        path="version",
        documented=True,
    ),
    Row("tool_name", ("ai.toolCall.name",), name, _READ, documented=True),
    Row("agent_name", ("ai.telemetry.functionId",), name, _LEGACY, kinds=("workflow", "agent")),
)
_NEWER = (Row("time_to_first_token_seconds", ("gen_ai.client.operation.time_to_first_chunk",), wait, _READ, documented=True),)

VERCEL = Dialect("vercel", markers=("ai.operationId",), kinds=_KINDS, rows=(*_ROWS, *ROWS), priority=70, events=EVENTS)
GENAI = Dialect(
    "vercel_genai",
    markers=(),
    kinds={**KINDS, "agent_step": "other"},
    rows=(*_NEWER, *ROWS),
    scopes=("gen_ai", "ai"),
    events=EVENTS,
    sparse=True,
)

DIALECTS = (VERCEL, GENAI)
