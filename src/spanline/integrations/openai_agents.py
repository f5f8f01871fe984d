"""OpenAI Agents SDK: what its guardrails found, which its own spans and those of every instrumentation leave out."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, cast

from opentelemetry import trace

import spanline.semconv as s
from spanline._guard import guard
from spanline.api.steps import guardrail
from spanline.errors import ConfigurationError, error_type

Run = Callable[..., Awaitable[Any]]
_CLASSES = {"InputGuardrail": "input", "OutputGuardrail": "output", "ToolInputGuardrail": "tool", "ToolOutputGuardrail": "tool"}
_ACTIONS = {"ToolInputGuardrail": "block", "ToolOutputGuardrail": "redact"}
"""Of a tool's guardrail that rejects content: the call is not made; the result is replaced."""

_lock = Lock()
_originals: dict[type[Any], Run] = {}


def instrument() -> None:
    """Record every guardrail of the OpenAI Agents SDK as a guardrail of the current run; a second call changes nothing.

    The guardrails of agents (input, output) and of tools, in all agents, whether the SDK's own tracing is on or off. Name, phase, outcome
    (`fail` when the tripwire was triggered or content rejected, `error` when the check raised) and action are kept; what it looked at and
    what it said of it are not. One span a guardrail call, or what OpenInference
    makes of it.

    Raises:
        ConfigurationError: The SDK is not installed.
    """
    try:
        sdk: Any = importlib.import_module("agents")
    except ImportError as error:
        raise ConfigurationError("openai_agents.instrument: install the SDK: pip install 'spanline[openai-agents]'") from error
    with _lock:
        for name, phase in _CLASSES.items():
            cls = getattr(sdk, name, None)
            # Versions before 0.4 have no guardrails of tools.
            if isinstance(cls, type) and cls not in _originals:
                kind = cast("Any", cls)
                _originals[cls] = kind.run
                kind.run = _around(kind.run, phase, _ACTIONS.get(name, "block"))


def uninstrument() -> None:
    """Leave the SDK as it was."""
    with _lock:
        for cls, run in _originals.items():
            cast("Any", cls).run = run
        _originals.clear()


def _around(run: Run, phase: str, rejects: str) -> Run:
    @functools.wraps(run)
    async def recorded(self: Any, *args: Any, **keywords: Any) -> Any:
        span = _span_of_another()
        if span is not None:
            return await _onto(span, _name(self), phase, rejects, run(self, *args, **keywords))
        with guardrail(_name(self), phase=phase) as check:
            result = await run(self, *args, **keywords)
            with guard("integrations.openai_agents"):
                action = _action(result, rejects)
                if action is None:
                    check.passed()
                else:
                    check.failed(action=action)
            return result

    return recorded


def _span_of_another() -> trace.Span | None:
    """The span that OpenInference has just started for this guardrail: one check is one outcome."""
    with guard("integrations.openai_agents"):
        span = trace.get_current_span()
        attributes: Any = getattr(span, "attributes", None)
        if span.is_recording() and attributes and attributes.get("openinference.span.kind") == "GUARDRAIL":
            return span
    return None


async def _onto(span: trace.Span, name: str, phase: str, rejects: str, answer: Awaitable[Any]) -> Any:
    """What `guardrail()` records, on a span that is there already."""
    said = {s.SPANLINE_OPERATION: "guardrail", s.GUARDRAIL_NAME: name, s.GUARDRAIL_PHASE: phase}
    try:
        result = await answer
    except Exception as error:
        with guard("integrations.openai_agents"):
            span.set_attributes({**said, s.GUARDRAIL_OUTCOME: "error", s.ERROR_TYPE: error_type(error)})
        raise
    with guard("integrations.openai_agents"):
        action = _action(result, rejects)
        found = {s.GUARDRAIL_OUTCOME: "pass"} if action is None else {s.GUARDRAIL_OUTCOME: "fail", s.GUARDRAIL_ACTION: action}
        span.set_attributes({**said, **found})
    return result


def _name(this: Any) -> str:
    with guard("integrations.openai_agents"):
        return str(this.get_name())
    return "guardrail"


def _action(result: Any, rejects: str) -> str | None:
    """What is done about it; None where the check found nothing."""
    # Agents' guardrails answer with a result around the output, tools' with the output.
    output = getattr(result, "output", result)
    behavior = getattr(output, "behavior", None)
    if behavior is None:
        return "block" if output.tripwire_triggered else None
    return {"allow": None, "raise_exception": "block"}.get(str(behavior.get("type")), rejects)
