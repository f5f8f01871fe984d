"""The catalogue: every metric once. Instruments, dashboards, alert rules and docs are made from it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Type = Literal["counter", "gauge", "histogram"]

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Buckets of durations. Unit: seconds."""

SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Buckets of evaluation scores; most evaluators answer 0 … 1."""


class MetricSpec(NamedTuple):
    """One metric.

    `name` is as it is scraped (a counter ends in `_total`); `unit` is the base unit or what is counted; `optional` metrics
    are there only when something that they need is configured.
    """

    name: str
    type: Type
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    optional: bool = False
    workers: Literal["livesum", "livemax", "max"] = "livemax"
    """How a gauge of several workers becomes one (prometheus_client's multiprocess mode); `live…` forgets dead ones."""

    @property
    def family(self) -> str:
        """Name of the metric family in OpenMetrics: a counter's without `_total`."""
        return self.name.removesuffix("_total") if self.type == "counter" else self.name

    @property
    def exemplars(self) -> bool:
        """Samples bear exemplars with `trace_id` and `span_id`."""
        return self.type != "gauge" and self.name.startswith(("llm_", "rag_"))


CATALOGUE: tuple[MetricSpec, ...] = (
    MetricSpec("llm_tokens_total", "counter", "tokens", ("role", "model"), "Tokens by role (prompt, completion, embedding); each model response counted once."),
    MetricSpec("llm_latency_seconds", "histogram", "seconds", ("route", "outcome"), "End-to-end duration of requests whose trace holds an operation.", SECONDS),
    MetricSpec("llm_operation_duration_seconds", "histogram", "seconds", ("operation", "model", "outcome"), "Duration of single operations: inference, embedding, retrieval, tool and the others.", SECONDS),
    MetricSpec("llm_time_to_first_token_seconds", "histogram", "seconds", ("model",), "Time from the start of a streamed inference to its first token.", SECONDS),
    MetricSpec("llm_requests_in_flight", "gauge", "requests", (), "Requests that have begun and not ended.", workers="livesum"),
    MetricSpec("llm_cost_usd_total", "counter", "usd", ("model",), "Cost by the configured price table, US dollars.", optional=True),
    MetricSpec("rag_retrieval_hits_total", "counter", "documents", ("index_version",), "Documents that retrievals returned, by index version."),
    MetricSpec("rag_retrievals_total", "counter", "retrievals", ("index_version", "outcome"), "Retrievals by index version and outcome (hit, empty, error)."),
    MetricSpec("llm_guardrail_outcomes_total", "counter", "outcomes", ("guardrail", "outcome"), "Verdicts of guardrails (pass, fail, error, skip)."),
    MetricSpec("llm_evaluation_score", "histogram", "score", ("evaluation",), "Scores of evaluations; a verdict without score counts as 1 or 0.", SCORES),
    MetricSpec("llm_artifact_last_used_timestamp_seconds", "gauge", "seconds", ("kind", "artifact"), "When a version of an artifact was last used, Unix time.", workers="max"),
    MetricSpec("spanline_version_conflicts_total", "counter", "conflicts", ("kind",), "Labels seen with another digest than the first; once a label and new digest."),
    MetricSpec("spanline_dropped_total", "counter", "events", ("reason",), "What was not kept, by reason."),
    MetricSpec("spanline_parked_events", "gauge", "events", ("consumer",), "Events that a consumer refused and that wait for somebody to look."),
    MetricSpec("spanline_relay_lag_seconds", "gauge", "seconds", ("consumer",), "Age of the oldest event that a consumer has not got yet."),
    MetricSpec("spanline_relay_sent_total", "counter", "events", ("consumer",), "Events delivered to a consumer."),
    MetricSpec("spanline_journal_backlog_bytes", "gauge", "bytes", (), "Bytes in the journal that the slowest consumer has not got yet."),
    MetricSpec("spanline_internal_errors_total", "counter", "errors", ("site",), "Internal errors of spanline; the application was not affected."),
)  # fmt: skip
"""All metrics, in the order of the documentation."""

BY_NAME: dict[str, MetricSpec] = {spec.name: spec for spec in CATALOGUE}
