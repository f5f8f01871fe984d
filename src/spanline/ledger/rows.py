"""Rows: facts of runs laid out for the tables, and written in bulk."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, update
from sqlalchemy.schema import Table

from spanline.ledger.codec import digest64
from spanline.ledger.conflicts import Flag
from spanline.ledger.database import inserting
from spanline.ledger.documents import short, text
from spanline.ledger.facts import Facts, job_key
from spanline.ledger.gaps import Gap, bits
from spanline.ledger.schema import artifacts, conflicts, edges, evaluations, events, jobs, releases, runs, terms
from spanline.ledger.tallies import Tallies

_encode = msgspec.json.Encoder(order="sorted").encode
_FIXED = ("trace_id", "parent_id", "job", "release", "status", "started_us", "ended_us", "offline", "conflicts", "blocked", "gaps", "tags")
_UPDATE = update(runs).where(runs.c.run == bindparam("b_run")).values({name: bindparam(f"b_{name}") for name in _FIXED})
_EVALUATION = {
    "score": "score", "label": "label", "evaluator": "evaluator", "evaluatorVersion": "evaluator_version",
    "evalSet": "eval_set", "evalSetVersion": "eval_set_version", "evaluatedAt": "evaluated_at",
}  # fmt: skip
_SMALL = 32_767
_RUNS, _EVENTS, _EDGES, _CONFLICTS = insert(runs), insert(events), insert(edges), insert(conflicts)


def run_key(started_us: int, run_id: bytes) -> int:
    """Key of a run: start time, then 11 bits of its id, which are enough to keep runs of one microsecond apart."""
    return started_us << 11 | (int.from_bytes(run_id[-2:], "big") & 0x7FF)


class Rows:
    """The rows of one batch."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.updated: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.tallies = Tallies()
        self._edges: list[dict[str, Any]] = []
        self._terms: list[dict[str, Any]] = []
        self._conflicts: list[dict[str, Any]] = []
        self._evaluations: list[dict[str, Any]] = []
        self._jobs: dict[int, dict[str, Any]] = {}
        self._releases: dict[int, dict[str, Any]] = {}
        self._artifacts: dict[int, dict[str, Any]] = {}

    def add_run(self, run: int, run_id: bytes, facts: Facts, offline: int, gaps: list[Gap], flags: list[Flag], *, known: bool) -> None:
        """Lay out one run. `known`: it has a row already, which is written anew."""
        job, release = self._job(facts), self._release(facts)
        values = {
            "trace_id": facts.trace_id,
            "parent_id": facts.parent_id,
            "job": job,
            "release": release,
            "status": facts.status,
            "started_us": facts.started_us,
            "ended_us": facts.ended_us,
            "offline": offline,
            "conflicts": min(len(flags), _SMALL),
            "blocked": min(sum(entry.get("outcome") == "fail" for entry in facts.guardrails), _SMALL),
            "gaps": bits(gaps),
            "tags": _encode(facts.tags).decode().replace("\\u0000", "") if facts.tags else None,
        }
        if known:
            self.updated.append({"b_run": run, **{f"b_{name}": value for name, value in values.items()}})
        else:
            self.runs.append({"run": run, "run_id": run_id, **values})
        self._add_edges(run, facts)
        self.tallies.add(
            run, job, release, {(entry.key, entry.role) for entry in facts.artifacts},
            flows={entry.key for entry in facts.artifacts if entry.kind == "flow"},
        )  # fmt: skip
        self._terms.extend({"term": term, "run": run} for term in facts.terms)
        for flag in flags:
            self._conflicts.append({"run": run, "label": flag.label.key, "digest": flag.digest, "expected": flag.expected})
        for entry in facts.evaluations:
            name = text(entry.get("name"))
            if name is not None:
                self._evaluations.append(_evaluation(run, name, entry))

    def write(self, connection: Connection, known: set[int]) -> set[int]:
        """Write all rows.

        Args:
            connection: The writer's transaction.
            known: Keys of jobs, releases and artifacts that are there already.

        Returns:
            Keys that are there now and were not known.
        """
        fresh: set[int] = set()
        for table, named in ((jobs, self._jobs), (releases, self._releases), (artifacts, self._artifacts)):
            missing = sorted(named.keys() - known)
            fresh.update(missing)
            if missing:
                # In one order everywhere, so that two hosts cannot wait for each other.
                self._add(connection, table, [named[key] for key in missing])
        if self.runs:
            connection.execute(_RUNS, self.runs)
        if self.updated:
            connection.execute(_UPDATE, self.updated)
        connection.execute(_EVENTS, self.events)
        for statement, made in ((_EDGES, self._edges), (_CONFLICTS, self._conflicts)):
            if made:
                connection.execute(statement, made)
        for table, made in ((terms, self._terms), (evaluations, self._evaluations)):
            if made:
                self._add(connection, table, made)
        self.tallies.write(connection)
        return fresh

    def _add(self, connection: Connection, table: Table, made: list[dict[str, Any]]) -> None:
        connection.execute(_upsert(table, connection.dialect.name), made)

    def _add_edges(self, run: int, facts: Facts) -> None:
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for entry in facts.artifacts:
            key = entry.key
            edge = found.get((key, entry.role))
            if edge is None:
                top_k, hits = entry.retrieval.get("topK"), entry.retrieval.get("hits")
                found[key, entry.role] = {
                    "run": run, "artifact": key, "role": entry.role, "evidence": entry.evidence, "top_k": _count(top_k), "hits": _count(hits),
                }  # fmt: skip
            elif entry.evidence < edge["evidence"]:
                edge["evidence"] = entry.evidence
            if key not in self._artifacts:
                self._artifacts[key] = {
                    "artifact": key, "kind": entry.kind, "namespace": entry.namespace, "name": entry.name, "version": entry.version,
                    "digest": entry.digest, "first_us": facts.started_us,
                }  # fmt: skip
        self._edges.extend(found.values())

    def _job(self, facts: Facts) -> int:
        key = job_key(*facts.job)
        row = self._jobs.get(key)
        if row is None:
            self._jobs[key] = {"job": key, "namespace": facts.job[0], "name": facts.job[1], "offline": facts.offline}
        elif facts.offline is not None:
            row["offline"] = facts.offline
        return key

    def _release(self, facts: Facts) -> int | None:
        release = facts.release
        if not release:
            return None
        names = [short(release.get(key)) for key in ("release", "codeRevision", "repository", "imageDigest")]
        service, environment = facts.service or "", facts.environment
        key = digest64("release", service, environment or "", *(value or "" for value in names))
        if key not in self._releases:
            self._releases[key] = {
                "release": key, "service": service, "environment": environment, "name": names[0], "code_revision": names[1],
                "repository": names[2], "image_digest": names[3], "first_us": facts.started_us,
            }  # fmt: skip
        return key


@cache
def _upsert(table: Table, dialect: str) -> Any:
    statement = inserting(dialect)(table)
    if table is not jobs:
        return statement.on_conflict_do_nothing()
    # What a job is (offline or not) may be said later than its name.
    said = statement.excluded.offline
    return statement.on_conflict_do_update(index_elements=[jobs.c.job], set_={"offline": said}, where=said.isnot(None))


def _evaluation(run: int, name: str, entry: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run, "evaluation": digest64("evaluation", _encode(entry).decode()), "name": name, "passed": None}
    for key, column in _EVALUATION.items():
        value = entry.get(key)
        if column == "score":
            row[column] = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        else:
            row[column] = text(value)
    if isinstance(entry.get("passed"), bool):
        row["passed"] = int(entry["passed"])
    return row


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else None
