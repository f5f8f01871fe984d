"""The Prometheus engine: what a run record becomes, exemplars, and label sets that stay few."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from spanline.metrics.catalogue import CATALOGUE
from spanline.metrics.engine import Metrics
from spanline.metrics.family import label
from spanline.metrics.prices import Price, load_prices, price_of
from spanline.record.artifact import Artifact, Document, Retrieval, joined_retrievals
from spanline.record.run import Conflict, Evaluation, GuardrailOutcome, ModelUsage, Operation, RunRecord, Usage

TRACE = "0af7651916cd43dd8448eb211c80319c"
ROOT, RETRIEVAL, CALL, GUARD = "b7ad6b7169203331", "1" * 16, "2" * 16, "3" * 16
INDEX = Artifact(
    kind="index", name="fees_corpus", version="commit:abc123",
    retrieval=Retrieval(top_k=3, hits=2, documents=(Document(id="a"), Document(id="b")), span_id=RETRIEVAL),
)  # fmt: skip


def run(**changes):
    record = RunRecord(
        run_id="0af76519-16cd-43dd-8448-eb211c80319c", trace_id=TRACE, span_id=ROOT, namespace="rag-prod", job="fee.POST /chat", service="fee",
        started_ns=1_000_000_000_000, ended_ns=1_000_700_000_000, outcome="COMPLETE",
        operations=[
            Operation(span_id=RETRIEVAL, kind="retrieval", duration_seconds=0.02),
            Operation(
                span_id=CALL, kind="inference", provider="openai", request_model="gpt-4o", response_model="gpt-4o-2024-06-18",
                duration_seconds=0.6, time_to_first_token_seconds=0.2, usage=Usage(input_tokens=812, output_tokens=96),
            ),
            Operation(span_id=GUARD, kind="guardrail", duration_seconds=0.001),
        ],
        artifacts=[INDEX, Artifact(kind="prompt", name="fees", version="v7"), Artifact(kind="flow", name="requests.fee"), Artifact(kind="flow", name="responses.fee", role="output")],
        usage=Usage(input_tokens=812, output_tokens=96, by_model=[ModelUsage(provider="openai", model="gpt-4o-2024-06-18", operation="chat", input_tokens=812, output_tokens=96)]),
        guardrails=[GuardrailOutcome(name="fee-schema", version="3", phase="output", outcome="pass", span_id=GUARD)],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(record, name, value)
    return record


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return Metrics(registry)


def samples(registry):
    """(name, labels) to sample, as a scraper parses them."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s for f in families for s in f.samples if not s.name.endswith("_created")}


def value(registry, name, **labels):
    found = samples(registry).get((name, tuple(sorted(labels.items()))))
    return None if found is None else found.value


def test_a_run(metrics, registry):
    metrics.record(run(), route="/chat", sampled=True)
    expected = {
        ("llm_tokens_total", ("role", "prompt"), ("model", "gpt-4o-2024-06-18")): 812,
        ("llm_tokens_total", ("role", "completion"), ("model", "gpt-4o-2024-06-18")): 96,
        ("llm_latency_seconds_count", ("route", "/chat"), ("outcome", "ok")): 1,
        ("llm_latency_seconds_sum", ("route", "/chat"), ("outcome", "ok")): 0.7,
        ("llm_latency_seconds_bucket", ("route", "/chat"), ("outcome", "ok"), ("le", "0.5")): 0,
        ("llm_latency_seconds_bucket", ("route", "/chat"), ("outcome", "ok"), ("le", "1.0")): 1,
        ("llm_operation_duration_seconds_count", ("operation", "inference"), ("model", "gpt-4o-2024-06-18"), ("outcome", "ok")): 1,
        ("llm_operation_duration_seconds_count", ("operation", "retrieval"), ("model", ""), ("outcome", "ok")): 1,
        ("llm_time_to_first_token_seconds_sum", ("model", "gpt-4o-2024-06-18")): 0.2,
        ("rag_retrieval_hits_total", ("index_version", "fees_corpus@commit:abc123")): 2,
        ("rag_retrievals_total", ("index_version", "fees_corpus@commit:abc123"), ("outcome", "hit")): 1,
        ("llm_guardrail_outcomes_total", ("guardrail", "fee-schema"), ("outcome", "pass")): 1,
        ("llm_artifact_last_used_timestamp_seconds", ("kind", "index"), ("artifact", "fees_corpus@commit:abc123")): 1000.7,
        ("llm_artifact_last_used_timestamp_seconds", ("kind", "prompt"), ("artifact", "fees@v7")): 1000.7,
    }
    for (name, *labels), amount in expected.items():
        assert value(registry, name, **dict(labels)) == pytest.approx(amount), (name, labels)
    assert not any(dict(labels).get("kind") == "flow" for _, labels in samples(registry))
    assert value(registry, "llm_cost_usd_total", model="gpt-4o-2024-06-18") is None


