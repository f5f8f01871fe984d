"""Fields: what a span can say of its operation, whatever its dialect; all dialect tables fill this one struct."""

from __future__ import annotations

from typing import Any

import msgspec

from spanline.record.artifact import Artifact, Document


class Fields(msgspec.Struct, gc=False):
    """The fields of one span, clean; None where the span does not say. Units: seconds, tokens, US dollars."""

    operation: str | None = None
    kind: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    finish_reasons: list[str] | None = None
    streamed: bool | None = None
    time_to_first_token_seconds: float | None = None
    error_type: str | None = None
    tool_name: str | None = None
    agent_name: str | None = None
    # Sampling parameters, in the order of `record.run.Parameters`.
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    choices: int | None = None
    # Usage, in the order of `record.run.Usage`.
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    embedding_input_tokens: int | None = None
    cost_usd: float | None = None
    # What was used.
    artifacts: tuple[Artifact, ...] | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    prompt_digest: str | None = None
    said_prompt_name: str | None = None
    """What users hang on their traces themselves, for all prompts below: the name they declare."""
    said_prompt_version: str | None = None
    hub_name: str | None = None
    hub_version: str | None = None
    index_name: str | None = None
    index_written: bool | None = None
    retriever_name: str | None = None
    retrieval_top_k: int | None = None
    documents: tuple[Document, ...] | None = None
    hits: int | None = None
    # A guardrail's verdict.
    guardrail_name: str | None = None
    guardrail_version: str | None = None
    guardrail_phase: str | None = None
    guardrail_outcome: str | None = None
    guardrail_action: str | None = None
    guardrail_score: float | None = None
    guardrail_reason: str | None = None
    # An evaluation's score.
    evaluation_name: str | None = None
    evaluation_score: float | None = None
    evaluation_label: str | None = None
    # How the reader takes it.
    passing: tuple[Document, ...] | None = None
    """Documents that a step was given; they tell ids that a retriever's span leaves out."""
    first_token_ns: int | None = None
    repeats: bool | None = None
    parsed: frozenset[str] | None = None
    """Fields that were found inside of JSON: an edge to what they name is inferred."""


FIELDS: tuple[str, ...] = Fields.__struct_fields__
"""Names of all fields."""


def fields_type(name: str, keys: dict[str, str], types: dict[str, Any]) -> type[Fields]:
    """A struct with the fields of `Fields` that `msgspec.convert` fills from span attributes in one call.

    Args:
        name: Of the class.
        keys: Field to the attribute key that holds it; a field that is not here is never filled.
        types: Field to the type that its value must have; `convert` raises `ValidationError` for any other.
    """
    # A key that no attribute has.
    encoded = {field: keys.get(field, f"(none) {field}") for field in FIELDS}
    made = msgspec.defstruct(name, [(field, types.get(field, Any) | None, None) for field in FIELDS], rename=encoded, gc=False)
    return made  # pyright: ignore[reportReturnType]  # the same fields, by construction
