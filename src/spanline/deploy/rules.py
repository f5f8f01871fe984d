"""Prometheus rules: recorded ratios, multi-window multi-burn-rate alerts, and alerts on lineage itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from spanline.deploy.boards import incident, lineage_health, llm_service, quality, retrieval
from spanline.deploy.objectives import BURNS, OBJECTIVES, WINDOWS, Objective
from spanline.deploy.promql import LOST, RULE

Rule = dict[str, Any]

_LONG_WINDOWS = tuple(burn.long for burn in BURNS)
_SCORE = "llm_evaluation_score"
_EVALUATED = ("job", "evaluation")


class Bases(NamedTuple):
    """Where links lead: Grafana, the folder with the runbooks, run pages, and Jaeger's own pages."""

    grafana: str = "http://localhost:3001"
    runbooks: str = "https://github.com/spanline/spanline/blob/main/docs/runbooks"
    runs: str = "http://localhost:8008"
    jaeger: str = "http://localhost:16686"


class Alert(NamedTuple):
    """An alert: when, how bad, what it says, and the board to open first."""

    name: str
    severity: str
    expr: str
    for_: str
    summary: str
    description: str
    board: str


_BOARDS = {"llm_errors": incident.UID, "llm_latency": llm_service.UID, "rag_empty": retrieval.UID, "llm_guardrail": quality.UID}
_SAYS = {
    "llm_errors": ("{{ $labels.job }}: {{ $value | humanizePercentage }} of the requests fail", "Requests end in an error."),
    "llm_latency": ("{{ $labels.job }}: {{ $value | humanizePercentage }} of the answers are slow", "Answers take longer than promised."),
    "rag_empty": ("{{ $labels.job }}: {{ $value | humanizePercentage }} of the retrievals find nothing in {{ $labels.index_version }}", "The model answers without documents."),
    "llm_guardrail": ("{{ $labels.job }}: guardrail {{ $labels.guardrail }} fails {{ $value | humanizePercentage }} of the time", "The rule finds something, or does not work."),
}  # fmt: skip


def rules(bases: Bases | None = None, objectives: Sequence[Objective] = OBJECTIVES) -> Rule:
    """The rule file, as Prometheus reads it.

    Raises:
        ValueError: An objective's alert could never fire.
    """
    for objective in objectives:
        objective.check()
    groups = [_recorded(objective) for objective in objectives]
    groups.append({"name": "spanline-evaluation", "rules": _evaluation()})
    groups.append({"name": "spanline-alerts", "rules": [_rule(alert, bases or Bases()) for alert in alerts(objectives)]})
    return {"groups": groups}


def alerts(objectives: Sequence[Objective] = OBJECTIVES) -> list[Alert]:
    """All alerts, the objectives' first."""
    burning = [_burning(objective, severity) for objective in objectives for severity in ("page", "ticket")]
    return [*burning, *_OF_ANSWERS, *_OF_LINEAGE]


def _recorded(objective: Objective) -> Rule:
    ratios = [{"record": objective.ratio_name(window), "expr": objective.ratio(window)} for window in WINDOWS]
    events = [{"record": objective.events_name(window), "expr": objective.events(window)} for window in _LONG_WINDOWS]
    return {"name": f"spanline-{objective.name.replace('_', '-')}", "rules": [*ratios, *events]}


def _evaluation() -> list[Rule]:
    def recorded(what: str, expr: str) -> Rule:
        return {"record": f"job_evaluation:llm_evaluation:{what}", "expr": expr}

    return [
        recorded("mean_rate1h", RULE.mean(_SCORE, by=_EVALUATED, window="1h")),
        recorded("mean_rate1d", RULE.mean(_SCORE, by=_EVALUATED, window="1d")),
        recorded("events_increase1h", RULE.increase(_SCORE, by=_EVALUATED, part="count", window="1h")),
    ]


def _burning(objective: Objective, severity: str) -> Alert:
    def pair(factor: float, long: str, short: str) -> str:
        worst = f"{factor:g} * {objective.budget:g}"
        enough = f"{objective.events_name(long)} >= {objective.least}"
        return f"({objective.ratio_name(short)} > {worst} and {objective.ratio_name(long)} > {worst} and {enough})"

    expr = "\nor\n".join(pair(burn.factor, burn.long, burn.short) for burn in BURNS if burn.severity == severity)
    summary, description = _SAYS[objective.name]
    promised = f" within {objective.within:g} s" if objective.within else ""
    budget = f"Promised: {objective.target * 100:g} % good{promised}."
    how = "The month's budget is gone in days if this goes on." if severity == "page" else "Slow, but the month's budget will not last."
    text = f"{description} {budget} {how}"
    return Alert(objective.alert, severity, expr, "2m" if severity == "page" else "15m", summary, text, _BOARDS[objective.name])


