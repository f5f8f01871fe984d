"""Strands Agents: the conventions with a time to first token in milliseconds and a loop of its own."""

from __future__ import annotations

from spanline.dialects.coerce import wait
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row

_READ = "read in strands-agents 1.x"

_KINDS = {**KINDS, "execute_event_loop_cycle": "other", "invoke_swarm": "workflow", "invoke_graph": "workflow", "invoke_node": "other"}
_ROWS = (Row("time_to_first_token_seconds", ("gen_ai.server.time_to_first_token",), wait, _READ, unit="ms", documented=True),)

STRANDS = Dialect(
    "strands",
    markers=("gen_ai.system=strands-agents", "gen_ai.provider.name=strands-agents", "event_loop.cycle_id"),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=45,
    scopes=("strands*",),
    events=EVENTS,
)

DIALECTS = (STRANDS,)
