"""Rows of the archive: what the ledger holds of some runs, with every key replaced by what it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.schema import Table

from spanline.export.tables import Row
from spanline.ledger.codec import unpack
from spanline.ledger.documents import Document, items, merge, micros, part, text
from spanline.ledger.facts import EVIDENCE, STATUSES, Facts, facts_of
from spanline.ledger.gaps import gaps_of
from spanline.ledger.schema import artifacts, conflicts, dictionaries, edges, evaluations, events, jobs, labels, releases, runs

_ROLES = ("input", "output")
_MOST = 20_000
"""Names of one kind kept in memory."""

_T = TypeVar("_T", int, float)
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


class Rows:
    """Reads rows by ranges of run keys. Names of jobs, releases, artifacts and labels are read once."""

    def __init__(self) -> None:
        self._named: dict[str, dict[int, Any]] = {}
        self._texts: dict[int, bytes | None] = {}

    def of(self, connection: Connection, keys: Sequence[int], *, bodies: bool) -> dict[str, list[Row]]:
        """All rows of some runs, by table.

        Args:
            connection: For reading; sees one state.
            keys: Rising keys of runs, with no other run between them.
            bodies: Also the events as they came in.
        """
        if not keys:
            return {}
        first, last = keys[0], keys[-1]
        ids: dict[int, bytes] = {}
        found: dict[str, list[Row]] = {}
        known = connection.execute(select(runs).where(runs.c.run >= first, runs.c.run <= last).order_by(runs.c.run)).all()
        ids.update((row.run, bytes(row.run_id)) for row in known)
        lines = self._lines(connection, first, last)
        documents = {run: merge(_decode(line) for _, line in some) for run, some in lines.items()}
        found["runs"] = [self._run(connection, row, documents.get(row.run, {})) for row in known]
        for name, made in (("operations", _operations), ("documents", _retrieved), ("guardrails", _guardrails)):
            found[name] = [row for run, document in documents.items() if run in ids for row in made(ids[run], document)]
        found["edges"] = list(self._edges(connection, ids, first, last))
        found["evaluations"] = list(_evaluations(connection, ids, first, last))
        found["conflicts"] = list(self._conflicts(connection, ids, first, last))
        if bodies:
            found["events"] = [
                (ids[run], at, line.decode("utf-8", "replace")) for run, some in lines.items() if run in ids for at, line in some
            ]
        return found

    def _lines(self, connection: Connection, first: int, last: int) -> dict[int, list[tuple[int, bytes]]]:
        """Events of each run: time in Unix microseconds, and bytes."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        query = select(events.c.run, events.c.event_us, events.c.dictionary, events.c.body).where(
            events.c.run >= first, events.c.run <= last
        )
        for run, at, dictionary, body in connection.execute(query.order_by(events.c.run, events.c.event_us)):
            if dictionary is not None and dictionary not in self._texts:
                stored = connection.scalar(select(dictionaries.c.body).where(dictionaries.c.dictionary == dictionary))
                self._texts[dictionary] = unpack(bytes(stored)) if stored is not None else None
            found.setdefault(run, []).append((at, unpack(bytes(body), self._texts[dictionary] if dictionary is not None else None)))
        return found

    def _run(self, connection: Connection, row: Any, document: Document) -> Row:
        job = self._name(connection, jobs, "job", row.job)
        release = self._name(connection, releases, "release", row.release)
        facets = part(part(document.get("run")).get("facets"))
        trace, usage = part(facets.get("spanline_trace")), part(facets.get("spanline_usage"))
        facts = facts_of(document) if document else None
        return (
            bytes(row.run_id), _bytes(row.trace_id), _bytes(row.parent_id), job.namespace if job else None, job.name if job else None,
            str(STATUSES[int(row.status)]), row.started_us, row.ended_us, row.offline == 1, facts.service if facts else None,
            facts.environment if facts else None, _of(release, "name"), _of(release, "code_revision"), _of(release, "repository"),
            _of(release, "image_digest"), text(trace.get("requestId")), text(trace.get("tenant")), text(trace.get("subject")),
            text(trace.get("session")), _tags(facts), _whole(trace.get("httpStatusCode")),
            _whole(usage.get("inputTokens")), _whole(usage.get("outputTokens")), _real(usage.get("costUsd")), row.conflicts, row.blocked,
            _gaps(facts) if row.gaps else None,
        )  # fmt: skip

    def _edges(self, connection: Connection, ids: Mapping[int, bytes], first: int, last: int) -> Iterator[Row]:
        query = select(edges).where(edges.c.run >= first, edges.c.run <= last).order_by(edges.c.run, edges.c.artifact, edges.c.role)
        rows = [row for row in connection.execute(query) if row.run in ids]
        self._learn(connection, artifacts, "artifact", {row.artifact for row in rows})
        for row in rows:
            it = self._named["artifact"].get(row.artifact)
            if it is not None:
                yield (
                    ids[row.run], _ROLES[row.role], it.kind, it.namespace, it.name, it.version or None, it.digest or None,
                    EVIDENCE[row.evidence], row.top_k, row.hits,
                )  # fmt: skip

    def _conflicts(self, connection: Connection, ids: Mapping[int, bytes], first: int, last: int) -> Iterator[Row]:
        query = select(conflicts).where(conflicts.c.run >= first, conflicts.c.run <= last).order_by(conflicts.c.run)
        for row in connection.execute(query).all():
            it = self._name(connection, labels, "label", row.label)
            if it is not None and row.run in ids:
                yield ids[row.run], it.kind, it.namespace, it.name, it.version, row.digest, row.expected

    def _name(self, connection: Connection, table: Table, key: str, value: int | None) -> Any:
        if value is None:
            return None
        self._learn(connection, table, key, {value})
        return self._named[key].get(value)

    def _learn(self, connection: Connection, table: Table, key: str, wanted: set[int]) -> None:
        known = self._named.setdefault(key, {})
        missing = sorted(wanted - known.keys())
        if missing and len(known) + len(missing) > _MOST:
            known.clear()
            missing = sorted(wanted)
        for start in range(0, len(missing), 500):
            some = missing[start : start + 500]
            for row in connection.execute(select(table).where(table.c[key].in_(some))):
                known[row._mapping[key]] = row  # pyright: ignore[reportPrivateUsage]


