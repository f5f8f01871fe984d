"""Logfire and Pydantic AI: the conventions, with requests, answers and totals of their own."""

from __future__ import annotations

from spanline.dialects.coerce import cost, count, name, quoted_digest, text, version, wait
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.shapes import answer, hub, request, unseen
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_LOGFIRE = "seen in logfire 5.2.0"
_PYDANTIC = "seen in pydantic-ai 2.68.0"
_VARIABLE = "seen in logfire 5.2.0, managed variables"


def _streamed(value: object) -> bool | None:
    """The second span of a streamed answer is known by its template alone."""
    return True if isinstance(value, str) and value.startswith("streaming response") else None


_OPENAI = (
    Row("streamed", ("logfire.msg_template",), _streamed, _LOGFIRE),
    Row("cost_usd", ("operation.cost",), cost, _LOGFIRE),
    *unseen(
        request("request_data", _LOGFIRE), "top_k", "_completion_tokens", "_output_tokens", "model_name", "prompt.id", "prompt.version"
    ),
    Row(ALL, ("gen_ai.usage.raw",), usage, _LOGFIRE),
    *unseen(answer("response_data", _LOGFIRE), "id", "model", "fingerprint", "tier", "finish_reason", "stop_reason", "status"),
    Row("tool_name", ("gen_ai.tool.name",), name, _PYDANTIC),
    Row("agent_name", ("gen_ai.agent.name", "agent_name"), name, _PYDANTIC),
    Row("request_model", ("model_name",), text, _PYDANTIC),
    Row("time_to_first_token_seconds", ("gen_ai.client.operation.time_to_first_chunk",), wait, _PYDANTIC),
    Row("reasoning_output_tokens", ("gen_ai.usage.details.reasoning_tokens",), count, _PYDANTIC),
    Row("input_tokens", ("gen_ai.aggregated_usage.input_tokens",), count, _PYDANTIC, kinds=("agent",)),
    Row("output_tokens", ("gen_ai.aggregated_usage.output_tokens",), count, _PYDANTIC, kinds=("agent",)),
    Row("cache_read_input_tokens", ("gen_ai.aggregated_usage.cache_read.input_tokens",), count, _PYDANTIC, kinds=("agent",)),
    *hub("metadata", _PYDANTIC, path="json"),
)

_RESOLVED = (
    Row("prompt_name", ("name",), name, _VARIABLE),
    Row("prompt_version", ("version", "label"), version, _VARIABLE, documented=True),
    Row("prompt_digest", ("value",), quoted_digest, _VARIABLE),
)

LOGFIRE = Dialect(
    "logfire",
    markers=("logfire.msg_template", "logfire.json_schema", "logfire.span_type"),
    kinds=KINDS,
    rows=(*_OPENAI, *ROWS),
    priority=30,
    scopes=("logfire*", "pydantic-ai", "pydantic_ai*"),
    events=EVENTS,
    sparse=True,
)
VARIABLES = Dialect("logfire_variable", markers=("targeting_key",), rows=_RESOLVED, priority=32, kind="prompt")

DIALECTS = (LOGFIRE, VARIABLES)
