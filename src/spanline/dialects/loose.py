"""Loose ends: what a span says of a prompt or an index without naming it, tied to the nearest span that does.

The order is the nearest span above, then one beside it, then one below; what is found so is `inferred`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from spanline.dialects.fields import Fields
from spanline.dialects.reading import Reading
from spanline.naming import is_alias
from spanline.record.artifact import Artifact, Document, Evidence

MAX_DEPTH = 64


def loose_prompt(fields: Fields, service: str) -> Artifact | None:
    """The prompt of a span that gives its template or version and no name."""
    if fields.prompt_name is not None or fields.said_prompt_name is not None or fields.hub_name is not None:
        return None
    digest = fields.prompt_digest
    if digest is None:
        return None
    name = f"{service}.template-{digest.rpartition(':')[2][:12]}"
    return _prompt(name, fields.prompt_version, digest, "inferred")


def prompts_of(fields: Fields) -> tuple[Artifact, ...]:
    """The prompts that a span names: on itself, by what its user declared for all below, by the hub it came from."""
    parsed = fields.parsed or frozenset[str]()
    name, version, digest = fields.prompt_name, fields.prompt_version, fields.prompt_digest
    found: list[Artifact] = []
    if name is not None:
        if name == fields.said_prompt_name:
            version = version or fields.said_prompt_version
        evidence = "inferred" if "prompt_name" in parsed else "observed"
        found.append(_prompt(name, version, digest, evidence))
        digest = None
    if fields.hub_name is not None:
        evidence = "inferred" if "hub_name" in parsed else "observed"
        found.append(_prompt(fields.hub_name, fields.hub_version, digest, evidence))
        digest = None
    if name is None and fields.said_prompt_name is not None:
        version = fields.said_prompt_version
        found.append(_prompt(fields.said_prompt_name, version, digest, "declared"))
    return tuple(found)


def _prompt(name: str, version: str | None, digest: str | None, evidence: Evidence) -> Artifact:
    """A prompt; what is called `latest`, `production` and the like is a stage and no version."""
    stage = version if version is not None and is_alias(version) else None
    return Artifact(kind="prompt", name=name, version=None if stage else version, digest=digest, stage=stage, evidence=evidence)


def tie(readings: Sequence[Reading], declared: Sequence[Artifact] = ()) -> None:
    """Tie the loose ends of one run's readings, in place.

    Args:
        readings: Of one run, in the order of their start.
        declared: References given to the run itself: they go before what is near.
    """
    prompts = [artifact for artifact in declared if artifact.kind == "prompt"]
    of_span = {reading.operation.span_id: reading for reading in readings}
    below: dict[str | None, list[Reading]] = {}
    for reading in readings:
        below.setdefault(reading.operation.parent_span_id, []).append(reading)
    ids = _ids_by_source(readings)
    for reading in readings:
        if ids and reading.operation.kind == "retrieval":
            reading.artifacts = tuple(_with_ids(artifact, ids) for artifact in reading.artifacts)
        loose = reading.loose
        if loose is None:
            continue
        reading.loose = None
        if loose.prompt is not None:
            named = prompts[0] if len(prompts) == 1 else _around(reading, of_span, below, "prompt")
            prompt = loose.prompt
            if named is not None:
                prompt = msgspec.structs.replace(prompt, name=named.name, version=prompt.version or named.version)
            # Who named it with a digest knows it better: another text under the label would be a conflict that is none.
            if named is None or named.digest is None:
                reading.artifacts = (*reading.artifacts, prompt)
        if loose.index is not None:
            named = _around(reading, of_span, below, "index")
            if named is not None:
                reading.artifacts = tuple(
                    msgspec.structs.replace(artifact, name=named.name, version=named.version, namespace=named.namespace)
                    if artifact.kind == "index" and artifact.name == loose.index.name
                    else artifact
                    for artifact in reading.artifacts
                )
        if loose.guardrail and reading.guardrail is not None:
            _judge(reading, of_span, below)


def _ids_by_source(readings: Sequence[Reading]) -> dict[str, str]:
    """Source to document id, where the documents handed on have one id for it."""
    found: dict[str, set[str]] = {}
    for reading in readings:
        if reading.loose is not None:
            for document in reading.loose.passing:
                if document.source is not None and document.id != document.source:
                    found.setdefault(document.source, set()).add(document.id)
    return {source: next(iter(several)) for source, several in found.items() if len(several) == 1}


def _with_ids(artifact: Artifact, ids: dict[str, str]) -> Artifact:
    retrieval = artifact.retrieval
    if retrieval is None or not any(document.id == document.source and document.id in ids for document in retrieval.documents):
        return artifact
    documents = tuple(
        msgspec.structs.replace(document, id=ids.get(document.id, document.id)) if document.id == document.source else document
        for document in retrieval.documents
    )
    return msgspec.structs.replace(artifact, retrieval=msgspec.structs.replace(retrieval, documents=documents))


def fold(readings: Sequence[Reading]) -> None:
    """Keep one of several retrievals, one inside of the other, that report the same documents, and mark the others.

    Spanline's own is kept, else the inner one; what only an outer one knows of a document (its source, its score) goes to it.
    """
    holders = [reading for reading in readings if reading.operation.dialect != "spanline" and _retrieved(reading) is not None]
    if not holders or len(readings) < 2:
        return
    by_span = {reading.operation.span_id: reading for reading in readings}
    for inner in holders:
        above = by_span.get(inner.operation.parent_span_id or "")
        for _ in range(MAX_DEPTH):
            if above is None:
                break
            index, own = _retrieved(above), _retrieved(inner)
            if own is not None and above.operation.dialect == "spanline" and above.operation.kind == "retrieval":
                _strip(inner, own)
                break
            if index is not None and own is not None and _ids(index) & _ids(own):
                _fold_into(above, index, inner, own)
            above = by_span.get(above.operation.parent_span_id or "")


def fold_reranks(readings: Sequence[Reading]) -> None:
    """Take the documents from reranks where a retrieval of the run reports what they were given: they were fetched once."""
    if not any(_retrieved(reading) is not None for reading in readings):
        return
    for reading in readings:
        if reading.operation.kind == "rerank":
            kept = [msgspec.structs.replace(artifact, retrieval=None) if artifact.retrieval else artifact for artifact in reading.artifacts]
            reading.artifacts = tuple(artifact for artifact in kept if artifact.kind != "index" or artifact.evidence != "inferred")


def _fold_into(outer: Reading, index: Artifact, inner: Reading, own: Artifact) -> None:
    known = {document.id: document for document in _documents(index)}
    told = tuple(
        msgspec.structs.replace(
            document,
            score=document.score if document.score is not None else known[document.id].score,
            source=document.source or known[document.id].source,
            version=document.version or known[document.id].version,
        )
        if document.id in known
        else document
        for document in _documents(own)
    )
    assert own.retrieval is not None
    better = msgspec.structs.replace(own, retrieval=msgspec.structs.replace(own.retrieval, documents=told))
    inner.artifacts = tuple(better if artifact == own else artifact for artifact in inner.artifacts)
    _strip(outer, index)


def _strip(reading: Reading, index: Artifact) -> None:
    """Take the documents from a retrieval that another one reports, and its index where that was made up."""
    bare = msgspec.structs.replace(index, retrieval=None)
    kept = [bare if artifact == index else artifact for artifact in reading.artifacts]
    reading.artifacts = tuple(artifact for artifact in kept if artifact is not bare or index.evidence != "inferred")
    reading.operation.rollup = True


def _retrieved(reading: Reading) -> Artifact | None:
    if reading.operation.kind != "retrieval":
        return None
    return next((artifact for artifact in reading.artifacts if artifact.retrieval is not None and artifact.retrieval.documents), None)


def _documents(index: Artifact) -> tuple[Document, ...]:
    return index.retrieval.documents if index.retrieval is not None else ()


def _ids(index: Artifact) -> frozenset[str]:
    return frozenset(document.id for document in _documents(index))


def _around(reading: Reading, of_span: dict[str, Reading], below: dict[str | None, list[Reading]], kind: str) -> Artifact | None:
    """The nearest artifact of a kind: above, beside, below."""
    above = of_span.get(reading.operation.parent_span_id or "")
    depth = 0
    while above is not None and depth < MAX_DEPTH:
        found = _artifact(above, kind)
        if found is not None:
            return found
        above = of_span.get(above.operation.parent_span_id or "")
        depth += 1
    if reading.operation.parent_span_id is not None:
        beside = [other for other in below.get(reading.operation.parent_span_id, ()) if other is not reading]
        for other in sorted(beside, key=lambda other: abs(other.started_ns - reading.started_ns)):
            found = _artifact(other, kind)
            if found is not None:
                return found
    level = below.get(reading.operation.span_id, [])
    depth = 0
    while level and depth < MAX_DEPTH:
        for other in level:
            found = _artifact(other, kind)
            if found is not None:
                return found
        level = [child for other in level for child in below.get(other.operation.span_id, ())]
        depth += 1
    return None


def _artifact(reading: Reading, kind: str) -> Artifact | None:
    for artifact in reading.artifacts:
        if (
            artifact.kind == kind
            and artifact.role == "input"
            and (reading.loose is None or reading.loose.index is None or artifact.name != reading.loose.index.name)
        ):
            return artifact
    return None


def _judge(reading: Reading, of_span: dict[str, Reading], below: dict[str | None, list[Reading]]) -> None:
    """A guardrail that says nothing: it found something when the step around it failed right after it."""
    parent = of_span.get(reading.operation.parent_span_id or "")
    guardrail = reading.guardrail
    if guardrail is None or parent is None:
        return
    failed = parent.operation.error_type is not None and all(
        other.started_ns <= reading.started_ns for other in below.get(parent.operation.span_id, ())
    )
    guardrail.outcome = "error" if reading.operation.error_type is not None else "fail" if failed else "pass"
