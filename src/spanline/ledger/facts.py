"""Facts: what the events of a run say, as the rows that the ledger keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import msgspec

from spanline.ledger.codec import digest64, uuid_bytes
from spanline.ledger.documents import Document, items, micros, part, short, text
from spanline.naming import fit, is_alias
from spanline.record.artifact import NAMESPACES

STATUSES = ("RUNNING", "COMPLETE", "FAIL", "ABORT")
"""Status of a run, by its number in `runs.status`."""

EVIDENCE = ("observed", "declared", "inferred")
"""How an edge is known, by its number in `edges.evidence`; the best first."""

INPUT, OUTPUT = 0, 1
_RANK: Mapping[Any, int] = {name: rank for rank, name in enumerate(EVIDENCE)}
MAX_TERMS = 2000

_KINDS = {namespace: kind for kind, namespace in NAMESPACES.items() if kind != "eval_set"}
MAX_SYMLINKS = 20
_NO_FACET: Mapping[str, Any] = {}
_NO_TIMES = (None, None, None)


class Used(msgspec.Struct):
    """An artifact of a run; the same of foreign datasets as of ours. `key` is its key in `artifacts`."""

    kind: str
    namespace: str
    name: str
    version: str
    digest: str
    key: int
    role: int
    evidence: int
    facet: Mapping[str, Any]
    retrieval: Mapping[str, Any]

    @property
    def ref(self) -> str:
        """The reference people type."""
        return f"{self.kind}:{self.name}@{self.version}" if self.version else f"{self.kind}:{self.name}"


class Facts(msgspec.Struct, kw_only=True):
    """All that the ledger keeps of one run."""

    job: tuple[str, str]
    status: int
    started_us: int
    ended_us: int | None
    trace_id: bytes | None
    parent_id: bytes | None
    offline: int | None
    """1 a job, 0 a request; None where the events do not say."""
    ours: bool
    service: str | None
    environment: str | None
    release: Mapping[str, Any]
    artifacts: list[Used]
    operations: list[Mapping[str, Any]]
    guardrails: list[Mapping[str, Any]]
    conflicts: list[Mapping[str, Any]]
    evaluations: list[Mapping[str, Any]]
    tags: dict[str, str]
    terms: set[int]


def artifact_key(kind: str, namespace: str, name: str, version: str, digest: str) -> int:
    """Key of an artifact: the same on every host."""
    return digest64("artifact", kind, namespace, name, version, digest)


@lru_cache(maxsize=4096)
def job_key(namespace: str, name: str) -> int:
    """Key of a job."""
    return digest64("job", namespace, name)


def term(kind: str, value: str) -> int:
    """What a run is found by: `id` (request and response ids), `tag` (`key=value`), `tenant`, `subject`, `session`, `document`."""
    return digest64("term", kind, value)


def facts_of(doc: Document) -> Facts:
    """The facts of a run, from its merged document (`documents.merge`)."""
    run, job = part(doc.get("run")), part(doc.get("job"))
    facets = part(run.get("facets"))
    trace = part(facets.get("spanline_trace"))
    operations = items(part(facets.get("spanline_operations")).get("operations"))
    first_us, terminal_us, last_us = cast(tuple[int, int | None, int], doc.get("spanline_times") or _NO_TIMES)
    started_us = micros(trace.get("startedAt"))
    ended_us = terminal_us
    if started_us is None:
        started_us = first_us
    elif terminal_us is not None and isinstance(duration := trace.get("durationSeconds"), int | float) and 0 <= duration < 1e9:
        ended_us = started_us + round(duration * 1e6)
    kind = doc.get("eventType")
    artifacts = [*used(doc.get("inputs"), INPUT), *used(doc.get("outputs"), OUTPUT)]
    tags = {key: value for key, value in part(trace.get("tags")).items() if isinstance(value, str)}
    return Facts(
        job=(short(job.get("namespace")) or "", short(job.get("name")) or ""),
        status=STATUSES.index(kind) if kind in STATUSES else 0,
        started_us=min(started_us, last_us),
        ended_us=ended_us,
        trace_id=uuid_bytes(trace.get("traceId")),
        parent_id=uuid_bytes(part(part(facets.get("parent")).get("run")).get("runId")),
        offline=_offline(part(job.get("facets")), bool(trace), artifacts),
        ours=bool(trace),
        service=short(trace.get("service")),
        environment=short(trace.get("environment")),
        release=_release(part(facets.get("spanline_release"))),
        artifacts=artifacts,
        operations=operations,
        guardrails=items(part(facets.get("spanline_guardrails")).get("outcomes")),
        conflicts=items(part(facets.get("spanline_conflicts")).get("conflicts")),
        evaluations=items(part(facets.get("spanline_evaluations")).get("evaluations")),
        tags=tags,
        terms=_terms(trace, tags, operations, artifacts),
    )


def used(datasets: Any, role: int) -> Iterator[Used]:
    """The artifacts of an event's inputs or outputs: by our facet, else by namespace, name and version facet."""
    for dataset in items(datasets):
        namespace, name = text(dataset.get("namespace")), text(dataset.get("name"))
        if namespace is None or name is None:
            continue
        facets = part(dataset.get("facets"))
        facet = part(facets.get("spanline_artifact"))
        retrieval = part(part(dataset.get("inputFacets")).get("spanline_retrieval"))
        own_name = text(facet.get("name"))
        evidence = 0
        if own_name is not None:
            version, digest = text(facet.get("version")), text(facet.get("digest"))
            identity = _own(text(facet.get("kind")) or _KINDS.get(namespace, "dataset"), namespace, own_name, version or "", digest or "")
            evidence = _RANK.get(text(facet.get("evidence")), 0)
        else:
            identity = _foreign(namespace, name, text(part(facets.get("version")).get("datasetVersion")) or "")
        yield Used(*identity, role, evidence, facet, retrieval)
        # Other names of the same thing (a table and the path it lies at): what others call it by is joined too.
        for link in items(part(facets.get("symlinks")).get("identifiers"))[:MAX_SYMLINKS]:
            other = text(link.get("namespace")), text(link.get("name"))
            if other[0] is not None and other[1] is not None and other != (namespace, name):
                version = text(part(facets.get("version")).get("datasetVersion")) or ""
                yield Used(*_foreign(other[0], other[1], version), role, evidence, {"symlinkOf": f"{namespace}/{name}"}, _NO_FACET)


