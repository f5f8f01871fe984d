"""TruLens: functions of an application, named by the part they play."""

from __future__ import annotations

from spanline.dialects.coerce import cost, count, identifier, number, text
from spanline.dialects.documents import documents
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.table import Dialect, Row

_SEEN = "seen in trulens 2.16.0"
_READ = "read in trulens-otel-semconv 2.16.0"
_A = "ai.observability."

_KINDS = {
    "record_root": "workflow",
    "retrieval": "retrieval",
    "reranking": "rerank",
    "generation": "inference",
    "tool": "tool",
    "agent": "agent",
    "eval_root": "evaluation",
    "eval": "evaluation",
    "*": "other",
}
_ROWS = (
    Row("operation", (f"{_A}span_type",), text, _SEEN),
    Row("request_model", (f"{_A}cost.model",), text, _READ, documented=True),
    Row("input_tokens", (f"{_A}cost.num_prompt_tokens",), count, _READ, kinds=("inference",), documented=True),
    Row("output_tokens", (f"{_A}cost.num_completion_tokens",), count, _READ, kinds=("inference",), documented=True),
    Row("cost_usd", (f"{_A}cost.cost",), cost, _READ, kinds=("inference",), documented=True),
    Row("retrieval_top_k", (f"{_A}retrieval.num_contexts",), count, _READ, documented=True),
    Row("documents", (f"{_A}call.return",), documents, _READ, kinds=("retrieval",), documented=True),
    Row("agent_name", (f"{_A}app_name",), identifier, _SEEN, kinds=("workflow", "agent")),
    Row("evaluation_name", (f"{_A}eval_root.metric_name", f"{_A}eval.metric_name"), identifier, _READ, documented=True),
    Row("evaluation_score", (f"{_A}eval_root.score", f"{_A}eval.score"), number, _READ, documented=True),
)

TRULENS = Dialect(
    "trulens",
    markers=(f"{_A}span_type",),
    kinds=_KINDS,
    rows=(*_ROWS, *(row for row in ROWS if row.field != "operation")),
    priority=65,
    scopes=("trulens*",),
    events=EVENTS,
)

DIALECTS = (TRULENS,)