_MEAN_1H = "job_evaluation:llm_evaluation:mean_rate1h"
_OF_ANSWERS = (
    Alert(
        "LlmVersionConflict", "ticket", f"{RULE.risen('spanline_version_conflicts_total', by=('job', 'kind'), window='1h')} > 0", "0m",
        "{{ $labels.job }}: a {{ $labels.kind }} has other content under a known version",
        "Something was changed without a new version: answers from before and after are not comparable, and a rollback by version does not bring the old content back.",
        incident.UID,
    ),
    Alert(
        "LlmEvaluationRegressed", "ticket",
        f"{_MEAN_1H} < job_evaluation:llm_evaluation:mean_rate1d offset 1h - 0.1\nand job_evaluation:llm_evaluation:events_increase1h >= 10", "10m",
        '{{ $labels.job }}: {{ $labels.evaluation }} scores {{ printf "%.2f" $value }}, well below the day before',
        "The mean of the last hour is more than 0.1 below that of the day before it.",
        quality.UID,
    ),
    Alert(
        "LlmServiceDown", "page", "max by (job) (up) == 0 and on (job) count by (job) (last_over_time(llm_requests_in_flight[1d]))", "5m",
        "{{ $labels.job }}: no instance answers Prometheus",
        "No other alert of this service can fire while it is not measured.",
        incident.UID,
    ),
)  # fmt: skip

_OF_LINEAGE = (
    Alert(
        "SpanlineLineageLag", "ticket", "max by (job, consumer) (spanline_relay_lag_seconds) > 300", "10m",
        "{{ $labels.job }}: {{ $labels.consumer }} is {{ $value | humanizeDuration }} behind",
        "Events wait in the journal on the service's disk. Nothing is lost until the journal is full.",
        lineage_health.UID,
    ),
    Alert(
        "SpanlineJournalBacklog", "page", "max by (job, instance) (spanline_journal_backlog_bytes) > 4e8", "10m",
        "{{ $labels.instance }}: {{ $value | humanize1024 }}B of lineage wait to be sent",
        "At the journal's limit (512 MB unless SPANLINE_JOURNAL_MAX_BYTES says otherwise) the oldest events are given up, and lineage is lost.",
        lineage_health.UID,
    ),
    Alert(
        "SpanlineEventsParked", "ticket", "max by (job, consumer) (spanline_parked_events) > 0", "5m",
        "{{ $labels.job }}: {{ $labels.consumer }} refused {{ $value }} events",
        "A consumer answered that it will never take them; they are kept until somebody looks.",
        lineage_health.UID,
    ),
    Alert(
        "SpanlineEventsDropped", "ticket",
        f"{RULE.risen('spanline_dropped_total', LOST, by=('job', 'reason'), window='1h')} > 0", "0m",
        "{{ $labels.job }}: lineage was dropped ({{ $labels.reason }})",
        "Runs of the last hour are missing or incomplete in the ledger and at consumers.",
        lineage_health.UID,
    ),
    Alert(
        "SpanlineInternalErrors", "ticket", f"{RULE.risen('spanline_internal_errors_total', by=('job', 'site'), window='1h')} > 0", "0m",
        "{{ $labels.job }}: spanline failed inside ({{ $labels.site }})",
        "The application was not affected; its lineage or metrics may be incomplete.",
        lineage_health.UID,
    ),
)  # fmt: skip


def _rule(alert: Alert, bases: Bases) -> Rule:
    # The label is quoted by Prometheus' own template function: a job's name may hold anything.
    board = f"{bases.grafana}/d/{alert.board}?var-job={{{{ $labels.job | urlquery }}}}&from=now-3h&to=now"
    annotations = {"summary": alert.summary, "description": alert.description}
    annotations |= {"runbook_url": f"{bases.runbooks}/{alert.name}.md", "dashboard_url": board}
    found: Rule = {"alert": alert.name, "expr": alert.expr, "for": alert.for_}
    if alert.for_ == "0m":
        del found["for"]
    return {**found, "labels": {"severity": alert.severity}, "annotations": annotations}
