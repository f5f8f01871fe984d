"""Graph: what is upstream and downstream of a run or an artifact, run by run, with cycles cut and every bound told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from spanline.ledger.alike import alike, newest_runs, same, sole_writers, unversioned
from spanline.ledger.conflicts import dashed
from spanline.ledger.facts import EVIDENCE, INPUT, OUTPUT, STATUSES, Used
from spanline.ledger.given import among, keys_text, rows_of
from spanline.ledger.lookup import Row, chunks, family, rows_by_key
from spanline.ledger.refs import Target, artifacts_by_key
from spanline.ledger.schema import edges
from spanline.ledger.upstream import Found, producers
from spanline.ledger.view import moment
from spanline.record.artifact import NAMESPACES

MAX_NODES = 2000
MAX_DEPTH = 100
FAN = 25
"""Runs shown of one artifact on one side: the newest. `impact` counts them all."""

DIRECTIONS = ("up", "down", "both")


class Edge(NamedTuple):
    """An artifact of a run."""

    run: int
    role: int
    evidence: int
    artifact: Used


def lineage(connection: Connection, target: Target, *, direction: str = "both", depth: int = 5) -> dict[str, Any]:
    """The graph around a reference: `{root, nodes, edges, truncated}`; edges lead from what was used to what was made.

    `root` is a node, but for a name of several versions, which are `roots`.

    Args:
        connection: For reading.
        target: Where to begin; a run brings the runs below it, a name all its versions.
        direction: `up` (what it was made from), `down` (what was made from it), `both`.
        depth: How many runs away.

    Raises:
        ValueError: Direction or depth is wrong.
    """
    if direction not in DIRECTIONS:
        raise ValueError("direction is up, down or both")
    if not 0 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth is from 0 to {MAX_DEPTH}")
    graph = _Graph(connection, target)
    if direction != "down":
        graph.go_up(depth)
    if direction != "up":
        graph.go_down(depth)
    return graph.answer()


def edges_of(connection: Connection, keys: Iterable[int], role: int | None = None, known: dict[int, Used] | None = None) -> list[Edge]:
    """The artifacts of some runs.

    Args:
        connection: For reading.
        keys: Of the runs.
        role: As input or output only.
        known: Artifacts that were read before; what is read here is added.
    """
    known = {} if known is None else known
    rows: list[Any] = []
    dialect = connection.dialect.name
    for some in chunks(sorted(set(keys)), 2000):
        rows.extend(rows_of(connection, _edges_of(dialect, role), {"keys": keys_text(dialect, some)}))
    known.update(artifacts_by_key(connection, {row[2] for row in rows} - known.keys()))
    return [Edge(run, of, evidence, known[key]) for run, of, key, evidence in rows if key in known]


@cache
def _edges_of(dialect: str, role: int | None) -> Any:
    query = select(edges.c.run, edges.c.role, edges.c.artifact, edges.c.evidence).where(among(dialect, edges.c.run, "keys"))
    if role is not None:
        query = query.where(edges.c.role == role)
    return query.order_by(edges.c.run, edges.c.artifact)


class _Graph:
    def __init__(self, connection: Connection, target: Target) -> None:
        self.connection = connection
        self.truncated = False
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.rows: dict[int, Row] = {}
        self._names: dict[int, str] = {}
        self._artifacts: dict[int, Used] = {}
        self.start_runs: list[Row] = []
        self.start_artifacts: list[Used] = []
        if target.runs:
            row = target.runs[0]
            self.root = self.add_run(row)
            self.roots = [self.root]
            below = family(connection, row)
            self.start_runs = [row, *below]
            for child in below:
                above = next((entry for entry in self.start_runs if entry.run_id == child.parent_id), row)
                self.add_edge(self.add_run(above), self.add_run(child), "child", 0)
        else:
            self.start_artifacts = target.artifacts[:MAX_NODES]
            self.roots = [self.add_artifact(entry) for entry in self.start_artifacts]
            self.root = self.roots[0] if len(self.roots) == 1 else target.ref

    def answer(self) -> dict[str, Any]:
        nodes, edges_ = list(self.nodes.values()), list(self.edges.values())
        return {"root": self.root, "roots": self.roots, "nodes": nodes, "edges": edges_, "truncated": self.truncated}

    def go_up(self, depth: int) -> None:
        """From each run to what it used, and to the runs that made that."""
        level = self.start_runs
        if self.start_artifacts:
            level = self.makers(self.start_artifacts) if depth else []
            depth -= 1
        seen = {row.run for row in level}
        for far in range(max(depth, 0) + 1):
            made: dict[int, None] = {}
            by_key = {row.run: row for row in level}
            asked = [edge for edge in self._show(level, INPUT) if edge.artifact.kind != "flow"]
            makers = producers(self.connection, [(edge.artifact, by_key[edge.run]) for edge in asked])
            self._load(found.run for found in makers if found is not None)
            for edge, found in zip(asked, makers, strict=True):
                if found is None:
                    continue
                if found.run not in seen and (far >= depth or len(self.nodes) >= MAX_NODES):
                    self.truncated = True
                    continue
                row = self.rows.get(found.run)
                if row is not None:
                    self.add_edge(self.add_run(row), self.add_artifact(edge.artifact), "output", found.evidence, join=found.join)
                    if found.run not in seen:
                        seen.add(found.run)
                        made[found.run] = None
            level = [self.rows[key] for key in made]
            if not level:
                break

    def go_down(self, depth: int) -> None:
        """From each run to what it made, and to the runs that used that."""
        level = self.start_runs
        if self.start_artifacts:
            level = self.users(self.start_artifacts) if depth else []
            depth -= 1
        seen = {row.run for row in level}
        for far in range(max(depth, 0) + 1):
            by_key = {row.run: row for row in level}
            works = [(edge.artifact, by_key[edge.run]) for edge in self._show(level, OUTPUT) if edge.artifact.kind != "flow"]
            last = far >= depth or len(self.nodes) >= MAX_NODES
            after = [row for row in self.users_of_works(works, show=not last) if row.run not in seen]
            if last:
                self.truncated = self.truncated or bool(after)
                break
            seen.update(row.run for row in after)
            level = after
            if not level:
                break

    def makers(self, some: Sequence[Used]) -> list[Row]:
        """The newest runs that wrote some artifacts; where none wrote one itself, who wrote the same thing under another key."""
        wrote = self._newest([(artifact.key, OUTPUT, None) for artifact in some])
        unknown = [artifact for artifact, found in zip(some, wrote, strict=True) if not found]
        others = dict(
            zip((artifact.key for artifact in unknown), producers(self.connection, [(each, _NOW) for each in unknown]), strict=True)
        )
        made = [
            (artifact, Found(run, "", evidence, artifact.key))
            for artifact, found in zip(some, wrote, strict=True)
            for run, evidence in found
        ]
        made += [(artifact, by) for artifact in unknown if (by := others[artifact.key]) is not None]
        self._load(found.run for _, found in made)
        for artifact, found in made:
            if (row := self.rows.get(found.run)) is not None:
                self.add_edge(self.add_run(row), self.add_artifact(artifact), "output", found.evidence, join=found.join or None)
        return [self.rows[key] for key in dict.fromkeys(found.run for _, found in made) if key in self.rows]

    def users(self, some: Sequence[Used]) -> list[Row]:
        """The newest runs that used some artifacts, or the same things under other keys."""
        kin = alike(self.connection, some)
        entries = [(artifact, entry) for artifact in some for entry in [artifact, *same(artifact, kin[artifact.key])]]
        found = self._newest([(entry.key, INPUT, None) for _, entry in entries])
        self._load(run for users in found for run, _ in users)
        reached: dict[int, Row] = {}
        for (artifact, entry), users in zip(entries, found, strict=True):
            join = None if entry.key == artifact.key else "digest" if entry.digest and entry.digest == artifact.digest else "version"
            for run, evidence in users:
                if (row := self.rows.get(run)) is not None:
                    reached[run] = row
                    self.add_edge(self.add_artifact(entry), self.add_run(row), "input", evidence, join=join)
        return list(reached.values())

    def users_of_works(self, works: Sequence[tuple[Used, Row]], *, show: bool) -> list[Row]:
        """The runs that used what some runs wrote: of several writers of one thing it is the one whose work they saw."""
        kin = alike(self.connection, (artifact for artifact, _ in works))
        entries = [
            (entry, maker)
            for artifact, maker in works
            for entry in [artifact, *same(artifact, kin[artifact.key]), *unversioned(artifact, kin[artifact.key])]
        ]
        # Without a version the next writer ends what this one's users saw: the earliest after it are asked.
        found = self._newest([(entry.key, INPUT, None if entry.version or entry.digest else maker.run) for entry, maker in entries])
        self._load(run for users in found for run, _ in users)
        # What nobody else wrote, under a version or digest of its own, is this run's work, whoever used it.
        sole = sole_writers(self.connection, (entry.key for entry, _ in entries if entry.version or entry.digest))
        pairs = [
            (entry, maker, row, evidence)
            for (entry, maker), users in zip(entries, found, strict=True)
            for run, evidence in users
            if run != maker.run and (row := self.rows.get(run)) is not None
        ]
        unsure = [place for place, (entry, maker, _, _) in enumerate(pairs) if sole.get(entry.key) != maker.run]
        by = dict(zip(unsure, producers(self.connection, [(pairs[place][0], pairs[place][2]) for place in unsure]), strict=True))
        reached: dict[int, Row] = {}
        for place, (entry, maker, row, evidence) in enumerate(pairs):
            wrote = by[place] if place in by else Found(maker.run, "version", 0, entry.key)
            if wrote is None or wrote.run != maker.run:
                continue
            reached[row.run] = row
            if show:
                self.add_edge(self.add_artifact(entry), self.add_run(row), "input", evidence)
                self.add_edge(self.add_run(maker), self.add_artifact(entry), "output", wrote.evidence, join=wrote.join)
        return list(reached.values())

    def add_run(self, row: Row) -> str:
        name = f"run:{dashed(row.run_id)}"
        self.rows[row.run] = row
        if name not in self.nodes:
            self.nodes[name] = {
                "id": name, "type": "run", "kind": "run", "namespace": row.namespace, "name": row.job, "version": None, "digest": None,
                "runId": dashed(row.run_id), "status": STATUSES[row.status], "startedAt": moment(row.started_us),
                "release": row.release or row.image_digest, "conflicts": row.conflicts,
            }  # fmt: skip
        return name

    def add_artifact(self, entry: Used) -> str:
        name = self._names.get(entry.key)
        if name is None:
            name = node_id(entry)
            if name in self.nodes:
                # The same label with another digest, which is a conflict.
                name = f"{name}#{entry.digest or entry.key}"
            self._names[entry.key] = name
            self.nodes[name] = {
                "id": name, "type": "artifact", "kind": entry.kind, "namespace": entry.namespace, "name": entry.name,
                "version": entry.version or None, "digest": entry.digest or None,
            }  # fmt: skip
        return name

    def add_edge(self, start: str, end: str, role: str, evidence: int, *, join: str | None = None) -> None:
        key = (start, end, role)
        known = self.edges.get(key)
        # That a run wrote a thing may be observed, and that it is what another used inferred: the edge shows the weakest of its chain.
        if known is None or (join and ("join" not in known or evidence > EVIDENCE.index(known["evidence"]))):
            self.edges[key] = {"from": start, "to": end, "role": role, "evidence": EVIDENCE[evidence], **({"join": join} if join else {})}

    def _show(self, level: Sequence[Row], role: int) -> list[Edge]:
        """What some runs used, on the way up; what they made, on the way down."""
        by_key = {row.run: self.add_run(row) for row in level}
        found = edges_of(self.connection, by_key, role, self._artifacts)
        for edge in found:
            run, artifact = by_key[edge.run], self.add_artifact(edge.artifact)
            if role == INPUT:
                self.add_edge(artifact, run, "input", edge.evidence)
            else:
                self.add_edge(run, artifact, "output", edge.evidence)
        return found

    def _newest(self, wanted: Sequence[tuple[int, int, int | None]]) -> list[list[tuple[int, int]]]:
        found = newest_runs(self.connection, wanted, FAN + 1)
        self.truncated = self.truncated or any(len(users) > FAN for users in found)
        return [users[:FAN] for users in found]

    def _load(self, keys: Iterable[int]) -> None:
        unknown = set(keys) - self.rows.keys()
        if unknown:
            self.rows.update(rows_by_key(self.connection, sorted(unknown)))


def node_id(entry: Used) -> str:
    """How an artifact is named in graphs, and asked for: by kind where its namespace is its kind's, else by its dataset."""
    if entry.namespace == NAMESPACES.get(entry.kind):
        return entry.ref
    return f"{entry.namespace}/{entry.name}@{entry.version}" if entry.version else f"{entry.namespace}/{entry.name}"


_NOW = Row((1 << 63) - 1, b"", None, None, "", "", 0, (1 << 52) - 1, None, 0, 0, None, None, None, None, None)
"""Somebody who asks at the end of all time."""
