"""Quality and guardrails: verdicts by rule, evaluation scores."""

from __future__ import annotations

from typing import Any

from spanline.deploy.dashboards import Row, dashboard
from spanline.deploy.panels import Query, heatmap, stat, table, timeseries
from spanline.deploy.promql import BOARD

UID = "spanline-quality"

_VERDICTS = "llm_guardrail_outcomes_total"
_SCORE = "llm_evaluation_score"


def board() -> dict[str, Any]:
    """The board."""
    rows: list[Row] = [("Guardrails", 8, _guardrails()), ("Evaluations", 8, _evaluations())]
    what = "What do the guardrails say, by rule, and how do evaluations score?"
    return dashboard(UID, "Quality and guardrails", what, rows, since="now-24h")


def _guardrails() -> list[tuple[int, dict[str, Any]]]:
    failing = BOARD.ratio(_VERDICTS, 'outcome="fail"', 'outcome=~"pass|fail"', by=("guardrail",))
    broken = BOARD.rate(_VERDICTS, 'outcome=~"error|skip"', by=("guardrail", "outcome"))
    totals = BOARD.increase(_VERDICTS, by=("guardrail", "outcome"), window="$__range")
    return [
        (12, timeseries("Verdicts", "What guardrails decided, by rule. The dots are single requests.", [Query(BOARD.rate(_VERDICTS, by=("guardrail", "outcome")), "{{guardrail}} {{outcome}}", True)], unit="ops", stacked=True)),
        (12, timeseries("Share that fails", "Of what a rule judged. All rules at once: the model or the prompt; one rule: that rule, or an attack.", [Query(failing, "{{guardrail}}")], unit="percentunit", threshold=0.05)),
        (12, timeseries("Guardrails that did not judge", "Errors and skips: these answers went out unguarded, or not at all.", [Query(broken, "{{guardrail}} {{outcome}}", True)], unit="ops", empty="none")),
        (12, table("Verdicts in the range shown", "By rule and outcome.", Query(totals), columns=[("guardrail", "Rule"), ("outcome", "Outcome")], value="Verdicts")),
    ]  # fmt: skip


def _evaluations() -> list[tuple[int, dict[str, Any]]]:
    of = ("evaluation",)
    mean = BOARD.mean(_SCORE, by=of, window="$__range")
    low_share = f"{BOARD.rate(_SCORE, _HALF, by=of, part='bucket')} / {BOARD.rate(_SCORE, by=of, part='count')}"
    buckets = BOARD.increase(_SCORE, by=("le",), part="bucket")
    recorded = 'job_evaluation:llm_evaluation:mean_rate{window}{{job=~"$job"}}'
    compared = [Query(recorded.format(window=window), f"{{{{job}}}} {{{{evaluation}}}} {window}") for window in ("1h", "1d")]
    return [
        (12, timeseries("Mean score", "By evaluation.", [Query(BOARD.mean(_SCORE, by=of), "{{evaluation}}")], top=1)),
        (12, heatmap("Scores, distribution", "A mean hides two groups; this does not. The dots are judged answers.", Query(buckets, "{{le}}", True), unit="none")),
        (8, timeseries("Now against the day before", "Mean of the last hour and of the day; an alert compares them.", compared, top=1)),
        (8, timeseries("Share of scores up to 0.5", "Bad answers, as the evaluators see them.", [Query(low_share, "{{evaluation}}")], unit="percentunit")),
        (4, stat("Mean in the range shown", "By evaluation.", Query(mean, "{{evaluation}}"), steps=((None, "red"), (0.5, "yellow"), (0.7, "green")), empty="no evaluations")),
        (4, timeseries("Evaluations", "How many answers were judged.", [Query(BOARD.increase(_SCORE, by=of, part="count"), "{{evaluation}}")], bars=True)),
    ]  # fmt: skip


_HALF = 'le="0.5"'
