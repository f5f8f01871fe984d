"""When each alert fires, and when not: `python -m tests.alert_cases` writes them for `promtool test rules`.

What happens and what is expected is written here by hand; only the texts of annotations are taken from the alerts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from spanline.deploy.generate import to_yaml
from spanline.deploy.rules import Alert, Bases, alerts

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "deploy/prometheus/tests"
JOB = "fee-assistant"


class Case(NamedTuple):
    """What happens (series and their values, a sample a minute), and which alerts fire at a moment: severity, value, labels."""

    what: str
    series: dict[str, str]
    at: str
    fires: list[tuple[str, str, dict[str, str]]]


def latency(outcome: str, values: str, job: str = JOB, instance: str = "a:8000") -> dict[str, str]:
    return {f'llm_latency_seconds_count{{job="{job}",instance="{instance}",route="/chat",outcome="{outcome}"}}': values}


def within(slow: int, minutes: int) -> dict[str, str]:
    """100 good answers a minute, of which `slow` take longer than three seconds."""
    bucket = f'llm_latency_seconds_bucket{{job="{JOB}",instance="a:8000",route="/chat",outcome="ok",le="3.0"}}'
    return {bucket: f"0+{100 - slow}x{minutes}", **latency("ok", f"0+100x{minutes}")}


def retrievals(index: str, **outcomes: str) -> dict[str, str]:
    return {f'rag_retrievals_total{{job="{JOB}",instance="a:8000",index_version="{index}",outcome="{o}"}}': v for o, v in outcomes.items()}


def verdicts(guardrail: str, **outcomes: str) -> dict[str, str]:
    named = {"passed": "pass", "failed": "fail", "error": "error", "skip": "skip"}
    return {
        f'llm_guardrail_outcomes_total{{job="{JOB}",instance="a:8000",guardrail="{guardrail}",outcome="{named[o]}"}}': v
        for o, v in outcomes.items()
    }


def scores(total: str, count: str) -> dict[str, str]:
    labels = f'{{job="{JOB}",instance="a:8000",evaluation="faithfulness"}}'
    return {f"llm_evaluation_score_sum{labels}": total, f"llm_evaluation_score_count{labels}": count}


def one(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ",".join(f'{label}="{value}"' for label, value in {"job": JOB, "instance": "a:8000", **labels}.items())
    return {f"{name}{{{inside}}}": values}


OF = {"job": JOB}
ANY = "*"
"""A value that depends on which group of rules promtool evaluates first: only that the alert fires is looked at."""

NEW_INDEX, OLD_INDEX = "fees_corpus@commit:def456", "fees_corpus@commit:abc123"
HOSTILE = "fees & cards/eu"

CASES: dict[str, list[Case]] = {
    "LlmErrorBudgetBurn": [
        Case("a fifth of the requests fails", latency("ok", "0+80x120") | latency("error", "0+20x120"), "90m", [("page", "20%", OF), ("ticket", "20%", OF)]),
        Case("a job's name is quoted in links", latency("ok", "0+80x120", HOSTILE) | latency("error", "0+20x120", HOSTILE), "90m", [("page", "20%", {"job": HOSTILE}), ("ticket", "20%", {"job": HOSTILE})]),
        Case("everything fails since the first request", latency("error", "_x10 5+100x60"), "24m", [("page", "100%", OF)]),
        Case("one in fifty fails for hours", latency("ok", "0+98x180") | latency("error", "0+2x180"), "3h", [("ticket", "2%", OF)]),
        Case("one in twenty-five fails for hours", latency("ok", "0+96x180") | latency("error", "0+4x180"), "3h", [("page", "4%", OF), ("ticket", "4%", OF)]),
        Case("it began 26 minutes ago, after hours of calm", latency("ok", "0+100x300 30080+80x30") | latency("error", "0x300 20+20x30"), "326m", [("page", ANY, OF), ("ticket", ANY, OF)]),
        Case("it is over: nobody is woken any more", latency("ok", "0+80x60 4800x60") | latency("error", "0+20x60 1200x60"), "110m", [("ticket", "20%", OF)]),
        Case("fewer fail than is allowed", latency("ok", "0+997x180") | latency("error", "0+3x180"), "3h", []),
        Case("a dozen requests at night", latency("error", " ".join(f"{n}x4" for n in range(13))), "60m", []),
        Case("clients go away", latency("ok", "0+50x120") | latency("aborted", "0+50x120"), "90m", []),
        Case("one bad minute", latency("ok", "0+100x240 24000x0 24100+100x60") | latency("error", "0x240 100x62"), "246m", []),
    ],
    "LlmLatencyBudgetBurn": [
        Case("two of five answers are slow", within(40, 120), "90m", [("page", "40%", OF), ("ticket", "40%", OF)]),
        Case("one of ten is slow for hours", within(10, 180), "3h", [("ticket", "10%", OF)]),
        Case("as promised", within(4, 180), "3h", []),
        Case("failed requests are none of it", within(0, 120) | latency("error", "0+100x120"), "90m", []),
    ],
    "RagEmptyRetrievalBudgetBurn": [
        Case("the new index finds nothing, the old one is fine", retrievals(NEW_INDEX, hit="0+2x120", empty="0+8x120") | retrievals(OLD_INDEX, hit="0+90x120"), "90m",
             [("page", "80%", {**OF, "index_version": NEW_INDEX}), ("ticket", "80%", {**OF, "index_version": NEW_INDEX})]),
        Case("a tenth is empty for hours", retrievals(OLD_INDEX, hit="0+90x180", empty="0+10x180"), "3h", [("ticket", "10%", {**OF, "index_version": OLD_INDEX})]),
        Case("as promised", retrievals(OLD_INDEX, hit="0+97x180", empty="0+3x180"), "3h", []),
        Case("errors are none of it", retrievals(OLD_INDEX, hit="0+50x120", error="0+50x120"), "90m", []),
    ],
    "LlmGuardrailBudgetBurn": [
        Case("one rule finds something in half of the answers, the other in none", verdicts("fee-schema", passed="0+50x120", failed="0+50x120") | verdicts("no-advice", passed="0+100x120"), "90m",
             [("page", "50%", {**OF, "guardrail": "fee-schema"}), ("ticket", "50%", {**OF, "guardrail": "fee-schema"})]),
        Case("a rule does not work", verdicts("fee-schema", passed="0+60x120", error="0+40x120"), "90m",
             [("page", "40%", {**OF, "guardrail": "fee-schema"}), ("ticket", "40%", {**OF, "guardrail": "fee-schema"})]),
        Case("as promised", verdicts("fee-schema", passed="0+97x180", failed="0+3x180"), "3h", []),
        Case("skipped on purpose", verdicts("fee-schema", passed="0+10x120", skip="0+90x120"), "90m", []),
    ],
    "LlmVersionConflict": [
        Case("the first conflict of a process, whose counter begins at 1", one("spanline_version_conflicts_total", "_x90 1+0x120", kind="prompt"), "91m", [("ticket", "", {**OF, "kind": "prompt"})]),
        Case("another one later", one("spanline_version_conflicts_total", "1+0x90 2+0x120", kind="index"), "95m", [("ticket", "", {**OF, "kind": "index"})]),
        Case("an hour later", one("spanline_version_conflicts_total", "_x90 1+0x120", kind="prompt"), "152m", []),
    ],
    "LlmEvaluationRegressed": [
        Case("0.875 before, 0.6875 now", scores("0+0.875x180 158.1875+0.6875x80", "0+1x260"), "256m", [("ticket", "0.69", {**OF, "evaluation": "faithfulness"})]),
        Case("a little worse", scores("0+0.875x180 158.3125+0.8125x80", "0+1x260"), "256m", []),
        Case("three judged answers an hour are no trend", scores("0+0.875x180 157.5x20 158x20 158.5x20 159x20 159.5x20", "0+1x180 180x20 181x20 182x20 183x20 184x20"), "270m", []),
    ],
    "LlmServiceDown": [
        Case("no instance answers", one("up", "1x30 0x30") | one("llm_requests_in_flight", "0x30"), "40m", [("page", "0", OF)]),
        Case("one of two answers", one("up", "1x30 0x30") | one("up", "1x60", instance="b:8000") | one("llm_requests_in_flight", "0x30"), "40m", []),
        Case("a target that is none of ours", one("up", "0x60", job="node"), "40m", []),
        Case("a restart", one("up", "1x30 0x3 1x30") | one("llm_requests_in_flight", "0x60"), "32m", []),
    ],
    "SpanlineLineageLag": [
        Case("a consumer is away", one("spanline_relay_lag_seconds", "0+60x60", consumer="marquez"), "20m", [("ticket", "20m 0s", {**OF, "consumer": "marquez"})]),
        Case("not for long yet", one("spanline_relay_lag_seconds", "0+60x60", consumer="marquez"), "12m", []),
        Case("it came back", one("spanline_relay_lag_seconds", "0+60x8 0x30", consumer="marquez"), "20m", []),
        Case("always a little behind", one("spanline_relay_lag_seconds", "200x60", consumer="marquez"), "40m", []),
    ],
    "SpanlineJournalBacklog": [
        Case("four fifths of the journal wait", one("spanline_journal_backlog_bytes", "419430400x30"), "20m", [("page", "400Mi", {**OF, "instance": "a:8000"})]),
        Case("half of it", one("spanline_journal_backlog_bytes", "268435456x30"), "20m", []),
        Case("not for long yet", one("spanline_journal_backlog_bytes", "0x10 419430400x30"), "15m", []),
    ],
    "SpanlineEventsParked": [
        Case("three events were refused", one("spanline_parked_events", "0x5 3x30", consumer="marquez"), "20m", [("ticket", "3", {**OF, "consumer": "marquez"})]),
        Case("not for long yet", one("spanline_parked_events", "0x5 3x30", consumer="marquez"), "8m", []),
        Case("they were tried again", one("spanline_parked_events", "0x5 3x10 0x30", consumer="marquez"), "20m", []),
    ],
    "SpanlineEventsDropped": [
        Case("the first of a kind", one("spanline_dropped_total", "_x90 1+0x60", reason="disk_full"), "91m", [("ticket", "", {**OF, "reason": "disk_full"})]),
        Case("a consumer's own settings leave out", one("spanline_dropped_total", "_x90 4+1x60", reason="thinned"), "91m", []),
        Case("more of a kind", one("spanline_dropped_total", "1+0x90 3+0x60", reason="spans"), "95m", [("ticket", "", {**OF, "reason": "spans"})]),
        Case("long ago", one("spanline_dropped_total", "4+0x200", reason="disk_full"), "120m", []),
    ],
    "SpanlineInternalErrors": [
        Case("the first of a place", one("spanline_internal_errors_total", "_x90 1+0x60", site="metrics"), "91m", [("ticket", "", {**OF, "site": "metrics"})]),
        Case("more of a place", one("spanline_internal_errors_total", "1+0x90 3+0x60", site="metrics"), "95m", [("ticket", "", {**OF, "site": "metrics"})]),
        Case("long ago", one("spanline_internal_errors_total", "1+0x200", site="metrics"), "120m", []),
    ],
}  # fmt: skip


_EVERY = {name: "2m" for name in CASES if name.endswith(("BudgetBurn", "Regressed"))}
"""Long stories in longer steps: each step evaluates all rules."""


def files() -> dict[str, str]:
    """Paths from the repository's root, and texts."""
    return {
        f"{FOLDER}/{name}.test.yml": to_yaml(_document(name, cases)).replace("spanline.deploy`", "tests.alert_cases`", 1)
        for name, cases in CASES.items()
    }


