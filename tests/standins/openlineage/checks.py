"""Which events the server refuses, and how it answers them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.standins.openlineage.times import parse_time

_DATASET_NAMESPACE = re.compile(r"[a-zA-Z:;=/0-9_\-.@+]{1,1024}\Z")
_TYPED_RUN = ("nominalTime", "parent")
_TYPED_JOB = ("documentation", "sourceCodeLocation", "sql", "sourceCode", "jobType")
_TYPED_DATASET = ("documentation", "schema", "dataSource", "lifecycleStateChange", "columnLineage", "symlinks")
_INDEXED = 2704
"""Bytes of a name that no index takes, unless they can be compressed."""


class Refused(Exception):
    """The event is not taken: status, and a JSON body or, where it is None, the servlet container's HTML page."""

    def __init__(self, status: int, body: dict[str, Any] | None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def read_event(body: bytes) -> dict[str, Any]:
    """The event in a body, after the checks that come before anything is stored.

    Raises:
        Refused: 500 with `code` 400 for what is not JSON or not an object, 422 for what is missing.
    """
    if not body.strip():
        raise Refused(422, {"errors": ["The request body must not be null"]})
    try:
        event: Any = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(str(error)) from error
    if event is None:
        raise Refused(422, {"errors": ["The request body must not be null"]})
    if not isinstance(event, dict):
        raise _malformed("Cannot deserialize value of type LineageEvent")
    if event.get("eventTime") is not None:
        try:
            parse_time(str(event["eventTime"]))
        except ValueError as error:
            raise _malformed(str(error)) from error
    if missing := sorted(_missing(event)):
        raise Refused(422, {"errors": [f"{path} must not be null" for path in missing]})
    return event


def kind_of(event: dict[str, Any]) -> str:
    """`RunEvent`, `JobEvent` or `DatasetEvent`, by the last segment of `schemaURL`."""
    last = str(event.get("schemaURL") or "").rpartition("/")[2]
    return last if last in {"JobEvent", "DatasetEvent"} else "RunEvent"


def check_datasets(event: dict[str, Any]) -> None:
    """Namespaces and names of datasets, of outputs on COMPLETE only.

    Raises:
        Refused: 400 with HTML.
    """
    complete = str(event.get("eventType")).upper() == "COMPLETE"
    sides = ("inputs", "outputs") if complete or "run" not in event else ("inputs",)
    for side in sides:
        for dataset in event.get(side) or ():
            if not _DATASET_NAMESPACE.match(str(dataset["namespace"])) or not str(dataset["name"]).strip():
                raise Refused(400, None)


def too_much(event: dict[str, Any]) -> bool:
    """Whether the database refuses it half-way: NUL, names that no index or column takes."""
    if "\\u0000" in json.dumps(event):
        return True
    run: dict[str, Any] = event.get("run") or {}
    job: dict[str, Any] = event.get("job") or {}
    location = ((job.get("facets") or {}).get("sourceCodeLocation") or {}).get("url") or ""
    names = [str(job.get("name") or ""), *(str(each["name"]) for side in ("inputs", "outputs") for each in event.get(side) or ())]
    facets = [*(run.get("facets") or {}), *(job.get("facets") or {})]
    terminal = str(event.get("eventType")).upper() in {"COMPLETE", "FAIL", "ABORT"}
    return (
        (terminal and len(location) > 255)
        or any(len(name) > 255 for name in facets)
        or any(len(name.encode()) > _INDEXED and len(set(name)) > 8 for name in names)
    )


def _missing(event: dict[str, Any]) -> Iterator[str]:
    kind = kind_of(event)
    needed = {"RunEvent": ("run", "job"), "JobEvent": ("job",), "DatasetEvent": ("dataset",)}[kind]
    yield from (name for name in (*needed, "producer", "eventTime") if event.get(name) is None)
    run, job = event.get("run"), event.get("job")
    if isinstance(run, dict):
        if run.get("runId") is None:
            yield "run.runId"
        facets = run.get("facets") or {}
        yield from _typed("run.facets", facets, _TYPED_RUN)
        if isinstance(parent := facets.get("parent"), dict):
            yield from _nulls("run.facets.parent.run", parent.get("run"), ("runId",))
            yield from _nulls("run.facets.parent.job", parent.get("job"), ("namespace", "name"))
        if isinstance(nominal := facets.get("nominalTime"), dict) and nominal.get("nominalStartTime") is None:
            yield "run.facets.nominalTime.nominalStartTime"
    if isinstance(job, dict):
        yield from _nulls("job", job, ("namespace", "name"))
        yield from _typed("job.facets", job.get("facets") or {}, _TYPED_JOB)
    for side in ("inputs", "outputs"):
        for number, dataset in enumerate(event.get(side) or ()):
            path = f"{side}[{number}]"
            yield from _nulls(path, dataset, ("namespace", "name"))
            facets = dataset.get("facets") or {}
            yield from _typed(f"{path}.facets", facets, _TYPED_DATASET)
            for index, column in enumerate((facets.get("schema") or {}).get("fields") or ()):
                if column.get("name") is None:
                    yield f"{path}.facets.schema.fields[{index}].name"


def _typed(path: str, facets: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if isinstance(facet := facets.get(name), dict):
            yield from _nulls(f"{path}.{name}", facet, ("_producer", "_schemaURL"))


def _nulls(path: str, holder: Any, names: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(holder, dict):
        yield path
        return
    yield from (f"{path}.{name}" for name in names if holder.get(name) is None)


def _malformed(message: str) -> Refused:
    return Refused(500, {"code": 400, "message": message})


def _no_constant(name: str) -> float:
    raise ValueError(f"Non-standard token '{name}'")
