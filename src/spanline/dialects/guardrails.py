"""Guardrail frameworks: Guardrails AI and NeMo Guardrails."""

from __future__ import annotations

from typing import Any

from spanline.dialects.coerce import identifier, name, text
from spanline.dialects.genai import EVENTS, ROWS
from spanline.dialects.table import Dialect, Row

_SEEN = "seen in guardrails-ai 0.11.0 and openinference-instrumentation-guardrails 0.1.27"
_NEMO = "read in nemoguardrails 0.15"

_KINDS = {
    "guardrails/guard/step/validator": "guardrail",
    "guardrails/guard": "workflow",
    "guardrails/guard/step": "other",
    "guardrails/guard/step/call": "other",
    "guardrail": "other",
}


def _verdict(value: Any) -> str | None:
    return ("pass" if value else "fail") if isinstance(value, bool) else None


_ROWS = (
    Row("operation", ("type", "openinference.span.kind"), text, _SEEN),
    Row("guardrail_name", ("validator.name", "guard.name"), name, _SEEN),
    Row("guardrail_outcome", ("validator.validate.output.outcome",), identifier, f"{_SEEN}, always empty", documented=True),
    Row("guardrail_outcome", ("output.value",), identifier, _SEEN, path="outcome", kinds=("guardrail",)),
    Row("guardrail_outcome", ("validation_passed",), _verdict, _SEEN),
    Row("guardrail_action", ("validator.on_fail", "on_fail_descriptor"), identifier, _SEEN),
    Row("agent_name", ("guard.name",), name, _SEEN, kinds=("workflow",)),
)
_STOPPED = {True: "fail", False: "pass"}
_RAILS = (
    Row("operation", ("S:name",), identifier, _NEMO, documented=True),
    Row("guardrail_name", ("rail.name",), name, _NEMO, documented=True),
    Row("guardrail_phase", ("rail.type",), identifier, _NEMO, documented=True),
    Row(
        "guardrail_outcome", ("rail.stop",), lambda value: _STOPPED.get(value) if isinstance(value, bool) else None, _NEMO, documented=True
    ),
    Row("tool_name", ("action.name",), name, _NEMO, kinds=("tool",), documented=True),
)

GUARDRAILS_AI = Dialect(
    "guardrails_ai",
    markers=("guardrails.version", "validator.name"),
    kinds=_KINDS,
    rows=(*_ROWS, *ROWS),
    priority=95,
    scopes=("guardrails-ai",),
    events=EVENTS,
)
NEMO = Dialect(
    "nemo_guardrails",
    markers=("rail.name", "rail.type"),
    kinds={"guardrails.rail": "guardrail", "guardrails.action": "tool", "guardrails.request": "workflow"},
    rows=(*_RAILS, *ROWS),
    priority=45,
    scopes=("nemo_guardrails*", "nemoguardrails*"),
    events=EVENTS,
    kind="guardrail",
)

DIALECTS = (GUARDRAILS_AI, NEMO)