def test_exemplars_of_the_very_operation(metrics, registry):
    metrics.record(run(evaluations=[Evaluation(name="faithful", score=0.42)]), route="/chat", sampled=True)
    spans = {
        "llm_tokens_total": {CALL}, "llm_latency_seconds_bucket": {ROOT}, "llm_operation_duration_seconds_bucket": {CALL, RETRIEVAL, GUARD},
        "llm_time_to_first_token_seconds_bucket": {CALL}, "rag_retrieval_hits_total": {RETRIEVAL}, "rag_retrievals_total": {RETRIEVAL},
        "llm_guardrail_outcomes_total": {GUARD}, "llm_evaluation_score_bucket": {ROOT},
    }  # fmt: skip
    found: dict[str, set[str]] = {}
    for (name, _), sample in samples(registry).items():
        if sample.exemplar:
            assert sample.exemplar.labels["trace_id"] == TRACE
            found.setdefault(name, set()).add(sample.exemplar.labels["span_id"])
    assert found == spans


def test_every_llm_and_rag_counter_and_histogram_can_bear_one(registry):
    metrics = Metrics(registry, prices={"gpt-4o": Price(2.5, 10)})
    metrics.record(run(evaluations=[Evaluation(name="e", passed=True)]), route=None, sampled=True)
    with_exemplar = {name.removesuffix("_bucket") for (name, _), sample in samples(registry).items() if sample.exemplar}
    assert with_exemplar == {spec.name for spec in CATALOGUE if spec.exemplars}


@pytest.mark.parametrize(
    ("changes", "sampled"),
    [({}, False), ({"trace_id": "short"}, True), ({"trace_id": TRACE.upper()}, True), ({"trace_id": "x" * 10_000}, True)],
)
def test_no_exemplar_without_a_trace_to_lead_to(metrics, registry, changes, sampled):
    metrics.record(run(**changes), route="/chat", sampled=sampled)
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") == 1
    assert not any(sample.exemplar for sample in samples(registry).values())


def test_a_wild_span_id_falls_back_to_the_run_s(metrics, registry):
    metrics.record(run(guardrails=[GuardrailOutcome(name="g", outcome="fail", span_id='"}\n' * 99)]), route="/chat", sampled=True)
    exemplar = samples(registry)["llm_guardrail_outcomes_total", (("guardrail", "g"), ("outcome", "fail"))].exemplar
    assert exemplar.labels == {"trace_id": TRACE, "span_id": ROOT}


@pytest.mark.parametrize(("outcome", "label_"), [("COMPLETE", "ok"), ("FAIL", "error"), ("ABORT", "aborted"), (None, "ok")])
def test_outcomes(metrics, registry, outcome, label_):
    metrics.record(run(outcome=outcome), route="/chat", sampled=False)
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome=label_) == 1


def test_latency_only_of_live_runs_with_an_operation(metrics, registry):
    for changes in ({"live": False}, {"operations": []}, {"ended_ns": None}):
        metrics.record(run(**changes), route="/chat", sampled=True)
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") is None
    metrics.record(run(ended_ns=1), route=None, sampled=True)
    assert value(registry, "llm_latency_seconds_sum", route="", outcome="ok") == 0, "a clock that went back is no negative time"


def test_roll_ups_are_not_counted_twice(metrics, registry):
    record = run()
    record.operations.append(
        Operation(span_id="4" * 16, kind="inference", response_model="gpt-4o-2024-06-18", duration_seconds=0.65, rollup=True)
    )
    record.operations.append(Operation(span_id="5" * 16, kind="retrieval", error_type="X", rollup=True))
    metrics.record(record, route="/chat", sampled=True)
    assert value(registry, "llm_operation_duration_seconds_count", operation="inference", model="gpt-4o-2024-06-18", outcome="ok") == 1
    assert value(registry, "rag_retrievals_total", index_version="fees_corpus@commit:abc123", outcome="error") is None


