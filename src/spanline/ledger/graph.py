"""Graph: what is upstream and downstream of a run or an artifact, run by run, with cycles cut and every bound told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, or_, select

from spanline.ledger.conflicts import dashed
from spanline.ledger.facts import EVIDENCE, INPUT, OUTPUT, STATUSES, Used
from spanline.ledger.lookup import Row, chunks, family, rows_by_key
from spanline.ledger.refs import Target, same_content, used_of
from spanline.ledger.schema import artifacts, edges
from spanline.ledger.upstream import Found, producer
from spanline.ledger.view import moment
from spanline.record.artifact import NAMESPACES

MAX_NODES = 2000
MAX_DEPTH = 100
FAN = 25
"""Runs shown of one artifact on one side: the newest. `impact` counts them all."""

DIRECTIONS = ("up", "down", "both")
_ROLES = {INPUT: "input", OUTPUT: "output"}
_INFERRED = EVIDENCE.index("inferred")


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


def edges_of(connection: Connection, keys: Iterable[int], role: int | None = None) -> list[Edge]:
    """The artifacts of some runs."""
    found: list[Edge] = []
    for some in chunks(sorted(set(keys))):
        query = select(edges.c.run, edges.c.role, edges.c.evidence, artifacts).join(artifacts, artifacts.c.artifact == edges.c.artifact)
        query = query.where(edges.c.run.in_(some))
        if role is not None:
            query = query.where(edges.c.role == role)
        rows = connection.execute(query.order_by(edges.c.run, edges.c.artifact))
        found.extend(Edge(row.run, row.role, row.evidence, used_of(row)) for row in rows)
    return found


class _Graph:
    def __init__(self, connection: Connection, target: Target) -> None:
        self.connection = connection
        self.truncated = False
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.rows: dict[int, Row] = {}
        self._names: dict[int, str] = {}
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
            self._show(level, INPUT)
            by_key = {row.run: row for row in level}
            for edge in edges_of(self.connection, by_key, INPUT):
                found = producer(self.connection, edge.artifact, by_key[edge.run]) if edge.artifact.kind != "flow" else None
                if found is None:
                    continue
                if found.run not in seen and (far >= depth or len(self.nodes) >= MAX_NODES):
                    self.truncated = True
                    continue
                row = self._row(found.run)
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
            self._show(level, OUTPUT)
            after: dict[int, None] = {}
            by_key = {row.run: row for row in level}
            for edge in edges_of(self.connection, by_key, OUTPUT):
                if edge.artifact.kind == "flow":
                    continue
                last = far >= depth or len(self.nodes) >= MAX_NODES
                for row in self.users_of_work(edge.artifact, by_key[edge.run], show=not last):
                    if row.run not in seen and last:
                        self.truncated = True
                    elif row.run not in seen:
                        seen.add(row.run)
                        after[row.run] = None
            level = [self.rows[key] for key in after]
            if not level:
                break

    def makers(self, some: Sequence[Used]) -> list[Row]:
        """The newest runs that wrote some artifacts; where none wrote one itself, who wrote the same thing under another key."""
        found: dict[int, Row] = {}
        for artifact in some:
            made = [(run, evidence, None) for run, evidence in self._newest(artifact.key, OUTPUT)]
            if not made and (by := producer(self.connection, artifact, _NOW)) is not None:
                made = [(by.run, by.evidence, by.join)]
            for run, evidence, join in made:
                if (row := self._row(run)) is not None:
                    found[run] = row
                    self.add_edge(self.add_run(row), self.add_artifact(artifact), "output", evidence, join=join)
        return list(found.values())

    def users(self, some: Sequence[Used]) -> list[Row]:
        """The newest runs that used some artifacts, or the same things under other keys."""
        found: dict[int, Row] = {}
        for artifact in some:
            for entry in [artifact, *same_content(self.connection, [artifact]).values()]:
                join = None if entry.key == artifact.key else "digest" if entry.digest and entry.digest == artifact.digest else "version"
                users = self._newest(entry.key, INPUT)
                self._load([run for run, _ in users])
                for run, evidence in users:
                    if (row := self._row(run)) is not None:
                        found[run] = row
                        self.add_edge(self.add_artifact(entry), self.add_run(row), "input", evidence, join=join)
        return list(found.values())

    def users_of_work(self, artifact: Used, maker: Row, *, show: bool) -> list[Row]:
        """The runs that used what one run wrote: of several writers it is the one whose work they saw."""
        found: dict[int, Row] = {}
        alike = [artifact, *same_content(self.connection, [artifact]).values()]
        alike += self._unversioned(artifact, {entry.key for entry in alike})
        for entry in alike:
            named = bool(entry.version or entry.digest)
            users = [pair for pair in self._newest(entry.key, INPUT, after=None if named else maker.run) if pair[0] != maker.run]
            self._load([run for run, _ in users])
            # What nobody else wrote, under a version or digest of its own, is this run's work, whoever used it.
            sole = named and self._makers_of(entry.key) == [maker.run]
            for run, evidence in users:
                row = self._row(run)
                by = Found(maker.run, "version", 0, entry.key) if sole or row is None else producer(self.connection, entry, row)
                if row is None or by is None or by.run != maker.run:
                    continue
                found[run] = row
                if show:
                    self.add_edge(self.add_artifact(entry), self.add_run(row), "input", evidence)
                    self.add_edge(self.add_run(maker), self.add_artifact(entry), "output", by.evidence, join=by.join)
        return list(found.values())

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

    def _show(self, level: Sequence[Row], role: int) -> None:
        """What some runs used, on the way up; what they made, on the way down."""
        by_key = {row.run: self.add_run(row) for row in level}
        for edge in edges_of(self.connection, by_key, role):
            run, artifact = by_key[edge.run], self.add_artifact(edge.artifact)
            if role == INPUT:
                self.add_edge(artifact, run, "input", edge.evidence)
            else:
                self.add_edge(run, artifact, "output", edge.evidence)

    def _newest(self, artifact: int, role: int, *, after: int | None = None) -> list[tuple[int, int]]:
        query = select(edges.c.run, edges.c.evidence).where(edges.c.artifact == artifact, edges.c.role == role)
        # Without a version the next writer ends what this one's users saw: the earliest after it are asked.
        query = query.where(edges.c.run > after).order_by(edges.c.run) if after is not None else query.order_by(edges.c.run.desc())
        found = [(row[0], row[1]) for row in self.connection.execute(query.limit(FAN + 1))]
        if len(found) > FAN:
            self.truncated = True
        return found[:FAN]

    def _unversioned(self, artifact: Used, known: set[int]) -> list[Used]:
        """The same name as it is known without version or digest: its users are joined by time."""
        query = select(artifacts).where(artifacts.c.namespace == artifact.namespace, artifacts.c.name == artifact.name)
        if artifact.version or artifact.digest:
            query = query.where(or_(artifacts.c.version == "", artifacts.c.digest == ""))
            query = query.where(artifacts.c.version.in_(["", artifact.version]))
        found = [used_of(row) for row in self.connection.execute(query.limit(FAN))]
        return [
            entry
            for entry in found
            if entry.key not in known and not (entry.digest and artifact.digest and entry.digest != artifact.digest)
        ]

    def _makers_of(self, artifact: int) -> list[int]:
        """The runs that wrote an artifact: two at most."""
        query = select(edges.c.run).where(edges.c.artifact == artifact, edges.c.role == OUTPUT)
        return list(self.connection.scalars(query.order_by(edges.c.run.desc()).limit(2)))

    def _load(self, keys: Sequence[int]) -> None:
        unknown = [key for key in keys if key not in self.rows]
        if unknown:
            self.rows.update(rows_by_key(self.connection, unknown))

    def _row(self, key: int) -> Row | None:
        self._load([key])
        return self.rows.get(key)


def node_id(entry: Used) -> str:
    """How an artifact is named in graphs, and asked for: by kind where its namespace is its kind's, else by its dataset."""
    if entry.namespace == NAMESPACES.get(entry.kind):
        return entry.ref
    return f"{entry.namespace}/{entry.name}@{entry.version}" if entry.version else f"{entry.namespace}/{entry.name}"


_NOW = Row((1 << 63) - 1, b"", None, None, "", "", 0, (1 << 52) - 1, None, 0, 0, None, None, None, None, None)
"""Somebody who asks at the end of all time."""
