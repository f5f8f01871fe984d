"""The reader: one finished span in, one `Reading` out, or None where the span is no operation.

`read` is what the span processor and `spanline convert` share: the first hands over the SDK's attributes, the second plain
dicts parsed from OTLP. `read_event` reads a log record or span event of the GenAI conventions by the same tables.
`spanline.dialects.assemble.assemble` makes a record of the readings of one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast, get_args

import spanline.semconv as s
from spanline.dialects.artifacts import artifacts_of
from spanline.dialects.coerce import has_email, locator
from spanline.dialects.fields import FIELDS, Fields
from spanline.dialects.genai import EVENTS, SPANLINE
from spanline.dialects.loose import loose_prompt
from spanline.dialects.outcomes import evaluation_of, guardrail_of
from spanline.dialects.reading import Loose, Reading
from spanline.dialects.registry import registry
from spanline.dialects.table import Dialect
from spanline.naming import normalise_provider
from spanline.record.run import MODEL_CALLS, Evaluation, GuardrailOutcome, Kind, Operation, Parameters, Usage, embedded
from spanline.times import rfc3339

KINDS: frozenset[str] = frozenset(get_args(Kind))

SPAN_NAME = "S:name"
"""What rows call the span's name."""

Event = tuple[str, Mapping[str, Any] | None, int]
"""Name, attributes and time (Unix, nanoseconds) of a span event."""

_WORDS = {
    "inference": "chat", "embedding": "embeddings", "tool": "execute_tool", "agent": "invoke_agent", "workflow": "invoke_workflow",
}  # fmt: skip
"""Our kind to the conventions' word, where a dialect has words of its own."""
_WORD = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
_parameters = attrgetter("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty", "choices")
_usage = attrgetter(
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
    "embedding_input_tokens", "cost_usd",
)  # fmt: skip
_NO_PARAMETERS = (None,) * 8
_NO_USAGE = (None,) * 7
_NAMES = ("tool_name", "agent_name", "prompt_name", "hub_name", "request_model", "response_model", "guardrail_name", "retriever_name")


def dialect_of(attributes: Mapping[str, Any], scope: str | None = None, events: Sequence[str] = ()) -> Dialect | None:
    """The dialect of a span: told by its attributes first, then by its scope, last by the names of its events; None for most spans."""
    if s.SPANLINE_OPERATION in attributes:
        return SPANLINE
    known = registry()
    found = known.dialect_of(attributes, scope)
    if found is not None or not events:
        return found
    return next((known.by_event[event] for event in events if event in known.by_event), None)


