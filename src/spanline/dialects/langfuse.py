"""Langfuse: what its SDKs (3 and 5), its OpenAI wrapper and its LangChain callback write."""

from __future__ import annotations

from spanline.dialects.coerce import cost, finish_reasons, identifier, instant, name, number, text
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.shapes import hub, request, unseen
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_V5 = "seen in langfuse 5.0.4"
_V3 = "seen in langfuse 3.15.0"

_O = "langfuse.observation."

KINDS = {
    "generation": "inference",
    "embedding": "embedding",
    "retriever": "retrieval",
    "tool": "tool",
    "agent": "agent",
    "chain": "workflow",
    "guardrail": "guardrail",
    "evaluator": "evaluation",
    "span": "other",
    "event": "other",
}
_ERRORS = {"ERROR": "_OTHER"}


def _failed(value: object) -> str | None:
    return _ERRORS.get(value) if isinstance(value, str) else None


_ROWS = (
    Row("operation", (f"{_O}type",), text, _V5),
    # Its wrappers write the model that answered over the requested one.
    Row("response_model", (f"{_O}model.name",), text, _V5),
    *unseen(request(f"{_O}model.parameters", _V5, model=False), "top_k", "stream", "max_completion_tokens", "prompt.id", "prompt.version"),
    Row(ALL, (f"{_O}usage_details",), usage, _V5),
    Row("cost_usd", (f"{_O}cost_details",), cost, _V5, path="total"),
    Row("prompt_name", (f"{_O}prompt.name",), name, _V5),
    Row("prompt_version", (f"{_O}prompt.version",), name, _V5),
    Row("finish_reasons", (f"{_O}metadata.finish_reason", f"{_O}metadata.status"), finish_reasons, _V5),
    Row("response_id", (f"{_O}metadata.id",), name, _V5, kinds=("inference",)),
    Row("service_tier", (f"{_O}metadata.service_tier",), name, _V5),
    Row("first_token_ns", (f"{_O}completion_start_time",), instant, _V5),
    Row("error_type", (f"{_O}level",), _failed, _V5),
    Row("temperature", (f"{_O}metadata.temperature",), number, _V5),
    Row("documents", (f"{_O}output",), documents, _V3, kinds=("retrieval",)),
    Row("tool_name", ("S:name",), identifier, "read in langfuse 5.0.4", kinds=("tool",), documented=True),
    Row("agent_name", ("S:name",), identifier, "read in langfuse 5.0.4", kinds=("agent",), documented=True),
    Row("guardrail_name", ("S:name",), identifier, "read in langfuse 5.0.4", kinds=("guardrail",), documented=True),
    *unseen(hub(f"{_O}metadata.", _V3), "hub_repo", "commit_hash", "agent_name", "ls_provider", "ls_model_name", "temperature", "tokens"),
)

LANGFUSE = Dialect("langfuse", markers=(f"{_O}type",), kinds=KINDS, rows=(*_ROWS, *ROWS), priority=85, scopes=("langfuse*",), events=EVENTS)

DIALECTS = (LANGFUSE,)
