"""Dressing: what changes in one event without knowing any other (names, types, parents, size)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from spanline.transports.base import TooLarge

Event = dict[str, Any]

_KEPT = frozenset({"parent", "spanline_trace", "sourceCodeLocation", "errorMessage"})


def datasets_of(event: Event) -> frozenset[Any]:
    """Side, namespace and name of the inputs and outputs."""
    return frozenset(
        (side, dataset.get("namespace"), dataset.get("name")) for side in ("inputs", "outputs") for dataset in event.get(side) or ()
    )


def dash_run_ids(event: Event) -> None:
    """Run ids of 32 hex digits get their dashes: Marquez takes them without, and makes another id of them."""
    for run in _runs(event):
        run_id = run.get("runId")
        if isinstance(run_id, str) and len(run_id) == 32:
            try:
                run["runId"] = str(uuid.UUID(hex=run_id))
            except ValueError:
                continue


def name_root_as_parent(event: Event) -> None:
    """The trace's root run as parent, never one that is a child itself."""
    facets: Event = event["run"].get("facets") or {}
    parent: Event | None = facets.get("parent")
    root: Event | None = (parent or {}).get("root")
    if parent and root and root.get("run") and root.get("job"):
        facets["parent"] = {**parent, "run": root["run"], "job": root["job"]}


def set_processing_type(event: Event, processing_type: str) -> None:
    """`jobType.processingType`, where the event has a `jobType`."""
    facets: Event = event["job"].get("facets") or {}
    job_type: Event | None = facets.get("jobType")
    if job_type:
        facets["jobType"] = {**job_type, "processingType": processing_type}


def without_versions(event: Event) -> None:
    """Dataset names without the version, which stays in the `version` facet; each dataset still once."""
    for side in ("inputs", "outputs"):
        once: dict[tuple[Any, Any], Any] = {}
        for dataset in event.get(side) or ():
            facets: Event = dataset.get("facets") or {}
            artifact: Event = facets.get("spanline_artifact") or {}
            version = artifact.get("version")
            name = str(dataset.get("name"))
            if version and name.endswith(f"@{version}"):
                dataset["name"] = name.removesuffix(f"@{version}")
            once.setdefault((dataset.get("namespace"), dataset["name"]), dataset)
        event[side] = list(once.values())


def fit(event: Event, limit: int | None) -> Event:
    """Leave out the largest facets first when the event is too large; what joins it to the rest stays.

    Raises:
        TooLarge: More than the limit whatever is left out. Unit: bytes.
    """
    if limit is None:
        return event
    size = len(msgspec.json.encode(event))
    if size <= limit:
        return event
    for _, leave_out in sorted(_parts(event), key=lambda part: -part[0]):
        leave_out()
        size = len(msgspec.json.encode(event))
        if size <= limit:
            return event
    raise TooLarge(size, limit)


def _runs(event: Event) -> Iterator[Event]:
    run: Event = event["run"]
    yield run
    facets: Event = run.get("facets") or {}
    parent: Event = facets.get("parent") or {}
    root: Event = parent.get("root") or {}
    yield from (holder["run"] for holder in (parent, root) if isinstance(holder.get("run"), dict))


def _parts(event: Event) -> list[tuple[int, Callable[[], object]]]:
    """What may be left out of an event: its size, and how to take it away."""
    holders: list[Event | None] = [event["run"].get("facets"), event["job"].get("facets")]
    for side in ("inputs", "outputs"):
        for dataset in event.get(side) or ():
            holders += [dataset.get("facets"), dataset.get("inputFacets"), dataset.get("outputFacets")]
    return [
        (len(msgspec.json.encode(facet)), partial(holder.pop, name, None))
        for holder in holders
        if holder
        for name, facet in holder.items()
        if name not in _KEPT
    ]
