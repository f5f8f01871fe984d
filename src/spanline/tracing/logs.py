"""LineageLogProcessor: GenAI events that come as log records, joined with the run of their span, trace or response."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

import spanline.semconv as s
from spanline._guard import report
from spanline.record.active import RUN_OF_SPAN, SINKS, ActiveRun
from spanline.record.attributes import plain
from spanline.record.run import Evaluation
from spanline.tracing.log_events import (
    DETAILS,
    EVALUATION,
    EVENTS,
    LogFact,
    details_of,
    evaluation_of,
    event_name,
    exception_type,
)
from spanline.tracing.processor import LineageSpanProcessor


class LineageLogProcessor(LogRecordProcessor):
    """Reads GenAI events; all other log records pass. One a `LoggerProvider`.

    Never raises and keeps no content. What comes after the end of its run, and before the run is forgotten, makes a further
    terminal event; an evaluation that comes later still is looked up by the runtime.

    Args:
        processors: The span processors of this process, which hold the runs.
    """

    def __init__(self, processors: Callable[[], Iterable[LineageSpanProcessor]]) -> None:
        self._processors = processors

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Take one log record."""
        try:
            record = log_record.log_record
            name = record.event_name
            attributes = record.attributes
            if name not in EVENTS:
                if name or not attributes or event_name(None, attributes) not in EVENTS:
                    return
                name = event_name(None, attributes)
            said = plain(attributes)
            response = said.get(s.RESPONSE_ID)
            response = response if isinstance(response, str) and response else None
            time_ns = record.timestamp or record.observed_timestamp or time.time_ns()
            run = self._find(record.trace_id or 0, record.span_id or 0, response, by_response=name == EVALUATION)
            if name == EVALUATION:
                evaluation = evaluation_of(said, time_ns)
                if evaluation is not None:
                    self._evaluate(run, evaluation, response, record.trace_id or 0)
                return
            if run is None:
                return
            span_id = f"{record.span_id:016x}" if record.span_id else None
            fact = LogFact(span_id, response)
            if name == DETAILS:
                service = run.sink.settings.service
                fact.reading = details_of(said, span_id=span_id or f"{run.span_id:016x}", time_ns=time_ns, service=service)
            else:
                fact.error_type = exception_type(said)
            self._add(run, fact)
        except Exception as error:  # noqa: BLE001  a guard on the app's path: the SDK does not guard its processors
            report("logs.on_emit", error)

    def _add(self, run: ActiveRun, fact: LogFact) -> None:
        if fact.reading is None and fact.error_type is None:
            return
        if len(run.logs) >= run.sink.settings.max_spans:
            run.sink.dropped("logs")
            return
        run.add("logs", fact)
        if run.finished:
            run.touch()

    def _evaluate(self, run: ActiveRun | None, evaluation: Evaluation, response: str | None, trace_id: int) -> None:
        if run is not None:
            run.add("evaluations", evaluation)
            if run.finished:
                run.touch()
            return
        run_id = response or (f"{trace_id:032x}" if trace_id else None)
        later = getattr(SINKS[-1], "evaluate", None) if SINKS else None
        if run_id is not None and later is not None:
            later(run_id, evaluation)

    def _find(self, trace_id: int, span_id: int, response: str | None, *, by_response: bool) -> ActiveRun | None:
        """The run of a span that is open, or of one that this process still holds.

        An evaluation may be made in a trace of its own: there the response says more than the span.
        """
        run = RUN_OF_SPAN.get(span_id) if span_id else None
        if run is not None and not (by_response and response is not None):
            return run
        wanted = f"{span_id:016x}" if span_id else None
        of_trace, of_span = None, run
        for processor in self._processors():
            run = processor.held(trace_id) if response is None else None
            if run is not None and any(reading.operation.span_id == wanted for reading in run.readings):
                return run  # nearly always: no other one is looked at
            for run in reversed(list(processor.runs.all.values())):
                here = trace_id and run.trace_id == trace_id
                if not here and response is None:
                    continue
                for reading in run.readings:
                    operation = reading.operation
                    if response is not None and operation.response_id == response:
                        return run
                    if here and operation.span_id == wanted:
                        of_span = of_span or run
                if here and (of_trace is None or run.owner):
                    of_trace = run
        return of_span or of_trace

    def shutdown(self) -> None:
        """Nothing is held here."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held here."""
        return True
