"""Tallies: how often and when each job and release used each artifact, and what was made from what.

They answer in a few rows what would otherwise read an edge a run. Both follow the edges in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, select

from spanline.ledger.database import inserting
from spanline.ledger.lookup import chunks
from spanline.ledger.schema import derivations, edges, runs, uses

MAX_MADE = 2000
"""Pairs of source and product that one run adds."""

_EMPTY = delete(uses).where(
    uses.c.artifact == bindparam("b_artifact"), uses.c.role == bindparam("b_role"), uses.c.job == bindparam("b_job"),
    uses.c.release == bindparam("b_release"), uses.c.runs <= 0,
)  # fmt: skip
_Key = tuple[int, int, int, int]


class Tallies:
    """The changes of one batch."""

    def __init__(self) -> None:
        self._uses: dict[_Key, list[int]] = {}
        self._made: dict[tuple[int, int], list[int]] = {}

    def add(self, run: int, job: int, release: int | None, used: Iterable[tuple[int, int]], *, flows: set[int]) -> None:
        """Count a run.

        Args:
            run: Its key.
            job: Key of its job.
            release: Key of its release.
            used: Keys of artifacts and their role.
            flows: Those that are flows: made from nothing.
        """
        pairs = list(used)
        for artifact, role in pairs:
            self._count((artifact, role, job, release or 0), 1, run, run)
        made = [artifact for artifact, role in pairs if role == 1 and artifact not in flows]
        if not made:
            return
        sources = [artifact for artifact, role in pairs if role == 0 and artifact not in flows]
        products = [(source, product) for product in made for source in sources if source != product]
        for pair in products[:MAX_MADE]:
            first_last = self._made.setdefault(pair, [run, run])
            first_last[0], first_last[1] = min(first_last[0], run), max(first_last[1], run)

    def take_back(self, connection: Connection, keys: Sequence[int]) -> None:
        """Count runs no more whose edges are about to be deleted."""
        for some in chunks(keys):
            query = select(edges.c.artifact, edges.c.role, runs.c.job, runs.c.release, runs.c.run)
            for artifact, role, job, release, run in connection.execute(
                query.join(runs, runs.c.run == edges.c.run).where(edges.c.run.in_(some))
            ):
                self._count((artifact, role, job, release or 0), -1, run, run)

    def write(self, connection: Connection, *, keep: bool = False) -> None:
        """Write the changes, in one order everywhere, so that two hosts cannot wait for each other.

        Args:
            connection: The writer's transaction.
            keep: What nobody uses any more is kept with its times, because runs grew old; else it was never so, and goes.
        """
        changed = [
            {"artifact": key[0], "role": key[1], "job": key[2], "release": key[3], "runs": delta, "first_run": first, "last_run": last}
            for key, (delta, first, last) in sorted(self._uses.items())
            if delta
        ]
        if changed:
            connection.execute(_counting(connection.dialect.name), changed)
        fewer = [{f"b_{name}": row[name] for name in ("artifact", "role", "job", "release")} for row in changed if row["runs"] < 0]
        if fewer and not keep:
            connection.execute(_EMPTY, fewer)
        made = [
            {"source": source, "product": product, "first_run": first, "last_run": last}
            for (source, product), (first, last) in sorted(self._made.items())
        ]
        if made:
            connection.execute(_deriving(connection.dialect.name), made)

    def _count(self, key: _Key, delta: int, first: int, last: int) -> None:
        entry = self._uses.get(key)
        if entry is None:
            self._uses[key] = [delta, first, last]
            return
        entry[0] += delta
        if delta > 0:
            entry[1], entry[2] = min(entry[1], first), max(entry[2], last)


@cache
def _counting(dialect: str) -> Any:
    statement = inserting(dialect)(uses)
    new = statement.excluded
    # What was deleted changes no first and last: they say when it was used, also when the runs have gone.
    return statement.on_conflict_do_update(
        index_elements=[uses.c.artifact, uses.c.role, uses.c.job, uses.c.release],
        set_={
            "runs": uses.c.runs + new.runs,
            "first_run": case((new.first_run < uses.c.first_run, new.first_run), else_=uses.c.first_run),
            "last_run": case((new.last_run > uses.c.last_run, new.last_run), else_=uses.c.last_run),
        },
    )


@cache
def _deriving(dialect: str) -> Any:
    statement = inserting(dialect)(derivations)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[derivations.c.source, derivations.c.product],
        set_={
            "first_run": case((new.first_run < derivations.c.first_run, new.first_run), else_=derivations.c.first_run),
            "last_run": case((new.last_run > derivations.c.last_run, new.last_run), else_=derivations.c.last_run),
        },
        where=(new.first_run < derivations.c.first_run) | (new.last_run > derivations.c.last_run),
    )
