"""The catalogue is the contract's table."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from spanline.metrics.catalogue import BY_NAME, CATALOGUE
from spanline.metrics.engine import Metrics
from spanline.metrics.prices import Price

# Name and labels, word for word.
CONTRACT = {
    "llm_tokens_total": "role model",
    "llm_latency_seconds": "route outcome",
    "llm_operation_duration_seconds": "operation model outcome",
    "llm_time_to_first_token_seconds": "model",
    "llm_requests_in_flight": "",
    "llm_cost_usd_total": "model",
    "rag_retrieval_hits_total": "index_version",
    "rag_retrievals_total": "index_version outcome",
    "llm_guardrail_outcomes_total": "guardrail outcome",
    "llm_evaluation_score": "evaluation",
    "llm_artifact_last_used_timestamp_seconds": "kind artifact",
    "spanline_version_conflicts_total": "kind",
    "spanline_dropped_total": "reason",
    "spanline_parked_events": "consumer",
    "spanline_relay_lag_seconds": "consumer",
    "spanline_relay_sent_total": "consumer",
    "spanline_journal_backlog_bytes": "",
    "spanline_internal_errors_total": "site",
}
HISTOGRAMS = {"llm_latency_seconds", "llm_operation_duration_seconds", "llm_time_to_first_token_seconds", "llm_evaluation_score"}


def test_names_and_labels():
    assert {spec.name: " ".join(spec.labels) for spec in CATALOGUE} == CONTRACT
    assert len(BY_NAME) == len(CATALOGUE)


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_types_follow_names(spec):
    assert (spec.type == "counter") == spec.name.endswith("_total")
    assert (spec.type == "histogram") == (spec.name in HISTOGRAMS) == bool(spec.buckets)
    assert spec.help.endswith(".")
    if spec.unit == "seconds" and spec.buckets:
        assert spec.buckets == (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120)


def test_all_are_registered_under_their_names():
    registry = CollectorRegistry()
    Metrics(registry, prices={"m": Price(1, 1)})
    assert {family.name for family in registry.collect()} == {spec.family for spec in CATALOGUE}


def test_the_catalogue_needs_no_engine():
    code = "import sys, spanline.metrics.catalogue; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src"})