def _operations(run_id: bytes, document: Document) -> Iterator[Row]:
    facet = part(part(part(document.get("run")).get("facets")).get("spanline_operations"))
    for it in items(facet.get("operations")):
        usage, parameters = part(it.get("usage")), part(it.get("parameters"))
        yield (
            run_id, *(text(it.get(name)) for name in ("spanId", "parentSpanId", "kind", "name", "provider", "requestModel", "responseModel", "responseId")),
            micros(it.get("startedAt")), _real(it.get("durationSeconds")), _real(it.get("timeToFirstTokenSeconds")), text(it.get("errorType")),
            _texts(it.get("finishReasons")), _true(it.get("streamed")), _true(it.get("rollup")), _whole(usage.get("inputTokens")),
            _whole(usage.get("outputTokens")), text(it.get("toolName")), text(it.get("agentName")),
            _encode(parameters).decode() if parameters else None,
        )  # fmt: skip


def _retrieved(run_id: bytes, document: Document) -> Iterator[Row]:
    for entry in facts_of(document).artifacts:
        for rank, it in enumerate(items(entry.retrieval.get("documents")), 1):
            yield (
                run_id, entry.namespace, entry.name, entry.version or None, rank, text(it.get("id")), _real(it.get("score")),
                text(it.get("source")), text(it.get("version")), text(it.get("digest")),
            )  # fmt: skip


def _guardrails(run_id: bytes, document: Document) -> Iterator[Row]:
    facet = part(part(part(document.get("run")).get("facets")).get("spanline_guardrails"))
    for it in items(facet.get("outcomes")):
        named = (text(it.get(name)) for name in ("spanId", "name", "version", "phase", "outcome", "action"))
        yield run_id, *named, _real(it.get("score"))


def _evaluations(connection: Connection, ids: Mapping[int, bytes], first: int, last: int) -> Iterator[Row]:
    query = select(evaluations).where(evaluations.c.run >= first, evaluations.c.run <= last).order_by(evaluations.c.run)
    for row in connection.execute(query):
        if row.run in ids:
            yield (
                ids[row.run], row.name, row.score, row.label, None if row.passed is None else row.passed == 1, row.evaluator,
                row.evaluator_version, row.eval_set, row.eval_set_version, row.evaluated_at,
            )  # fmt: skip


def _tags(facts: Facts | None) -> list[tuple[str, str]]:
    return sorted(facts.tags.items()) if facts is not None else []


def _gaps(facts: Facts | None) -> list[str] | None:
    return [gap.missing for gap in gaps_of(facts)] if facts is not None else None


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _of(row: Any, column: str) -> Any:
    return None if row is None else getattr(row, column)


def _number(value: Any, kind: Callable[[Any], _T], bound: float) -> _T | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -bound < value < bound:
        return None
    return kind(value)


def _whole(value: Any) -> int | None:
    return _number(value, int, 1 << 31)


def _real(value: Any) -> float | None:
    return _number(value, float, float("inf"))


def _true(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
