"""Evaluations as runs of their own, for consumers to which a second COMPLETE does harm.

Marquez moves a run's end with every terminal event and redraws the job's graph as that run had it, so that an evaluation
of last week's answer would bring last week's release back.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from spanline.lineage.facets import STANDARD
from spanline.naming import dataset_name, fit

Event = dict[str, Any]

_encode = msgspec.json.Encoder(order="deterministic").encode
_EVALUATIONS = ("spanline_evaluations", "test")


def evaluations_of(event: Mapping[str, Any]) -> dict[bytes, Event]:
    """The evaluations that an event bears, by their text."""
    facet = _part(_part(_part(event.get("run")).get("facets")).get("spanline_evaluations"))
    found: object = facet.get("evaluations")
    entries: list[Any] = cast(list[Any], found) if isinstance(found, list) else []
    return {_encode(entry): entry for entry in entries if isinstance(entry, dict)}


def without_evaluations(event: Event) -> None:
    """Take the evaluations out of an event that is sent for something else."""
    facets: Event = event["run"].get("facets") or {}
    for name in _EVALUATIONS:
        facets.pop(name, None)


def evaluation_run(event: Mapping[str, Any], text: bytes, evaluation: Event) -> Event:
    """The COMPLETE of a run of `<service>.evaluate` that read the answer and the eval set.

    Its id is made of the evaluated run's and the evaluation, so that it is the same however often it is sent. `parent` and
    `externalQuery` name the evaluated run.

    Args:
        event: An event of the evaluated run.
        text: The evaluation, encoded.
        evaluation: The evaluation, an entry of `spanline_evaluations`.
    """
    run, job = _part(event.get("run")), _part(event.get("job"))
    facets = _part(run.get("facets"))
    trace = _part(facets.get("spanline_trace"))
    run_id = str(run.get("runId"))
    moment = evaluation.get("evaluatedAt") or event.get("eventTime")
    producer = event.get("producer")
    evaluated = {"run": {"runId": run_id}, "job": {"namespace": job.get("namespace"), "name": job.get("name")}}
    parent = _part(facets.get("parent"))
    mine: Event = {
        "parent": {**_standard(producer, "parent"), **evaluated, "root": parent.get("root") or evaluated},
        "externalQuery": {**_standard(producer, "externalQuery"), "externalQueryId": run_id, "source": "spanline"},
        "spanline_evaluations": {**_part(facets.get("spanline_evaluations")), "evaluations": [evaluation]},
    }
    if trace:
        mine["spanline_trace"] = {
            **{key: value for key, value in trace.items() if key in _OF_THE_TRACE}, "startedAt": moment, "durationSeconds": 0.0
        }  # fmt: skip
    if "processing_engine" in facets:
        mine["processing_engine"] = facets["processing_engine"]
    tests = _tests(facets, evaluation)
    if tests is not None:
        mine["test"] = tests
    return {
        "eventTime": moment,
        "eventType": "COMPLETE",
        "run": {"runId": str(uuid.uuid5(_uuid(run_id), f"evaluation:{text.decode()}")), "facets": mine},
        "job": {
            "namespace": job.get("namespace"),
            "name": fit(f"{trace.get('service') or job.get('name')}.evaluate"),
            "facets": {
                "jobType": {
                    **_standard(producer, "jobType"), "processingType": "BATCH", "integration": "SPANLINE", "jobType": "EVALUATION"
                }
            },
        },
        "inputs": _inputs(event, evaluation),
        "outputs": [],
        "producer": producer,
        "schemaURL": event.get("schemaURL"),
    }  # fmt: skip


_OF_THE_TRACE = frozenset({"_producer", "_schemaURL", "traceId", "spanId", "sampled", "service", "environment", "runUrl"})


def _inputs(event: Mapping[str, Any], evaluation: Event) -> list[Event]:
    """What the run answered, and the eval set where one is named."""
    found: list[Event] = [{"namespace": each.get("namespace"), "name": each.get("name")} for each in event.get("outputs") or ()]
    if name := evaluation.get("evalSet"):
        found.append({"namespace": "datasets", "name": dataset_name(str(name), evaluation.get("evalSetVersion"))})
    return found


def _tests(facets: Mapping[str, Any], evaluation: Event) -> Event | None:
    facet = _part(facets.get("test"))
    found: object = facet.get("tests")
    tests = (
        [entry for entry in cast(list[Any], found) if _part(entry).get("name") == evaluation.get("name")] if isinstance(found, list) else []
    )
    return {**facet, "tests": tests[-1:]} if tests else None


def _standard(producer: Any, key: str) -> Event:
    return {"_producer": producer, "_schemaURL": STANDARD[key]}


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_URL, text)


def _part(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
