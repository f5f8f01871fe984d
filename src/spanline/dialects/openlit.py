"""OpenLIT: the conventions, with cost, database clients and guardrails of its own."""

from __future__ import annotations

from spanline.dialects.coerce import cost, identifier, locator, name, number, positive, text, wait
from spanline.dialects.documents import documents
from spanline.dialects.genai import EVENTS, KINDS, ROWS
from spanline.dialects.table import Dialect, Row, events_of

_SEEN = "seen in openlit 1.45.0"
_FEATURES = "seen in openlit 1.45.0, guardrails and evaluations"

_GUARD = events_of(
    "guardrail",
    Row("guardrail_name", ("guard.name",), name, _FEATURES),
    Row("guardrail_phase", ("guard.phase",), identifier, _FEATURES),
    Row("guardrail_action", ("guard.action",), identifier, _FEATURES),
    Row("guardrail_score", ("guard.score",), number, _FEATURES),
)

_KINDS = {**KINDS, "vectordb": "other", "retrieve": "retrieval", "framework": "workflow", "memory": "other"}
_ROWS = (
    Row("time_to_first_token_seconds", ("gen_ai.server.time_to_first_token",), wait, _SEEN),
    Row("cost_usd", ("gen_ai.usage.cost",), cost, f"{_SEEN}, always 0: prices are fetched", documented=True),
    # What it writes where nothing was asked for.
    Row("seed", ("gen_ai.request.seed",), positive, _SEEN),
    Row("index_name", ("db.collection.name",), locator, "read in openlit 1.45.0", documented=True),
    Row("documents", ("gen_ai.retrieval.documents",), documents, "read in openlit 1.45.0", documented=True),
    Row("agent_name", ("gen_ai.agent.name", "gen_ai.workflow.name"), name, "read in openlit 1.45.0", documented=True),
    Row("provider", ("gen_ai.provider.name",), text, _SEEN),
)

OPENLIT = Dialect(
    "openlit",
    markers=("telemetry.sdk.name=openlit",),
    kinds=_KINDS,
    rows=(*_ROWS, *(row for row in ROWS if row.field != "seed")),
    priority=40,
    scopes=("openlit*",),
    events={**EVENTS, "guard.evaluation": _GUARD},
    exclusive=("anthropic",),
)
OUTCOMES = Dialect(
    "openlit_guard",
    markers=(),
    rows=(),
    kind="guardrail",
    events={**EVENTS, "guard.evaluation": _GUARD},
    by_events=("guard.evaluation",),
)

DIALECTS = (OPENLIT, OUTCOMES)
