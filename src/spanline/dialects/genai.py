"""The current OpenTelemetry GenAI conventions, and spanline's own spans, which are these plus `spanline.*`."""

from __future__ import annotations

import spanline.semconv as s
from spanline.dialects.coerce import count, documents, finish_reasons, flag, integer, number, text
from spanline.dialects.table import Dialect, Row
from spanline.record.reference import decode_artifacts

_GENAI = "semantic-conventions-genai, November 2026; seen in opentelemetry-instrumentation-genai-openai 1.3b0"
_OURS = "spanline"

KINDS = {
    "chat": "inference",
    "generate_content": "inference",
    "text_completion": "inference",
    "fetch_response": "other",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "execute_tool": "tool",
    "create_agent": "agent",
    "invoke_agent": "agent",
    "plan": "agent",
    "invoke_workflow": "workflow",
}
"""`gen_ai.operation.name` to operation kind; an unknown word is `other`."""

ROWS: tuple[Row, ...] = (
    Row("operation", (s.OPERATION_NAME,), text, _GENAI),
    Row("provider", (s.PROVIDER_NAME,), text, _GENAI),
    Row("request_model", (s.REQUEST_MODEL,), text, _GENAI),
    Row("response_model", (s.RESPONSE_MODEL,), text, _GENAI),
    Row("response_id", (s.RESPONSE_ID,), text, _GENAI),
    Row("finish_reasons", (s.FINISH_REASONS,), finish_reasons, _GENAI),
    Row("streamed", (s.STREAM,), flag, _GENAI),
    Row("time_to_first_token_seconds", (s.TIME_TO_FIRST_CHUNK,), number, _GENAI),
    Row("system_fingerprint", (s.SYSTEM_FINGERPRINT,), text, _GENAI),
    Row("service_tier", (s.SERVICE_TIER,), text, _GENAI),
    Row("input_tokens", (s.INPUT_TOKENS,), count, _GENAI),
    Row("output_tokens", (s.OUTPUT_TOKENS,), count, _GENAI),
    Row("cache_read_input_tokens", (s.CACHE_READ_TOKENS,), count, _GENAI),
    Row("cache_write_input_tokens", (s.CACHE_WRITE_TOKENS, "gen_ai.usage.cache_creation.input_tokens"), count, _GENAI),
    Row("reasoning_output_tokens", (s.REASONING_TOKENS,), count, _GENAI),
    Row("temperature", ("gen_ai.request.temperature",), number, _GENAI),
    Row("top_p", ("gen_ai.request.top_p",), number, _GENAI),
    Row("top_k", ("gen_ai.request.top_k",), number, _GENAI),
    Row("max_tokens", ("gen_ai.request.max_tokens",), count, _GENAI),
    Row("seed", ("gen_ai.request.seed",), integer, _GENAI),
    Row("frequency_penalty", ("gen_ai.request.frequency_penalty",), number, _GENAI),
    Row("presence_penalty", ("gen_ai.request.presence_penalty",), number, _GENAI),
    Row("choices", ("gen_ai.request.choice.count",), count, _GENAI),
    Row("prompt_name", (s.PROMPT_NAME,), text, _GENAI),
    Row("prompt_version", (s.PROMPT_VERSION,), text, _GENAI),
    Row("index_name", (s.DATA_SOURCE_ID,), text, _GENAI),
    Row("retrieval_top_k", (s.TOP_K,), count, _GENAI),
    Row("documents", (s.DOCUMENTS,), documents, _GENAI),
    Row("tool_name", (s.TOOL_NAME,), text, _GENAI),
    Row("agent_name", (s.AGENT_NAME, s.WORKFLOW_NAME), text, _GENAI),
    Row("error_type", (s.ERROR_TYPE,), text, _GENAI),
)

OWN_ROWS: tuple[Row, ...] = (
    Row("kind", (s.SPANLINE_OPERATION,), text, _OURS),
    Row("artifacts", (s.SPANLINE_ARTIFACTS,), decode_artifacts, _OURS),
    Row("cost_usd", (s.SPANLINE_COST,), number, _OURS),
    Row("hits", (s.HITS,), count, _OURS),
    Row("guardrail_name", (s.GUARDRAIL_NAME,), text, _OURS),
    Row("guardrail_version", (s.GUARDRAIL_VERSION,), text, _OURS),
    Row("guardrail_phase", (s.GUARDRAIL_PHASE,), text, _OURS),
    Row("guardrail_outcome", (s.GUARDRAIL_OUTCOME,), text, _OURS),
    Row("guardrail_action", (s.GUARDRAIL_ACTION,), text, _OURS),
    Row("guardrail_score", (s.GUARDRAIL_SCORE,), number, _OURS),
)

GENAI = Dialect("otel_genai", markers=(s.OPERATION_NAME,), kinds=KINDS, rows=(*ROWS, *OWN_ROWS), priority=10)
SPANLINE = Dialect("spanline", markers=(s.SPANLINE_OPERATION,), kinds=KINDS, rows=(*ROWS, *OWN_ROWS), priority=100)

DIALECTS: tuple[Dialect, ...] = (GENAI, SPANLINE)
