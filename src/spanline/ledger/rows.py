"""Rows: facts of runs laid out for the tables, and written in bulk."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete

from spanline.ledger.bulk import write_all
from spanline.ledger.codec import digest64
from spanline.ledger.conflicts import Flag
from spanline.ledger.documents import short, text
from spanline.ledger.facts import Facts, job_key
from spanline.ledger.gaps import Gap, bits
from spanline.ledger.schema import edges
from spanline.ledger.tallies import Edge, Tallies

_encode = msgspec.json.Encoder(order="sorted").encode
_EVALUATION = {
    "score": "score", "label": "label", "evaluator": "evaluator", "evaluatorVersion": "evaluator_version",
    "evalSet": "eval_set", "evalSetVersion": "eval_set_version", "evaluatedAt": "evaluated_at",
}  # fmt: skip
_SMALL = 32_767
_GONE = delete(edges).where(
    edges.c.run == bindparam("b_run"), edges.c.artifact == bindparam("b_artifact"), edges.c.role == bindparam("b_role")
)


def run_key(started_us: int, run_id: bytes) -> int:
    """Key of a run: start time, then 11 bits of its id, which are enough to keep runs of one microsecond apart."""
    return started_us << 11 | (int.from_bytes(run_id[-2:], "big") & 0x7FF)


class Rows:
    """The rows of one batch."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.again: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.tallies = Tallies()
        self._edges: dict[Edge, dict[str, Any]] = {}
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
            self.again.append({"run": run, **values})
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
                self._evaluations.append(_evaluation(run, name, entry) | {"job": job, "release": release or 0})

    def write(self, connection: Connection, known: set[int]) -> set[int]:
        """Write all rows.

        Args:
            connection: The writer's transaction.
            known: Keys of jobs, releases and artifacts that are there already.

        Returns:
            Keys that are there now and were not known.
        """
        had = self.tallies.take_back(connection, sorted(row["run"] for row in self.again))
        gone = sorted(had.keys() - self._edges.keys())
        if gone:
            connection.execute(_GONE, [dict(zip(("b_run", "b_artifact", "b_role"), edge, strict=True)) for edge in gone])
        fresh: set[int] = set()
        rows: dict[str, list[dict[str, Any]]] = {}
        for name, named in (("jobs", self._jobs), ("releases", self._releases), ("artifacts", self._artifacts)):
            missing = sorted(named.keys() - known)
            fresh.update(missing)
            rows[name] = [named[key] for key in missing]
        changed = [row for key, row in self._edges.items() if had.get(key) != (row["evidence"], row["top_k"], row["hits"])]
        write_all(connection, {
            **rows, "runs": self.runs, "again": self.again, "events": self.events, "edges": changed, "conflicts": self._conflicts,
            "terms": self._terms, "evaluations": self._evaluations, **self.tallies.rows(),
        })  # fmt: skip
        self.tallies.drop_unused(connection)
        return fresh

    def _add_edges(self, run: int, facts: Facts) -> None:
        for entry in facts.artifacts:
            key = entry.key
            edge = self._edges.get((run, key, entry.role))
            if edge is None:
                top_k, hits = entry.retrieval.get("topK"), entry.retrieval.get("hits")
                self._edges[run, key, entry.role] = {
                    "run": run, "artifact": key, "role": entry.role, "evidence": entry.evidence, "top_k": _count(top_k), "hits": _count(hits),
                }  # fmt: skip
            elif entry.evidence < edge["evidence"]:
                edge["evidence"] = entry.evidence
            if key not in self._artifacts:
                self._artifacts[key] = {
                    "artifact": key, "kind": entry.kind, "namespace": entry.namespace, "name": entry.name, "version": entry.version,
                    "digest": entry.digest, "first_us": facts.started_us,
                }  # fmt: skip

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
