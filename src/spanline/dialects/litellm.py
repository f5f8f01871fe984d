"""LiteLLM: its OpenTelemetry callback (both versions), and the raw request below each of its calls."""

from __future__ import annotations

from spanline.dialects.coerce import cost, finish_reasons, flag, name, positive, text, vendor
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_V1 = "seen in litellm 1.106.2, callback otel"
_V2 = "seen in litellm 1.106.2, callback otel version 2"
_RAW = "seen in litellm 1.106.2, raw request"

_KINDS = {
    **KINDS,
    "acompletion": "inference",
    "atext_completion": "inference",
    "responses": "inference",
    "aresponses": "inference",
    "anthropic_messages": "inference",
    "embedding": "embedding",
    "aembedding": "embedding",
    "rerank": "rerank",
    "arerank": "rerank",
    "execute_guardrail": "guardrail",
}
_ROWS = (
    Row("operation", ("gen_ai.operation.name", "litellm.call_type", "llm.request.type"), text, _V1),
    Row("provider", ("gen_ai.provider.name", "gen_ai.system"), text, _V2),
    Row("provider", ("litellm.provider.model",), vendor, _V1),
    # 0 stands for an answer that it did not understand.
    Row("input_tokens", ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"), positive, _V1),
    Row("output_tokens", ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"), positive, _V1),
    Row("cost_usd", ("gen_ai.cost.total_cost", "litellm.cost.total"), cost, _V1),
    Row("streamed", ("litellm.request.streaming", "llm.is_streaming"), flag, _V1),
    Row("tool_name", ("gen_ai.tool.name",), name, "read in litellm 1.106.2", documented=True),
    Row(ALL, ("metadata.usage_object",), usage, _V1),
)
_VENDORS = (
    "openai", "None", "azure", "anthropic", "bedrock", "vertex_ai", "gemini", "cohere", "mistral", "groq", "together_ai", "ollama",
    "huggingface", "deepseek", "xai", "fireworks_ai", "hosted_vllm", "custom_openai", "azure_ai", "openrouter", "databricks", "watsonx",
)  # fmt: skip


def _raw(vendor_name: str) -> tuple[Row, ...]:
    begin = f"llm.{vendor_name}."
    seen = vendor_name in ("openai", "None")
    rows = (
        ("operation", "object", text),
        ("response_id", "id", text),
        ("response_model", "model", text),
        ("system_fingerprint", "system_fingerprint", text),
        ("service_tier", "service_tier", text),
        (ALL, "usage", usage),
    )
    return (
        *(
            Row(field, (f"{begin}{member}",), read, _RAW, documented=not seen or (vendor_name == "None" and member == "system_fingerprint"))
            for field, member, read in rows
        ),
        Row("finish_reasons", (f"{begin}choices",), finish_reasons, _RAW, path="[].finish_reason", documented=vendor_name != "openai"),
    )


LITELLM = Dialect(
    "litellm",
    markers=("litellm.call_id", "litellm.provider.model", "litellm.call_type"),
    kinds=_KINDS,
    rows=(*_ROWS, *(row for row in ROWS if row.field not in ("input_tokens", "output_tokens", "provider"))),
    priority=60,
    events=EVENTS,
)
RAW = Dialect(
    "litellm_raw",
    markers=(),
    kinds={"chat.completion": "inference", "response": "inference", "list": "embedding", "message": "inference"},
    rows=tuple(row for vendor_name in _VENDORS for row in _raw(vendor_name)),
    scopes=("litellm",),
    repeats=True,
    sparse=True,
)

DIALECTS = (LITELLM, RAW)
