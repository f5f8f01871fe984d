"""Gaps: what a run's lineage lacks, and in one sentence how to close it."""

from __future__ import annotations

import re
from typing import NamedTuple

from spanline.ledger.facts import EVIDENCE, INPUT, Facts, Used

_INFERRED = EVIDENCE.index("inferred")
# A hosted model whose name bears a date is one model; one without is whatever the provider serves today.
_DATED = re.compile(r"\d{4}-?(0[1-9]|1[0-2])(-?([0-2]\d|3[01]))?(?!\d)|-\d{4}(?!\d)")
_RETRIEVES = "retrieval"
_INFERS = "inference"


class Gap(NamedTuple):
    """One thing that is not known. `bit` is its place in `runs.gaps`."""

    bit: int
    missing: str
    how: str


def gaps_of(facts: Facts, *, rekeyed: bool = False) -> list[Gap]:
    """What is missing of a run. Foreign runs are not asked for what only spanline knows."""
    found: list[Gap] = []
    if rekeyed:
        found.append(
            Gap(
                1,
                "a run id of its own",
                "Another job claimed the same run id; set SPANLINE_TRUST_REMOTE=never at public edges, and let gateways pass tracestate on.",
            )
        )
    if not facts.ours:
        return found
    inputs = [entry for entry in facts.artifacts if entry.role == INPUT]
    kinds = {str(operation.get("kind")) for operation in facts.operations}
    indexes = [entry for entry in inputs if entry.kind == "index"]
    if any(entry.evidence == _INFERRED for entry in indexes) or (_RETRIEVES in kinds and not indexes):
        found.append(
            Gap(
                2,
                "the index of a retrieval",
                'Name it: with spanline.retrieval(spanline.Index("name", version="…")), or Index.from_lancedb(table).',
            )
        )
    if _INFERS in kinds and not any(entry.kind == "prompt" for entry in inputs):
        found.append(
            Gap(
                4,
                "the prompt of an inference",
                'Name it: spanline.inference(…, prompt=spanline.PromptTemplate("name", version="…", text="…")).',
            )
        )
    unpinned = [entry for entry in inputs if entry.kind == "model" and not _pinned(entry)]
    if unpinned:
        names = ", ".join(sorted({entry.name for entry in unpinned}))
        found.append(
            Gap(
                8,
                f"version or digest of the model {names}",
                'Ask the provider for a dated model, or give spanline.Model("name", version="…", digest="…").',
            )
        )
    unversioned = [entry for entry in inputs if entry.kind in ("index", "prompt", "corpus") and not (entry.version or entry.digest)]
    if unversioned := [entry for entry in unversioned if entry.evidence != _INFERRED]:
        names = ", ".join(sorted({entry.ref for entry in unversioned}))
        found.append(
            Gap(16, f"version of {names}", "Give it a version= or a digest=, or let from_file, from_lancedb or from_chroma find them.")
        )
    if not facts.release.get("codeRevision") and not any(entry.kind == "code" for entry in facts.artifacts):
        found.append(
            Gap(
                32,
                "the code revision",
                "Set vcs.ref.head.revision in OTEL_RESOURCE_ATTRIBUTES when building the image, or ship the .git folder.",
            )
        )
    if not facts.release.get("release") and not facts.release.get("imageDigest") and not any(e.kind == "release" for e in facts.artifacts):
        found.append(Gap(64, "the release", "Set service.version (and container.image.repo_digests) in OTEL_RESOURCE_ATTRIBUTES."))
    return found


def bits(gaps: list[Gap]) -> int:
    """The gaps as `runs.gaps` keeps them."""
    value = 0
    for gap in gaps:
        value |= gap.bit
    return value


def no_producer(artifact: Used) -> Gap:
    """Nobody told which run made an artifact."""
    return Gap(
        0,
        f"the run that made {artifact.ref}, and so the data in it",
        f'Build it inside with spanline.job("…", outputs=[…]) that names {artifact.kind} {artifact.name} with the same version or digest, '
        "or send the builder's OpenLineage events here.",
    )


def _pinned(model: Used) -> bool:
    return bool(model.version or model.digest or _DATED.search(model.name))
