"""Tools, agents, workflows and guardrails by hand."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from opentelemetry.trace import Status, StatusCode

import spanline.semconv as s
from spanline._guard import report
from spanline.api.operation import Operation, current_sink
from spanline.errors import error_type

PHASES = frozenset({"input", "output", "tool"})
ACTIONS = frozenset({"block", "redact", "retry", "flag"})


class Guardrail(Operation):
    """One check; made by `guardrail()`. Without a verdict its outcome is `skip`."""

    def passed(self, *, score: float | None = None) -> None:
        """The check found nothing."""
        self._verdict("pass", None, score)

    def failed(self, *, reason: str | None = None, action: str | None = None, score: float | None = None) -> None:
        """The check found something.

        Args:
            reason: What it found. It is content: dropped, unless `SPANLINE_ALLOW` has `spanline.guardrail.reason`.
            action: What was done: `block`, `redact`, `retry` or `flag`.
            score: How sure the check is.
        """
        self._verdict("fail", action, score, reason)

    def skipped(self) -> None:
        """The check did not run."""
        self._verdict("skip", None, None)

    def _verdict(self, outcome: str, action: str | None, score: float | None, reason: str | None = None) -> None:
        try:
            if reason is not None:
                sink = current_sink()
                if sink is not None and sink.settings.allows(s.GUARDRAIL_REASON):
                    self.attributes({s.GUARDRAIL_REASON: reason})
            self.attributes(
                {s.GUARDRAIL_OUTCOME: outcome, s.GUARDRAIL_SCORE: score, s.GUARDRAIL_ACTION: action if action in ACTIONS else None}
            )
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("api.guardrail", error)

    def _returned(self, result: Any) -> None:
        if s.GUARDRAIL_OUTCOME not in self._late and isinstance(result, bool):
            self._verdict("pass" if result else "fail", None, None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, Exception) and s.GUARDRAIL_OUTCOME not in self._late:
            self._verdict("error", None, None)
        super().__exit__(kind, error, traceback)

    def _failed(self, error: BaseException) -> None:
        # A guardrail that says fail and raises to block did its work: that is no error of the operation.
        if self._late.get(s.GUARDRAIL_OUTCOME) == "error":
            self._late[s.ERROR_TYPE] = error_type(error)
            self._span.set_status(Status(StatusCode.ERROR))


def guardrail(name: str, *, version: str | None = None, phase: str | None = None) -> Guardrail:
    """A guardrail: `with guardrail("fee-schema", version="3", phase="output") as guard: guard.passed()`.

    Args:
        name: Name of the check.
        version: Version of its rules.
        phase: `input`, `output` or `tool`.
    """
    attributes = {
        s.GUARDRAIL_NAME: name, s.GUARDRAIL_VERSION: version, s.GUARDRAIL_PHASE: phase if isinstance(phase, str) and phase in PHASES else None,
    }  # fmt: skip
    return Guardrail("guardrail", "guardrail", name, attributes)


def tool(name: str) -> Operation:
    """A tool execution. Arguments and results are content: they are not taken. Source: GenAI conventions, execute_tool."""
    return Operation("tool", "execute_tool", name, {s.TOOL_NAME: name})


def agent(name: str) -> Operation:
    """An agent's turn. Source: GenAI conventions, invoke_agent."""
    return Operation("agent", "invoke_agent", name, {s.AGENT_NAME: name})


def workflow(name: str) -> Operation:
    """A workflow around other operations. Source: GenAI conventions, invoke_workflow."""
    return Operation("workflow", "invoke_workflow", name, {s.WORKFLOW_NAME: name})
