"""Semantic Kernel: the conventions with words of its own for operations and one finish reason, printed as Python has it."""

from __future__ import annotations

from spanline.dialects.coerce import count, finish_reasons, name
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row

_READ = "read in semantic-kernel 1.x"

_KINDS = {
    **KINDS,
    "*chat.completions": "inference",
    "*text.completions": "inference",
    "*chat_completion": "inference",
    "*text_completion": "inference",
    "autofunctioninvocationloop": "workflow",
}
_ROWS = (
    Row("finish_reasons", ("gen_ai.response.finish_reason",), finish_reasons, _READ, documented=True),
    Row("input_tokens", ("gen_ai.response.prompt_tokens",), count, _READ, documented=True),
    Row("output_tokens", ("gen_ai.response.completion_tokens",), count, _READ, documented=True),
    Row("tool_name", ("gen_ai.tool.name", "code.function.name"), name, _READ, documented=True),
)

SEMANTIC_KERNEL = Dialect(
    "semantic_kernel",
    markers=("gen_ai.operation.name=chat.completions", "gen_ai.operation.name=text.completions", "gen_ai.response.finish_reason"),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=18,
    scopes=("semantic_kernel*",),
    events=EVENTS,
    sparse=True,
)

DIALECTS = (SEMANTIC_KERNEL,)