def test_errors_and_cancellations_of_operations(metrics, registry):
    operations = [
        Operation(span_id=str(n) * 16, kind="tool", duration_seconds=1.0, error_type=e)
        for n, e in enumerate(["ValueError", "CancelledError", None])
    ]
    metrics.record(run(operations=operations), route="/chat", sampled=True)
    for outcome in ("error", "aborted", "ok"):
        assert value(registry, "llm_operation_duration_seconds_count", operation="tool", model="", outcome=outcome) == 1


def test_models_are_named_without_provider(metrics, registry):
    operations = [
        Operation(span_id="1" * 16, kind="inference", provider="openai", response_model="openai/gpt-4o", duration_seconds=1.0),
        Operation(span_id="2" * 16, kind="inference", provider="together", request_model="meta-llama/Llama-3", duration_seconds=1.0),
        Operation(span_id="3" * 16, kind="embedding", duration_seconds=1.0),
    ]
    metrics.record(run(operations=operations), route="/chat", sampled=True)
    models = {dict(labels)["model"] for name, labels in samples(registry) if name == "llm_operation_duration_seconds_count"}
    assert models == {"gpt-4o", "meta-llama/Llama-3", "unknown"}


def test_embedding_tokens(metrics, registry):
    usage = Usage(by_model=[ModelUsage(model="e5", operation=o, input_tokens=5, output_tokens=5) for o in ("embedding", "embeddings")])
    metrics.record(run(usage=usage), route="/chat", sampled=True)
    assert value(registry, "llm_tokens_total", role="embedding", model="e5") == 10
    assert value(registry, "llm_tokens_total", role="completion", model="e5") is None


@pytest.mark.parametrize(
    ("retrieval", "error", "outcome", "hits"),
    [
        (Retrieval(hits=2, span_id=RETRIEVAL), None, "hit", 2),
        (Retrieval(documents=(Document(id="x"),), span_id=RETRIEVAL), None, "hit", 1),
        (Retrieval(hits=0, span_id=RETRIEVAL), None, "empty", None),
        (Retrieval(span_id=RETRIEVAL), None, None, None),
        (Retrieval(span_id=RETRIEVAL), "Timeout", "error", None),
        (None, "Timeout", "error", None),
        (None, None, None, None),
    ],
)
def test_retrievals(metrics, registry, retrieval, error, outcome, hits):
    operations = [Operation(span_id=RETRIEVAL, kind="retrieval", error_type=error)]
    index = Artifact(kind="index", name="i", version="1", retrieval=retrieval)
    metrics.record(run(operations=operations, artifacts=[index, index]), route="/chat", sampled=True)
    found = {o: value(registry, "rag_retrievals_total", index_version="i@1", outcome=o) for o in ("hit", "empty", "error")}
    assert found == {o: (1 if o == outcome else None) for o in found}
    assert value(registry, "rag_retrieval_hits_total", index_version="i@1") == hits


def test_each_search_of_one_index_counts_also_a_late_one(metrics, registry):
    def searched(span_id, hits):
        return Retrieval(hits=hits, documents=(Document(id="x"),) * hits, span_id=span_id)

    def index(retrieval):
        return Artifact(kind="index", name="i", version="1", retrieval=retrieval)

    both = joined_retrievals(searched("a" * 16, 2), searched("b" * 16, 0))
    operations = [Operation(span_id=span * 16, kind="retrieval") for span in "ab"]
    first = run(operations=operations, artifacts=[index(both)])
    metrics.record(first, route="/chat", sampled=True)
    late = run(sequence=1, operations=operations, artifacts=[index(joined_retrievals(both, searched("c" * 16, 5)))])
    metrics.record(late, route="/chat", sampled=True, previous=first)
    found = {o: value(registry, "rag_retrievals_total", index_version="i@1", outcome=o) for o in ("hit", "empty", "error")}
    assert found == {"hit": 2, "empty": 1, "error": None}
    assert value(registry, "rag_retrieval_hits_total", index_version="i@1") == 7


def test_scores_that_are_no_numbers_spoil_no_sum(metrics, registry):
    scores = [float("nan"), float("inf"), 0.5, None]
    metrics.record(run(evaluations=[Evaluation(name="e", score=s) for s in scores]), route="/chat", sampled=True)
    metrics.record(run(evaluations=[Evaluation(name="e", passed=False)]), route="/chat", sampled=True)
    assert value(registry, "llm_evaluation_score_sum", evaluation="e") == 0.5
    assert value(registry, "llm_evaluation_score_count", evaluation="e") == 2


