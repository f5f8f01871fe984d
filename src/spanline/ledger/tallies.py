"""Tallies: how often and when each job and release used each artifact, and what was made from what.

They answer in a few rows what would otherwise read an edge a run. Both follow the edges in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, delete, select, tuple_

from spanline.ledger.given import among, given, keys_text, rows_of, rows_text
from spanline.ledger.lookup import chunks
from spanline.ledger.schema import edges, runs, uses

MAX_MADE = 2000
"""Pairs of source and product that one run adds."""

_KEY = ("artifact", "role", "job", "release")
_Key = tuple[int, int, int, int]
Edge = tuple[int, int, int]
"""Run, artifact and role."""

Told = tuple[int, int | None, int | None]
"""What an edge says: evidence, top k, hits."""


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

    def take_back(self, connection: Connection, keys: Sequence[int]) -> dict[Edge, Told]:
        """Count runs no more whose edges are about to be deleted or replaced. Returns those edges."""
        found: dict[Edge, Told] = {}
        dialect = connection.dialect.name
        for some in chunks(keys):
            rows = rows_of(connection, _edges(dialect), {"keys": keys_text(dialect, some)})
            for run, artifact, role, job, release, evidence, top_k, hits in rows:
                self._count((artifact, role, job, release or 0), -1, run, run)
                found[run, artifact, role] = (evidence, top_k, hits)
        return found

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The changes for `bulk.write_all`, in one order everywhere."""
        changed = [
            {"artifact": key[0], "role": key[1], "job": key[2], "release": key[3], "runs": delta, "first_run": first, "last_run": last}
            for key, (delta, first, last) in sorted(self._uses.items())
            if delta
        ]
        made = [
            {"source": source, "product": product, "first_run": first, "last_run": last}
            for (source, product), (first, last) in sorted(self._made.items())
        ]
        return {"uses": changed, "derivations": made}

    def drop_unused(self, connection: Connection) -> None:
        """After writing: what nobody uses any more was never so, and goes. Not when runs grew old: its times are kept."""
        fewer = [dict(zip(_KEY, key, strict=True)) for key, (delta, _, _) in sorted(self._uses.items()) if delta < 0]
        if fewer:
            connection.execute(_empty(connection.dialect.name), {"fewer": rows_text(fewer)})

    def _count(self, key: _Key, delta: int, first: int, last: int) -> None:
        entry = self._uses.get(key)
        if entry is None:
            self._uses[key] = [delta, first, last]
            return
        entry[0] += delta
        if delta > 0:
            entry[1], entry[2] = min(entry[1], first), max(entry[2], last)


@cache
def _empty(dialect: str) -> Any:
    fewer = given(dialect, "fewer", **dict.fromkeys(_KEY, BigInteger))
    key = tuple_(*(uses.c[name] for name in _KEY))
    return delete(uses).where(key.in_(select(*(fewer.c[name] for name in _KEY))), uses.c.runs <= 0)


@cache
def _edges(dialect: str) -> Any:
    columns = (edges.c.run, edges.c.artifact, edges.c.role, runs.c.job, runs.c.release, edges.c.evidence, edges.c.top_k, edges.c.hits)
    return select(*columns).join(runs, runs.c.run == edges.c.run).where(among(dialect, edges.c.run, "keys"))