_Identity = tuple[str, str, str, str, str, int]


@lru_cache(maxsize=8192)
def _own(kind: str, namespace: str, name: str, version: str, digest: str) -> _Identity:
    return _identity(kind, namespace, name, version, digest)


@lru_cache(maxsize=8192)
def _foreign(namespace: str, name: str, version: str) -> _Identity:
    if version and name.endswith("@" + version):
        name = name[: -len(version) - 1] or name
    elif not version and namespace in _KINDS and "@" in name:
        head, _, tail = name.rpartition("@")
        name, version = (head, tail) if head else (name, "")
    return _identity(_KINDS.get(namespace, "dataset"), namespace, name, version, "")


def _identity(kind: str, namespace: str, name: str, version: str, digest: str) -> _Identity:
    # An alias is no version: which one it meant is for the join by time to say.
    known = (fit(kind, 64), fit(namespace), fit(name), "" if is_alias(version) else fit(version), fit(digest))
    return *known, artifact_key(*known)


def _release(facet: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in facet.items() if not key.startswith("_") and value not in (None, "")}


def _offline(job_facets: Mapping[str, Any], ours: bool, artifacts: list[Used]) -> int | None:
    processing = part(job_facets.get("jobType")).get("processingType")
    if processing is not None:
        return 0 if processing == "SERVICE" else 1
    # A START of ours bears no facet of ours, but the flow that it answers.
    if any(entry.kind == "flow" for entry in artifacts):
        return 0
    return None if ours else 1


def _terms(trace: Mapping[str, Any], tags: Mapping[str, str], operations: list[Mapping[str, Any]], artifacts: list[Used]) -> set[int]:
    found: set[int] = set()
    request_id = text(trace.get("requestId"))
    if request_id:
        found.add(term("id", request_id))
    for key, value in tags.items():
        found.add(term("tag", f"{key}={value}"))
    for key in ("tenant", "subject", "session"):
        value = text(trace.get(key))
        if value:
            found.add(term(key, value))
    for operation in operations:
        response_id = text(operation.get("responseId"))
        if response_id:
            found.add(term("id", response_id))
    for artifact in artifacts:
        for entry in items(artifact.retrieval.get("documents")):
            document_id = text(entry.get("id"))
            if document_id and len(found) < MAX_TERMS:
                found.add(term("document", document_id))
    return found
