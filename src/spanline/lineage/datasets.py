"""Datasets: the artifacts of a record as OpenLineage inputs and outputs, each dataset once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from spanline.lineage.facets import ArtifactFacet, RetrievalFacet, Stamp
from spanline.naming import UNKNOWN_SERVICE, clean, clean_namespace, dataset_name, fit, is_alias
from spanline.record.artifact import NAMESPACES, Artifact, Retrieval, Role, joined_retrievals
from spanline.record.redact import without_secrets
from spanline.record.run import RunRecord

MAX_DOCUMENTS = 1000
"""Documents listed of one index in one run; `hits` still counts all."""

_RANK = {"observed": 0, "declared": 1, "inferred": 2}

MAX_REMEMBERED = 1024
"""Characters. Facets of artifacts with longer texts are made anew, so that what is remembered stays small."""

MAX_USUAL = 1024
"""Sets of artifacts that are remembered."""

Key = tuple[str, str]


class Dataset(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """An input or output dataset of an event."""

    namespace: str
    name: str
    facets: dict[str, Any] | msgspec.Raw = {}
    input_facets: dict[str, Any] = {}


MadeDataset = Dataset | msgspec.Raw
"""A dataset of an event; encoded where later events will repeat it."""

_Sides = tuple[dict[Key, MadeDataset], dict[Key, MadeDataset]]

_encode = msgspec.json.Encoder().encode


def datasets_of(record: RunRecord, mark: Stamp, *, statistics: bool) -> _Sides:
    """Input and output datasets of a record, by namespace and name.

    Args:
        record: The record.
        mark: Producer and schema URLs.
        statistics: Whether the facts of this run (`spanline_retrieval`, `inputStatistics`) come along with the inputs.
    """
    service = record.service if record.live and record.operations else None
    inputs, outputs = _usual(tuple([artifact for artifact in record.artifacts if artifact.retrieval is None]), service, mark)
    searched = [artifact for artifact in record.artifacts if artifact.retrieval is not None]
    if searched:
        more = _merged(searched, "input"), _merged(searched, "output")
        if not (inputs.keys().isdisjoint(more[0]) and outputs.keys().isdisjoint(more[1])):
            # An index that was named and searched is one dataset.
            inputs, outputs = _usual((), service, mark)
            more = _merged(record.artifacts, "input"), _merged(record.artifacts, "output")
        inputs, outputs = {**_made(more[0], mark, statistics), **inputs}, {**_made(more[1], mark, False), **outputs}
    return inputs, outputs


_usuals: dict[tuple[tuple[Artifact, ...], str | None, Stamp], _Sides] = {}


def _usual(artifacts: tuple[Artifact, ...], service: str | None, mark: Stamp) -> _Sides:
    """Inputs and outputs, each encoded once: a service uses the same few artifacts in every run.

    With the flows of a live request, whose service is given: what it took in and gave back.
    """
    known = _usuals.get((artifacts, service, mark))
    if known is None:
        known = _side(artifacts, "input", "requests", service, mark), _side(artifacts, "output", "responses", service, mark)
        if all(map(_is_short, artifacts)):
            if len(_usuals) >= MAX_USUAL:
                _usuals.clear()
            _usuals[artifacts, service, mark] = known
    return known


def _side(artifacts: tuple[Artifact, ...], role: Role, flow: str, service: str | None, mark: Stamp) -> dict[Key, MadeDataset]:
    made = _made(_merged(artifacts, role), mark, False)
    if service is not None:
        # What tells flows apart comes first in the name.
        key = "llm", fit(f"{flow}.{service.strip() or UNKNOWN_SERVICE}")
        made.setdefault(key, Dataset(namespace=key[0], name=key[1]))
    return {key: _encoded(dataset) for key, dataset in made.items()}


def _made(merged: dict[Key, Artifact], mark: Stamp, statistics: bool) -> dict[Key, MadeDataset]:
    return {key: _facts(key, artifact, mark, statistics) for key, artifact in merged.items()}


def _encoded(made: MadeDataset) -> MadeDataset:
    try:
        return msgspec.Raw(_encode(made))
    except UnicodeEncodeError:
        return made  # The event's own encoding repairs it.


@lru_cache(2048)
def _key(kind: str, namespace: str, name: str, version: str | None) -> Key:
    return clean_namespace(namespace or NAMESPACES.get(kind, "datasets")), dataset_name(name, version)


def _merged(artifacts: Iterable[Artifact], role: Role) -> dict[Key, Artifact]:
    merged: dict[Key, Artifact] = {}
    for artifact in artifacts:
        if artifact.role != role:
            continue
        key = _key(artifact.kind, artifact.namespace, artifact.name, artifact.version)
        if not key[1]:
            continue
        other = merged.get(key)
        merged[key] = artifact if other is None else _merge(other, artifact)
    return merged


def _merge(first: Artifact, second: Artifact) -> Artifact:
    """One artifact of two on the same dataset: the better known speaks, the other fills what it leaves open."""
    best, rest = (first, second) if _RANK.get(first.evidence, 3) <= _RANK.get(second.evidence, 3) else (second, first)
    made_of = tuple(dict.fromkeys((*best.made_of, *rest.made_of)))
    return msgspec.structs.replace(
        best,
        version=best.version or rest.version,
        digest=best.digest or rest.digest,
        owner=best.owner or rest.owner,
        stage=best.stage or rest.stage,
        uri=best.uri or rest.uri,
        made_of=made_of,
        retrieval=joined_retrievals(first.retrieval, second.retrieval),
    )


def _is_short(artifact: Artifact) -> bool:
    return len(artifact.name) < MAX_REMEMBERED and len(artifact.uri or "") < MAX_REMEMBERED and len(artifact.made_of) < 64


def _facts(key: Key, artifact: Artifact, mark: Stamp, statistics: bool) -> Dataset:
    make = _facets if _is_short(artifact) else _made_facets
    facets = make(
        mark, artifact.kind, artifact.name, artifact.version, artifact.digest, artifact.role, artifact.evidence,
        artifact.owner, artifact.stage, artifact.uri, artifact.made_of,
    )  # fmt: skip
    input_facets: dict[str, Any] = {}
    if statistics and artifact.retrieval is not None:
        input_facets = _retrieval_facets(artifact.retrieval, mark)
    return Dataset(namespace=key[0], name=key[1], facets=facets, input_facets=input_facets)


@lru_cache(2048)
def _facets(mark: Stamp, *facts: Any) -> dict[str, Any] | msgspec.Raw:
    facets = _made_facets(mark, *facts)
    try:
        return msgspec.Raw(_encode(facets))
    except UnicodeEncodeError:
        return facets


def _made_facets(
    mark: Stamp, kind: str, name: str, version: str | None, digest: str | None, role: str, evidence: str,
    owner: str | None, stage: str | None, uri: str | None, made_of: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    if version is not None:
        if is_alias(version):
            version, stage = None, stage or version
        version = clean(version) if version else None
    facets: dict[str, Any] = {
        "spanline_artifact": ArtifactFacet(
            producer=mark.producer,
            schema_url=mark.urls["spanline_artifact"],
            kind=kind,
            name=fit(name),
            version=version or None,
            digest=digest or None,
            role=role,
            evidence=evidence,
            owner=owner,
            stage=stage,
            uri=without_secrets(uri) if uri else None,
            made_of=made_of or None,
        )
    }
    if version:
        facets["version"] = mark.standard("version", datasetVersion=version)
    return facets


def _retrieval_facets(retrieval: Retrieval, mark: Stamp) -> dict[str, Any]:
    facets: dict[str, Any] = {
        "spanline_retrieval": RetrievalFacet(
            producer=mark.producer,
            schema_url=mark.urls["spanline_retrieval"],
            top_k=retrieval.top_k,
            hits=retrieval.hits,
            documents=retrieval.documents[:MAX_DOCUMENTS] or None,
            span_id=retrieval.span_id,
        )
    }
    if retrieval.hits is not None:
        facets["inputStatistics"] = mark.standard("inputStatistics", rowCount=retrieval.hits)
    return facets
