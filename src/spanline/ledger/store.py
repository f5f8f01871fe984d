"""The store of events: packed with what earlier events of the same job said alike, which makes them three times smaller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

import msgspec
from sqlalchemy import Connection, bindparam, select

from spanline._guard import warn_once_a_minute
from spanline.ledger.codec import Packer, digest64_of, document, pack, unpack
from spanline.ledger.database import inserting
from spanline.ledger.documents import Document, items, part
from spanline.ledger.given import among, keys_text, rows_of
from spanline.ledger.schema import dictionaries, events

_AFTER = 20
"""Events of a job before a dictionary is made of one: jobs that run once in a while need none."""

_WORSE = 1.4
"""A dictionary is replaced when events get this many times larger than with it at its best: the release, prompt or index changed."""

_REST = 500
"""… and at the earliest after so many events."""

_MAX_JOBS = 500
_MAX_DICTIONARY = 24_000
"""Bytes: deflate looks back 32 KB, and the event itself needs some."""

_PEOPLE = ("traceId", "spanId", "requestId", "tenant", "subject", "session", "tags", "runUrl", "startedAt")
_IDS = ("spanId", "parentSpanId", "responseId", "startedAt", "durationSeconds")
_MANY = 2000
_DICTIONARY = select(dictionaries.c.body).where(dictionaries.c.dictionary == bindparam("dictionary"))
# A dictionary's key is the digest of its text: what was read once is right in every ledger.
_texts: dict[int, bytes] = {}
_encode = msgspec.json.Encoder().encode


class _Job(msgspec.Struct):
    packer: Packer | None = None
    key: int | None = None
    count: int = 0
    least: int = 1 << 30


class Store:
    """Packs events for `events`. Used under the writer's lock only; forgets everything when told that a transaction failed."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}

    def reset(self) -> None:
        """A transaction was rolled back: dictionaries made in it are not there."""
        self._jobs.clear()

    def rows(self, connection: Connection, some: Sequence[tuple[int, int, int, int, bytes]], made_us: int) -> list[dict[str, Any]]:
        """Rows of `events` from `(run, job, hash, event_us, line)`; dictionaries that are new are written here."""
        if len(self._jobs) > _MAX_JOBS:
            self._jobs.clear()
        unknown = sorted({job for _, job, _, _, _ in some} - self._jobs.keys())
        if unknown:
            self._load(connection, unknown)
        found: list[dict[str, Any]] = []
        for run, job_key, key, event_us, line in some:
            job = self._jobs[job_key]
            body = job.packer.pack(line) if job.packer else pack(line)
            found.append({"run": run, "hash": key, "event_us": event_us, "dictionary": job.key, "body": body})
            job.count += 1
            job.least = min(job.least, len(body))
            if (job.packer is None and job.count >= _AFTER) or (job.count >= _REST and len(body) > job.least * _WORSE + 200):
                self._make(connection, job_key, job, line, made_us)
        return found

    def _load(self, connection: Connection, jobs: list[int]) -> None:
        for job in jobs:
            newest = select(dictionaries.c.dictionary, dictionaries.c.body).where(dictionaries.c.job == job)
            row = connection.execute(newest.order_by(dictionaries.c.made_us.desc()).limit(1)).first()
            self._jobs[job] = _Job(Packer(unpack(bytes(row[1]))), row[0]) if row else _Job()

    def _make(self, connection: Connection, job_key: int, job: _Job, line: bytes, made_us: int) -> None:
        text = alike(line)
        job.count, job.least = 0, 1 << 30
        if text is None:
            return
        key = digest64_of(text)
        row = {"dictionary": key, "job": job_key, "made_us": made_us, "body": pack(text)}
        connection.execute(inserting(connection.dialect.name)(dictionaries).on_conflict_do_nothing(), [row])
        job.packer, job.key = Packer(text), key


def alike(line: bytes) -> bytes | None:
    """What other events of the job will say too: the event without ids, people, tags and documents; None when it is too large."""
    doc = cast(Document, msgspec.json.decode(line))
    facets = part(part(doc.get("run")).get("facets"))
    run_facets = {key: dict(part(facet)) for key, facet in facets.items() if key not in ("tags", "executionParameters", "externalQuery")}
    for key in _PEOPLE:
        run_facets.get("spanline_trace", {}).pop(key, None)
    operations = run_facets.get("spanline_operations")
    if operations is not None:
        listed = items(operations.get("operations"))
        operations["operations"] = [{key: value for key, value in entry.items() if key not in _IDS} for entry in listed[:20]]
    doc["run"] = {"facets": run_facets}
    doc.pop("eventTime", None)
    for dataset in items(doc.get("inputs")):
        retrieval = part(part(dataset.get("inputFacets")).get("spanline_retrieval"))
        if retrieval:
            cast(dict[str, Any], retrieval).pop("documents", None)
            cast(dict[str, Any], retrieval).pop("spanId", None)
    text = _encode(doc)
    return text if len(text) <= _MAX_DICTIONARY else None


class Stored(NamedTuple):
    """An event as it is kept."""

    run: int
    hash: int
    dictionary: int | None
    body: bytes


def stored_of(connection: Connection, keys: Sequence[int]) -> list[Stored]:
    """The events of some runs, by time."""
    found: list[Stored] = []
    dialect = connection.dialect.name
    for start in range(0, len(keys), _MANY):
        rows = rows_of(connection, _stored(dialect), {"keys": keys_text(dialect, keys[start : start + _MANY])})
        found.extend(Stored(run, key, dictionary, bytes(body)) for run, key, dictionary, body in rows)
    return found


@cache
def _stored(dialect: str) -> Any:
    columns = select(events.c.run, events.c.hash, events.c.dictionary, events.c.body)
    return columns.where(among(dialect, events.c.run, "keys")).order_by(events.c.event_us)


def documents_of(connection: Connection, keys: Sequence[int]) -> dict[int, list[Document]]:
    """The events of each run, as plain data."""
    return documents(connection, stored_of(connection, keys))


def documents(connection: Connection, some: Iterable[Stored]) -> dict[int, list[Document]]:
    """Events that were read, as plain data, by run."""
    found: dict[int, list[Document]] = {}
    for run, _, key, body in some:
        text = None
        if key is not None:
            text = _texts.get(key)
            if text is None:
                stored = connection.scalar(_DICTIONARY, {"dictionary": key})
                if stored is None:
                    continue
                text = unpack(bytes(stored))
                if len(_texts) >= _MAX_JOBS:
                    _texts.clear()
                _texts[key] = text
        try:
            found.setdefault(run, []).append(document(body, text))
        except ValueError as error:
            # One damaged row must neither hide the others nor stop what is still to come in.
            warn_once_a_minute("ledger.event", "spanline: %s; it is left out", error)
    return {run: some for run, some in found.items() if some}
