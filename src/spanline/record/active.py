"""ActiveRun: a run that is being recorded, and where to find the one that is current.

This is plain data with two look-ups, so that the middleware, the span processor and the operations by hand, which know
nothing of one another, speak of the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any, Literal, Protocol

import spanline.semconv as s
from spanline.identity import child_run_id, run_id_of
from spanline.record.artifact import Artifact
from spanline.record.attributes import set_clean
from spanline.record.run import Evaluation, JobRef, RunRecord
from spanline.settings import Settings

MAX_TAGS = 64
PROVENANCE = ("prompt", "index", "model")
"""Kinds of artifacts that answers and log lines name, in this order."""


class Sink(Protocol):
    """What a run is handed to when it has ended: the runtime."""

    settings: Settings
    tracer: Any
    """OpenTelemetry tracer for operations by hand."""

    def digest(self, value: str) -> str:
        """Keyed digest of content or of an id of a person."""
        ...

    def finish(self, run: ActiveRun) -> None:
        """Record the run: first terminal event, or a further one when `run.sequence` is above 0."""
        ...

    def started(self, run: ActiveRun) -> None:
        """Journal the START of a run that takes long, or of a `job()`."""
        ...

    def dropped(self, reason: str, amount: int = 1) -> None:
        """Count what was not kept."""
        ...


_NONE: dict[str, Any] = {}


class ActiveRun:
    """One run while it goes on.

    Filled by whoever knows something: identity by the span processor, request facts by the middleware, readings by every
    finished span, context by the user. Thread-safety: appends and single assignments only; `finish` takes what is there.
    """

    # Most of it stays at its default in most runs, so defaults live on the class.
    span: Any = None
    trace_id: int = 0
    span_id: int = 0
    owner: bool = True
    """False for a child run: the trace's run belongs to another job."""
    parent_link: tuple[str, str] | None = None
    """`(namespace, job)` of the owner, from the remote tracestate entry."""
    parent_run: ActiveRun | None = None
    """The enclosing run, or the one that claimed the trace first."""
    sampled: bool = True
    started_ns: int = 0
    ended_ns: int = 0
    job: str | None = None
    """The job's name once it is settled."""
    name_of: Callable[[ActiveRun], str] | None = None
    """Tells the job's name as far as it is known (the route is matched late). It may hold the request, and must not hold the run."""
    root_name: str | None = None
    route: str | None = None
    is_job: bool = False
    request_id: str | None = None
    tenant: str | None = None
    subject: str | None = None
    session: str | None = None
    environment: str | None = None
    http_status_code: int | None = None
    error_type: str | None = None
    failed: bool = False
    aborted: bool = False
    source_path: str | None = None
    dropped_operations: int = 0
    open_spans: int = 0
    children: bool = False
    """A child run in this process holds lineage: its parent facet names this run, so this one is recorded too."""
    weight: int = 0
    sequence: int = 0
    start_sent: bool = False
    job_event_sent: bool = False
    last_late_ns: int = 0
    record: RunRecord | None = None
    logs: Sequence[Any] = ()
    """What log records say of its operations."""
    artifacts: Sequence[Artifact] = ()
    """References given to the run itself."""
    evaluations: Sequence[Evaluation] = ()
    tags: dict[str, str] = _NONE
    """These three are replaced, never changed in place."""
    parameters: dict[str, str] = _NONE
    metrics: dict[str, float] = _NONE

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.readings: list[Any] = []

    def add(self, name: Literal["logs", "artifacts", "evaluations"], *items: Any) -> None:
        """Add to what few runs have; a run that is held for late spans is no more objects than it must be."""
        self.__dict__.setdefault(name, []).extend(items)

    def job_name(self) -> str:
        """The job's name, as far as it is known now."""
        if self.job is not None:
            return self.job
        if self.name_of is not None:
            return self.name_of(self)
        return f"{self.sink.settings.service}.trace"

    def owner_job(self) -> tuple[str, str]:
        """`(namespace, job)` that owns the trace's run."""
        if self.parent_link is not None:
            return self.parent_link
        if self.parent_run is not None:
            return self.parent_run.owner_job()
        return self.sink.settings.namespace, self.job_name()

    def parent_job(self, run_id_of: Callable[[ActiveRun], str], trace_run_id: str) -> tuple[JobRef, JobRef] | None:
        """Parent and root of a child run; None for the trace's own run."""
        if self.owner:
            return None
        namespace, job = self.owner_job()
        root = JobRef(run_id=trace_run_id, namespace=namespace, name=job)
        parent = self.parent_run
        if parent is None:
            return root, root
        return JobRef(run_id=run_id_of(parent), namespace=parent.sink.settings.namespace, name=parent.job_name()), root

    @property
    def finished(self) -> bool:
        """The first terminal event is out."""
        return self.ended_ns != 0

    def has_lineage(self) -> bool:
        """The run holds an operation, an artifact reference or is a `job()`, or one of its child runs does."""
        return bool(
            self.children or self.readings or self.artifacts or self.is_job or self.dropped_operations or self.evaluations or self.logs
        )

    def tell_parents(self) -> None:
        """This run holds lineage: those above it are recorded as well."""
        parent = self.parent_run
        while parent is not None and not parent.children:
            parent.children = True
            if parent.finished and parent.record is None:
                parent.touch()
            parent = parent.parent_run

    def touch(self) -> None:
        """Something came after the end: a further terminal event is due."""
        self.last_late_ns = time.monotonic_ns()
        if RUN_OF_SPAN.get(self.span_id) is self:
            LATE[self.span_id] = self

    def settle(self) -> None:
        """The further event is out."""
        self.last_late_ns = 0
        LATE.pop(self.span_id, None)