def test_a_conflict_counts_once_a_label_and_new_digest(metrics, registry):
    def conflict(digest):
        return Conflict(kind="index", namespace="indexes", name="i", version="1", digest=digest, expected_digest="sha256:aa")

    for digest in ("sha256:bb", "sha256:bb", "sha256:cc"):
        metrics.record(run(conflicts=[conflict(digest)]), route="/chat", sampled=True)
    Metrics(registry).record(run(conflicts=[conflict("sha256:bb")]), route="/chat", sampled=True)
    assert value(registry, "spanline_version_conflicts_total", kind="index") == 2
    metrics.record(run(conflicts=[conflict("sha256:dd")]), route="/chat", sampled=True, new_conflicts=[])
    metrics.record(run(conflicts=[]), route="/chat", sampled=True, new_conflicts=[conflict("sha256:dd")])
    assert value(registry, "spanline_version_conflicts_total", kind="index") == 3


def test_stragglers_count_what_is_new(metrics, registry):
    first = run()
    metrics.record(first, route="/chat", sampled=True)
    before = {key: s.value for key, s in samples(registry).items()}
    second = run(sequence=1)
    metrics.record(second, route="/chat", sampled=True, previous=first)
    metrics.record(second, route="/chat", sampled=True)
    assert {key: s.value for key, s in samples(registry).items()} == before, "nothing new"
    third = run(sequence=2, evaluations=[Evaluation(name="e", score=1.0)])
    third.operations.append(Operation(span_id="9" * 16, kind="tool", duration_seconds=0.1))
    third.usage.by_model[0].output_tokens = 100
    third.guardrails.append(third.guardrails[0])
    metrics.record(third, route="/chat", sampled=True, previous=second)
    assert value(registry, "llm_operation_duration_seconds_count", operation="tool", model="", outcome="ok") == 1
    assert value(registry, "llm_operation_duration_seconds_count", operation="retrieval", model="", outcome="ok") == 1
    assert value(registry, "llm_tokens_total", role="completion", model="gpt-4o-2024-06-18") == 100
    assert value(registry, "llm_tokens_total", role="prompt", model="gpt-4o-2024-06-18") == 812
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") == 1
    assert value(registry, "llm_evaluation_score_count", evaluation="e") == 1
    assert value(registry, "llm_guardrail_outcomes_total", guardrail="fee-schema", outcome="pass") == 2
    assert value(registry, "rag_retrieval_hits_total", index_version="fees_corpus@commit:abc123") == 2


def test_at_the_cap_the_one_idle_longest_goes(registry):
    metrics = Metrics(registry, label_cap=3)

    def use(version):
        metrics.record(
            run(
                operations=[],
                usage=None,
                guardrails=[],
                artifacts=[Artifact(kind="index", name="i", version=version, retrieval=Retrieval(hits=1))],
            ),
            route=None,
            sampled=False,
        )

    for version in ("1", "2", "3", "1", "4", "5", "1", "6"):
        use(version)
    kept = {dict(labels)["index_version"] for name, labels in samples(registry) if name == "rag_retrieval_hits_total"}
    assert kept == {"i@5", "i@1", "i@6"}
    assert value(registry, "rag_retrieval_hits_total", index_version="i@1") == 3, "in use all along, so never reset"
    for n in range(1000):
        use(f"build-{n}")
    assert value(registry, "rag_retrieval_hits_total", index_version="i@build-999") == 1, "never the newest"
    assert sum(name == "rag_retrieval_hits_total" for name, _ in samples(registry)) == 3


@pytest.mark.parametrize("wild", ["\ud800x", "a\x00b\nc", "x" * 10_000_000, '"}{\\', "\u202efdp", ""])
def test_wild_label_values(metrics, registry, wild):
    record = run(
        guardrails=[GuardrailOutcome(name=wild, outcome="pass")], artifacts=[Artifact(kind="index", name=wild or "n", version=wild)]
    )
    metrics.record(record, route=wild, sampled=True)
    metrics.record(record, route=wild, sampled=True)
    shown = label(wild)
    assert len(shown) <= 128
    assert value(registry, "llm_guardrail_outcomes_total", guardrail=shown, outcome="pass") == 2


