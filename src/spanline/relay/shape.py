"""Shaping: the journalled event becomes what one consumer is sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import msgspec

from spanline.relay.presets import Preset
from spanline.relay.run_ids import as_v7
from spanline.transports.base import TooLarge

Event = dict[str, Any]

TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})
_KEPT = frozenset({"parent", "spanline_trace", "sourceCodeLocation", "errorMessage"})
_REMEMBERED = 10_000
_MOST_SKIPPED = 100
"""So many COMPLETEs in a row with fewer datasets, and the job has changed for good."""


class Shaper:
    """Applies a preset. What it remembers (which facets were sent) counts only once `accepted()` is called."""

    def __init__(self, preset: Preset) -> None:
        self._preset = preset
        self._seen: OrderedDict[Hashable, Any] = OrderedDict()
        self._pending: dict[Hashable, Any] = {}

    def shape(self, event: Event) -> list[Event]:
        """The events to send for a journalled one, in order; empty when the consumer is not to have it.

        The event is changed in place.

        Raises:
            TooLarge: More than `max_event_bytes` whatever is left out.
        """
        self._pending = {}
        kind = event.get("eventType")
        if "run" not in event or "job" not in event:
            return [event]  # A job or dataset event of somebody else.
        run_id = event["run"].get("runId")
        start: Event | None = None
        if kind == "START":
            if not self._wants_start(event):
                return []
            self._remember(("started", run_id), True)
        elif kind in TERMINAL:
            if self._is_shrunk(event) or self._adds_nothing(event, run_id):
                return []
            start = self._start_of(event, run_id)
        return [self._fit(self._dress(each)) for each in (start, event) if each is not None]

    def accepted(self) -> None:
        """What was shaped last has been taken by the consumer."""
        for key, value in self._pending.items():
            self._seen[key] = value
            self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._pending = {}

    def _remember(self, key: Hashable, value: Any) -> None:
        self._pending[key] = value

    def _wants_start(self, event: Event) -> bool:
        if self._preset.start_events == "complete_io":
            return bool(event.get("inputs")) and bool(event.get("outputs"))
        return self._preset.start_events == "all"

    def _start_of(self, event: Event, run_id: object) -> Event | None:
        """The START that nobody journalled, once a run; before a later terminal event it would reopen the run."""
        if self._preset.start_events == "none" or ("started", run_id) in self._seen:
            return None
        from spanline.lineage.events import start_from_terminal

        try:
            start = start_from_terminal(event)
        except (ValueError, KeyError):
            return None  # Somebody else's event, which does not say when its run started.
        self._remember(("started", run_id), True)
        return start

    def _is_shrunk(self, event: Event) -> bool:
        """Whether the run would take datasets out of the consumer's graph, which shows a job's last run."""
        if self._preset.incomplete != "skip":
            return False
        key = ("io", event["job"].get("namespace"), event["job"].get("name"))
        mine = _names(event)
        last, skipped = self._seen.get(key, (frozenset[Any](), 0))
        complete = event.get("eventType") == "COMPLETE"
        if mine < last and skipped < _MOST_SKIPPED:
            if complete:
                self._seen[key] = (last, skipped + 1)
            return True
        if complete:
            self._remember(key, (mine, 0))
        return False

    def _adds_nothing(self, event: Event, run_id: object) -> bool:
        """Whether this is a later terminal event (stragglers, evaluations) with no dataset that the first had not."""
        if self._preset.evaluations != "run":
            return False
        mine = _names(event)
        if ("ended", run_id) in self._seen and mine <= self._seen["ended", run_id]:
            return True
        self._remember(("ended", run_id), mine)
        return False

    def _dress(self, event: Event) -> Event:
        preset = self._preset
        facets = event["run"].get("facets")
        if facets is not None and preset.parents == "drop":
            facets.pop("parent", None)
        if preset.job_facets == "once" and event.get("eventType") in TERMINAL:
            self._job_facets_once(event)
        if preset.processing_type != "keep":
            _set_processing_type(event, preset.processing_type)
        if preset.dataset_facets == "once":
            self._dataset_facets_once(event)
        if preset.names == "stable":
            _without_versions(event)
        if preset.run_ids == "v7":
            as_v7(event, preset.external_id)
        if facets is not None and not facets:
            del event["run"]["facets"]
        return event

    def _job_facets_once(self, event: Event) -> None:
        facets = event["job"].get("facets")
        if not facets:
            return
        location = facets.get("sourceCodeLocation")
        key = ("job", event["job"].get("namespace"), event["job"].get("name"), _names(event), msgspec.json.encode(location))
        if key in self._seen:
            event["job"]["facets"] = {"sourceCodeLocation": location} if location else {}
        else:
            self._remember(key, True)

    def _dataset_facets_once(self, event: Event) -> None:
        for dataset in event.get("inputs") or ():
            facets = dataset.get("facets")
            if facets:
                key = ("dataset", dataset.get("namespace"), dataset.get("name"), msgspec.json.encode(facets))
                if key in self._seen or key in self._pending:
                    del dataset["facets"]
                else:
                    self._remember(key, True)

    def _fit(self, event: Event) -> Event:
        """Leave out the largest facets first when the event is too large; what joins it to the rest stays."""
        limit = self._preset.max_event_bytes
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


def _names(event: Event) -> frozenset[Any]:
    return frozenset(
        (side, dataset.get("namespace"), dataset.get("name")) for side in ("inputs", "outputs") for dataset in event.get(side) or ()
    )


def _set_processing_type(event: Event, processing_type: str) -> None:
    facets: Event = event["job"].get("facets") or {}
    job_type: Event | None = facets.get("jobType")
    if job_type:
        job_type["processingType"] = processing_type


def _without_versions(event: Event) -> None:
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
