"""Reading: what one span said, between the reader and the assembly of a run's record."""

from __future__ import annotations

import msgspec

from spanline.record.artifact import Artifact, Document
from spanline.record.run import Evaluation, GuardrailOutcome, Operation


class Loose(msgspec.Struct, frozen=True, gc=False):
    """What is still to be tied."""

    prompt: Artifact | None = None
    """A template's digest or version; its name is made of the digest, for when no name is found."""
    index: Artifact | None = None
    """The index that was made up for documents of which nobody said where they are from."""
    passing: tuple[Document, ...] = ()
    """Documents that were handed on: they tell the ids that a retrieval left out."""
    guardrail: bool = False
    """A guardrail that does not say what it found."""


class Reading(msgspec.Struct, kw_only=True, gc=False):
    """What one span said: an operation and what it used."""

    operation: Operation
    started_ns: int
    artifacts: tuple[Artifact, ...] = ()
    guardrail: GuardrailOutcome | None = None
    more_guardrails: tuple[GuardrailOutcome, ...] = ()
    """Of a span on which several guardrails left their outcome."""
    evaluations: tuple[Evaluation, ...] = ()
    loose: Loose | None = None
    """What the span says of a prompt or index that it does not name: `assemble` looks for the name around it."""
    repeats: bool = False
    """A span that repeats what the span above it reports, where that one reports."""
