"""Questions: what people ask a ledger in an incident, the same in Python, over HTTP and on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from spanline.ledger import diff, graph, impact, lastgood, listing
from spanline.ledger.conflicts import dashed
from spanline.ledger.database import Database
from spanline.ledger.lookup import merged, resolve
from spanline.ledger.refs import find
from spanline.ledger.view import run_json

MAX_LIMIT = 1000


class Questions:
    """The questions; each is one read transaction that sees one state.

    Raises (every method):
        LedgerError: The database does not answer.
        ValueError: An argument is wrong; the message says which.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def resolve(self, id: str) -> str | None:
        """Run id of an id in any form: trace id, run id, request id, response id (of several the newest)."""
        with self._database.read() as connection:
            found = resolve(connection, id)
        return dashed(found[0].run_id) if found else None

    def run(self, id: str) -> dict[str, Any] | None:
        """The JSON of a run (contract.md, "The JSON of a run") from an id in any form; None when it is unknown."""
        with self._database.read() as connection:
            found = resolve(connection, id)
            return run_json(connection, found) if found else None

    def document(self, id: str) -> dict[str, Any] | None:
        """All events of the run that an id means, merged into one OpenLineage event; None when it is unknown."""
        with self._database.read() as connection:
            found = resolve(connection, id)
            return merged(connection, [found[0].run]).get(found[0].run) if found else None

    def runs(
        self, *, limit: int = 50, after: str | None = None, job: str | None = None, outcome: str | None = None, artifact: str | None = None,
        tag: str | None = None, conflict: bool | None = None, since: str | datetime | None = None, until: str | datetime | None = None,
        tenant: str | None = None, subject: str | None = None, session: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """A page of runs, newest first: `{"items", "next"}`.

        Args:
            limit: Most runs of the page.
            after: `next` of the page before.
            job: Name of a job, or `namespace/name`.
            outcome: `COMPLETE`, `FAIL`, `ABORT` or `RUNNING`, in any case; also `ok`, `error`, `aborted`.
            artifact: `kind:name@version` or `kind:name` (all versions); used or made. `release:…@…` and `code:…@…` too.
            tag: `key:value`.
            conflict: Whether a version conflict was flagged.
            since: Started at this time or later, RFC 3339.
            until: Started before.
            tenant: Keyed digest of a tenant, as runs bear it.
            subject: Keyed digest of a person.
            session: Keyed digest of a session.
        """
        given = {"tenant": tenant, "subject": subject, "session": session}
        whose = {kind: digest for kind, digest in given.items() if digest is not None}
        with self._database.read() as connection:
            return listing.runs_page(
                connection, limit=_limit(limit), after=after, job=job, outcome=outcome, artifact=artifact, tag=tag, conflict=conflict,
                since=since, until=until, whose=whose,
            )  # fmt: skip

    def conflicts(self, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """A page of version conflicts, one entry a label: `{"items", "next"}`."""
        with self._database.read() as connection:
            return listing.conflicts_page(connection, limit=_limit(limit), after=after)

    def gaps(self, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """A page of what is missing in the lineage of runs: `{"items": [{runId, missing, how}], "next"}`; `limit` counts runs."""
        with self._database.read() as connection:
            return listing.gaps_page(connection, limit=_limit(limit), after=after)

    def artifacts(self, *, limit: int = 50, after: str | None = None, kind: str | None = None, name: str | None = None) -> dict[str, Any]:
        """A page of artifacts, each version and digest one item: `{"items", "next"}`."""
        with self._database.read() as connection:
            return listing.artifacts_page(connection, limit=_limit(limit), after=after, kind=kind, name=name)

    def lineage(self, ref: str, *, direction: str = "both", depth: int = 5) -> dict[str, Any]:
        """The graph around a run or an artifact: `{"root", "nodes", "edges", "truncated"}`.

        Args:
            ref: `run:<id>`, `kind:name@version`, `kind:name` or `namespace/name`.
            direction: `up`, `down` or `both`.
            depth: How many runs away, 0 to 100.

        Raises:
            UnknownReference: Nothing is known of it; the message names the nearest.
        """
        with self._database.read() as connection:
            target = find(connection, ref)
            if not target.runs and not target.artifacts:
                raise ValueError(
                    f"lineage is of a run or an artifact; `spanline impact {ref}` lists the runs of a release and what they made"
                )
            return graph.lineage(connection, target, direction=direction, depth=depth)

    def impact(self, ref: str, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """What an artifact went into: `{"ref", "runs": {"count", "items", "next"}, "jobs", "releases", "artifacts"}`.

        Raises:
            UnknownReference: Nothing is known of it; the message names the nearest.
        """
        with self._database.read() as connection:
            return impact.impact(connection, find(connection, ref), limit=_limit(limit), after=after)

    def diff(self, a: str, b: str, *, job: str | None = None) -> dict[str, Any]:
        """What differs between two runs, two releases (`release:service@version`) or two time windows (`from/to`).

        Raises:
            UnknownReference: One is not known; the message names the nearest.
        """
        with self._database.read() as connection:
            return diff.diff(connection, a, b, job=job)

    def lastgood(self, job: str) -> dict[str, Any]:
        """The last known good release of a job: `{"job", "release", "run", "artifacts", "why", "refused"}`.

        Raises:
            UnknownReference: No such job; the message names the nearest.
        """
        with self._database.read() as connection:
            return lastgood.last_good(connection, job)


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit is from 1 to {MAX_LIMIT}")
    return limit
