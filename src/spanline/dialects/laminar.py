"""Laminar: its own spans, and those of its OpenLLMetry instrumentations, which it marks too."""

from __future__ import annotations

from spanline.dialects.coerce import cost, identifier, name, text
from spanline.dialects.documents import documents
from spanline.dialects.genai import EVENTS, KINDS
from spanline.dialects.openllmetry import CLASSIC
from spanline.dialects.table import Dialect, Row

_READ = "read in lmnr 0.7"

_KINDS = {
    **CLASSIC.kinds,
    **KINDS,
    "llm": "inference",
    "cached": "inference",
    "tool": "tool",
    "pipeline": "workflow",
    "executor": "other",
    "evaluator": "evaluation",
    "evaluation": "evaluation",
    "default": "other",
}
_ROWS = (
    Row("operation", ("gen_ai.operation.name", "lmnr.span.type"), text, _READ, documented=True),
    Row("cost_usd", ("gen_ai.usage.cost",), cost, _READ, documented=True),
    Row("tool_name", ("S:name",), identifier, _READ, kinds=("tool",), documented=True),
    Row("documents", ("lmnr.span.output",), documents, _READ, kinds=("retrieval",), documented=True),
    Row("said_prompt_name", ("lmnr.association.properties.metadata.prompt_name",), name, _READ, documented=True),
    Row("said_prompt_version", ("lmnr.association.properties.metadata.prompt_version",), name, _READ, documented=True),
)

LAMINAR = Dialect(
    "laminar",
    markers=("lmnr.span.type", "lmnr.span.path", "lmnr.span.instrumentation_source"),
    kinds=_KINDS,
    rows=(*_ROWS, *CLASSIC.rows),
    priority=35,
    scopes=("lmnr*",),
    events=EVENTS,
)

DIALECTS = (LAMINAR,)
