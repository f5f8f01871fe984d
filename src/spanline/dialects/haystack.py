"""Haystack: pipelines and components, told by a component's type; what went in and out only where its content tracing is on."""

from __future__ import annotations

from spanline.dialects.coerce import count, finish_reasons, identifier, name, text, vendor
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_SEEN = "seen in haystack-ai 3.4.0"
_READ = "read in haystack-ai 3.4.0"
_C = "haystack.component."
_OUT = f"{_C}output"

_KINDS = {
    "*retriever": "retrieval",
    "*chatgenerator": "inference",
    "*generator": "inference",
    "*embedder": "embedding",
    "*ranker": "rerank",
    "*promptbuilder": "prompt",
    "toolinvoker": "tool",
    "agent": "agent",
    "haystack.pipeline.run": "workflow",
    "haystack.agent.run": "agent",
    "haystack.component.run": "other",
}
_ROWS = (
    Row("operation", (f"{_C}type",), text, _SEEN),
    Row("operation", ("S:name",), identifier, _SEEN),
    Row("provider", (f"{_C}type",), vendor, _SEEN, kinds=("inference", "embedding")),
    Row("response_model", (_OUT,), text, _SEEN, path="replies[0].meta.model", kinds=("inference",)),
    Row("response_model", (_OUT,), text, _READ, path="meta[0].model", kinds=("inference",), documented=True),
    Row("response_model", (_OUT,), text, _READ, path="meta.model", kinds=("embedding",), documented=True),
    Row("finish_reasons", (_OUT,), finish_reasons, _SEEN, path="replies[].meta.finish_reason", kinds=("inference",)),
    Row("finish_reasons", (_OUT,), finish_reasons, _READ, path="meta[].finish_reason", kinds=("inference",), documented=True),
    Row(ALL, (_OUT,), usage, _SEEN, path="replies[0].meta.usage", kinds=("inference",)),
    Row(ALL, (_OUT,), usage, _READ, path="meta[0].usage", kinds=("inference",), documented=True),
    Row(ALL, (_OUT,), usage, _READ, path="meta.usage", kinds=("embedding",), documented=True),
    Row("documents", (_OUT,), documents, _SEEN, kinds=("retrieval", "rerank")),
    Row("retrieval_top_k", (f"{_C}input",), count, _READ, path="top_k", kinds=("retrieval", "rerank"), documented=True),
    Row("retriever_name", (f"{_C}name",), name, _SEEN, kinds=("retrieval",)),
    Row("agent_name", (f"{_C}name",), name, _READ, kinds=("agent",), documented=True),
)

HAYSTACK = Dialect(
    "haystack",
    markers=(
        f"{_C}type",
        f"{_C}name",
        "haystack.pipeline.max_runs_per_component",
        "haystack.pipeline.metadata",
        "haystack.agent.max_steps",
    ),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=65,
    scopes=("haystack",),
    events=EVENTS,
)

DIALECTS = (HAYSTACK,)
