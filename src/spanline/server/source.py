"""What the server asks of a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Failure(Protocol):
    """One event that was not taken."""

    @property
    def index(self) -> int:
        """Its place in the batch, from 0."""
        ...

    @property
    def reason(self) -> str:
        """Why, without any part of the event."""
        ...


class Report(Protocol):
    """What became of a batch of events."""

    @property
    def rejected(self) -> Sequence[Failure]:
        """The events that no ledger can take; sending them again does not help."""
        ...


class Source(Protocol):
    """A ledger as the server sees it. Every call may block and is made in a worker thread."""

    def ingest(self, events: Sequence[bytes | Mapping[str, Any]]) -> Report:
        """Take events, in any order, any number of times."""
        ...

    def resolve(self, id: str) -> str | None:
        """Run id of an id in any form."""
        ...

    def run(self, id: str) -> dict[str, Any] | None:
        """The JSON of a run (contract.md), None when unknown."""
        ...

    def document(self, id: str) -> dict[str, Any] | None:
        """All events of a run as one OpenLineage event, None when unknown."""
        ...

    def runs(
        self,
        *,
        limit: int = ...,
        after: str | None = ...,
        job: str | None = ...,
        outcome: str | None = ...,
        artifact: str | None = ...,
        tag: str | None = ...,
        conflict: bool | None = ...,
        since: str | None = ...,
        until: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        session: str | None = ...,
    ) -> dict[str, Any]:
        """A page of runs, newest first: `{"items", "next"}`."""
        ...

    def conflicts(self, *, limit: int = ..., after: str | None = ...) -> dict[str, Any]:
        """A page of version conflicts: `{"items", "next"}`."""
        ...

    def gaps(self, *, limit: int = ..., after: str | None = ...) -> dict[str, Any]:
        """A page of runs whose lineage is incomplete: `{"items", "next"}`."""
        ...

    def artifacts(self, *, limit: int = ..., after: str | None = ..., kind: str | None = ..., name: str | None = ...) -> dict[str, Any]:
        """A page of known artifacts: `{"items", "next"}`."""
        ...

    def lineage(self, ref: str, *, direction: str = ..., depth: int = ...) -> dict[str, Any]:
        """The graph around a run or an artifact: `{"root", "nodes", "edges", "truncated"}`."""
        ...

    def impact(self, ref: str, *, limit: int = ..., after: str | None = ...) -> dict[str, Any]:
        """What an artifact went into: `{"ref", "runs", "jobs", "releases", "artifacts"}`."""
        ...

    def diff(self, a: str, b: str, *, job: str | None = ...) -> dict[str, Any]:
        """What differs between two runs, releases or time windows."""
        ...

    def lastgood(self, job: str) -> dict[str, Any]:
        """The last known good release of a job."""
        ...
