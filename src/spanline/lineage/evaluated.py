"""Evaluations that come after a run: checked, and the further terminal event that carries them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, cast

import msgspec

from spanline.lineage import facets
from spanline.lineage.encoding import encode
from spanline.lineage.facets import stamp
from spanline.naming import clean, fit
from spanline.record.run import Evaluation, RunRecord
from spanline.times import parse_rfc3339, rfc3339

MAX_LABEL = 1024
MAX_EVALUATIONS = 1000
"""Of one run; a run with more is an evaluation job, which has a run of its own."""

_MILLISECOND_NS = 1_000_000
_TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})
_PROPERTIES = frozenset(field.encode_name for field in msgspec.structs.fields(Evaluation))
_encode = msgspec.json.Encoder(order="deterministic").encode


def cleaned(evaluation: Evaluation, now_ns: int) -> Evaluation | None:
    """The evaluation as it may leave: texts cut to size, a score that is a number, a time; None without a name.

    Args:
        evaluation: As given.
        now_ns: When it came, for one that does not say when it was made. Unit: Unix nanoseconds.
    """
    name = fit(evaluation.name.strip())
    if not name:
        return None
    score = evaluation.score
    return Evaluation(
        name=name,
        score=score if score is not None and isfinite(score) else None,
        label=_text(evaluation.label),
        passed=evaluation.passed,
        evaluator=_text(evaluation.evaluator),
        evaluator_version=_text(evaluation.evaluator_version),
        eval_set=_text(evaluation.eval_set),
        eval_set_version=_text(evaluation.eval_set_version),
        evaluated_at=_moment(evaluation.evaluated_at) or rfc3339(now_ns),
    )


def evaluations_from(body: bytes, now_ns: int) -> list[Evaluation]:
    """Evaluations from JSON: one object or a list of them, as in `spanline_evaluations`.

    Raises:
        ValueError: Not that; the message says what is wrong, and holds nothing of the body but names of properties.
    """
    try:
        raw: Any = msgspec.json.decode(body)
        entries: list[Any] = cast(list[Any], raw) if isinstance(raw, list) else [raw]
        for entry in entries:
            unknown = sorted(cast(dict[str, Any], entry).keys() - _PROPERTIES) if isinstance(entry, dict) else []
            if unknown:
                raise ValueError(f"unknown property {clean(unknown[0], 64)!r}; known: {', '.join(sorted(_PROPERTIES))}")
        given = msgspec.convert(entries, list[Evaluation])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("the body is not JSON: one evaluation, or a list of them") from error
    if not given or len(given) > MAX_EVALUATIONS:
        raise ValueError(f"from 1 to {MAX_EVALUATIONS} evaluations")
    found = [cleaned(evaluation, now_ns) for evaluation in given]
    if None in found:
        raise ValueError("an evaluation without a name")
    return [evaluation for evaluation in found if evaluation is not None]


def evaluated_event(document: Mapping[str, Any], evaluations: Sequence[Evaluation], *, producer: str, schema_base: str) -> bytes | None:
    """A further event of a run that is known by its event: all of it, the evaluations added, a millisecond later.

    It is full, since some consumers keep the facets of the last event only. A run that has not ended, and one of
    somebody else, gets an OTHER event instead; the latter with the evaluations alone.

    Args:
        document: An event of the run, or all of them merged.
        evaluations: Those that are new; what the run has already is left out.
        producer: `producer` of the event.
        schema_base: Base of `_schemaURL`.

    Returns:
        The line for the journal; None when the run has all of these evaluations.
    """
    mark = stamp(producer, schema_base)
    event = {key: value for key, value in document.items() if not key.startswith("spanline_")}
    run = dict(_part(event.get("run")))
    run_facets = dict(_part(run.get("facets")))
    if "spanline_trace" not in run_facets:
        # Somebody else's run: what they said of it is theirs to say, and is not repeated.
        job = _part(event.get("job"))
        event |= {"inputs": [], "outputs": [], "job": {"namespace": job.get("namespace"), "name": job.get("name")}}
        run_facets = {key: run_facets[key] for key in ("spanline_evaluations", "test") if key in run_facets}
        event["eventType"] = "OTHER"
    elif event.get("eventType") not in _TERMINAL:
        # RUNNING could arrive after the COMPLETE that is on its way.
        event["eventType"] = "OTHER"
    new = unseen(document, evaluations)
    if not new:
        return None
    every = tuple([*_known(document), *new][-MAX_EVALUATIONS:])
    run_facets["spanline_evaluations"] = facets.EvaluationsFacet(
        producer=mark.producer, schema_url=mark.urls["spanline_evaluations"], evaluations=every
    )
    tests = facets.test(mark, every)
    if tests is not None:
        run_facets["test"] = _with_others(tests, _part(run_facets.get("test")), {evaluation.name for evaluation in every})
    run["facets"] = run_facets
    moment = parse_rfc3339(str(event["eventTime"])) + _MILLISECOND_NS
    event |= {"run": run, "eventTime": rfc3339(moment), "producer": producer}
    event.setdefault("inputs", [])
    event.setdefault("outputs", [])
    return encode(cast(Any, event))


def unseen(document: Mapping[str, Any], evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Those evaluations that the run does not have yet."""
    texts = {_encode(entry) for entry in _known(document)}
    return [evaluation for evaluation in evaluations if _encode(evaluation) not in texts]


def only_evaluations(document: Mapping[str, Any], evaluations: list[Evaluation]) -> RunRecord:
    """A record that holds the identity of a run, and these evaluations: what the metrics count."""
    run, job = _part(document.get("run")), _part(document.get("job"))
    trace = _part(_part(run.get("facets")).get("spanline_trace"))
    return RunRecord(
        run_id=str(run.get("runId")),
        trace_id=str(trace.get("traceId") or ""),
        span_id=str(trace.get("spanId") or ""),
        namespace=str(job.get("namespace") or ""),
        job=str(job.get("name") or ""),
        service=str(trace.get("service") or ""),
        started_ns=0,
        sequence=1,
        sampled=trace.get("sampled") is True,
        evaluations=tuple(evaluations),
    )


def _with_others(tests: dict[str, Any], before: Mapping[str, Any], mine: set[str]) -> dict[str, Any]:
    """Tests that somebody else reported (Great Expectations, dbt) stay beside ours."""
    others = [entry for entry in _items(before.get("tests")) if entry.get("name") not in mine]
    return {**tests, "tests": [*others, *tests["tests"]]}


def _known(document: Mapping[str, Any]) -> list[Evaluation]:
    facet = _part(_part(_part(document.get("run")).get("facets")).get("spanline_evaluations"))
    found: list[Evaluation] = []
    for entry in _items(facet.get("evaluations")):
        try:
            found.append(msgspec.convert(dict(entry), Evaluation))
        except msgspec.ValidationError:
            continue
    return found


def _part(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _items(value: object) -> Iterable[Mapping[str, Any]]:
    return (
        [cast(Mapping[str, Any], item) for item in cast(list[Any], value) if isinstance(item, Mapping)] if isinstance(value, list) else []
    )


def _text(value: str | None) -> str | None:
    return clean(value, MAX_LABEL) or None if value else None


def _moment(value: str | None) -> str | None:
    try:
        return rfc3339(parse_rfc3339(value)) if value else None
    except (ValueError, OverflowError):
        return None
