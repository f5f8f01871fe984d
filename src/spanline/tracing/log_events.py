"""GenAI events in log records: what they say of an operation, an evaluation or an error, without their content.

Source: semantic-conventions-genai, November 2026; `details` seen in openlit 1.45.0 and in the official packages 1.3b0, `result` in
openlit 1.45.0, `exception` documented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

import spanline.semconv as s
from spanline.dialects.reader import read
from spanline.dialects.reading import Reading
from spanline.lineage.evaluated import cleaned
from spanline.naming import fit
from spanline.record.run import Evaluation, Operation, Parameters, Usage

DETAILS = "gen_ai.client.inference.operation.details"
EVALUATION = "gen_ai.evaluation.result"
EXCEPTION = "gen_ai.client.operation.exception"
EVENTS = frozenset({DETAILS, EVALUATION, EXCEPTION})

_VERDICTS = {"pass": True, "passed": True, "fail": False, "failed": False}
_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions")


@dataclass(slots=True)
class LogFact:
    """What one event says of a span.

    Args:
        span_id: 16 hex; None where the event is not of a span.
        response_id: Of the response that it speaks of.
        reading: The operation's details.
        error_type: The type of the exception.
    """

    span_id: str | None
    response_id: str | None = None
    reading: Reading | None = None
    error_type: str | None = None


def event_name(name: str | None, attributes: Mapping[str, Any]) -> str:
    """Name of an event: the record's own, or the attribute that older SDKs write; empty for plain records."""
    if name:
        return name
    said = attributes.get("event.name")
    return said if isinstance(said, str) else ""


def details_of(attributes: Mapping[str, Any], *, span_id: str, time_ns: int, service: str) -> Reading | None:
    """The operation of a `gen_ai.client.inference.operation.details`; the messages are not looked at.

    Args:
        attributes: Of the log record.
        span_id: 16 hex of the span that it belongs to.
        time_ns: When it was written; its span, where there is one, knows better. Unit: Unix nanoseconds.
        service: For the name of an index that nobody named.
    """
    told = {key: value for key, value in attributes.items() if key not in _CONTENT}
    return read(
        told, span_id=span_id, parent_span_id=None, started_ns=time_ns, ended_ns=time_ns, failed=s.ERROR_TYPE in told, service=service
    )


def evaluation_of(attributes: Mapping[str, Any], time_ns: int) -> Evaluation | None:
    """The evaluation of a `gen_ai.evaluation.result`; its explanation is content and stays behind. None without a name.

    Args:
        attributes: Of the log record.
        time_ns: When it was made. Unit: Unix nanoseconds.
    """
    name, score, label = (attributes.get(f"gen_ai.evaluation.{key}") for key in ("name", "score.value", "score.label"))
    if not isinstance(name, str):
        return None
    word = label if isinstance(label, str) else None
    number = float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else None
    return cleaned(
        Evaluation(name=name, score=number, label=word, passed=_VERDICTS.get((word or "").strip().lower())),
        time_ns,
    )  # fmt: skip


def exception_type(attributes: Mapping[str, Any]) -> str | None:
    """Type of the exception of a `gen_ai.client.operation.exception`; its message stays behind."""
    for key in ("exception.type", s.ERROR_TYPE):
        value = attributes.get(key)
        if isinstance(value, str) and (kind := fit(value)):
            return kind
    return None


def joined(readings: Iterable[Reading], facts: Iterable[LogFact]) -> list[Reading]:
    """Readings of spans with what log records say of them: what the span says stands, what it does not say is filled in.

    Args:
        readings: Of the spans; they are not changed.
        facts: Of the log records. Details of a span that said nothing of an operation become an operation of their own.
    """
    found = list(readings)
    places: dict[str, int] = {}
    for place, reading in enumerate(found):
        operation = reading.operation
        places.setdefault(operation.span_id, place)
        if operation.response_id is not None:
            places.setdefault(operation.response_id, place)
    for fact in facts:
        place = places.get(fact.span_id or "", places.get(fact.response_id or ""))
        if fact.reading is not None:
            if place is None:
                places[fact.reading.operation.span_id] = len(found)
                found.append(fact.reading)
                continue
            found[place] = _filled(found[place], fact.reading)
        if fact.error_type is not None and place is not None and found[place].operation.error_type in (None, "_OTHER"):
            operation = msgspec.structs.replace(found[place].operation, error_type=fact.error_type)
            found[place] = msgspec.structs.replace(found[place], operation=operation)
    return found


def _filled(reading: Reading, more: Reading) -> Reading:
    operation = _with(reading.operation, more.operation)
    if more.operation.kind == reading.operation.kind or reading.operation.kind == "other":
        operation.parameters = _together(reading.operation.parameters, more.operation.parameters, Parameters)
        operation.usage = _together(reading.operation.usage, more.operation.usage, Usage)
    kinds = {artifact.kind for artifact in reading.artifacts}
    artifacts = (*reading.artifacts, *(artifact for artifact in more.artifacts if artifact.kind not in kinds))
    return msgspec.structs.replace(reading, operation=operation, artifacts=artifacts, guardrail=reading.guardrail or more.guardrail)


def _with(operation: Operation, more: Operation) -> Operation:
    """A copy of the operation, where it is silent filled from the other one; times and identity are its own."""
    filled = msgspec.structs.replace(operation)
    for name in operation.__struct_fields__:
        if getattr(operation, name) is None and name not in ("parent_span_id", "rollup"):
            setattr(filled, name, getattr(more, name))
    if operation.kind == "other" and more.kind != "other":
        filled.kind, filled.name = more.kind, more.name
    return filled


def _together(said: Any, more: Any, kind: type[Any]) -> Any:
    if said is None or more is None:
        return said or more
    return kind(*(a if a is not None else b for a, b in zip(msgspec.structs.astuple(said), msgspec.structs.astuple(more), strict=True)))
