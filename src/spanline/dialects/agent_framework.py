"""Microsoft Agent Framework: the conventions, lists as JSON, its own name as the provider of agents."""

from __future__ import annotations

from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect

_KINDS = {**KINDS, "workflow.run": "workflow", "executor.process": "other", "workflow.build": "other", "message.send": "other"}

AGENT_FRAMEWORK = Dialect(
    "agent_framework",
    markers=("gen_ai.provider.name=microsoft.agent_framework", "agent_framework.function.invocation.duration"),
    kinds=_KINDS,
    rows=ROWS,
    priority=45,
    scopes=("agent_framework*",),
    events=EVENTS,
    sparse=True,
)

DIALECTS = (AGENT_FRAMEWORK,)
