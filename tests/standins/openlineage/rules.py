"""What an event does to what is stored. Each rule bears the recording that shows it."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.openlineage.checks import Refused, check_datasets, kind_of, too_much
from tests.standins.openlineage.model import Facets, Job, Key, Run, State, Version
from tests.standins.openlineage.times import java_uuid, name_uuid, parse_time

Event = dict[str, Any]

ENDS = {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}


def write(state: State, event: Event) -> None:
    """Store one event that passed `read_event`.

    Raises:
        Refused: Half-way; what was written before stays (10-statuses).
    """
    kind = kind_of(event)
    now = parse_time(str(event["eventTime"]))
    if kind == "DatasetEvent":
        _dataset(state, event["dataset"], now)
        return
    if kind == "JobEvent":
        check_datasets(event)
        _job_event(state, event, now)
        return
    _run_event(state, event, now)


def _run_event(state: State, event: Event, now: int) -> None:
    kind = str(event.get("eventType") or "").upper()
    facets: Event = event["run"].get("facets") or {}
    if event.get("eventType") is None and event["run"].get("facets") is not None:
        raise Refused(500, None)
    broken = too_much(event)
    job = _job_of_run(state, event, facets, kind, now)
    text = str(event["run"]["runId"])
    run_id = java_uuid(text) or name_uuid(text)
    run = state.runs.get(run_id)
    if run is None:
        # The first job keeps the run, whoever sends events for it later (09-identity).
        run = state.runs[run_id] = Run(run_id, job, now, now)
    run.updated = now
    parent = facets.get("parent")
    if isinstance(parent, dict):
        run.args = {"run_id": parent["run"]["runId"], "name": parent["job"]["name"], "namespace": parent["job"]["namespace"]}
    job.current_run = _parent_run_id(state, job, parent) if isinstance(parent, dict) else run_id
    run.state = ENDS.get(kind, "RUNNING")
    if broken:
        raise Refused(500, None)
    _times(run, kind, now)
    state.events.append((now, event))
    run.facets += _rows(facets, now)
    job_rows = _rows(event["job"].get("facets"), now)
    run.job_facets += job_rows
    check_datasets(event)
    _io(state, run, event, now)
    for side in ("inputs", "outputs"):
        if not event.get(side):
            # An event without inputs (outputs) takes the job's away until a run ends (08-releases, 16-partial).
            setattr(job, side, {})
    if kind in ENDS:
        _end(state, job, run)
    elif run.versioned and job.version is not None:
        job.version.facets += job_rows


def _times(run: Run, kind: str, now: int) -> None:
    """The end moves with every terminal event, the start with every other one (07-enrichment, 09-identity)."""
    if kind in ENDS:
        run.ended = now
    else:
        run.started = now


def _end(state: State, job: Job, run: Run) -> None:
    """The run's inputs and outputs, of all its events, become the job's edges, whichever run ended (08, 16)."""
    version = _version(state, job, list(run.inputs), list(run.outputs))
    version.facets += [row for row in run.job_facets if row not in version.facets]
    job.inputs, job.outputs = dict.fromkeys(run.inputs), dict.fromkeys(run.outputs)
    run.versioned = True


def _job_event(state: State, event: Event, now: int) -> None:
    """Facets belong to the version with the event's own inputs and outputs; edges move only where it names some (06)."""
    job = _job(state, event["job"]["namespace"], event["job"]["name"], None, now)
    _locate(job, event)
    job.current_run = None
    keys: dict[str, list[Key]] = {}
    for side in ("inputs", "outputs"):
        keys[side] = [_dataset(state, each, now) for each in event.get(side) or ()]
        if keys[side]:
            setattr(job, side, dict.fromkeys(keys[side]))
    _version(state, job, keys["inputs"], keys["outputs"]).facets += _rows(event["job"].get("facets"), now)


def _version(state: State, job: Job, inputs: list[Key], outputs: list[Key]) -> Version:
    """A job's version is its name, inputs, outputs and location; the current one's facets are the job's (06, 14)."""
    key = (*job.key, frozenset(inputs), frozenset(outputs), job.location)
    job.version = state.versions.setdefault(key, Version(key))
    return job.version


def _job_of_run(state: State, event: Event, facets: Event, kind: str, now: int) -> Job:
    """With a parent facet the job is `<parent>.<job>`, and the parent's job and run are made in its namespace (04, 05)."""
    namespace, name = event["job"]["namespace"], event["job"]["name"]
    parent = facets.get("parent")
    if not isinstance(parent, dict):
        job = _job(state, namespace, name, None, now)
    else:
        above = parent["job"]["name"]
        known = state.jobs.get((_clean(namespace), above))
        parent_job = known or _job(state, namespace, above, None, now)
        run_id = _parent_run_id(state, parent_job, parent)
        if run_id not in state.runs:
            made = state.runs[run_id] = Run(run_id, parent_job, now, now, state=ENDS.get(kind, "RUNNING"))
            _times(made, kind, now)
            parent_job.current_run = run_id
        job = _job(state, namespace, name.removeprefix(f"{above}."), above, now)
    _locate(job, event)
    return job


def _parent_run_id(state: State, job: Job, parent: Event) -> str:
    """The parent's run; another one is made up where that id belongs to a job of another name (05)."""
    text, above = parent["run"]["runId"], parent["job"]["name"]
    run_id = java_uuid(text) or name_uuid(f"{parent['job']['namespace']}.{above}.{text}")
    known = state.runs.get(run_id)
    return name_uuid(f"{job.namespace}.{above}.{run_id}") if known is not None and known.job.name != above else run_id


def _job(state: State, namespace: str, simple: str, parent: str | None, now: int) -> Job:
    namespace = _clean(namespace)
    state.namespaces.setdefault(namespace, now)
    name = f"{parent}.{simple}" if parent else simple
    job = state.jobs.get((namespace, name))
    if job is None:
        job = state.jobs[namespace, name] = Job(namespace, name, simple, parent, now, now)
    job.updated = now
    return job


def _locate(job: Job, event: Event) -> None:
    """Every event sets the location, also to none (14)."""
    location = (event["job"].get("facets") or {}).get("sourceCodeLocation")
    job.location = location.get("url") if isinstance(location, dict) else None


def _io(state: State, run: Run, event: Event, now: int) -> None:
    for side, mine, facet_side in (("inputs", run.inputs, "inputFacets"), ("outputs", run.outputs, "outputFacets")):
        for dataset in event.get(side) or ():
            rows = mine.setdefault(_dataset(state, dataset, now), [])
            rows += _rows(dataset.get(facet_side), now)


def _dataset(state: State, dataset: Event, now: int) -> Key:
    key = (dataset["namespace"], dataset["name"])
    state.datasets.setdefault(key, now)
    state.namespaces.setdefault(key[0], now)
    return key


def _rows(facets: Any, now: int) -> Facets:
    return [(now, name, facet) for name, facet in (facets or {}).items() if facet is not None]


def _clean(namespace: str) -> str:
    """What a job's namespace may not hold becomes `_`, silently (10-statuses)."""
    return re.sub(r"[^a-zA-Z0-9:/\-_.@+]", "_", namespace)
