"""The reader: one finished span in, one `Reading` out, or None where the span is no operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

import msgspec

from spanline.dialects.genai import DIALECTS
from spanline.dialects.table import Dialect
from spanline.naming import model_dataset_name, normalise_provider
from spanline.record.artifact import Artifact, Retrieval
from spanline.record.run import GuardrailOutcome, Kind, Operation, Parameters, Usage
from spanline.times import rfc3339

KINDS: frozenset[str] = frozenset(get_args(Kind))
PARAMETERS = ("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty", "choices")
USAGE = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens", "cost_usd",
)  # fmt: skip

_MARKERS: dict[str, Dialect] = {marker: dialect for dialect in DIALECTS for marker in dialect.markers}


class Reading(msgspec.Struct, kw_only=True):
    """What one span said: an operation and what it used."""

    operation: Operation
    started_ns: int
    artifacts: tuple[Artifact, ...] = ()
    guardrail: GuardrailOutcome | None = None


def dialect_of(attributes: Mapping[str, Any]) -> Dialect | None:
    """The dialect of a span, told by its attributes; of several the one with the highest priority."""
    found: Dialect | None = None
    for key in attributes:
        dialect = _MARKERS.get(key)
        if dialect is not None and (found is None or dialect.priority > found.priority):
            found = dialect
    return found


def read(
    attributes: Mapping[str, Any],
    *,
    span_id: str,
    parent_span_id: str | None,
    started_ns: int,
    ended_ns: int,
    failed: bool,
    service: str,
) -> Reading | None:
    """Read one finished span.

    Args:
        attributes: The span's attributes, of any type and any content.
        span_id: 16 hex.
        parent_span_id: 16 hex; None for a root.
        started_ns: Unix time. Unit: nanoseconds.
        ended_ns: Unix time. Unit: nanoseconds.
        failed: The span's status is ERROR.
        service: For the name of an index that nobody named.

    Returns:
        The operation with its artifacts, or None where no dialect knows the span.
    """
    dialect = dialect_of(attributes)
    if dialect is None:
        return None
    fields = dialect.fields(attributes)
    get = fields.get
    word = get("operation")
    said = get("kind") or dialect.kinds.get(word or "", "other")
    kind = cast(Kind, said if said in KINDS else "other")
    provider = normalise_provider(get("provider"))
    operation = Operation(
        span_id=span_id,
        parent_span_id=parent_span_id,
        kind=kind,
        provider=provider,
        request_model=get("request_model"),
        response_model=get("response_model"),
        response_id=get("response_id"),
        system_fingerprint=get("system_fingerprint"),
        service_tier=get("service_tier"),
        finish_reasons=get("finish_reasons"),
        streamed=get("streamed"),
        time_to_first_token_seconds=get("time_to_first_token_seconds"),
        started_at=rfc3339(started_ns),
        duration_seconds=max(ended_ns - started_ns, 0) / 1e9,
        error_type=get("error_type") or ("_OTHER" if failed else None),
        tool_name=get("tool_name"),
        agent_name=get("agent_name"),
        dialect=dialect.name,
    )
    parameters = {name: fields[name] for name in PARAMETERS if name in fields}
    if parameters:
        operation.parameters = Parameters(**parameters)
    usage = {name: fields[name] for name in USAGE if name in fields}
    if usage:
        operation.usage = Usage(**usage)
    subject = (
        get("request_model") if kind in {"inference", "embedding"}
        else get("index_name") if kind == "retrieval"
        else get("guardrail_name") if kind == "guardrail"
        else get("tool_name") or get("agent_name")
    )  # fmt: skip
    operation.name = f"{word or kind} {subject}" if subject else (word or kind)
    return Reading(
        operation=operation,
        started_ns=started_ns,
        artifacts=_artifacts(fields, operation, service),
        guardrail=_guardrail(fields, span_id) if kind == "guardrail" else None,
    )


def _guardrail(fields: Mapping[str, Any], span_id: str) -> GuardrailOutcome:
    get = fields.get
    return GuardrailOutcome(
        name=get("guardrail_name") or "guardrail",
        version=get("guardrail_version"),
        phase=get("guardrail_phase"),
        outcome=get("guardrail_outcome") or "skip",
        action=get("guardrail_action"),
        score=get("guardrail_score"),
        span_id=span_id,
    )


def _artifacts(fields: Mapping[str, Any], operation: Operation, service: str) -> tuple[Artifact, ...]:
    """What the operation used: named by the span's references first, else by the conventions' attributes."""
    get = fields.get
    named: tuple[Artifact, ...] = get("artifacts") or ()
    kind = operation.kind
    if not named and kind in {"guardrail", "tool", "agent", "workflow", "other"} and "prompt_name" not in fields:
        return ()
    found = list(named)
    kinds = {artifact.kind for artifact in named}
    model = operation.response_model or operation.request_model
    if kind in {"inference", "embedding"} and model and "model" not in kinds:
        found.append(Artifact(kind="model", name=model_dataset_name(operation.provider, model, None)))
    if "prompt_name" in fields and "prompt" not in kinds:
        found.append(Artifact(kind="prompt", name=fields["prompt_name"], version=get("prompt_version")))
    if kind in {"retrieval", "rerank"} or "documents" in fields:
        _retrieval(fields, operation, service, found)
    return tuple(found)


def _retrieval(fields: Mapping[str, Any], operation: Operation, service: str, found: list[Artifact]) -> None:
    """Hang the retrieved documents on the index; on `<service>.<retriever>`, inferred, where nobody named one."""
    documents = fields.get("documents")
    hits = fields.get("hits")
    if hits is None and documents is not None:
        hits = len(documents)
    facts = Retrieval(top_k=fields.get("retrieval_top_k"), hits=hits, documents=documents or (), span_id=operation.span_id)
    for position, artifact in enumerate(found):
        if artifact.kind == "index":
            found[position] = msgspec.structs.replace(artifact, retrieval=facts)
            return
    name = fields.get("index_name")
    if name is None and not documents:
        return
    found.append(
        Artifact(kind="index", name=name, retrieval=facts) if name
        else Artifact(kind="index", name=f"{service}.{operation.tool_name or operation.agent_name or 'retriever'}", evidence="inferred", retrieval=facts)
    )  # fmt: skip
