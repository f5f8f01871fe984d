"""The parts of the run page, each from its part of a run's JSON; what is absent or odd is shown as unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spanline.record.artifact import NAMESPACES
from spanline.server import words

STATUS = {"COMPLETE": "Complete", "FAIL": "Failed", "ABORT": "Aborted", "START": "Running", "RUNNING": "Running"}
MAX_DOCUMENTS = 200
MAX_RAW = 400_000


@dataclass(frozen=True, slots=True)
class Thing:
    """A named, versioned thing and how it is known."""

    name: str
    version: str
    digest: str
    evidence: str
    conflict: bool = False
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """The same label with another digest."""

    kind: str
    label: str
    digest: str
    expected: str
    first_run: str
    first_at: str
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What is not known of a run, and how to close it."""

    missing: str
    how: str


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The documents that came from one index."""

    index: str
    top_k: str
    hits: str
    documents: list[dict[str, str]]
    hidden: int


def label(entry: Mapping[str, object]) -> str:
    """`name@version`, or the name alone."""
    name, version = words.text_of(entry.get("name")), words.text_of(entry.get("version"))
    return f"{name}@{version}" if version and not name.endswith(f"@{version}") else name


def things(value: object, question: str, conflicts: set[tuple[str, str]]) -> list[Thing]:
    """The things that answer one question; `conflicts` holds (kind, label)."""
    kinds = {"corpus", "dataset"} if question == "data" else {question}
    return [
        Thing(
            name=words.text_of(entry.get("name")) or "unnamed",
            version=words.text_of(entry.get("version")),
            digest=words.text_of(entry.get("digest")),
            evidence=words.text_of(entry.get("evidence")),
            conflict=any((kind, label(entry)) in conflicts for kind in kinds),
            dirty=entry.get("dirty") is True,
        )
        for entry in words.entries(value)
    ]


def conflict_of(entry: Mapping[str, object]) -> Conflict:
    """One version conflict."""
    return Conflict(
        kind=words.text_of(entry.get("kind")) or "artifact",
        label=label(entry),
        digest=words.text_of(entry.get("digest")),
        expected=words.text_of(entry.get("expectedDigest")),
        first_run=words.text_of(entry.get("firstSeenRunId")),
        first_at=words.text_of(entry.get("firstSeenAt")),
        acknowledged=entry.get("acknowledged") is True,
    )


def gaps_of(value: object) -> list[Gap]:
    """The gaps: objects, or plain words."""
    found: list[Gap] = []
    for entry in words.items(value):
        parts = words.mapping(entry)
        missing = words.text_of(entry) or words.text_of(parts.get("missing"))
        found.append(Gap(missing or "something", words.text_of(parts.get("how"))))
    return found


def how_to_close(question: str, gaps: list[Gap]) -> str:
    """The advice of the first gap that speaks of a question."""
    return next((gap.how for gap in gaps if question in gap.missing.lower()), "")


def alerts_of(run: Mapping[str, object]) -> list[tuple[str, str]]:
    """What went wrong further down the page, as (words, anchor)."""
    bad = (
        ("guardrail", "guardrails", [entry for entry in words.entries(run.get("guardrails")) if entry.get("outcome") in ("fail", "error")]),
        ("evaluation", "evaluations", [entry for entry in words.entries(run.get("evaluations")) if entry.get("passed") is False]),
        ("operation", "timeline", [entry for entry in words.entries(run.get("operations")) if entry.get("errorType")]),
    )
    return [(f"{len(found)} {what}{'s' if len(found) > 1 else ''} failed", anchor) for what, anchor, found in bad if found]


def retrieved(run: Mapping[str, object]) -> list[Retrieved]:
    """What was fetched from each index, in the order of the artifacts."""
    found: list[Retrieved] = []
    for artifact in words.entries(run.get("artifacts")):
        # One index may have been asked several times in a run.
        for retrieval in words.entries(artifact.get("retrieval")) or [words.mapping(artifact.get("retrieval"))]:
            if not retrieval:
                continue
            documents = words.entries(retrieval.get("documents"))
            rows = [
                {name: words.cut(words.text_of(document.get(name))) for name in ("id", "score", "version", "source", "digest")}
                for document in documents[:MAX_DOCUMENTS]
            ]
            hits = words.text_of(retrieval.get("hits")) or str(len(documents))
            found.append(Retrieved(label(artifact), words.text_of(retrieval.get("topK")), hits, rows, len(documents) - len(rows)))
    return found


def texts(entry: Mapping[str, object], names: tuple[str, ...]) -> dict[str, str]:
    """Some members of an object as short texts, empty where absent."""
    return {name: words.cut(words.text_of(entry.get(name))) for name in names}


def artifact_of(entry: Mapping[str, object], conflicts: set[tuple[str, str]]) -> dict[str, Any]:
    """One row of the artifacts."""
    kind = words.text_of(entry.get("kind"))
    return {
        "kind": kind or words.text_of(entry.get("namespace")),
        "label": words.cut(label(entry)),
        # Ours have the namespace of their kind; only another one says something.
        "namespace": words.text_of(entry.get("namespace")) if NAMESPACES.get(kind) != entry.get("namespace") else "",
        "digest": words.text_of(entry.get("digest")),
        "role": words.text_of(entry.get("role")),
        "evidence": words.text_of(entry.get("evidence")),
        "made_of": [words.text_of(part) for part in words.items(entry.get("madeOf"))],
        "more": [(name, words.text_of(entry.get(name))) for name in ("owner", "stage", "uri") if words.text_of(entry.get(name))],
        "conflict": (kind, label(entry)) in conflicts,
    }


def made_by(run: Mapping[str, object]) -> list[dict[str, Any]] | None:
    """What offline work made; None for a run that gave an answer."""
    made = [entry for entry in words.entries(run.get("artifacts")) if entry.get("role") == "output" and entry.get("kind") != "flow"]
    answered = any(entry.get("kind") == "inference" for entry in words.entries(run.get("operations")))
    return [artifact_of(entry, set()) for entry in made] if made and not answered else None


def evaluation_of(entry: Mapping[str, object]) -> dict[str, str]:
    """One evaluation, as texts."""
    one = texts(entry, ("name", "passed", "label", "score"))
    one |= {"evaluator": _joined(entry, "evaluator", "evaluatorVersion"), "set": _joined(entry, "evalSet", "evalSetVersion")}
    return one | {"when": words.moment(entry.get("evaluatedAt"))}


def columns_with_values(rows: list[dict[str, str]], *names: str) -> list[str]:
    """Those columns of a table in which something stands."""
    return [name for name in names if any(row[name] for row in rows)]


def _joined(entry: Mapping[str, object], *names: str) -> str:
    return words.cut("@".join(text for name in names if (text := words.text_of(entry.get(name)))))


def usage_of(usage: Mapping[str, object]) -> list[tuple[str, str]]:
    """Tokens and cost, as (what, how many)."""
    named = (
        ("input tokens", "inputTokens"), ("output tokens", "outputTokens"), ("of them cached", "cacheReadInputTokens"),
        ("reasoning tokens", "reasoningOutputTokens"), ("embedding tokens", "embeddingInputTokens"),
    )  # fmt: skip
    found = [(text, words.count(usage.get(key))) for text, key in named if words.number_of(usage.get(key)) is not None]
    cost = words.number_of(usage.get("costUsd"))
    return [*found, ("cost", f"${cost:.4f}")] if cost is not None else found


def upstream_of(entry: Mapping[str, object]) -> dict[str, str]:
    """One run that made what this one used."""
    return {
        "run_id": words.text_of(entry.get("runId")),
        "job": words.text_of(entry.get("job")),
        "via": words.text_of(entry.get("ref")) or label(words.mapping(entry.get("artifact"))),
        "evidence": words.text_of(entry.get("evidence")),
        "how": words.text_of(entry.get("how")),
        "ended": words.text_of(entry.get("endedAt")),
    }


def child_of(entry: Mapping[str, object]) -> dict[str, str]:
    """One run of another service or job in the same trace."""
    status = words.text_of(entry.get("status")).upper()
    return {
        "run_id": words.text_of(entry.get("runId")),
        "job": words.text_of(entry.get("job")),
        "status": status if status.isalpha() else "UNKNOWN",
        "status_word": words.cut(STATUS.get(status, status.title()), 24),
        "took": words.duration(entry.get("durationSeconds")),
        "usage": " · ".join(f"{value} {text}" for text, value in usage_of(words.mapping(entry.get("usage")))),
    }


def results_of(run: Mapping[str, object]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Parameters and results of offline work, where there are any."""
    named = (("Parameters", words.mapping(run.get("parameters"))), ("Results", words.mapping(run.get("metrics"))))
    return [(text, [(key, words.cut(words.text_of(value))) for key, value in values.items()][:100]) for text, values in named if values]


