"""OpenLLMetry and the Traceloop SDK: since 0.5x the conventions with keys of its own, before that numbered keys."""

from __future__ import annotations

from spanline.dialects.coerce import count, digest_of, finish_reasons, flag, identifier, name, number, text
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.shapes import hub
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_NEW = "seen in opentelemetry-instrumentation-openai 0.62.4 and its siblings"
_OLD = "seen in opentelemetry-instrumentation-openai 0.40.14 and its siblings"
_LANGCHAIN = "seen in opentelemetry-instrumentation-langchain 0.62.4"
_CREWAI = "seen in opentelemetry-instrumentation-crewai 0.62.4"
_LLAMAINDEX = "seen in opentelemetry-instrumentation-llamaindex 0.40.14"
_SDK = "seen in traceloop-sdk 0.62.4"
_SOURCE = "read in traceloop-sdk 0.62.4"

_KINDS = {
    **KINDS,
    "embedding": "embedding",
    "execute_task": "other",
    "vector_db_retrieve": "retrieval",
    "vector_db": "other",
    "guard": "guardrail",
    "guardrail.run": "guardrail",
    "workflow": "workflow",
    "task": "other",
    "agent": "agent",
    "tool": "tool",
    "rerank": "rerank",
    "*.mcp": "other",
    "*retriever.task": "retrieval",
    "*retriever.workflow": "retrieval",
    "functiontool.task": "tool",
    "*agent.workflow": "agent",
    "*embedding.task": "embedding",
    "*embedding.workflow": "embedding",
}


def _class(value: object) -> str | None:
    """LlamaIndex's classes, such as `VectorIndexRetriever.task`; not what users call their functions."""
    return value if isinstance(value, str) and value.endswith((".task", ".workflow")) and value[:1].isupper() else None


_OWN = (
    Row("operation", ("gen_ai.operation.name", "llm.request.type"), text, f"{_NEW}; the second {_OLD}"),
    Row("operation", ("traceloop.entity.name",), _class, _LLAMAINDEX),
    Row("operation", ("traceloop.span.kind",), text, _NEW),
    Row("streamed", ("gen_ai.is_streaming", "llm.is_streaming"), flag, f"{_NEW}; the second {_OLD}"),
    Row("system_fingerprint", ("gen_ai.openai.response.system_fingerprint", "gen_ai.openai.system_fingerprint"), text, _NEW),
    Row("request_model", ("embedding.model_name",), text, _LLAMAINDEX),
    Row("prompt_name", ("traceloop.prompt.key",), name, _SOURCE, documented=True),
    Row("prompt_version", ("traceloop.prompt.version",), name, _SDK),
    Row("prompt_version", ("traceloop.prompt.version_name", "traceloop.prompt.version_hash"), name, _SOURCE, documented=True),
    Row("prompt_digest", ("traceloop.prompt.template",), digest_of, _SDK),
    Row("guardrail_name", ("gen_ai.guardrail.name",), name, _SDK),
    Row("guardrail_outcome", ("gen_ai.guardrail.status",), identifier, _SDK),
    Row("tool_name", ("gen_ai.tool.name",), name, _LANGCHAIN),
    Row("tool_name", ("traceloop.entity.output",), name, _LLAMAINDEX, path="tool_name", kinds=("tool",)),
    Row("tool_name", ("traceloop.entity.name",), identifier, _SDK, kinds=("tool",)),
    Row("agent_name", ("gen_ai.agent.name",), name, _LANGCHAIN),
    Row("agent_name", ("traceloop.workflow.name",), name, _LANGCHAIN, kinds=("agent", "workflow")),
    Row("agent_name", ("traceloop.entity.name",), identifier, _SDK, kinds=("agent", "workflow")),
    Row("retriever_name", ("traceloop.association.properties.ls_retriever_name",), name, _LANGCHAIN, kinds=("retrieval",)),
    Row("retriever_name", ("traceloop.entity.name",), identifier, _LANGCHAIN, kinds=("retrieval",)),
    Row("documents", ("traceloop.entity.output", "gen_ai.task.output"), documents, _LANGCHAIN, kinds=("retrieval",)),
    # A retriever's own span has no ids; those of the step that it feeds are matched by their source.
    Row("passing", ("traceloop.entity.input", "gen_ai.task.input"), documents, _LANGCHAIN, path="inputs", kinds=("other",)),
    Row("passing", ("traceloop.entity.output", "gen_ai.task.output"), documents, _LANGCHAIN, path="kwargs.inputs", kinds=("other",)),
    Row(ALL, ("crewai.crew.usage_metrics",), usage, _CREWAI),
    *hub("traceloop.association.properties.", _LANGCHAIN),
)

_CLASSIC = (
    Row("finish_reasons", ("gen_ai.completion.*.finish_reason", "llm.completions.*.finish_reason"), finish_reasons, _OLD),
    Row("frequency_penalty", ("llm.frequency_penalty",), number, _OLD),
    Row("presence_penalty", ("llm.presence_penalty",), number, _OLD),
    Row("cache_read_input_tokens", ("gen_ai.usage.cache_read_input_tokens",), count, _OLD),
    Row("reasoning_output_tokens", ("llm.usage.reasoning_tokens",), count, "read in 0.40.14", documented=True),
    Row("request_model", ("gen_ai.request.model", "llm.request.model"), text, _OLD),
    Row("response_model", ("gen_ai.response.model", "llm.response.model"), text, _OLD),
)

OPENLLMETRY = Dialect(
    "openllmetry",
    markers=(
        "traceloop.span.kind", "traceloop.entity.name", "traceloop.workflow.name", "traceloop.entity.path",
        "gen_ai.is_streaming", "gen_ai.openai.api_base", "gen_ai.task.id", "gen_ai.task.status", "gen_ai.guardrail.name",
        "gen_ai.guardrail.status", "crewai.crew.id", "crewai.agent.id", "crewai.task.id",
    ),
    kinds=_KINDS,
    rows=(*_OWN, *ROWS),
    weak=("traceloop.entity.input", "traceloop.entity.output"),
    priority=50,
    scopes=(
        "opentelemetry.instrumentation.openai.v1", "opentelemetry.instrumentation.openai.v0", "opentelemetry.instrumentation.anthropic",
        "opentelemetry.instrumentation.langchain", "opentelemetry.instrumentation.llamaindex", "opentelemetry.instrumentation.haystack",
        "opentelemetry.instrumentation.crewai*", "opentelemetry.instrumentation.cohere*",
        "opentelemetry.instrumentation.bedrock*", "opentelemetry.instrumentation.groq*", "opentelemetry.instrumentation.mistralai*",
        "opentelemetry.instrumentation.ollama*", "opentelemetry.instrumentation.vertexai*", "opentelemetry.instrumentation.watsonx*",
        "opentelemetry.instrumentation.together*", "opentelemetry.instrumentation.replicate*",
        "opentelemetry.instrumentation.google_generativeai*", "opentelemetry.instrumentation.openai_agents*",
        "opentelemetry.instrumentation.alephalpha*", "opentelemetry.instrumentation.sagemaker*",
        "opentelemetry.instrumentation.transformers*", "traceloop.tracer",
    ),
    events=EVENTS,
)  # fmt: skip
CLASSIC = Dialect(
    "openllmetry_0_40",
    markers=(
        "llm.request.type", "gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.completion.0.role", "llm.usage.total_tokens",
        "llm.headers",
    ),
    kinds=_KINDS,
    rows=(*_CLASSIC, *_OWN, *ROWS),
    priority=52,
    events=EVENTS,
)  # fmt: skip

DIALECTS = (OPENLLMETRY, CLASSIC)
