"""Metrics: instruments of prometheus_client, fed from finished run records, with exemplars.

`record` runs once a request, on the thread that ended it; what it touches is looked up once and kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry

from spanline._guard import guard, report
from spanline.metrics import shared
from spanline.metrics.catalogue import BY_NAME
from spanline.metrics.exemplars import Exemplars
from spanline.metrics.family import Family, families_of
from spanline.metrics.instruments import Labels
from spanline.metrics.news import added
from spanline.metrics.prices import Price, cost_usd
from spanline.record.artifact import Artifact
from spanline.record.run import MODEL_CALLS, Conflict, Operation, RunRecord

_OUTCOMES = {"COMPLETE": "ok", "FAIL": "error", "ABORT": "aborted"}
_CANCELLED = frozenset({"CancelledError", "asyncio.CancelledError", "asyncio.exceptions.CancelledError", "GeneratorExit", "cancelled"})
_MAX_CONFLICTS = 10_000
_MAX_USED = 1_000

_measuring = guard("metrics")


class Metrics:
    """The metrics of one runtime. All runtimes of a process share the instruments of a registry.

    Args:
        registry: Default `prometheus_client.REGISTRY`. Instruments are registered once; a name that is taken is logged.
        label_cap: Label sets kept of one metric; the one idle longest goes.
        prices: US dollars per million tokens by model; without it there is no `llm_cost_usd_total`.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, label_cap: int = 200, prices: Mapping[str, Price] | None = None
    ) -> None:
        self.registry = registry if registry is not None else prometheus_client.REGISTRY
        self._families = families_of(self.registry)
        self._prices = prices or {}
        self._backlog = 0
        self._in_flight = 0
        self._used_at: dict[tuple[str, str, str | None], float] = {}

        def family(name: str) -> Family:
            return self._families.family(BY_NAME[name])

        self._tokens = family("llm_tokens_total")
        self._latency = family("llm_latency_seconds")
        self._operations = family("llm_operation_duration_seconds")
        self._first_token = family("llm_time_to_first_token_seconds")
        self._requests = family("llm_requests_in_flight")
        self._cost = family("llm_cost_usd_total") if self._prices else None
        self._hits = family("rag_retrieval_hits_total")
        self._retrievals = family("rag_retrievals_total")
        self._guardrails = family("llm_guardrail_outcomes_total")
        self._scores = family("llm_evaluation_score")
        self._used = family("llm_artifact_last_used_timestamp_seconds")
        self._conflicts = family("spanline_version_conflicts_total")
        self._dropped = family("spanline_dropped_total")
        self._parked = family("spanline_parked_events")
        self._lag = family("spanline_relay_lag_seconds")
        self._sent = family("spanline_relay_sent_total")
        self._backlog_bytes = family("spanline_journal_backlog_bytes")
        self._errors = family("spanline_internal_errors_total")
        self._families.cap(label_cap)
        # What has no labels is there from the start, at zero.
        self._in_flight_gauge = self._requests.get()
        self._backlog_bytes.get()

    def record(
        self,
        record: RunRecord,
        *,
        route: str | None,
        sampled: bool,
        previous: RunRecord | None = None,
        new_conflicts: Sequence[Conflict] | None = None,
    ) -> None:
        """Count a finished run. Never raises.

        Args:
            record: The run as its terminal event has it.
            route: Route template, such as `/chat`; None where there is none.
            sampled: The trace is sampled, so that its id leads somewhere: only then there are exemplars.
            previous: The record of the terminal event before. A further event (`sequence` above 0) counts what it adds to
                that, and without it conflicts only.
            new_conflicts: Those of the record's conflicts that nobody counted yet; found here when not given.
        """
        try:
            for conflict in self._unseen(record) if new_conflicts is None else new_conflicts:
                self._conflicts.get(conflict.kind).count(1)
            first = record.sequence == 0
            if not first:
                if previous is None:
                    return
                record = added(record, previous)
            exemplars = Exemplars(record, sampled)
            if first and record.live and record.operations and record.ended_ns is not None:
                seconds = max(0, record.ended_ns - record.started_ns) / 1e9
                self._latency.get(route or "", _OUTCOMES.get(record.outcome or "COMPLETE", "ok")).observe(seconds, exemplars.root)
            self._operations_of(record, exemplars)
            self._tokens_of(record, exemplars)
            self._artifacts_of(record, exemplars)
            for verdict in record.guardrails:
                self._guardrails.get(verdict.name, verdict.outcome).count(1, exemplars.of(verdict.span_id))
            self._evaluations_of(record, exemplars)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("metrics", error)

    def _operations_of(self, record: RunRecord, exemplars: Exemplars) -> None:
        for operation in record.operations:
            if operation.rollup:
                continue
            model = _model(operation)
            exemplar = exemplars.of(operation.span_id)
            if operation.duration_seconds is not None:
                error = operation.error_type
                outcome = "ok" if error is None else "aborted" if error in _CANCELLED else "error"
                self._operations.get(operation.kind, model, outcome).observe(operation.duration_seconds, exemplar)
            if operation.time_to_first_token_seconds is not None:
                self._first_token.get(model).observe(operation.time_to_first_token_seconds, exemplar)

    def _tokens_of(self, record: RunRecord, exemplars: Exemplars) -> None:
        usage = record.usage
        if usage is None or not usage.by_model:
            return
        spans = {_model(operation): operation.span_id for operation in record.operations if operation.usage is not None}
        for entry in usage.by_model:
            model = _bare(entry.model, entry.provider) or "unknown"
            exemplar = exemplars.of(spans.get(model))
            embedding = (entry.operation or "").startswith("embedding")
            if entry.input_tokens:
                self._tokens.get("embedding" if embedding else "prompt", model).count(entry.input_tokens, exemplar)
            if entry.output_tokens and not embedding:
                self._tokens.get("completion", model).count(entry.output_tokens, exemplar)
            if self._cost is not None:
                cost = cost_usd(self._prices, model, entry.input_tokens or 0, 0 if embedding else entry.output_tokens or 0)
                if cost:
                    self._cost.get(model).count(cost, exemplar)

    def _artifacts_of(self, record: RunRecord, exemplars: Exemplars) -> None:
        moment = record.ended_ns / 1e9 if record.ended_ns is not None else time.time()
        indexes: list[Artifact] = []
        for artifact in record.artifacts:
            kind = artifact.kind
            if artifact.role != "input" or kind == "flow":
                continue
            label = (kind, artifact.name, artifact.version)
            # A timeline of versions needs no finer time than a second.
            if not 0 <= moment - self._used_at.get(label, 0.0) < 1.0:
                if len(self._used_at) >= _MAX_USED:
                    self._used_at.clear()
                self._used_at[label] = moment
                self._used.get(kind, artifact.label).set(moment)
            if kind == "index":
                indexes.append(artifact)
        failed = {
            operation.span_id for operation in record.operations
            if operation.kind == "retrieval" and operation.error_type is not None and not operation.rollup
        }  # fmt: skip
        if indexes or failed:
            self._retrievals_of(indexes, failed, exemplars)

    def _retrievals_of(self, indexes: list[Artifact], failed: set[str], exemplars: Exemplars) -> None:
        names: set[str] = set()
        seen: set[tuple[str, str | None]] = set()
        for artifact in indexes:
            name = artifact.label
            names.add(name)
            retrieval = artifact.retrieval
            for span_id, hits in retrieval.each if retrieval is not None else ():
                if (name, span_id) not in seen:
                    seen.add((name, span_id))
                    self._retrieval(name, hits, span_id in failed, exemplars.of(span_id))
                    failed.discard(span_id or "")
        # A retrieval that failed has nothing to tell of its index: it is the run's, where the run has one.
        name = names.pop() if len(names) == 1 else "unknown"
        for span_id in sorted(failed):
            self._retrieval(name, None, True, exemplars.of(span_id))

    def _retrieval(self, index_version: str, hits: int | None, failed: bool, exemplar: Labels) -> None:
        if hits:
            self._hits.get(index_version).count(hits, exemplar)
        if failed or hits is not None:
            outcome = "error" if failed else "hit" if hits else "empty"
            self._retrievals.get(index_version, outcome).count(1, exemplar)

    def _unseen(self, record: RunRecord) -> list[Conflict]:
        """A conflict is on every run that shows it; it is counted once a label and new digest."""
        seen = self._families.conflicts_seen
        found: list[Conflict] = []
        for conflict in record.conflicts:
            key = (record.namespace, conflict.kind, conflict.namespace, conflict.name, conflict.version, conflict.digest)
            with self._families.lock:
                if key not in seen:
                    if len(seen) >= _MAX_CONFLICTS:
                        del seen[next(iter(seen))]
                    seen[key] = None
                    found.append(conflict)
        return found

    def evaluated(self, record: RunRecord) -> None:
        """Count the evaluations of a run that is over; the record holds those that are new and nothing else."""
        with _measuring:
            self._evaluations_of(record, Exemplars(record, record.sampled))

    def _evaluations_of(self, record: RunRecord, exemplars: Exemplars) -> None:
        for evaluation in record.evaluations:
            score = evaluation.score if evaluation.score is not None else evaluation.passed
            if score is not None:
                self._scores.get(evaluation.name).observe(float(score), exemplars.root)

    def in_flight(self, delta: int) -> None:
        """A request began (1) or ended (-1)."""
        self._in_flight += delta
        self._in_flight_gauge.move(delta)

    def dropped(self, reason: str, amount: int = 1) -> None:
        """Count what was not kept."""
        with _measuring:
            self._dropped.get(reason).count(amount)

    def internal_error(self, site: str) -> None:
        """Count an internal error; never through the guard, which calls this."""
        self._errors.get(site).count(1)

    def parked(self, consumer: str, events: int) -> None:
        """How many events of a consumer are parked."""
        with _measuring:
            self._parked.get(consumer).set(events)

    def lag(self, consumer: str, seconds: float) -> None:
        """Age of the oldest event that a consumer has not got yet. Unit: seconds."""
        with _measuring:
            self._lag.get(consumer).set(seconds)

    def sent(self, consumer: str, events: int = 1) -> None:
        """Count events delivered to a consumer."""
        with _measuring:
            self._sent.get(consumer).count(events)

    def backlog(self, size: int) -> None:
        """Bytes in this runtime's journal that the slowest consumer has not got yet; the gauge is the sum over runtimes."""
        with _measuring:
            delta, self._backlog = size - self._backlog, size
            self._backlog_bytes.get().move(delta)

    def tick(self) -> None:
        """Now and then, on a thread that serves nobody: let other workers' scrapes see this one's exemplars."""
        shared.write()

    def close(self) -> None:
        """Take this runtime's share off the gauges that are sums; counters stay, as scrapes expect."""
        self.backlog(0)
        self.in_flight(-self._in_flight)
        shared.write()


def _bare(model: str | None, provider: str | None) -> str | None:
    """A model's name without its provider; `meta-llama/Llama-3` keeps its organisation."""
    return model.removeprefix(f"{provider}/") if model and provider else model


def _model(operation: Operation) -> str:
    """Response model, else the requested one, without provider; `unknown` for what surely has one."""
    model = _bare(operation.response_model or operation.request_model, operation.provider)
    return model or ("unknown" if operation.kind in MODEL_CALLS else "")
