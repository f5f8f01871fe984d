"""LineageSpanProcessor: finds the run of every span, reads each span as it ends, hands the run over when its root has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode

from spanline._guard import guard, report
from spanline.dialects.reader import dialect_of, read
from spanline.dialects.registry import registry
from spanline.identity import TRACESTATE_KEY, parse_tracestate_entry
from spanline.record.active import CONTEXT, CURRENT, RUN_OF_SPAN, SEED, SINKS, ActiveRun, apply_facts, mark_root, run_id
from spanline.record.attributes import plain
from spanline.semconv import GUARDRAIL_REASON, SPANLINE_OPERATION
from spanline.tracing.held import Held
from spanline.tracing.record import root_job

_NOTHING: dict[str, Any] = {}
READING_WEIGHT = 1_500
"""Estimated bytes of one reading, for the bound on pending bytes."""


class LineageSpanProcessor(SpanProcessor):
    """Gathers the finished spans of each run. One a provider, shared by all runtimes.

    Works on any `TracerProvider`, ours or the user's. Never raises: the SDK does not guard its processors, and one that
    raises breaks the request. Bounded in runs, spans and bytes by settings; what is dropped is counted.
    """

    def __init__(self) -> None:
        # The tables take some 50 ms to load: now, not in the first request.
        with guard("dialects.registry"):
            registry()
        self.runs = Held()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Put the span on its run; a local root begins one."""
        try:
            parent = span.parent
            span_id = span.get_span_context()[1]
            if SEED.get() is None and parent is not None:
                # A context is a tuple; asked for by name, each of its parts costs as much as all of them.
                trace_id, parent_id, remote, _, _, _ = parent
                if not remote:
                    run = RUN_OF_SPAN.get(parent_id)
                    if run is None:
                        # The parent has ended (a background task): the run that claimed the trace, unless it is forgotten.
                        run = self.held(trace_id)
                    if run is not None:
                        if span_id not in RUN_OF_SPAN:  # else another processor of this provider has it
                            run.open_spans += 1
                            RUN_OF_SPAN[span_id] = run
                        return
            if span_id not in RUN_OF_SPAN:
                self._begin(span)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("processor.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Read the span; when it is the root, hand the run over."""
        try:
            context = span.get_span_context()
            if context is None:
                return
            span_id = context[1]
            run = RUN_OF_SPAN.get(span_id)
            if run is None:
                return
            root = span_id == run.span_id
            if not root:
                del RUN_OF_SPAN[span_id]
            elif run.span is None:
                return  # it has ended already: a processor that was added twice, or two of them
            run.open_spans -= 1
            told = self._read(run, span, span_id)
            if root:
                self._end(run, span)
            elif told and run.finished:
                run.touch()
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("processor.on_end", error)

    def _begin(self, span: Span) -> None:
        run = SEED.get()
        if run is None:
            current = CURRENT.get()
            if current is not None and current.span is None and not current.finished:
                # Metrics only: the request has no span, its operations are roots of their own.
                current.open_spans += 1
                RUN_OF_SPAN[span.get_span_context().span_id] = current
                return
            if not SINKS:
                return
            run = ActiveRun(SINKS[-1])
            run.root_name = span.name
        settings = run.sink.settings
        context = span.get_span_context()
        if settings.sampling == "follow" and not context.trace_flags.sampled:
            return
        run.span = span
        run.trace_id = context.trace_id
        run.span_id = context.span_id
        run.sampled = context.trace_flags.sampled
        run.started_ns = span.start_time or time.time_ns()
        run.open_spans += 1
        parent = span.parent
        enclosing = RUN_OF_SPAN.get(parent.span_id) if parent is not None and not parent.is_remote else None
        claimed = self.runs.claim(run)
        entry = parse_tracestate_entry(context.trace_state.get(TRACESTATE_KEY, "")) if parent is not None and parent.is_remote else None
        if entry is not None:
            run.owner, run.parent_link = False, entry
        elif enclosing is not None or claimed is not None:
            run.owner, run.parent_run = False, enclosing or claimed
        if run.is_job:
            run.tell_parents()
        facts = CONTEXT.get()
        if facts:
            apply_facts(run, facts)
        RUN_OF_SPAN[context.span_id] = run
        if run.root_name is not None:
            self._mark(run, span)
        self.runs.take(run)
        if len(self.runs.all) > settings.max_traces or self.runs.weight > settings.max_pending_bytes:
            self._evict()

    def _mark(self, run: ActiveRun, span: Span) -> None:
        """Identity on a root that neither the middleware nor `job()` made, now: a span that ends takes no attributes any more.

        The job's name is what the attributes at the start say; the conventions want the operation there.
        """
        settings = run.sink.settings
        started = plain(span.attributes)
        span_id = f"{run.span_id:016x}"
        reading = read(
            started, span_id=span_id, parent_span_id=None, started_ns=0, ended_ns=0, failed=False, service=settings.service,
        ) if started else None  # fmt: skip
        name = root_job(settings.service, span_id, [reading] if reading is not None else [])
        base = settings.base_url
        mark_root(run, run_id(run), f"{base}/r/{run.trace_id:032x}" if base else None, job=name)

    def _read(self, run: ActiveRun, span: ReadableSpan, span_id: int) -> bool:
        """Whether the span says something of the run: another server span around or in ours, late by a moment, does not."""
        attributes = plain(span.attributes)
        details = _NOTHING if SPANLINE_OPERATION in attributes else _details(attributes, span)
        if details is None:
            return False
        settings = run.sink.settings
        if len(run.readings) >= settings.max_spans and span_id != run.span_id:  # the root names the job
            run.dropped_operations += 1
            run.sink.dropped("spans")
            return True
        parent = span.parent
        reading = read(
            attributes,
            span_id=f"{span_id:016x}",
            parent_span_id=f"{parent.span_id:016x}" if parent is not None else None,
            started_ns=span.start_time or 0,
            ended_ns=span.end_time or 0,
            failed=span.status.status_code is StatusCode.ERROR,
            service=settings.service,
            reasons=bool(settings.allow) and settings.allows(GUARDRAIL_REASON),
            **details,
        )
        if reading is not None:
            run.readings.append(reading)
            if run.parent_run is not None:
                run.tell_parents()
            run.weight += READING_WEIGHT
            self.runs.weight += READING_WEIGHT
        return reading is not None

    def _end(self, run: ActiveRun, span: ReadableSpan) -> None:
        run.ended_ns = span.end_time or time.time_ns()
        if span.status.status_code is StatusCode.ERROR:
            run.failed = True
        if run.error_type is None and span.attributes:
            error_type = span.attributes.get("error.type")
            run.error_type = str(error_type) if error_type is not None else None
        if run.name_of is not None:
            # It holds the request, and the claim of the trace is kept for long.
            run.job, run.name_of = run.job or run.name_of(run), None
        self.runs.end(run)
        run.sink.finish(run)
        run.span = None

    def sweep(self, *, everything: bool = False) -> None:
        """Do what time brings: STARTs of long runs, stragglers of finished ones, runs that never end, forgetting.

        Args:
            everything: At a flush: send late spans now, without waiting for more.
        """
        now = time.time_ns()
        for run in self.runs.open():
            settings = run.sink.settings
            age_s = (now - run.started_ns) / 1e9
            if age_s > settings.trace_timeout_s:
                self._flush_unfinished(run)
            elif age_s > settings.start_after_s and not run.start_sent:
                run.start_sent = True
                run.sink.started(run)
        monotonic = time.monotonic_ns()
        for run in self.runs.late():
            waited_s = (monotonic - run.last_late_ns) / 1e9
            if everything or (waited_s >= 0.5 and (run.open_spans <= 0 or waited_s >= 5.0)):
                self._straggle(run)
        for run in self.runs.due():
            self.runs.forget(run)

    def _straggle(self, run: ActiveRun) -> None:
        run.settle()
        run.sequence += 1
        run.sink.finish(run)

    def _flush_unfinished(self, run: ActiveRun) -> None:
        """A root that never ends: record what is known, and take what follows as stragglers."""
        run.sink.dropped("unfinished")
        run.ended_ns = time.time_ns()
        self.runs.end(run)
        run.sink.finish(run)

    def _evict(self) -> None:
        """Over a bound: finished runs go first, then the oldest is flushed as what is known."""
        run = self.runs.oldest()
        if run is None:
            run = self.runs.open()[0]
            self._flush_unfinished(run)
        elif run.last_late_ns:
            self._straggle(run)
        self.runs.forget(run)

    def held(self, trace_id: int) -> ActiveRun | None:
        """The run that claimed a trace, as long as it is here."""
        return self.runs.of_trace(trace_id)

    def shutdown(self) -> None:
        """Send what is late."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send late spans now. Unit: milliseconds, as OpenTelemetry has it; it takes no waiting."""
        try:
            self.sweep(everything=True)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("processor.flush", error)
        return True


def _details(attributes: Mapping[str, Any], span: ReadableSpan) -> dict[str, Any] | None:
    """What helps to read a span that is not one of spanline's own; None for one that no dialect knows, as most spans are."""
    scope = span.instrumentation_scope
    name = scope.name if scope is not None else None
    events = span.events
    dialect = dialect_of(attributes, name, [event.name for event in events] if events else ())
    if dialect is None:
        return None
    told = [(event.name, event.attributes, event.timestamp) for event in events]
    return {"scope": name, "name": span.name, "events": told, "dialect": dialect}
