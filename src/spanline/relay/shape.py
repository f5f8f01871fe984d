"""Shaping: the journalled event becomes what one consumer is sent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from spanline.relay import dressing
from spanline.relay.dressing import datasets_of
from spanline.relay.evaluation_runs import evaluation_run, evaluations_of, without_evaluations
from spanline.relay.memory import Memory
from spanline.relay.presets import Preset
from spanline.relay.run_ids import as_v7
from spanline.times import parse_rfc3339

Event = dict[str, Any]

TERMINAL = frozenset({"COMPLETE", "FAIL", "ABORT"})
_MOST_SKIPPED = 100
"""So many COMPLETEs in a row with fewer datasets, and the job has changed for good."""

_LATE_NS = 500_000
"""A terminal event this much after its run's end is a later one: each is a millisecond after the one before."""


class Shaper:
    """Applies a preset. What it remembers (which facets were sent) lasts only if `accepted()` is called, else `forget()`.

    `left_out` says why the last event gave nothing to send: `incomplete`, or None where nothing is missing.
    """

    def __init__(self, preset: Preset) -> None:
        self._preset = preset
        self._memory = Memory()
        self.left_out: str | None = None

    def shape(self, event: Event) -> list[Event]:
        """The events to send for a journalled one, in order; empty when the consumer is not to have it.

        The event is changed in place.

        Raises:
            TooLarge: More than `max_event_bytes` whatever is left out.
        """
        self._memory.begin()
        self.left_out = None
        if "run" not in event or "job" not in event:
            return [event]  # A job or dataset event of somebody else.
        self.note(event)
        dressing.dash_run_ids(event)
        return [dressing.fit(self._dress(each), self._preset.max_event_bytes) for each in self._events(event)]

    def skip(self) -> None:
        """An event is not shaped: it counts among those that `accepted` numbers."""
        self._memory.begin()

    def note(self, event: Event) -> None:
        """Take note of an event that is perhaps not sent: the journal has a job's facets with the first one of a kind only."""
        job: Event = event.get("job") or {}
        facets: Event = job.get("facets") or {}
        lasting = {name: facet for name, facet in facets.items() if name != "sourceCodeLocation"}
        if lasting:
            self._memory.now(("job", *_job(event)), lasting)

    def accepted(self, but: Collection[int] = ()) -> None:
        """The consumer has taken the events shaped since the last call, but for those of these numbers."""
        self._memory.accept(but)

    def forget(self) -> None:
        """The consumer has not taken them."""
        self._memory.forget()

    def _events(self, event: Event) -> list[Event]:
        kind, run_id = event.get("eventType"), event["run"].get("runId")
        if kind in TERMINAL:
            return self._terminal(event, run_id)
        if kind == "START":
            if not self._wants_start(event, run_id):
                return []
            self._memory.later(("started", run_id))
        elif self._preset.evaluations == "run" and evaluations_of(event):
            # An OTHER or RUNNING event would reopen a run that has ended.
            return self._evaluations(event, run_id)
        return [event]

    def _wants_start(self, event: Event, run_id: object) -> bool:
        if self._preset.start_events == "none" or self._memory.get(("ended", run_id)) is not None:
            return False
        if self._preset.start_events == "complete_io":
            # Without inputs or outputs it would take those of the job away until the run ends; and a run that may yet be
            # left out must not have begun.
            return bool(event.get("inputs")) and bool(event.get("outputs")) and not self._shrinks(event)
        return True

    def _terminal(self, event: Event, run_id: object) -> list[Event]:
        names, before = self._names(event), self._memory.get(("ended", run_id))
        more: list[Event] = []
        if before is not None or _is_later(event):
            if self._preset.evaluations == "run":
                more = self._evaluations(event, run_id)
                if not self._may_enrich(event, names, before):
                    return more
                without_evaluations(event)
            events = [event]
        else:
            if self._is_left_out(event, run_id):
                self.left_out = "incomplete"
                return []
            if self._preset.evaluations == "run":
                self._memory.later(("evaluated", run_id), frozenset(evaluations_of(event)))
            events = [*self._start_of(event, run_id), event]
        self._memory.later(("ended", run_id), names)
        return [*events, *more]

    def _names(self, event: Event) -> frozenset[Any]:
        """Names of the datasets; the same object for all runs of a job that have the same."""
        names = datasets_of(event)
        last, _ = self._memory.get(("io", *_job(event)), (None, 0))
        return last if names == last else names

    def _start_of(self, event: Event, run_id: object) -> list[Event]:
        """The START that nobody journalled, once a run."""
        if self._preset.start_events == "none" or self._memory.get(("started", run_id)):
            return []
        from spanline.lineage.events import start_from_terminal

        try:
            start = start_from_terminal(event)
        except (ValueError, KeyError):
            return []  # Somebody else's event, which does not say when its run started.
        self._memory.later(("started", run_id))
        return [start]

    def _shrinks(self, event: Event) -> bool:
        """Whether the run would take datasets out of the consumer's graph, which shows a job's last run."""
        last, _ = self._memory.get(("io", *_job(event)), (frozenset[Any](), 0))
        return self._preset.incomplete == "skip" and datasets_of(event) < last

    def _is_left_out(self, event: Event, run_id: object) -> bool:
        key = ("io", *_job(event))
        last, skipped = self._memory.get(key, (frozenset[Any](), 0))
        complete = event.get("eventType") == "COMPLETE"
        # A run whose START was sent has to end.
        if self._shrinks(event) and skipped < _MOST_SKIPPED and not self._memory.get(("started", run_id)):
            if complete:
                self._memory.now(key, (last, skipped + 1))
            return True
        if complete:
            self._memory.later(key, (self._names(event), 0))
        return False

    def _may_enrich(self, event: Event, names: frozenset[Any], before: frozenset[Any] | None) -> bool:
        """Whether a later terminal event adds datasets, and its run is (as) the newest of its job, which the graph shows."""
        newest, _ = self._memory.get(("io", *_job(event)), (None, 0))
        if before is None or not before < names or newest != before:
            return False
        self._memory.later(("io", *_job(event)), (names, 0))
        return True

    def _evaluations(self, event: Event, run_id: object) -> list[Event]:
        """Runs of the evaluations that are new."""
        found, known = evaluations_of(event), self._memory.get(("evaluated", run_id), frozenset[bytes]())
        self._memory.later(("evaluated", run_id), known | found.keys())
        ends = [evaluation_run(event, text, entry) for text, entry in found.items() if text not in known]
        return [each for end in ends for each in (*self._start_of(end, end["run"]["runId"]), end)]

    def _dress(self, event: Event) -> Event:
        preset = self._preset
        facets: Event | None = event["run"].get("facets")
        if facets is not None and preset.parents == "drop":
            facets.pop("parent", None)
        elif preset.parents == "root":
            dressing.name_root_as_parent(event)
        if event.get("eventType") in TERMINAL:
            self._dress_job(event)
        if preset.processing_type != "keep":
            dressing.set_processing_type(event, preset.processing_type)
        if preset.names == "stable":
            dressing.without_versions(event)
        if preset.dataset_facets == "once":
            self._dataset_facets_once(event)
        if preset.run_ids == "v7":
            as_v7(event, preset.external_id)
        if facets is not None and not facets:
            del event["run"]["facets"]
        return event

    def _dress_job(self, event: Event) -> None:
        """All facets of the job, or (`once`) all with the first terminal event of its kind and the location with each."""
        if self._preset.job_facets == "keep":
            return
        facets: Event = {**self._memory.get(("job", *_job(event)), {}), **(event["job"].get("facets") or {})}
        if self._preset.job_facets == "once" and facets:
            location = facets.get("sourceCodeLocation")
            key = ("jobfacets", *_job(event), datasets_of(event), msgspec.json.encode(location))
            if self._memory.get(key):
                facets = {"sourceCodeLocation": location} if location else {}
            elif facets.keys() != {"sourceCodeLocation"}:
                self._memory.later(key)
        if facets or event["job"].get("facets"):
            event["job"]["facets"] = facets

    def _dataset_facets_once(self, event: Event) -> None:
        """Of inputs once a process and content, of outputs with every terminal event: each run makes a version of them."""
        if event.get("eventType") == "START":
            for dataset in (*(event.get("inputs") or ()), *(event.get("outputs") or ())):
                dataset.pop("facets", None)
            return
        for dataset in event.get("inputs") or ():
            facets = dataset.get("facets")
            if facets:
                key = ("dataset", dataset.get("namespace"), dataset.get("name"), msgspec.json.encode(facets))
                if self._memory.get(key):
                    del dataset["facets"]
                else:
                    self._memory.later(key)


def _job(event: Event) -> tuple[Any, Any]:
    return event["job"].get("namespace"), event["job"].get("name")


def _is_later(event: Event) -> bool:
    """Whether this is a further terminal event of its run (stragglers, evaluations), by its own account of its times."""
    facets: Event = event["run"].get("facets") or {}
    trace: Event = facets.get("spanline_trace") or {}
    try:
        started = parse_rfc3339(str(trace["startedAt"]))
        return parse_rfc3339(str(event["eventTime"])) - started - round(float(trace["durationSeconds"]) * 1e9) > _LATE_NS
    except (KeyError, TypeError, ValueError):
        return False
