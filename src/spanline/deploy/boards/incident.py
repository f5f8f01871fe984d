"""Incident: the page for 3 a.m. What is wrong, what changed in the last hour, and the runs to look at."""

from __future__ import annotations

from typing import Any

from spanline.deploy.dashboards import Row, dashboard, textbox
from spanline.deploy.objectives import ANSWERED
from spanline.deploy.panels import Query, runs, stat, table, text, timeseries
from spanline.deploy.promql import BOARD

UID = "spanline-incident"

_LATENCY = "llm_latency_seconds"
_USED = "llm_artifact_last_used_timestamp_seconds"
_CLEAR = ((None, "green"), (1, "red"))

_HOW = """**From here to the answer that went wrong**: a dot in a graph → *Run page*; a row below → *Open run*; or [the failed runs](${links_base:raw}/runs?outcome=fail).
A run page says which data, index, prompt, model, code and release made the answer. **What changed** stands in the second row: compare a run from before the change with one after it."""


def board() -> dict[str, Any]:
    """The board."""
    rows: list[Row] = [
        ("What is wrong", 6, _wrong()),
        ("What changed in the last hour", 7, _changed()),
        ("When it began", 8, _began()),
        ("Runs to look at (from the trace store)", 9, _runs()),
    ]
    variables = [
        {"type": "datasource", "name": "traces", "label": "Traces", "query": "jaeger", "hide": 0, "refresh": 1, "regex": "", "multi": False},
        textbox("service", "Service in the trace store", "fee-assistant", "`service.name` of the traces, usually the same as the service above."),
        # Jaeger's own `error=true` finds nothing in its memory store (2.13): that one looks at attributes only, and an error is a status.
        textbox("failed", "Failed is", "http.response.status_code=500", "Tags of the spans of failed runs; `error=true` where the store knows it."),
        textbox("slow", "Slow is", "3s", "Runs slower than this are listed."),
        textbox("jaeger_base", "Jaeger at", "http://localhost:16686", "Base URL of Jaeger's own pages."),
    ]  # fmt: skip
    what = "Start here when something is wrong: what is wrong, what changed, when it began, and the runs behind it."
    return dashboard(UID, "Incident", what, rows, since="now-3h", variables=variables)


def _wrong() -> list[tuple[int, dict[str, Any]]]:
    alerts = 'max by (alertname, severity, job) (ALERTS{alertstate="firing",job=~"$job"})'
    failing = BOARD.ratio(_LATENCY, 'outcome="error"', ANSWERED, part="count", window="5m")
    empty = BOARD.ratio("rag_retrievals_total", 'outcome="empty"', 'outcome!="error"', window="5m")
    refused = BOARD.ratio("llm_guardrail_outcomes_total", 'outcome=~"fail|error"', 'outcome!="skip"', window="5m")
    steps = ((None, "green"), (0.01, "yellow"), (0.05, "red"))
    return [
        (8, table("Firing alerts", "Each has a runbook: the link stands in the alert.", Query(alerts), columns=[("alertname", "Alert"), ("severity", "Severity"), ("job", "Service")], empty="no alert fires")),
        (4, stat("Failed requests", "Share in the last 5 minutes.", Query(failing), unit="percentunit", steps=steps, empty="no requests")),
        (4, stat("p95", "Of the last 5 minutes.", Query(BOARD.quantile(0.95, _LATENCY, ANSWERED, window="5m")), unit="s", steps=((None, "green"), (3, "red")), empty="no requests")),
        (4, stat("Empty retrievals", "Share in the last 5 minutes.", Query(empty), unit="percentunit", steps=steps, empty="no retrievals")),
        (4, stat("Guardrails", "Share that failed or did not judge, in the last 5 minutes.", Query(refused), unit="percentunit", steps=steps, empty="no guardrails")),
    ]  # fmt: skip


def _changed() -> list[tuple[int, dict[str, Any]]]:
    chosen = BOARD.select(_USED)
    new = f"1000 * max by (kind, artifact) ({chosen}) unless max by (kind, artifact) (last_over_time({chosen}[1d:5m] offset 1h))"
    left = f"1000 * max by (kind, artifact) (last_over_time({chosen}[2h])) < 1000 * (time() - 600) > 1000 * (time() - 7200)"
    conflicts = BOARD.risen("spanline_version_conflicts_total", by=("job", "kind"), window="1h")
    restarts = 'sum by (job) (changes(process_start_time_seconds{job=~"$job"}[1h]))'
    versions = [("kind", "Kind"), ("artifact", "Version")]
    return [
        (8, table("New versions", "Seen in the last hour for the first time in a day.", Query(new), columns=versions, unit="dateTimeAsLocal", empty="nothing new", value="Last used")),
        (8, table("Versions no longer used", "Used in the last two hours, but not in the last ten minutes.", Query(left), columns=versions, unit="dateTimeAsLocal", empty="none", value="Last used")),
        (4, table("Version conflicts", "A known version with other content: somebody changed something without a new version.", Query(conflicts), columns=[("job", "Service"), ("kind", "Kind")], value="New")),
        (4, stat("Restarts", "Processes that started anew in the last hour.", Query(restarts, "{{job}}"), steps=((None, "green"), (1, "yellow")))),
    ]  # fmt: skip


def _began() -> list[tuple[int, dict[str, Any]]]:
    errors = BOARD.counted(_LATENCY, 'outcome="error"', by=("job", "route"))
    slow = [Query(BOARD.quantile(q, _LATENCY, ANSWERED), name, q == 0.99) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))]
    empty = BOARD.rate("rag_retrievals_total", 'outcome!="hit"', by=("index_version", "outcome"))
    verdicts = BOARD.rate("llm_guardrail_outcomes_total", 'outcome!="pass"', by=("guardrail", "outcome"))
    return [
        (12, timeseries("Failed requests", "The dots are failed requests: a click leads to the run.", [Query(errors, "{{job}} {{route}}", True)], unit="reqps", empty="none")),
        (12, timeseries("Latency", "The dots are single requests; take one from before and one from after.", slow, unit="s")),
        (12, timeseries("Retrievals that found nothing or failed", "The dots are such requests.", [Query(empty, "{{index_version}} {{outcome}}", True)], unit="ops", empty="none")),
        (12, timeseries("Guardrail verdicts but pass", "The dots are such requests.", [Query(verdicts, "{{guardrail}} {{outcome}}", True)], unit="ops", empty="none")),
    ]  # fmt: skip


def _runs() -> list[tuple[int, dict[str, Any]]]:
    return [
        (10, runs("Failed runs", "Traces with a span as described above by *Failed is*.", tags="$failed")),
        (10, runs("Slow runs", "Traces with a span slower than what is set above.", slower_than="$slow")),
        (4, text("How to go on", _HOW)),
    ]
