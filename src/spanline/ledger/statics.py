"""Statics: OpenLineage events about a job or a dataset and no run. What they name is known from then on; their facets are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from spanline.ledger.codec import digest64, document, pack
from spanline.ledger.database import inserting
from spanline.ledger.documents import Document, Static, merge_static
from spanline.ledger.facts import INPUT, OUTPUT, job_key, used
from spanline.ledger.schema import artifacts, jobs, statics

_encode = msgspec.json.Encoder().encode


def write(connection: Connection, some: Sequence[Static]) -> int:
    """Write a batch in the writer's transaction. Returns how many told something new."""
    new = 0
    named: dict[int, dict[str, Any]] = {}
    known_jobs: dict[int, dict[str, Any]] = {}
    # In one order everywhere, so that two hosts cannot wait for each other.
    for event in sorted(some, key=lambda event: (_subject(event), event.event_us)):
        before = read(connection, event.namespace, event.name, is_dataset=event.is_dataset)
        merged = merge_static(before, event)
        if merged == before:
            continue
        new += 1
        row = {"subject": _subject(event), "is_dataset": int(event.is_dataset), "body": pack(_encode(merged))}
        statement = inserting(connection.dialect.name)(statics)
        keys = [statics.c.subject, statics.c.is_dataset]
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"body": statement.excluded.body}), [row])
        if event.is_dataset:
            entries = list(used([event.doc["dataset"]], INPUT))
        else:
            entries = [*used(event.doc.get("inputs"), INPUT), *used(event.doc.get("outputs"), OUTPUT)]
            key = job_key(event.namespace, event.name)
            known_jobs[key] = {"job": key, "namespace": event.namespace, "name": event.name, "offline": None}
        for entry in entries:
            named[entry.key] = {
                "artifact": entry.key, "kind": entry.kind, "namespace": entry.namespace, "name": entry.name, "version": entry.version,
                "digest": entry.digest, "first_us": event.event_us,
            }  # fmt: skip
    for table, found in ((jobs, known_jobs), (artifacts, named)):
        if found:
            connection.execute(inserting(connection.dialect.name)(table).on_conflict_do_nothing(), [found[key] for key in sorted(found)])
    return new


def read(connection: Connection, namespace: str, name: str, *, is_dataset: bool) -> Document | None:
    """All that was told of a job or dataset, as one event; None when nothing was."""
    query = select(statics.c.body).where(statics.c.subject == _key(namespace, name), statics.c.is_dataset == int(is_dataset))
    body = connection.scalar(query)
    return document(bytes(body)) if body is not None else None


def _subject(event: Static) -> int:
    return _key(event.namespace, event.name)


def _key(namespace: str, name: str) -> int:
    return digest64("static", namespace, name)
