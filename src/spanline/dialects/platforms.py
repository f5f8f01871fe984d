"""Platforms that were read of and not recorded: LangWatch, AgentOps, Braintrust."""

from __future__ import annotations

from spanline.dialects.coerce import identifier, name, text
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.shapes import request, unseen
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_LANGWATCH = "read in langwatch, SDKs of 2026"
_AGENTOPS = "read in agentops 0.4"
_BRAINTRUST = "read in braintrust, OpenTelemetry SDKs of 2026"

LANGWATCH = Dialect(
    "langwatch",
    markers=("langwatch.span.type",),
    kinds={
        **KINDS,
        "llm": "inference",
        "rag": "retrieval",
        "tool": "tool",
        "agent": "agent",
        "chain": "workflow",
        "workflow": "workflow",
        "guardrail": "guardrail",
        "evaluation": "evaluation",
        "prompt": "prompt",
        "span": "other",
    },
    rows=(
        Row("operation", ("langwatch.span.type",), text, _LANGWATCH, documented=True),
        Row("documents", ("langwatch.rag.contexts", "langwatch.rag_contexts"), documents, _LANGWATCH, documented=True),
        Row("guardrail_name", ("S:name",), identifier, _LANGWATCH, kinds=("guardrail",), documented=True),
        *ROWS,
    ),
    priority=36,
    events=EVENTS,
)
AGENTOPS = Dialect(
    "agentops",
    markers=("agentops.span.kind",),
    kinds={
        **KINDS,
        "llm": "inference",
        "tool": "tool",
        "agent": "agent",
        "workflow": "workflow",
        "session": "workflow",
        "guardrail": "guardrail",
        "task": "other",
        "operation": "other",
    },
    rows=(
        Row("operation", ("agentops.span.kind",), text, _AGENTOPS, documented=True),
        Row("tool_name", ("operation.name",), identifier, _AGENTOPS, kinds=("tool",), documented=True),
        Row("agent_name", ("operation.name",), identifier, _AGENTOPS, kinds=("agent", "workflow"), documented=True),
        Row("guardrail_name", ("operation.name",), identifier, _AGENTOPS, kinds=("guardrail",), documented=True),
        *ROWS,
    ),
    priority=36,
    scopes=("agentops*",),
    events=EVENTS,
    sparse=True,
)
BRAINTRUST = Dialect(
    "braintrust",
    markers=("braintrust.span_attributes", "braintrust.span_attributes.type"),
    kinds={"llm": "inference", "tool": "tool", "task": "other", "function": "other", "eval": "evaluation", "score": "evaluation"},
    rows=(
        Row("operation", ("braintrust.span_attributes",), identifier, _BRAINTRUST, path="type", documented=True),
        Row("operation", ("braintrust.span_attributes.type",), identifier, _BRAINTRUST, documented=True),
        Row("provider", ("braintrust.metadata",), name, _BRAINTRUST, path="provider", kinds=("inference",), documented=True),
        *unseen(request("braintrust.metadata", _BRAINTRUST)),
        Row(ALL, ("braintrust.metrics",), usage, _BRAINTRUST, documented=True),
        *ROWS,
    ),
    priority=36,
    events=EVENTS,
)

DIALECTS = (LANGWATCH, AGENTOPS, BRAINTRUST)
