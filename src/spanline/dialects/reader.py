"""The reader: one finished span in, one `Reading` out, or None where the span is no operation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast, get_args

import msgspec

from spanline.dialects.fields import Fields
from spanline.dialects.genai import DIALECTS
from spanline.dialects.table import Dialect
from spanline.naming import model_dataset_name, normalise_provider
from spanline.record.artifact import Artifact, Retrieval
from spanline.record.run import GuardrailOutcome, Kind, Operation, Parameters, Usage
from spanline.times import rfc3339

KINDS: frozenset[str] = frozenset(get_args(Kind))

_MARKERS: tuple[tuple[str, Dialect], ...] = tuple(
    (marker, dialect) for dialect in sorted(DIALECTS, key=lambda dialect: -dialect.priority) for marker in dialect.markers
)
_parameters = attrgetter("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty", "choices")
_usage = attrgetter(
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
    "embedding_input_tokens", "cost_usd",
)  # fmt: skip
_NO_PARAMETERS = (None,) * 8
_NO_USAGE = (None,) * 7
_MODELS = frozenset({"inference", "embedding"})
_BARE = frozenset({"guardrail", "tool", "agent", "workflow", "other"})


class Reading(msgspec.Struct, kw_only=True, gc=False):
    """What one span said: an operation and what it used."""

    operation: Operation
    started_ns: int
    artifacts: tuple[Artifact, ...] = ()
    guardrail: GuardrailOutcome | None = None


def dialect_of(attributes: Mapping[str, Any]) -> Dialect | None:
    """The dialect of a span, told by its attributes; of several the one with the highest priority."""
    for marker, dialect in _MARKERS:
        if marker in attributes:
            return dialect
    return None


def read(
    attributes: dict[str, Any],
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
    word = fields.operation
    said = fields.kind or dialect.kinds.get(word or "", "other")
    kind = cast(Kind, said if said in KINDS else "other")
    operation = Operation(
        span_id=span_id,
        parent_span_id=parent_span_id,
        kind=kind,
        provider=normalise_provider(fields.provider),
        request_model=fields.request_model,
        response_model=fields.response_model,
        response_id=fields.response_id,
        system_fingerprint=fields.system_fingerprint,
        service_tier=fields.service_tier,
        finish_reasons=fields.finish_reasons,
        streamed=fields.streamed,
        time_to_first_token_seconds=fields.time_to_first_token_seconds,
        started_at=rfc3339(started_ns),
        duration_seconds=max(ended_ns - started_ns, 0) / 1e9,
        error_type=fields.error_type or ("_OTHER" if failed else None),
        tool_name=fields.tool_name,
        agent_name=fields.agent_name,
        dialect=dialect.name,
    )
    parameters = _parameters(fields)
    if parameters != _NO_PARAMETERS:
        operation.parameters = Parameters(*parameters)
    usage = _usage(fields)
    if usage != _NO_USAGE:
        operation.usage = Usage(*usage)
    subject = (
        fields.request_model if kind in _MODELS
        else fields.index_name if kind == "retrieval"
        else fields.guardrail_name if kind == "guardrail"
        else fields.tool_name or fields.agent_name
    )  # fmt: skip
    operation.name = f"{word or kind} {subject}" if subject else (word or kind)
    return Reading(
        operation=operation,
        started_ns=started_ns,
        artifacts=_artifacts(fields, operation, service),
        guardrail=_guardrail(fields, span_id) if kind == "guardrail" else None,
    )


def _guardrail(fields: Fields, span_id: str) -> GuardrailOutcome:
    return GuardrailOutcome(
        name=fields.guardrail_name or "guardrail",
        version=fields.guardrail_version,
        phase=fields.guardrail_phase,
        outcome=fields.guardrail_outcome or "skip",
        action=fields.guardrail_action,
        score=fields.guardrail_score,
        span_id=span_id,
    )


def _artifacts(fields: Fields, operation: Operation, service: str) -> tuple[Artifact, ...]:
    """What the operation used: named by the span's references first, else by the conventions' attributes."""
    named = fields.artifacts or ()
    kind = operation.kind
    if not named and kind in _BARE and fields.prompt_name is None:
        return ()
    kinds = [artifact.kind for artifact in named]
    found = named
    model = operation.response_model or operation.request_model
    if model and kind in _MODELS and "model" not in kinds:
        found = (*found, _model(operation.provider, model))
    if fields.prompt_name is not None and "prompt" not in kinds:
        found = (*found, Artifact(kind="prompt", name=fields.prompt_name, version=fields.prompt_version))
    if kind == "retrieval" or kind == "rerank" or fields.documents is not None:
        return _with_retrieval(fields, operation, service, found)
    return found


@lru_cache(1024)
def _model(provider: str | None, model: str) -> Artifact:
    return Artifact(kind="model", name=model_dataset_name(provider, model, None))


def _with_retrieval(fields: Fields, operation: Operation, service: str, found: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
    """Hang the retrieved documents on the index; on `<service>.<retriever>`, inferred, where nobody named one."""
    documents = fields.documents
    hits = fields.hits
    if hits is None and documents is not None:
        hits = len(documents)
    facts = Retrieval(top_k=fields.retrieval_top_k, hits=hits, documents=documents or (), span_id=operation.span_id)
    for position, artifact in enumerate(found):
        if artifact.kind == "index":
            return (*found[:position], msgspec.structs.replace(artifact, retrieval=facts), *found[position + 1 :])
    if fields.index_name is not None:
        return (*found, Artifact(kind="index", name=fields.index_name, retrieval=facts))
    if not documents:
        return found
    retriever = operation.tool_name or operation.agent_name or "retriever"
    return (*found, Artifact(kind="index", name=f"{service}.{retriever}", evidence="inferred", retrieval=facts))
