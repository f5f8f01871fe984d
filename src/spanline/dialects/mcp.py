"""Model Context Protocol: spans of its Python SDK, and of OpenLLMetry's instrumentation of it."""

from __future__ import annotations

from spanline.dialects.coerce import identifier, locator, name, text
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.table import Dialect, Row

_SDK = "seen in mcp 2.3.0"
_TRACELOOP = "seen in opentelemetry-instrumentation-mcp 0.62.4"
_IN = "traceloop.entity.input"

_KINDS = {
    "tools/call": "tool",
    "tool": "tool",
    "prompts/get": "prompt",
    "resources/read": "retrieval",
    "*": "other",
}
_ROWS = (
    Row("operation", ("mcp.method.name",), text, _SDK),
    Row("prompt_name", ("gen_ai.prompt.name",), name, _SDK),
    Row("tool_name", ("gen_ai.tool.name",), name, _SDK),
    Row("index_name", ("mcp.resource.uri",), locator, "Model Context Protocol conventions", documented=True),
)
_OTHERS = (
    Row("operation", ("traceloop.span.kind",), text, _TRACELOOP),
    Row("operation", (_IN,), identifier, _TRACELOOP, path="method"),
    Row("tool_name", ("traceloop.entity.name",), name, _TRACELOOP, kinds=("tool",)),
    Row("prompt_name", (_IN,), name, _TRACELOOP, path="params.name", kinds=("prompt",)),
    Row("index_name", (_IN,), locator, _TRACELOOP, path="params.uri", kinds=("retrieval",)),
)

MCP = Dialect(
    "mcp",
    markers=("mcp.method.name",),
    kinds=_KINDS,
    rows=(*_ROWS, *(row for row in ROWS if row.field != "operation")),
    priority=55,
    scopes=("mcp-python-sdk",),
    events=EVENTS,
)
TRACELOOP = Dialect(
    "openllmetry_mcp",
    markers=(),
    kinds=_KINDS,
    rows=(*_OTHERS, *(row for row in ROWS if row.field == "error_type")),
    scopes=("opentelemetry.instrumentation.mcp*",),
    events=EVENTS,
)

DIALECTS = (MCP, TRACELOOP)