def test_long_names_stay_apart():
    assert label("x" * 200 + "1") != label("x" * 200 + "2")


def test_a_taken_name_is_logged_and_the_rest_works(caplog):
    registry = CollectorRegistry()
    theirs = Counter("llm_tokens_total", "theirs", ["app"], registry=registry)
    theirs.labels("x").inc()
    metrics = Metrics(registry)
    metrics.record(run(), route="/chat", sampled=True)
    assert "llm_tokens_total is taken" in caplog.text
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") == 1
    assert value(registry, "llm_tokens_total", app="x") == 1


def test_runtimes_share_instruments(registry):
    one, two = Metrics(registry, label_cap=5), Metrics(registry, label_cap=50)
    for metrics in (one, two):
        metrics.record(run(), route="/chat", sampled=True)
        metrics.in_flight(1)
        metrics.backlog(100)
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") == 2
    assert value(registry, "llm_requests_in_flight") == 2
    assert value(registry, "spanline_journal_backlog_bytes") == 200
    one.backlog(30)
    one.in_flight(-1)
    two.close()
    assert value(registry, "spanline_journal_backlog_bytes") == 30
    assert value(registry, "llm_requests_in_flight") == 0


def test_our_own_health(metrics, registry):
    assert value(registry, "llm_requests_in_flight") == 0
    metrics.dropped("disk_full", 3)
    metrics.internal_error("journal")
    metrics.parked("marquez", 2)
    metrics.lag("marquez", 1.5)
    metrics.sent("marquez", 10)
    metrics.sent("marquez")
    assert value(registry, "spanline_dropped_total", reason="disk_full") == 3
    assert value(registry, "spanline_internal_errors_total", site="journal") == 1
    assert value(registry, "spanline_parked_events", consumer="marquez") == 2
    assert value(registry, "spanline_relay_lag_seconds", consumer="marquez") == 1.5
    assert value(registry, "spanline_relay_sent_total", consumer="marquez") == 11


def test_cost_with_a_price_table(registry, tmp_path):
    (tmp_path / "prices.json").write_text('{"gpt-4o": {"input": 2.5, "output": 10}, "gpt": {"input": 1}, "gpt-4": {"input": 30}}')
    prices = load_prices(tmp_path / "prices.json")
    assert price_of(prices, "gpt-4o-2024-06-18") == Price(2.5, 10)
    assert price_of(prices, "gpt-4-turbo") == Price(30, 0)
    assert price_of(prices, "gpt-4omni") == Price(1, 0), "a shorter listed name"
    assert price_of(prices, "claude") is None
    Metrics(registry, prices=prices).record(run(), route="/chat", sampled=True)
    assert value(registry, "llm_cost_usd_total", model="gpt-4o-2024-06-18") == pytest.approx((812 * 2.5 + 96 * 10) / 1e6)


@pytest.mark.parametrize("text", ["", "[]", '{"m": 3}', '{"m": {"input": "x"}}', '{"m": {"input": -1}}', "\xff"])
def test_a_wrong_price_table(tmp_path, text):
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="price table"):
        load_prices(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_prices(tmp_path / "absent.json")


def test_threads_lose_no_count(registry):
    metrics = Metrics(registry)
    threads = [threading.Thread(target=lambda: [metrics.record(run(), route="/chat", sampled=True) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(registry, "llm_latency_seconds_count", route="/chat", outcome="ok") == 800


def test_nothing_escapes(metrics, registry):
    metrics.record(run(ended_ns=float("nan"), usage=Usage(by_model=[ModelUsage(model="m", input_tokens=-5)])), route="/chat", sampled=True)
    assert value(registry, "llm_tokens_total", role="prompt", model="m") == 0


def test_exemplars_go_where_prometheus_client_puts_them(monkeypatch):
    """Ours skips its checks of labels; through its own way the same samples come out."""

    def shown():
        registry = CollectorRegistry()
        Metrics(registry).record(
            run(evaluations=[Evaluation(name="e", score=s) for s in (-1.0, 0.0, 0.1, 0.15, 1.0, 7.0)]), route="/chat", sampled=True
        )
        return {key: (s.value, s.exemplar and (s.exemplar.labels, s.exemplar.value)) for key, s in samples(registry).items()}

    ours = shown()
    monkeypatch.setattr("spanline.metrics.instruments.place", lambda value: None)
    assert shown() == ours
