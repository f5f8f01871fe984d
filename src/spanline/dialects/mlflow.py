"""MLflow tracing: its own attributes, each value JSON, and the mode that writes the conventions instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spanline.dialects.coerce import cost, count, finish_reasons, flag, identifier, integer, name, number, text, version
from spanline.dialects.decode import decoded
from spanline.dialects.documents import documents
from spanline.dialects.found import ALL
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.shapes import answer, hub, langchain, request, unseen
from spanline.dialects.table import Dialect, Row
from spanline.dialects.usage import usage

_AUTOLOG = "seen in mlflow 3.17.2, autolog of openai"
_SDK = "seen in mlflow 3.17.2"
_LANGCHAIN = "read in mlflow 3.17.2, autolog of langchain"
_READ = "read in mlflow 3.17.2"

_KINDS = {
    **KINDS,
    "chat_model": "inference",
    "llm": "inference",
    "embedding": "embedding",
    "retriever": "retrieval",
    "reranker": "rerank",
    "tool": "tool",
    "agent": "agent",
    "chain": "workflow",
    "workflow": "workflow",
    "guardrail": "guardrail",
    "evaluator": "evaluation",
    "parser": "other",
    "memory": "other",
    "task": "other",
    "unknown": "other",
}


def _plain(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A coercer of a text in JSON's quotes."""

    def plain(value: Any) -> Any:
        return read(decoded(value) if isinstance(value, str) and value[:1] == '"' else value)

    return plain


_name = _plain(name)

_ROWS = (
    Row("operation", ("mlflow.spanType", "gen_ai.operation.name"), _plain(text), _AUTOLOG),
    Row("provider", ("mlflow.message.format",), _name, _AUTOLOG),
    # `gen_ai.request.model` holds the model that answered.
    Row("request_model", ("model",), _name, _AUTOLOG),
    Row("response_model", ("gen_ai.response.model", "mlflow.llm.model"), _name, _AUTOLOG),
    Row(ALL, ("mlflow.chat.tokenUsage",), usage, _AUTOLOG),
    Row("cost_usd", ("mlflow.llm.cost",), cost, _READ, path="total_cost", documented=True),
    Row("temperature", ("temperature",), number, _AUTOLOG),
    Row("top_p", ("top_p",), number, _AUTOLOG),
    Row("max_tokens", ("max_tokens", "max_completion_tokens", "max_output_tokens"), count, _AUTOLOG),
    Row("seed", ("seed",), integer, _AUTOLOG),
    Row("frequency_penalty", ("frequency_penalty",), number, _AUTOLOG),
    Row("presence_penalty", ("presence_penalty",), number, _AUTOLOG),
    Row("choices", ("n",), count, _AUTOLOG),
    Row("streamed", ("stream",), flag, _AUTOLOG),
    Row("prompt_name", ("mlflow.linkedPrompts",), name, _SDK, path="[0].name"),
    Row("prompt_version", ("mlflow.linkedPrompts",), version, _SDK, path="[0].version"),
    Row("prompt_name", ("prompt",), name, _AUTOLOG, path="id"),
    Row("prompt_version", ("prompt",), version, _AUTOLOG, path="version"),
    Row("documents", ("mlflow.spanOutputs",), documents, _SDK, kinds=("retrieval",)),
    Row("finish_reasons", ("gen_ai.response.finish_reasons",), finish_reasons, _AUTOLOG),
    Row("tool_name", ("S:name",), identifier, _READ, kinds=("tool",), documented=True),
    Row("agent_name", ("S:name",), identifier, _READ, kinds=("agent",), documented=True),
    Row("retriever_name", ("mlflow.spanFunctionName",), _name, _SDK, kinds=("retrieval",)),
    *(row for row in request("mlflow.spanInputs", _AUTOLOG) if row.path in ("model", "temperature", "max_tokens")),
    *unseen(request("invocation_params", _LANGCHAIN)),
    *unseen(answer("mlflow.spanOutputs", _AUTOLOG), "stop_reason"),
    *unseen(langchain("mlflow.spanOutputs", _LANGCHAIN)),
    *unseen(hub("metadata", _LANGCHAIN, path="json")),
)

MLFLOW = Dialect(
    "mlflow",
    markers=("mlflow.spanType",),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=90,
    scopes=("mlflow*",),
    events=EVENTS,
    exclusive=("anthropic",),
)

DIALECTS = (MLFLOW,)
