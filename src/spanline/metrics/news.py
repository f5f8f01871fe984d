"""News: what a further terminal event of a run adds to the one before, so that nothing is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

import msgspec

from spanline.record.artifact import Artifact
from spanline.record.run import ModelUsage, Operation, RunRecord, Usage

_T = TypeVar("_T")


def added(record: RunRecord, previous: RunRecord) -> RunRecord:
    """The record with only what `previous` did not hold yet: operations, tokens, verdicts, scores, retrievals."""
    known = {operation.span_id for operation in previous.operations}
    return msgspec.structs.replace(
        record,
        operations=tuple(
            operation for operation in record.operations if operation.span_id not in known or _became_more(operation, previous)
        ),
        artifacts=_searches(_new(record.artifacts, previous.artifacts, _artifact_key), previous.artifacts),
        guardrails=_new(record.guardrails, previous.guardrails, msgspec.json.encode),
        evaluations=_new(record.evaluations, previous.evaluations, msgspec.json.encode),
        usage=_more(record.usage, previous.usage),
    )


def _became_more(operation: Operation, previous: RunRecord) -> bool:
    """A span that was a roll-up and turned out to be the only report, as when the wrapped span never came."""
    return not operation.rollup and any(old.span_id == operation.span_id and old.rollup for old in previous.operations)


def _artifact_key(artifact: Artifact) -> Hashable:
    return artifact.dataset, artifact.retrieval


def _searches(artifacts: Iterable[Artifact], before: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """The artifacts with only those searches that were not measured before: what came late is joined with what was known."""
    known = {(artifact.dataset, span_id) for artifact in before if artifact.retrieval is not None for span_id, _ in artifact.retrieval.each}
    found: list[Artifact] = []
    for artifact in artifacts:
        retrieval = artifact.retrieval
        if retrieval is not None:
            fresh = tuple(search for search in retrieval.each if (artifact.dataset, search[0]) not in known)
            retrieval = msgspec.structs.replace(retrieval, searches=fresh) if fresh else None
            artifact = msgspec.structs.replace(artifact, retrieval=retrieval)  # noqa: PLW2901
        found.append(artifact)
    return tuple(found)


def _new(items: Iterable[_T], before: Iterable[_T], key: object) -> tuple[_T, ...]:
    assert callable(key)
    old = Counter(key(item) for item in before)
    found: list[_T] = []
    for item in items:
        name = key(item)
        if old[name] > 0:
            old[name] -= 1
        else:
            found.append(item)
    return tuple(found)


def _more(usage: Usage | None, before: Usage | None) -> Usage | None:
    """Usage by model with what was reported before taken off."""
    if usage is None or before is None or not usage.by_model:
        return usage if before is None else None
    old = {(entry.provider, entry.model, entry.operation): entry for entry in before.by_model or ()}
    rest: list[ModelUsage] = []
    for entry in usage.by_model:
        known = old.get((entry.provider, entry.model, entry.operation))
        if known is not None:
            entry = msgspec.structs.replace(  # noqa: PLW2901
                entry,
                input_tokens=max(0, (entry.input_tokens or 0) - (known.input_tokens or 0)),
                output_tokens=max(0, (entry.output_tokens or 0) - (known.output_tokens or 0)),
            )
        rest.append(entry)
    return Usage(by_model=tuple(rest))
