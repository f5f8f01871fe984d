"""Attribute names in use: OpenTelemetry semantic conventions (GenAI of November 2026, HTTP 1.4x) and our own.

The `opentelemetry.semconv` constants for `gen_ai.*` are deprecated since they moved to a package of their own; a name
written down once here does not move.
"""

from __future__ import annotations

# GenAI: https://github.com/open-telemetry/semantic-conventions-genai
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
STREAM = "gen_ai.request.stream"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
PROMPT_NAME = "gen_ai.prompt.name"
PROMPT_VERSION = "gen_ai.prompt.version"
DATA_SOURCE_ID = "gen_ai.data_source.id"
TOP_K = "gen_ai.retrieval.top_k"
DOCUMENTS = "gen_ai.retrieval.documents"
TOOL_NAME = "gen_ai.tool.name"
AGENT_NAME = "gen_ai.agent.name"
WORKFLOW_NAME = "gen_ai.workflow.name"
EVALUATION_NAME = "gen_ai.evaluation.name"
SYSTEM_FINGERPRINT = "openai.response.system_fingerprint"
SERVICE_TIER = "openai.response.service_tier"
ERROR_TYPE = "error.type"

# Ours, where the conventions have no name.
SPANLINE_OPERATION = "spanline.operation"
SPANLINE_ARTIFACTS = "spanline.artifacts"
SPANLINE_COST = "spanline.usage.cost_usd"
PROMPT_DIGEST = "spanline.prompt.digest"
INDEX_VERSION = "spanline.index.version"
INDEX_DIGEST = "spanline.index.digest"
HITS = "spanline.retrieval.hits"
GUARDRAIL_NAME = "spanline.guardrail.name"
GUARDRAIL_VERSION = "spanline.guardrail.version"
GUARDRAIL_PHASE = "spanline.guardrail.phase"
GUARDRAIL_OUTCOME = "spanline.guardrail.outcome"
GUARDRAIL_ACTION = "spanline.guardrail.action"
GUARDRAIL_SCORE = "spanline.guardrail.score"
GUARDRAIL_REASON = "spanline.guardrail.reason"
"""Content: on spans and in lineage only where `SPANLINE_ALLOW` has it."""
JOB = "spanline.job"

# On the local root span of every run, so that a Collector or Grafana can link without us.
RUN_ID = "openlineage.run.id"
JOB_NAMESPACE = "openlineage.job.namespace"
JOB_NAME = "openlineage.job.name"
RUN_URL = "spanline.run.url"

SAMPLING_PARAMETERS: dict[str, str] = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "choices": "gen_ai.request.choice.count",
}
"""Our parameter names to attribute names."""
