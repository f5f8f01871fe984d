"""Artifacts: the versioned things a run used or made, and how that is known."""

from __future__ import annotations

from typing import Literal

import msgspec

Evidence = Literal["observed", "declared", "inferred"]
Role = Literal["input", "output"]

NAMESPACES: dict[str, str] = {
    "model": "models",
    "prompt": "prompts",
    "index": "indexes",
    "corpus": "corpora",
    "dataset": "datasets",
    "eval_set": "datasets",
    "guardrail": "guardrails",
    "code": "code",
    "release": "releases",
    "flow": "llm",
}
"""Kind of artifact to dataset namespace (contract.md, "Datasets")."""


class Document(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False, forbid_unknown_fields=True):
    """One retrieved document: its id and score, never its text.

    A framework's document with more in it is not decoded as one: what it says in other places would be lost.
    """

    id: str
    score: float | None = None
    source: str | None = None
    version: str | None = None
    digest: str | None = None


class Retrieval(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """What one run fetched from one index; the `spanline_retrieval` input facet."""

    top_k: int | None = None
    hits: int | None = None
    documents: tuple[Document, ...] = ()
    span_id: str | None = None
    searches: tuple[tuple[str | None, int | None], ...] = ()
    """Span id and hits of each search, where several were joined; measured one by one, and no part of the facet."""

    @property
    def each(self) -> tuple[tuple[str | None, int | None], ...]:
        """Span id and hits of each search; hits are None where nobody said."""
        hits = self.hits if self.hits is not None else len(self.documents) or None
        return self.searches or ((self.span_id, hits),)


def joined_retrievals(first: Retrieval | None, second: Retrieval | None) -> Retrieval | None:
    """What two retrievals of one index fetched together."""
    if first is None or second is None:
        return first or second
    return Retrieval(
        top_k=first.top_k if first.top_k is not None else second.top_k,
        hits=None if first.hits is None and second.hits is None else (first.hits or 0) + (second.hits or 0),
        documents=first.documents + second.documents,
        span_id=first.span_id or second.span_id,
        searches=first.each + second.each,
    )


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True, gc=False):
    """A versioned thing and the part it played in a run.

    `name` is without version; `version` is a label and never an alias such as `latest`;
    `digest` is `sha256:<hex>` of the content; `made_of` holds references `kind:name@version`.
    """

    kind: str
    name: str
    namespace: str = ""
    version: str | None = None
    digest: str | None = None
    role: Role = "input"
    evidence: Evidence = "observed"
    owner: str | None = None
    stage: str | None = None
    uri: str | None = None
    made_of: tuple[str, ...] = ()
    retrieval: Retrieval | None = None

    @property
    def label(self) -> str:
        """`name@version`, or the name where no version is known."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def dataset(self) -> tuple[str, str]:
        """The OpenLineage dataset `(namespace, name)`; the version is part of the name."""
        return self.namespace or NAMESPACES.get(self.kind, "datasets"), self.label

    @property
    def ref(self) -> str:
        """The reference people type: `kind:name@version`."""
        return f"{self.kind}:{self.label}"
