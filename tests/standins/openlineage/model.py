"""What the stand-in remembers: jobs, their versions, runs, datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]
"""Namespace and name of a job or dataset."""

Facets = list[tuple[int, str, Any]]
"""`(event time in ns, name, facet)` in order of arrival."""


@dataclass
class Version:
    """One version of a job: its name, inputs, outputs and location together; job facets belong to it."""

    key: tuple[Any, ...]
    facets: Facets = field(default_factory=list)


@dataclass
class Job:
    """A job as the server names it, with the edges that its graph shows now."""

    namespace: str
    name: str
    simple: str
    parent: str | None = None
    created: int = 0
    updated: int = 0
    location: str | None = None
    inputs: dict[Key, None] = field(default_factory=dict)
    outputs: dict[Key, None] = field(default_factory=dict)
    version: Version | None = None
    current_run: str | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass
class Run:
    """A run; it stays with the job that had it first."""

    id: str
    job: Job
    created: int
    updated: int
    state: str = "NEW"
    started: int | None = None
    ended: int | None = None
    args: dict[str, Any] = field(default_factory=dict)
    versioned: bool = False
    inputs: dict[Key, Facets] = field(default_factory=dict)
    outputs: dict[Key, Facets] = field(default_factory=dict)
    facets: Facets = field(default_factory=list)
    job_facets: Facets = field(default_factory=list)


@dataclass
class State:
    """Everything."""

    jobs: dict[Key, Job] = field(default_factory=dict)
    versions: dict[tuple[Any, ...], Version] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    datasets: dict[Key, int] = field(default_factory=dict)
    namespaces: dict[str, int] = field(default_factory=dict)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def runs_of(self, job: Job) -> list[Run]:
        """The runs of a job, newest first; those without a start last."""
        mine = [run for run in self.runs.values() if run.job is job]
        return sorted(mine, key=lambda run: (run.started is None, -(run.started or 0)))

    def latest_of(self, job: Job) -> list[Run]:
        """The runs of a job, the one that an event touched last (by event time) first."""
        return sorted((run for run in self.runs.values() if run.job is job), key=lambda run: run.updated, reverse=True)


def merged(facets: Facets) -> dict[str, Any]:
    """The newest facet of each name; of two at one time the later arrival."""
    return {name: facet for _, name, facet in sorted(facets, key=lambda entry: entry[0])}
