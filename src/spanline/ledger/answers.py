"""Answers: which data, index, prompt, model, code and release made an answer; for the whole trace, and usage summed over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from spanline.ledger.documents import Document, items, part, text
from spanline.ledger.facts import EVIDENCE, INPUT, Facts, Used
from spanline.ledger.upstream import Upstream
from spanline.naming import is_alias, parse_ref

_DATA = ("corpus", "dataset")
_SUMS = (
    "inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "reasoningOutputTokens", "embeddingInputTokens", "costUsd",
)  # fmt: skip


class _List:
    """Answers to one question, each once, the best known evidence kept."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str | None, str | None], dict[str, Any]] = {}

    def add(self, name: str, version: str | None, digest: str | None, evidence: str, **more: Any) -> None:
        key = (name, version or None, digest or None)
        before = self.entries.get(key)
        if before is None:
            self.entries[key] = {"name": name, "version": version or None, "digest": digest or None, "evidence": evidence, **more}
        elif EVIDENCE.index(evidence) < EVIDENCE.index(before["evidence"]):
            before["evidence"] = evidence

    def add_artifact(self, entry: Used, at_best: int = 0) -> None:
        self.add(entry.name, entry.version, entry.digest, EVIDENCE[max(entry.evidence, at_best)])

    def listed(self) -> list[dict[str, Any]]:
        """A bare name that is also known with version or digest says nothing more."""
        detailed = {name for name, version, digest in self.entries if version or digest}
        return [entry for (name, version, digest), entry in self.entries.items() if version or digest or name not in detailed]


def answers(scope: Sequence[Facts], documents: Sequence[Document], chain: Iterable[Upstream]) -> dict[str, list[dict[str, Any]]]:
    """The incident's questions, answered.

    Args:
        scope: The run and the runs below it.
        documents: Their documents.
        chain: What is upstream of them.

    Returns:
        `{data, model, prompt, index, code, release}`, each a list of `{name, version, digest, evidence}`.
    """
    found = {question: _List() for question in ("data", "model", "prompt", "index", "code", "release")}
    for facts in scope:
        inferring = {text(operation.get("responseModel")) or "" for operation in facts.operations if operation.get("kind") == "inference"}
        # The model that answered comes before the one that embedded the question.
        for entry in sorted(facts.artifacts, key=lambda used: not any(name and name in used.name for name in inferring)):
            if entry.role != INPUT:
                continue
            if entry.kind in _DATA:
                found["data"].add_artifact(entry)
            elif entry.kind in found:
                found[entry.kind].add_artifact(entry)
    for facts, document in zip(scope, documents, strict=True):
        _release(found, facts, document)
    for up in chain:
        for entry in up.facts.artifacts:
            if entry.role == INPUT and entry.kind in _DATA:
                found["data"].add_artifact(entry, up.evidence)
    for facts in scope:
        for entry in facts.artifacts:
            _made_of(found["data"], entry)
    return {question: entries.listed() for question, entries in found.items()}


def _release(found: dict[str, _List], facts: Facts, document: Document) -> None:
    release = facts.release
    revision, name = text(release.get("codeRevision")), text(release.get("release"))
    image = text(release.get("imageDigest"))
    service = facts.service or facts.job[1]
    if revision:
        dirty: dict[str, Any] = {"dirty": True} if release.get("codeDirty") is True else {}
        found["code"].add(text(release.get("repository")) or service, revision, None, "observed", **dirty)
    else:
        location = part(part(part(document.get("job")).get("facets")).get("sourceCodeLocation"))
        where = text(location.get("repoUrl")) or text(location.get("url"))
        if where:
            found["code"].add(where, text(location.get("version")), None, "observed")
    if name or image:
        found["release"].add(service, name, image, "observed")


def _made_of(data: _List, entry: Used) -> None:
    made_of = entry.facet.get("madeOf")
    for reference in cast(list[Any], made_of) if isinstance(made_of, list) else ():
        try:
            kind, name, version = parse_ref(str(reference))
        except ValueError:
            continue
        label = None if version is None or is_alias(version) else version
        known = any(other == name and (label is None or other_version == label) for other, other_version, _ in data.entries)
        if kind in _DATA and not known:
            data.add(name, label, None, "declared")


def usage(documents: Sequence[Document]) -> dict[str, Any]:
    """Tokens and cost of all runs together; a model response that two runs report is counted once."""
    total: dict[str, Any] = {}
    models: dict[tuple[Any, ...], dict[str, Any]] = {}
    seen: set[str] = set()
    for document in documents:
        facets = part(part(document.get("run")).get("facets"))
        facet = part(facets.get("spanline_usage"))
        _add(total, facet, 1)
        for entry in items(facet.get("byModel")):
            key = (entry.get("provider"), entry.get("model"), entry.get("operation"))
            row = models.setdefault(key, {name: value for name, value in entry.items() if name in ("provider", "model", "operation")})
            _add(row, entry, 1)
        own: set[str] = set()
        for operation in items(part(facets.get("spanline_operations")).get("operations")):
            response = text(operation.get("responseId"))
            if response is None or operation.get("rollup") is True:
                continue
            own.add(response)
            if response in seen:
                repeated = part(operation.get("usage"))
                _add(total, repeated, -1)
                model = operation.get("responseModel") or operation.get("requestModel")
                row = models.get((operation.get("provider"), model, operation.get("kind")))
                if row is not None:
                    _add(row, repeated, -1)
        seen |= own
    if models:
        total["byModel"] = list(models.values())
    return total


def _add(total: dict[str, Any], facet: Mapping[str, Any], sign: int) -> None:
    for name in _SUMS:
        value = facet.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            total[name] = max(0, total.get(name, 0) + sign * value)
