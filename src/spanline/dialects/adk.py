"""Google Agent Development Kit: the conventions, with request and answer as JSON where its content capture is on."""

from __future__ import annotations

from spanline.dialects.coerce import count, finish_reasons, identifier, integer, number, text, vendor
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_READ = "read in google-adk 1.x"
_REQUEST = "gcp.vertex.agent.llm_request"
_ANSWER = "gcp.vertex.agent.llm_response"

_KINDS = {**KINDS, "call_llm": "inference", "invocation": "workflow", "agent_run": "agent", "send_data": "other"}
_ROWS = (
    # It adds reasoning to an output that holds it already for some models; the answer's own total tells.
    Row(ALL, (_ANSWER,), usage, _READ, path="usage_metadata", documented=True),
    Row("operation", ("gen_ai.operation.name", "S:name"), identifier, _READ, documented=True),
    Row("provider", ("gen_ai.request.model",), vendor, _READ, documented=True),
    Row("request_model", (_REQUEST,), text, _READ, path="model", documented=True),
    Row("finish_reasons", (_ANSWER,), finish_reasons, _READ, path="finish_reason", documented=True),
    Row("temperature", (_REQUEST,), number, _READ, path="config.temperature", documented=True),
    Row("top_p", (_REQUEST,), number, _READ, path="config.top_p", documented=True),
    Row("top_k", (_REQUEST,), number, _READ, path="config.top_k", documented=True),
    Row("max_tokens", (_REQUEST,), count, _READ, path="config.max_output_tokens", documented=True),
    Row("seed", (_REQUEST,), integer, _READ, path="config.seed", documented=True),
    Row("frequency_penalty", (_REQUEST,), number, _READ, path="config.frequency_penalty", documented=True),
    Row("presence_penalty", (_REQUEST,), number, _READ, path="config.presence_penalty", documented=True),
    Row("reasoning_output_tokens", ("gen_ai.usage.experimental.reasoning_tokens",), count, _READ, documented=True),
)

ADK = Dialect(
    "google_adk",
    markers=("gen_ai.system=gcp.vertex.agent", _REQUEST, _ANSWER, "gcp.vertex.agent.invocation_id", "gcp.vertex.agent.session_id"),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=45,
    scopes=("gcp.vertex.agent",),
    events=EVENTS,
)

DIALECTS = (ADK,)