def read(
    attributes: dict[str, Any],
    *,
    span_id: str,
    parent_span_id: str | None,
    started_ns: int,
    ended_ns: int,
    failed: bool,
    service: str,
    scope: str | None = None,
    name: str | None = None,
    events: Iterable[Event] = (),
    dialect: Dialect | None = None,
    reasons: bool = False,
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
        scope: Name of the instrumentation scope.
        name: The span's name: some dialects tell an operation by nothing else. It is matched, never kept, except where a dialect
            puts an identifier there.
        events: The span's events.
        dialect: What `dialect_of` told, where the caller has asked.
        reasons: Keep the reason of a guardrail, which is content (`SPANLINE_ALLOW`).

    Returns:
        The operation with its artifacts, or None where no dialect knows the span.
    """
    if s.SPANLINE_OPERATION in attributes:
        dialect = SPANLINE
        fields = dialect.fields(attributes)
        guardrails: list[GuardrailOutcome] = []
        evaluations: list[Evaluation] = []
    else:
        events = list(events)
        dialect = dialect or dialect_of(attributes, scope, [event for event, _, _ in events])
        if dialect is None:
            return None
        fields, guardrails, evaluations = _foreign(dialect, attributes, name, events, span_id)
        if fields.first_token_ns is not None and fields.time_to_first_token_seconds is None and fields.first_token_ns >= started_ns:
            fields.time_to_first_token_seconds = (fields.first_token_ns - started_ns) / 1e9
            fields.streamed = True
        if failed and fields.request_model is None and fields.output_tokens is None:
            # No answer came: what a tool calls the model is the one that was asked.
            fields.request_model, fields.response_model = fields.response_model, None
    word = fields.operation
    said = fields.kind or (dialect.kind_of(word) if word is not None else None) or dialect.kind
    if said is None:
        if dialect.sparse:
            return None
        said = "other"
    kind = cast(Kind, said if said in KINDS else "other")
    if word is None or dialect is not SPANLINE:
        word = _word(word, kind) if dialect is not SPANLINE else kind
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
        if kind == "embedding":
            embedded(operation.usage)
    subject = (
        fields.request_model if kind in MODEL_CALLS or kind == "rerank"
        else fields.index_name if kind == "retrieval"
        else fields.guardrail_name if kind == "guardrail"
        else fields.tool_name or fields.agent_name
    )  # fmt: skip
    operation.name = f"{word} {subject}" if subject else word
    reading = Reading(
        operation=operation,
        started_ns=started_ns,
        artifacts=artifacts_of(fields, operation, service),
        guardrail=guardrail_of(fields, span_id, reasons=reasons) if kind == "guardrail" and not guardrails else None,
    )
    if dialect is not SPANLINE:
        reading.more_guardrails, reading.evaluations = tuple(guardrails), tuple(evaluations)
        reading.repeats = dialect.repeats
        _loosen(reading, fields, service)
    return reading


def _word(word: str | None, kind: str) -> str:
    """The conventions' word for what a dialect calls its own way; of other operations its word, where that is a plain one."""
    if word is not None and SPANLINE.kinds.get(word) == kind:
        return word
    return _WORDS.get(kind) or (word if kind == "other" and word is not None and _WORD.match(word) else kind)


def read_event(name: str, attributes: Mapping[str, Any]) -> tuple[str, Fields] | None:
    """Read a log record or event of the GenAI conventions.

    Returns:
        What it becomes (`fields`, `evaluation`, `guardrail`) and its fields; None for an event that says nothing of an operation.
    """
    told = EVENTS.get(name)
    return (told.becomes, told.table.coerced(attributes)) if told is not None else None


def _foreign(
    dialect: Dialect, attributes: dict[str, Any], name: str | None, events: Iterable[Event], span_id: str
) -> tuple[Fields, list[GuardrailOutcome], list[Evaluation]]:
    """Fields of a span that is not spanline's own, with what its events say; nothing in them that could be content."""
    if name is not None and SPAN_NAME in dialect.keys:
        attributes = {**attributes, SPAN_NAME: name}
    fields = dialect.fields(attributes)
    guardrails: list[GuardrailOutcome] = []
    evaluations: list[Evaluation] = []
    for event, values, time_ns in events:
        told = dialect.events.get(event) or EVENTS.get(event)
        if told is None:
            continue
        if told.becomes == "first_token":
            fields.first_token_ns = fields.first_token_ns or time_ns
            continue
        said = told.table.coerced(values or {})
        if told.becomes == "fields":
            _fill(fields, said)
        elif told.becomes == "guardrail":
            guardrails.append(guardrail_of(said, span_id))
        else:
            evaluation = evaluation_of(said, time_ns)
            if evaluation is not None:
                evaluations.append(evaluation)
    for field in _NAMES:
        value = getattr(fields, field)
        if value is not None and has_email(value):
            setattr(fields, field, None)
    fields.index_name = locator(fields.index_name)
    if dialect.exclusive and fields.input_tokens is not None and normalise_provider(fields.provider) in dialect.exclusive:
        fields.input_tokens += (fields.cache_read_input_tokens or 0) + (fields.cache_write_input_tokens or 0)
    if fields.streamed is False:
        # Some tools call the whole answer's time so.
        fields.time_to_first_token_seconds = None
    return fields, guardrails, evaluations


def _fill(fields: Fields, said: Fields) -> None:
    """What an event adds: each field that the span did not say; documents of several events are one list."""
    for field in FIELDS:
        value = getattr(said, field)
        if value is None:
            continue
        if field == "documents":
            fields.documents = (fields.documents or ()) + value
        elif getattr(fields, field) is None:
            setattr(fields, field, value)


def _loosen(reading: Reading, fields: Fields, service: str) -> None:
    """Note what is said without a name, for `tie`."""
    prompt = loose_prompt(fields, service)
    index = next(
        (artifact for artifact in reading.artifacts if artifact.kind == "index" and artifact.retrieval and fields.index_name is None), None
    )
    silent = reading.guardrail is not None and fields.guardrail_outcome is None and fields.guardrail_action is None
    passing = fields.passing or ()
    if prompt is not None or index is not None or silent or passing:
        reading.loose = Loose(prompt, index, passing, silent)