def _document(name: str, cases: list[Case]) -> dict[str, Any]:
    tests = [
        {
            "name": case.what,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            **_asked(name, case),
        }
        for case in cases
    ]
    return {"rule_files": ["../rules/spanline.rules.yml"], "evaluation_interval": _EVERY.get(name, "1m"), "tests": tests}


def _asked(name: str, case: Case) -> dict[str, Any]:
    if any(value == ANY for _, value, _ in case.fires):
        firing = {"alertname": name, "alertstate": "firing"}
        samples = [
            {"labels": f"ALERTS{_selector({**firing, **labels, 'severity': severity})}", "value": 1} for severity, _, labels in case.fires
        ]
        return {"promql_expr_test": [{"expr": f"ALERTS{_selector(firing)}", "eval_time": case.at, "exp_samples": samples}]}
    return {"alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": [_expected(name, *fired) for fired in case.fires]}]}


def _selector(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def _expected(name: str, severity: str, value: str, labels: dict[str, str]) -> dict[str, Any]:
    (alert,) = (alert for alert in alerts() if (alert.name, alert.severity) == (name, severity))
    board = f"{Bases().grafana}/d/{alert.board}?var-job={quote_plus(labels['job'])}&from=now-3h&to=now"
    annotations = {"summary": _said(alert, alert.summary, value, labels), "description": alert.description}
    annotations |= {"runbook_url": f"{Bases().runbooks}/{name}.md", "dashboard_url": board}
    return {"exp_labels": {"severity": severity, **labels}, "exp_annotations": annotations}


def _said(alert: Alert, template: str, value: str, labels: dict[str, str]) -> str:
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], template)
    text = re.sub(r"\{\{ [^}]*\$value[^}]*\}\}", value, text)
    assert "{{" not in text, alert
    return text


if __name__ == "__main__":
    for path, text in files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