CURRENT: ContextVar[ActiveRun | None] = ContextVar("spanline_run", default=None)
"""The run of the current request or job."""

SEED: ContextVar[ActiveRun | None] = ContextVar("spanline_seed", default=None)
"""Set only while a local root span is started on purpose: the span processor puts its identity on this run."""

CONTEXT: ContextVar[Mapping[str, Any]] = ContextVar("spanline_context", default={})  # noqa: B039  (never changed in place)
"""Facts of `context()` blocks, for runs that begin inside."""

RUN_OF_SPAN: dict[int, ActiveRun] = {}
"""Run of every open span, and of every root span until its run is forgotten, by span id."""

LATE: dict[int, ActiveRun] = {}
"""Runs that something came for after their end, and no further event yet, by root span id."""

SINKS: list[Sink] = []
"""Configured runtimes, the last one takes what no middleware claims."""


def leave(token: Token[Any]) -> None:
    """Undo a set of a context variable.

    In another context than the one it was set in there is nothing to undo: a thread pool steps a generator in copies of the context.
    """
    try:  # noqa: SIM105  for each operation; suppress() costs more than the reset
        token.var.reset(token)
    except ValueError:
        pass


def apply_facts(run: ActiveRun, facts: Mapping[str, Any]) -> None:
    """Put the facts of `context()` or of request headers on a run: people as keyed digests, tags as they are."""
    for name in ("tenant", "subject", "session"):
        value = facts.get(name)
        if value is not None:
            setattr(run, name, run.sink.digest(str(value)))
    tags = facts.get("tags")
    if tags:
        run.tags = dict(list({**run.tags, **tags}.items())[:MAX_TAGS])
    if run.finished:
        run.touch()


def run_id(run: ActiveRun) -> str:
    """The run's id: the trace id as a UUID for the trace's owner, else uuid5 of trace and span."""
    return run_id_of(run.trace_id) if run.owner else child_run_id(run.trace_id, run.span_id)


def provenance(run: ActiveRun) -> dict[str, str]:
    """Name and version of model, prompt and index that the run used so far, by kind; the model is the one that answered."""
    found: dict[str, str] = {}
    for artifact in run.artifacts:
        if artifact.kind in PROVENANCE:
            found[artifact.kind] = artifact.dataset[1]
    for reading in list(run.readings):
        for artifact in reading.artifacts:
            if artifact.kind in PROVENANCE and (artifact.kind != "model" or reading.operation.kind == "inference"):
                found[artifact.kind] = artifact.dataset[1]
    return found


def mark_root(run: ActiveRun, run_id: str, url: str | None, job: str | None = None) -> None:
    """Write the run's identity on its root span, so that a Collector or Grafana can link without us."""
    span = run.span
    if span is None or not span.is_recording():
        return
    attributes = {s.RUN_ID: run_id, s.JOB_NAMESPACE: run.sink.settings.namespace, s.JOB_NAME: job or run.job_name()}
    if url is not None:
        attributes[s.RUN_URL] = url
    set_clean(span, attributes)
