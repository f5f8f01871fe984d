"""From the readings of a run to the operations, usage, artifacts and guardrails of its record; each response counted once."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from spanline.dialects.loose import fold, fold_reranks, tie
from spanline.dialects.reading import Reading
from spanline.dialects.rollups import Answers, mark_rollups
from spanline.record.artifact import Artifact, Retrieval, joined_retrievals
from spanline.record.run import MAX_OPERATIONS, GuardrailOutcome, ModelUsage, Operation, RunRecord, Usage

_EVIDENCE = {"observed": 2, "declared": 1, "inferred": 0}
_LABELLED = frozenset({"prompt", "index"})
_started = attrgetter("started_ns")
_SUMS = ("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")


def assemble(
    record: RunRecord, readings: Iterable[Reading], declared: Iterable[Artifact], dropped: int, answers: Answers | None = None
) -> None:
    """Fill the record from its readings, in the order of their start.

    Args:
        record: Filled in place: operations, usage, artifacts, guardrails.
        readings: What the spans said, in any order.
        declared: References given to the run itself (`job()`, `context()`).
        dropped: Operations that were counted and not kept.
        answers: What other traces have counted.
    """
    ordered = sorted(readings, key=_started)
    declared = tuple(declared)
    if len({reading.operation.span_id for reading in ordered}) < len(ordered):
        # An exporter that sent twice.
        ordered = list({reading.operation.span_id: reading for reading in ordered}.values())
    foreign = [reading for reading in ordered if reading.operation.dialect != "spanline"]
    if any(reading.loose is not None for reading in foreign):
        tie(ordered, declared)
    if foreign:
        fold(ordered)
    if any(reading.operation.kind == "rerank" for reading in ordered):
        fold_reranks(ordered)
    operations = [reading.operation for reading in ordered]
    mark_rollups(operations, frozenset([reading.operation.span_id for reading in ordered if reading.repeats]))
    if answers is not None:
        for reading in foreign:
            answers.meet(record.trace_id, reading)
    record.usage = total(operations)
    record.artifacts = merge([*declared, *[artifact for reading in ordered for artifact in reading.artifacts]])
    record.guardrails = tuple([outcome for reading in ordered for outcome in _outcomes(reading)])
    record.evaluations = (*record.evaluations, *[evaluation for reading in ordered for evaluation in reading.evaluations])
    record.operations_dropped = dropped + max(len(operations) - MAX_OPERATIONS, 0)
    record.operations = tuple(operations[:MAX_OPERATIONS])


def _outcomes(reading: Reading) -> tuple[GuardrailOutcome, ...]:
    return reading.more_guardrails if reading.guardrail is None else (reading.guardrail, *reading.more_guardrails)


def total(operations: list[Operation]) -> Usage | None:
    """Usage of a run: inference and embedding, roll-ups left out; None when no model said anything."""
    usage = Usage()
    by_model: dict[tuple[str | None, str | None, str], ModelUsage] = {}
    for operation in operations:
        said = operation.usage
        if said is None or operation.rollup:
            continue
        key = (operation.provider, operation.response_model or operation.request_model, operation.kind)
        model = by_model.get(key)
        if model is None:
            model = by_model[key] = ModelUsage(provider=key[0], model=key[1], operation=key[2])
        if said.embedding_input_tokens is not None:
            model.input_tokens = (model.input_tokens or 0) + said.embedding_input_tokens
            usage.embedding_input_tokens = (usage.embedding_input_tokens or 0) + said.embedding_input_tokens
        if said.input_tokens is not None:
            model.input_tokens = (model.input_tokens or 0) + said.input_tokens
            usage.input_tokens = (usage.input_tokens or 0) + said.input_tokens
        if said.output_tokens is not None:
            model.output_tokens = (model.output_tokens or 0) + said.output_tokens
            usage.output_tokens = (usage.output_tokens or 0) + said.output_tokens
        for name in _SUMS:
            more = getattr(said, name)
            if more is not None:
                setattr(usage, name, (getattr(usage, name) or 0) + more)
        if said.cost_usd is not None:
            usage.cost_usd = (usage.cost_usd or 0.0) + said.cost_usd
    if not by_model:
        return None
    usage.by_model = tuple(by_model.values())
    return usage


def merge(artifacts: list[Artifact]) -> tuple[Artifact, ...]:
    """Each artifact once for each role: the best evidence, what either knows, and the documents of both."""
    found: dict[tuple[str, str, str | None, str, str | None], Artifact] = {}
    for artifact in artifacts:
        # Another digest under the same label is another artifact: the conflict must stay visible.
        key = (artifact.kind, artifact.name, artifact.version, artifact.role, artifact.digest)
        known = found.get(key)
        found[key] = artifact if known is None else _joined(known, artifact)
    versioned: dict[tuple[str, str, str], set[str | None]] = {}
    for kind, name, version, role, _ in found:
        if kind in _LABELLED:
            versioned.setdefault((kind, name, role), set()).add(version)
    for (kind, name, role), versions in versioned.items():
        if len(versions) == 2 and None in versions:
            _unite(found, (kind, name, role), next(version for version in versions if version is not None))
    return tuple(found.values())


def _unite(found: dict[tuple[str, str, str | None, str, str | None], Artifact], label: tuple[str, str, str], version: str) -> None:
    """Where one span names a prompt or index and another its one version too, it is that version."""
    kind, name, role = label
    bare = [key for key in found if key[:4] == (kind, name, None, role)]
    full = [key for key in found if key[:4] == (kind, name, version, role)]
    if len(full) != 1:
        return
    for key in bare:
        if key[4] is None or key[4] == full[0][4]:
            found[full[0]] = _joined(found[full[0]], found.pop(key))


def _joined(a: Artifact, b: Artifact) -> Artifact:
    if a is b or a == b:
        return a
    return msgspec.structs.replace(
        a,
        evidence=a.evidence if _EVIDENCE[a.evidence] >= _EVIDENCE[b.evidence] else b.evidence,
        owner=a.owner or b.owner,
        stage=a.stage or b.stage,
        uri=a.uri or b.uri,
        made_of=a.made_of or b.made_of,
        retrieval=_retrievals(a.retrieval, b.retrieval),
    )


def _retrievals(a: Retrieval | None, b: Retrieval | None) -> Retrieval | None:
    if a is not None and b is not None and a.span_id == b.span_id:
        return a
    return joined_retrievals(a, b)