def ids_of(run: Mapping[str, object], trace: int | None) -> list[tuple[str, str, bool]]:
    """Name, value, and whether it leads to a page of a run."""
    found = [
        ("Trace id", f"{trace:032x}" if trace else words.text_of(run.get("traceId")), False),
        ("Run id", words.text_of(run.get("runId")), False),
    ]
    found += [(name, words.text_of(run.get(key)), False) for name, key in (("Span id", "spanId"), ("Request id", "requestId"))]
    responses = [words.text_of(operation.get("responseId")) for operation in words.entries(run.get("operations"))]
    found += [("Response id", one, False) for one in dict.fromkeys(responses) if one][:20]
    for name, key in (("Parent run", "parent"), ("Root run", "root")):
        found.append((name, words.text_of(words.mapping(run.get(key)).get("runId")), True))
    found += [
        (name, words.text_of(run.get(key)), False) for name, key in (("Tenant", "tenant"), ("Subject", "subject"), ("Session", "session"))
    ]
    return [entry for entry in found if entry[1]]


def facts_of(run: Mapping[str, object]) -> list[tuple[str, str]]:
    """Where and as what it ran."""
    release = words.mapping(run.get("release"))
    facts = [("Service", words.text_of(run.get("service"))), ("Environment", words.text_of(run.get("environment")))]
    named = {
        "codeDirty": "Uncommitted changes", "imageDigest": "Image", "lockDigest": "Lock file", "deployment": "Deployment",
        "argoRevision": "Argo CD revision", "rolloutHash": "Rollout", "meshRevision": "Mesh revision", "region": "Region",
        "instanceType": "Instance type", "pod": "Pod",
    }  # fmt: skip
    facts += [(text, words.text_of(release.get(key))) for key, text in named.items()]
    return [fact for fact in facts if fact[1]]


def others_of(value: object) -> list[str]:
    """Other runs that the same request or response id means."""
    return [words.text_of(other) or words.text_of(words.mapping(other).get("runId")) for other in words.items(value)][:50]


def raw(run: Mapping[str, object]) -> str:
    """The JSON as it is read best, cut when it is huge."""
    text = json.dumps(run, indent=2, ensure_ascii=False)
    return text if len(text) <= MAX_RAW else f"{text[:MAX_RAW]}\n… (cut here; ?format=json has all)"
