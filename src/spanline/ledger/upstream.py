"""Upstream: the runs that made what a run used, over systems that never heard of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from spanline.ledger.alike import alike, writers
from spanline.ledger.facts import EVIDENCE, INPUT, OUTPUT, Facts, Used, facts_of
from spanline.ledger.lookup import Row, merged, rows_by_key

MAX_DEPTH = 10
MAX_RUNS = 200

HOW = {
    "version": "has the same version",
    "digest": "has the same digest",
    "time": "wrote this name last before it was used",
}
_INFERRED = EVIDENCE.index("inferred")


class Found(NamedTuple):
    """A run that made an input."""

    run: int
    join: str
    evidence: int
    key: int
    """The artifact as its maker named it: the version that an alias or a bare name meant then."""


class Upstream(msgspec.Struct):
    """A run up the chain, and through what."""

    row: Row
    facts: Facts
    artifact: Used
    join: str
    evidence: int
    depth: int
    used_by: bytes
    made: str | None = None
    """What the run made, as it named it."""


def upstream(connection: Connection, start: Sequence[tuple[Row, Facts]]) -> tuple[list[Upstream], set[int]]:
    """The runs that made the inputs of some runs, and of those, to depth 10; no run twice, so that cycles end.

    Joined by version and digest; else by digest; else by time: the last run that finished writing the name before the user started,
    which is inferred, and refused where version or digest speak against it.

    Returns:
        The runs, the nearest first, and the keys of artifacts that some run is known to have made.
    """
    seen = {row.run for row, _ in start}
    made: set[int] = set()
    chain: list[Upstream] = []
    level: list[tuple[Row, Facts, bool]] = [(row, facts, False) for row, facts in start]
    for depth in range(1, MAX_DEPTH + 1):
        reached: dict[int, tuple[Found, Used, bytes, bool]] = {}
        asked = [
            (row, inferred, entry)
            for row, facts, inferred in level
            for entry in facts.artifacts
            if entry.role == INPUT and entry.kind != "flow"
        ]
        for (row, inferred, entry), found in zip(asked, producers(connection, [(entry, row) for row, _, entry in asked]), strict=True):
            if found is None:
                continue
            made.add(entry.key)
            if found.run not in seen and found.run not in reached and len(chain) + len(reached) < MAX_RUNS:
                reached[found.run] = (found, entry, row.run_id, inferred or found.evidence == _INFERRED)
        if not reached:
            break
        seen.update(reached)
        rows, documents = rows_by_key(connection, list(reached)), merged(connection, list(reached))
        level = []
        for run, (found, entry, used_by, inferred) in reached.items():
            if run in rows and run in documents:
                facts = facts_of(documents[run])
                evidence = _INFERRED if inferred else found.evidence
                made_ref = next((used.ref for used in facts.artifacts if used.key == found.key and used.role == OUTPUT), None)
                chain.append(Upstream(rows[run], facts, entry, found.join, evidence, depth, used_by, made_ref))
                level.append((rows[run], facts, inferred))
    return chain, made


def producers(connection: Connection, wanted: Sequence[tuple[Used, Row]]) -> list[Found | None]:
    """The runs that made some artifacts, each as its user saw it."""
    kin = alike(connection, (used for used, _ in wanted))
    ways = {used.key: _ways(used, kin[used.key]) for used, _ in wanted}
    found: list[Found | None] = [None] * len(wanted)
    for by_time, joins in ((False, ("version", "version", "digest")), (True, ("time",))):
        open_ = [place for place, known in enumerate(found) if known is None]
        asked = [
            (place, way, key)
            for place in open_
            for way, keys in enumerate(ways[wanted[place][0].key][3:] if by_time else ways[wanted[place][0].key][:3])
            for key in keys
        ]
        if not asked:
            continue
        users = [(key, wanted[place][1].run, wanted[place][1].started_us) for place, _, key in asked]
        best: dict[int, tuple[tuple[int, int, int], Found]] = {}
        for (place, way, key), wrote in zip(asked, writers(connection, users, by_time=by_time), strict=True):
            if wrote is None:
                continue
            # The better join first; then the last run before the user, else the first one after it.
            rank = (way, 0, -wrote.run) if wrote.before else (way, 1, wrote.run)
            if place not in best or rank < best[place][0]:
                best[place] = (rank, Found(wrote.run, joins[way], _INFERRED if by_time else wrote.evidence, key))
        for place, (_, known) in best.items():
            found[place] = known
    return found


def _ways(used: Used, kin: Sequence[Used]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Keys under which an artifact may have been written: the same label and digest, the same label, the same digest, the same name."""
    ways: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
    for entry in kin:
        same_version, same_digest = used.version and entry.version == used.version, used.digest and entry.digest == used.digest
        if same_version and same_digest:
            ways[0].append(entry.key)
        elif same_version and not (used.digest and entry.digest):
            ways[1].append(entry.key)
        elif same_digest:
            ways[2].append(entry.key)
        elif not (used.version and entry.version) and not (used.digest and entry.digest):
            ways[3].append(entry.key)
    return ways
