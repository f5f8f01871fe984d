"""evaluation(): a score or a verdict on a run, while it goes on, after it, and from anywhere by its id."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from spanline._guard import guard, warn_once_a_minute
from spanline.api.context import Current, active
from spanline.api.operation import current_sink
from spanline.identity import run_id_of, trace_id_of
from spanline.lineage.evaluated import cleaned
from spanline.naming import versioned
from spanline.record.active import SINKS, ActiveRun, run_id
from spanline.record.reference import Reference
from spanline.record.run import Evaluation


@runtime_checkable
class TakesEvaluations(Protocol):
    """A runtime that can find a run that is over."""

    def evaluate(self, id: str, evaluation: Evaluation) -> None:
        """Put an evaluation on a run that this process does not hold."""
        ...


class _Holds(Protocol):
    """A span processor, as far as it is needed here."""

    def held(self, trace_id: int) -> ActiveRun | None: ...


def evaluation(
    run: str | Current | None,
    name: str,
    *,
    score: float | None = None,
    label: str | None = None,
    passed: bool | None = None,
    evaluator: str | None = None,
    evaluator_version: str | None = None,
    eval_set: Reference | str | None = None,
    eval_set_version: str | None = None,
) -> None:
    """Report a score or a verdict on a run: it shows on the run's page, in `llm_evaluation_score`, and decides about `lastgood`.

    Never raises and never waits: what the process does not hold any more is looked up in the ledger (or at
    `SPANLINE_SERVER_URL`) by a thread of its own, for a minute; then it is counted as dropped and logged.

    Args:
        run: Trace id (32 hex), run id (dashed), request id or response id; `spanline.current()`; None is the run around the call.
        name: What was measured, such as `faithfulness`.
        score: Most evaluators answer 0 … 1.
        label: A verdict in a word. Not the judge's reasons: they are content.
        passed: Whether the run is good enough; without it a score says nothing to `lastgood`.
        evaluator: Who judged: a model, a metric, `user`.
        evaluator_version: Its version.
        eval_set: An `EvalSet`, or `name@version`.
        eval_set_version: Where `eval_set` does not say it.
    """
    with guard("api.evaluation"):
        set_name, version = _eval_set(eval_set)
        made = cleaned(
            Evaluation(
                name=str(name),
                score=float(score) if score is not None else None,
                label=str(label) if label is not None else None,
                passed=bool(passed) if passed is not None else None,
                evaluator=str(evaluator) if evaluator is not None else None,
                evaluator_version=str(evaluator_version) if evaluator_version is not None else None,
                eval_set=set_name,
                eval_set_version=str(eval_set_version) if eval_set_version is not None else version,
            ),
            time.time_ns(),
        )
        if made is not None:
            _report(run, made)


def _report(run: str | Current | None, made: Evaluation) -> None:
    held = active() if run is None else _held(run.run_id if isinstance(run, Current) else str(run))
    if held is not None:
        held.add("evaluations", made)
        if held.finished:
            held.touch()
        return
    if run is None:
        warn_once_a_minute("evaluation.outside", "spanline: evaluation(None, …) outside a run: give the id of one; it is left out")
        return
    sink = current_sink()
    if isinstance(sink, TakesEvaluations):
        sink.evaluate(run.run_id if isinstance(run, Current) else str(run).strip(), made)


def _held(id: str) -> ActiveRun | None:
    """The run of that id, as long as this process holds it."""
    current = active()
    trace = trace_id_of(id.strip())
    if trace is None:
        return current if current is not None and current.request_id == id else None
    wanted = run_id_of(trace)
    if current is not None and current.trace_id and run_id(current) == wanted:
        return current
    for sink in SINKS:
        processor: _Holds | None = getattr(sink, "processor", None)
        run = processor.held(trace) if processor is not None else None
        # A runtime that is closed writes nothing any more.
        if run is not None and run.sink in SINKS and run_id(run) == wanted:
            return run
    return None


def _eval_set(given: Reference | str | None) -> tuple[str | None, str | None]:
    if given is None:
        return None, None
    if isinstance(given, Reference):
        return given.name, given.version or given.digest
    return versioned(str(given))
