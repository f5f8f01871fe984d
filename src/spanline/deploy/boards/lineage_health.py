"""Lineage health: backlog, lag, parked, dropped, internal errors: is what the other boards rely on complete?"""

from __future__ import annotations

from typing import Any

from spanline.deploy.dashboards import Row, dashboard
from spanline.deploy.panels import Query, stat, timeseries
from spanline.deploy.promql import BOARD, LOST, PromQL

UID = "spanline-lineage-health"


def board() -> dict[str, Any]:
    """The board."""
    rows: list[Row] = [("Now", 4, _now()), ("Delivery", 8, _delivery()), ("What is missing", 8, _missing())]
    what = "Does lineage arrive, and is anything missing? Nothing here is felt by a request: the journal waits."
    return dashboard(UID, "Lineage health", what, rows)


def _now() -> list[tuple[int, dict[str, Any]]]:
    lag, parked = BOARD.select("spanline_relay_lag_seconds"), BOARD.select("spanline_parked_events")
    backlog = BOARD.select("spanline_journal_backlog_bytes")
    dropped = f"sum({BOARD.risen('spanline_dropped_total', LOST, by=('reason',), window='$__range')})"
    errors = f"sum({BOARD.risen('spanline_internal_errors_total', by=('site',), window='$__range')})"
    calm, loss = ((None, "green"), (60, "yellow"), (300, "red")), ((None, "green"), (1, "red"))
    return [
        (5, stat("Largest lag", "Age of the oldest event that some consumer has not got yet.", Query(f"max({lag})"), unit="s", steps=calm)),
        (5, stat("Backlog", "Bytes in journals that the slowest consumer has not got yet. At the limit (512 MB unless set) the oldest is given up.", Query(f"sum({backlog})"), unit="bytes", steps=((None, "green"), (1e8, "yellow"), (4e8, "red")))),
        (5, stat("Parked", "Events that a consumer refused: `spanline journal parked` says why.", Query(f"sum({parked})"), steps=((None, "green"), (1, "yellow")))),
        (5, stat("Dropped", "In the range shown: what was lost; what a consumer's own settings leave out is not counted here.", Query(dropped), steps=loss)),
        (4, stat("Internal errors", "In the range shown; the applications were not affected.", Query(errors), steps=loss)),
    ]  # fmt: skip


def _delivery() -> list[tuple[int, dict[str, Any]]]:
    lag = f"max by (job, consumer) ({BOARD.select('spanline_relay_lag_seconds')})"
    backlog = f"sum by (job) ({BOARD.select('spanline_journal_backlog_bytes')})"
    runs = PromQL('job=~"$job"').rate("llm_latency_seconds", by=("job",), part="count")
    return [
        (8, timeseries("Lag by consumer", "A line that rises by a second a second: this consumer gets nothing.", [Query(lag, "{{job}} {{consumer}}")], unit="s", threshold=300)),
        (8, timeseries("Backlog", "By service.", [Query(backlog, "{{job}}")], unit="bytes")),
        (8, timeseries("Requests and deliveries", "Events delivered to each consumer, beside the requests that make them.", [Query(BOARD.rate("spanline_relay_sent_total", by=("job", "consumer")), "{{job}} to {{consumer}}"), Query(runs, "{{job}} requests")], unit="ops")),
    ]  # fmt: skip


def _missing() -> list[tuple[int, dict[str, Any]]]:
    parked = f"max by (job, consumer) ({BOARD.select('spanline_parked_events')})"
    dropped = f"sum by (job, reason) ({BOARD.select('spanline_dropped_total')})"
    errors = f"sum by (job, site) ({BOARD.select('spanline_internal_errors_total')})"
    return [
        (8, timeseries("Parked by consumer", "They wait until `spanline journal retry`.", [Query(parked, "{{job}} {{consumer}}")])),
        (8, timeseries("Dropped by reason", "Since the services started.", [Query(dropped, "{{job}} {{reason}}")], empty="none")),
        (8, timeseries("Internal errors by place", "Since the services started; the log has one line a minute and place.", [Query(errors, "{{job}} {{site}}")], empty="none")),
    ]  # fmt: skip
