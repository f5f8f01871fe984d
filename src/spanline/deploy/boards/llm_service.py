"""LLM service: objectives and their burn, traffic, errors, latency with exemplars, tokens, cost."""

from __future__ import annotations

from typing import Any

from spanline.deploy.dashboards import Row, choices, dashboard
from spanline.deploy.objectives import ANSWERED, OBJECTIVES, Objective
from spanline.deploy.panels import Query, heatmap, stat, timeseries
from spanline.deploy.promql import PromQL

UID = "spanline-llm-service"

_Q = PromQL('job=~"$job",route=~"$route"')
_JOB = PromQL('job=~"$job"')
_LATENCY = "llm_latency_seconds"
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))


def board() -> dict[str, Any]:
    """The board."""
    errors, latency = OBJECTIVES[0], OBJECTIVES[1]
    rows: list[Row] = [("Objectives", 7, _objectives(errors, latency)), ("Traffic and errors", 8, _traffic()), ("Latency", 9, _latency()), ("Tokens and cost", 8, _tokens())]  # fmt: skip
    route = choices("route", "Route", f'{_LATENCY}_count{{job=~"$job"}}', "route")
    what = "Is the service keeping its promises, and for whom not? Dots are single requests: a click leads to the run behind one."
    return dashboard(UID, "LLM service", what, rows, variables=[route])


def _objectives(errors: Objective, latency: Objective) -> list[tuple[int, dict[str, Any]]]:
    left = ((None, "red"), (0.25, "yellow"), (0.5, "green"))
    of = ("job",)
    failed = f"1 - {_JOB.ratio(_LATENCY, errors.bad, errors.total, by=of, part='count', window='$__range')} / {errors.budget:g}"
    whole = _JOB.rate(_LATENCY, latency.total, by=of, part="count", window="$__range")
    below = _JOB.rate(_LATENCY, latency.total, f'le="{latency.within}"', by=of, part="bucket", window="$__range")
    slow = f"1 - (1 - {below} / {whole}) / {latency.budget:g}"
    return [
        (4, stat("Error budget left", f"Of the budget for the range shown: {errors.target:.1%} of the requests answered without an error. Choose 30 days to see the month.", Query(failed, "{{job}}"), unit="percentunit", steps=left, empty="no requests")),
        (4, stat("Latency budget left", f"Of the budget for the range shown: {latency.target:.0%} of the good answers within {latency.within:g} s.", Query(slow, "{{job}}"), unit="percentunit", steps=left, empty="no requests")),
        (8, timeseries("Burn rate: errors", "1 uses the month's budget up in a month; 14.4 in two days. A page needs 14.4 over 1 h and 5 min, or 6 over 6 h and 30 min.", _burn(errors), threshold=14.4)),
        (8, timeseries("Burn rate: latency", "As for errors; a slow answer counts as bad.", _burn(latency), threshold=14.4)),
    ]  # fmt: skip


def _burn(objective: Objective) -> list[Query]:
    return [
        Query(f'{objective.ratio_name(window)}{{job=~"$job"}} / {objective.budget:g}', f"{{{{job}}}} {window}")
        for window in ("5m", "1h", "6h")
    ]


def _traffic() -> list[tuple[int, dict[str, Any]]]:
    operations = _JOB.counted("llm_operation_duration_seconds", 'outcome="error"', by=("operation", "model"))
    return [
        (8, timeseries("Requests", "Finished requests that used a model, a retrieval or another operation.", [Query(_Q.rate(_LATENCY, by=("route", "outcome"), part="count"), "{{route}} {{outcome}}")], unit="reqps", stacked=True)),
        (8, timeseries("Error ratio", "Share of failed requests; who went away does not count.", [Query(_Q.ratio(_LATENCY, 'outcome="error"', ANSWERED, by=("route",), part="count"), "{{route}}")], unit="percentunit")),
        (4, timeseries("Failed operations", "Which step fails; the dots lead to the runs.", [Query(operations, "{{operation}} {{model}}", True)], unit="ops", empty="none")),
        (4, timeseries("In flight", "Requests that have begun and not ended. Rising without rising traffic: something behind is slow.", [Query(f"sum by (job) ({_JOB.select('llm_requests_in_flight')})", "{{job}}")])),
    ]  # fmt: skip


def _latency() -> list[tuple[int, dict[str, Any]]]:
    whole = [Query(_Q.quantile(q, _LATENCY, 'outcome!="aborted"'), name, q == 0.99) for name, q in _QUANTILES]
    first = [Query(_JOB.quantile(q, "llm_time_to_first_token_seconds", by=("model",)), f"{{{{model}}}} {name}", q == 0.95) for name, q in _QUANTILES[:2]]  # fmt: skip
    steps = Query(_JOB.quantile(0.95, "llm_operation_duration_seconds", by=("operation", "model")), "{{operation}} {{model}}", True)
    return [
        (12, timeseries("Latency", "From the request's first byte to the answer's last. The dots are single requests.", whole, unit="s")),
        (12, heatmap("Latency, distribution", "Two bands mean two kinds of requests, e.g. with and without a cache.", Query(_Q.increase(_LATENCY, by=("le",), part="bucket"), "{{le}}", True))),
        (12, timeseries("Time to first token", "Streamed answers only: how long people look at nothing.", first, unit="s")),
        (12, timeseries("Duration of operations, p95", "Where the time goes.", [steps], unit="s")),
    ]  # fmt: skip


def _tokens() -> list[tuple[int, dict[str, Any]]]:
    used = _JOB.rate("llm_tokens_total", by=("role", "model"))
    each = f"{_JOB.rate('llm_tokens_total', by=('role',))} / on () group_left {_JOB.rate(_LATENCY, part='count')}"
    spent = f"3600 * {_JOB.rate('llm_cost_usd_total', by=('model',))}"
    dear = f"1000 * {_JOB.rate('llm_cost_usd_total')} / {_JOB.rate(_LATENCY, part='count')}"
    return [
        (6, timeseries("Tokens", "Each model response counted once, whoever reported it.", [Query(used, "{{role}} {{model}}", True)], unit="short", stacked=True)),
        (6, timeseries("Tokens a request", "A jump without a release: a prompt or the retrieved context has grown.", [Query(each, "{{role}}")])),
        (6, timeseries("Cost an hour", "By the configured price table (SPANLINE_PRICE_TABLE); empty without one.", [Query(spent, "{{model}}")], unit="currencyUSD", stacked=True, empty="no price table")),
        (6, timeseries("Cost of a thousand requests", "By the configured price table.", [Query(dear, "all models")], unit="currencyUSD", empty="no price table")),
    ]  # fmt: skip
