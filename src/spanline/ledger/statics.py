"""Statics: OpenLineage events about a job or a dataset and no run. What they name is known from then on; their facets are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, insert, select, update

from spanline.ledger.codec import digest64, document, pack
from spanline.ledger.database import inserting
from spanline.ledger.documents import Document, Static, merge_static, part
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
        before = _stored(connection, _subject(event), is_dataset=event.is_dataset, to_write=True)
        merged = merge_static(before, event)
        if merged == before:
            continue
        new += 1
        row = {"subject": _subject(event), "is_dataset": int(event.is_dataset), "body": pack(_encode(merged))}
        if before is None:
            # Where another host was first this fails, and the batch is written again with what that host told.
            connection.execute(insert(statics), [row])
        else:
            connection.execute(update(statics).where(*_is(_subject(event), is_dataset=event.is_dataset)).values(body=row["body"]))
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
    found = _stored(connection, _key(namespace, name), is_dataset=is_dataset)
    if found is None:
        return None
    key = "dataset" if is_dataset else "job"
    facets = {name: facet for name, facet in part(found[key].get("facets")).items() if part(facet).get("_deleted") is not True}
    return {**{name: value for name, value in found.items() if name != "spanline_times"}, key: {**found[key], "facets": facets}}


def _stored(connection: Connection, subject: int, *, is_dataset: bool, to_write: bool = False) -> Document | None:
    query = select(statics.c.body).where(*_is(subject, is_dataset=is_dataset))
    # A second host waits until the first has written.
    body = connection.scalar(query.with_for_update() if to_write else query)
    return document(bytes(body)) if body is not None else None


def _is(subject: int, *, is_dataset: bool) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return statics.c.subject == subject, statics.c.is_dataset == int(is_dataset)


def _subject(event: Static) -> int:
    return _key(event.namespace, event.name)


def _key(namespace: str, name: str) -> int:
    return digest64("static", namespace, name)
