"""The current OpenTelemetry GenAI conventions, those up to 1.36, and spanline's own spans, which are these plus `spanline.*`."""

from __future__ import annotations

import spanline.semconv as s
from spanline.dialects.coerce import count, error_type, finish_reasons, flag, identifier, integer, name, number, text, wait
from spanline.dialects.documents import documents
from spanline.dialects.table import Dialect, EventTable, Row, events_of
from spanline.record.reference import decode_artifacts

_GENAI = "semantic-conventions-genai, November 2026; seen in opentelemetry-instrumentation-genai-openai 1.3b0"
_LEGACY = "semantic conventions to 1.36; seen in opentelemetry-instrumentation-openai-v2 2.4b0"
_LANGCHAIN = "seen in opentelemetry-instrumentation-genai-langchain 1.3b0"
_OURS = "spanline"

KINDS = {
    "chat": "inference",
    "generate_content": "inference",
    "text_completion": "inference",
    "completion": "inference",
    "responses": "inference",
    "fetch_response": "other",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "rerank": "rerank",
    "execute_tool": "tool",
    "create_agent": "agent",
    "invoke_agent": "agent",
    "plan": "agent",
    "invoke_workflow": "workflow",
    "apply_guardrail": "guardrail",
    "run_guardrail": "guardrail",
    "evaluate": "evaluation",
}
"""`gen_ai.operation.name` to operation kind; an unknown word is `other`."""

ROWS: tuple[Row, ...] = (
    Row("operation", (s.OPERATION_NAME,), text, _GENAI),
    Row("provider", (s.PROVIDER_NAME, "gen_ai.system"), text, f"{_GENAI}; second key: {_LEGACY}"),
    Row("request_model", (s.REQUEST_MODEL,), text, _GENAI),
    Row("response_model", (s.RESPONSE_MODEL,), text, _GENAI),
    Row("response_id", (s.RESPONSE_ID,), text, _GENAI),
    Row("finish_reasons", (s.FINISH_REASONS, "gen_ai.response.finish_reason"), finish_reasons, f"{_GENAI}; second key: Semantic Kernel"),
    Row("streamed", (s.STREAM,), flag, _GENAI),
    Row("time_to_first_token_seconds", (s.TIME_TO_FIRST_CHUNK,), wait, _GENAI),
    Row(
        "system_fingerprint",
        (s.SYSTEM_FINGERPRINT, "gen_ai.openai.response.system_fingerprint", "gen_ai.response.system_fingerprint"),
        text,
        f"{_GENAI}; second key: {_LEGACY}",
    ),
    Row("service_tier", (s.SERVICE_TIER, "gen_ai.openai.response.service_tier"), text, f"{_GENAI}; second key: {_LEGACY}"),
    Row("input_tokens", (s.INPUT_TOKENS, "gen_ai.usage.prompt_tokens"), count, f"{_GENAI}; second key: conventions to 1.26"),
    Row("output_tokens", (s.OUTPUT_TOKENS, "gen_ai.usage.completion_tokens"), count, f"{_GENAI}; second key: conventions to 1.26"),
    Row("cache_read_input_tokens", (s.CACHE_READ_TOKENS, "gen_ai.usage.cache_read_input_tokens"), count, _GENAI),
    Row(
        "cache_write_input_tokens",
        (
            s.CACHE_WRITE_TOKENS,
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
        ),
        count,
        _GENAI,
    ),
    Row("reasoning_output_tokens", (s.REASONING_TOKENS, "gen_ai.usage.reasoning_tokens"), count, _GENAI),
    Row("temperature", ("gen_ai.request.temperature",), number, _GENAI),
    Row("top_p", ("gen_ai.request.top_p",), number, _GENAI),
    Row("top_k", ("gen_ai.request.top_k",), number, _GENAI),
    Row("max_tokens", ("gen_ai.request.max_tokens",), count, _GENAI),
    Row("seed", ("gen_ai.request.seed", "gen_ai.openai.request.seed"), integer, f"{_GENAI}; second key: {_LEGACY}"),
    Row("frequency_penalty", ("gen_ai.request.frequency_penalty",), number, _GENAI),
    Row("presence_penalty", ("gen_ai.request.presence_penalty",), number, _GENAI),
    Row("choices", ("gen_ai.request.choice.count",), count, _GENAI),
    Row("prompt_name", (s.PROMPT_NAME,), text, _LANGCHAIN),
    Row("prompt_version", (s.PROMPT_VERSION,), text, "semantic-conventions-genai, November 2026", documented=True),
    Row("index_name", (s.DATA_SOURCE_ID,), text, _GENAI, documented=True),
    Row("retrieval_top_k", (s.TOP_K,), count, "seen in opentelemetry-instrumentation-genai-llama-index 1.3b0"),
    Row("documents", (s.DOCUMENTS,), documents, _LANGCHAIN),
    Row("tool_name", (s.TOOL_NAME,), text, _LANGCHAIN),
    Row("agent_name", (s.AGENT_NAME, s.WORKFLOW_NAME), text, _LANGCHAIN),
    Row("error_type", (s.ERROR_TYPE,), error_type, _GENAI),
    Row("finish_reasons", ("gen_ai.output.messages",), finish_reasons, "seen in logfire 5.2.0", path="[].finish_reason"),
)

EVALUATION = events_of(
    "evaluation",
    Row("evaluation_name", (s.EVALUATION_NAME,), name, f"{_GENAI}; seen in openlit 1.45"),
    Row("evaluation_score", ("gen_ai.evaluation.score.value",), number, f"{_GENAI}; seen in openlit 1.45"),
    Row("evaluation_label", ("gen_ai.evaluation.score.label",), identifier, _GENAI, documented=True),
    Row("response_id", (s.RESPONSE_ID,), text, _GENAI, documented=True),
)
EXCEPTION = events_of("fields", Row("error_type", ("exception.type",), error_type, "OpenTelemetry, recording exceptions"))
CHOICE = events_of("fields", Row("finish_reasons", ("finish_reason",), finish_reasons, _LEGACY, documented=True))
DETAILS = EventTable("fields", Dialect("otel_genai_event", markers=(), rows=ROWS, kinds=KINDS))
"""The same attributes as on a span, and content, which is not read."""

EVENTS: dict[str, EventTable] = {
    "gen_ai.evaluation.result": EVALUATION,
    "exception": EXCEPTION,
    "gen_ai.choice": CHOICE,
    "gen_ai.client.operation.exception": EXCEPTION,
    "gen_ai.client.inference.operation.details": DETAILS,
}
"""Events that any dialect may bring."""

_OURS_FIRST = tuple(
    Row(
        row.field,
        row.keys if row.field == "agent_name" else row.keys[:1],
        text if row.coerce is error_type else row.coerce,
        row.source,
    )
    for row in ROWS
    if not row.path
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
    Row("guardrail_reason", (s.GUARDRAIL_REASON,), text, _OURS),
)

LATEST = Dialect(
    "otel_genai",
    markers=(s.PROVIDER_NAME,),
    weak=(s.OPERATION_NAME, s.REQUEST_MODEL),
    kinds=KINDS,
    rows=(*ROWS, *OWN_ROWS),
    priority=12,
    events=EVENTS,
)
LEGACY = Dialect("otel_genai_1_36", markers=("gen_ai.system",), kinds=KINDS, rows=ROWS, priority=6, events=EVENTS)
SPANLINE = Dialect("spanline", markers=(s.SPANLINE_OPERATION,), kinds=KINDS, rows=(*_OURS_FIRST, *OWN_ROWS), priority=100)

DIALECTS: tuple[Dialect, ...] = (LATEST, LEGACY)
