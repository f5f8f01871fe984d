"""Outcomes: guardrail verdicts and evaluation scores in the contract's words, whatever a tool calls them."""

from __future__ import annotations

from spanline.dialects.fields import Fields
from spanline.record.run import Evaluation, GuardrailOutcome
from spanline.times import rfc3339

_OUTCOMES = {
    "pass": "pass", "passed": "pass", "ok": "pass", "success": "pass", "allow": "pass", "allowed": "pass", "true": "pass", "valid": "pass",
    "fail": "fail", "failed": "fail", "failure": "fail", "tripped": "fail", "triggered": "fail", "block": "fail", "blocked": "fail",
    "deny": "fail", "denied": "fail", "redact": "fail", "redacted": "fail", "mask": "fail", "masked": "fail", "false": "fail",
    "warn": "fail", "flag": "fail", "flagged": "fail", "intervened": "fail", "guardrail_intervened": "fail", "invalid": "fail",
    "error": "error", "errored": "error", "exception": "error",
    "skip": "skip", "skipped": "skip", "not_run": "skip", "none": "skip",
}  # fmt: skip
_ACTIONS = {
    "block": "block", "blocked": "block", "deny": "block", "denied": "block", "exception": "block", "filter": "block", "refrain": "block",
    "redact": "redact", "redacted": "redact", "mask": "redact", "masked": "redact", "anonymize": "redact", "fix": "redact",
    "fix_reask": "retry", "reask": "retry", "retry": "retry",
    "flag": "flag", "flagged": "flag", "warn": "flag", "noop": "flag", "log": "flag",
}  # fmt: skip
_PHASES = {
    "input": "input", "preflight": "input", "pre": "input", "pre_call": "input", "prompt": "input", "request": "input",
    "output": "output", "postflight": "output", "post": "output", "post_call": "output", "response": "output", "completion": "output",
    "tool": "tool", "tool_call": "tool", "tool_input": "tool", "tool_output": "tool",
}  # fmt: skip


def guardrail_of(fields: Fields, span_id: str, *, reasons: bool = False) -> GuardrailOutcome:
    """The verdict that a span or an event reports; `skip` where it does not say. Its reason is content, kept only where `reasons` says so."""
    word = (fields.guardrail_outcome or "").lower()
    action = (fields.guardrail_action or "").lower()
    outcome = _OUTCOMES.get(word) or _OUTCOMES.get(action, "skip")
    return GuardrailOutcome(
        name=fields.guardrail_name or "guardrail",
        version=fields.guardrail_version,
        phase=_PHASES.get((fields.guardrail_phase or "").lower()),
        outcome=outcome,
        # What a guardrail would do is no action of one that found nothing.
        action=_ACTIONS.get(action) if outcome != "pass" else None,
        score=fields.guardrail_score,
        reason=fields.guardrail_reason if reasons else None,
        span_id=span_id,
    )


def evaluation_of(fields: Fields, time_ns: int) -> Evaluation | None:
    """The score that an event reports; None where it names no measure."""
    if fields.evaluation_name is None:
        return None
    label = fields.evaluation_label
    verdict = _OUTCOMES.get((label or "").lower())
    return Evaluation(
        name=fields.evaluation_name,
        score=fields.evaluation_score,
        label=label,
        passed=True if verdict == "pass" else False if verdict == "fail" else None,
        evaluated_at=rfc3339(time_ns) if time_ns else None,
    )
