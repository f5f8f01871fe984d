"""OTLP/JSON: requests with traces or logs into the intake; one that does not fit is taken apart span by span.

Source: OTLP 1.x, "JSON Protobuf Encoding": ids are hex, enums numbers (names are read too), 64-bit integers strings or numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from spanline.convert.intake import Intake
from spanline.convert.otlp_shapes import LogJson, Pair, Request, ResourceJson, SpanJson, event_of, id_bytes, number, plain
from spanline.tracing.log_events import event_name

_ENVELOPES = frozenset({"resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"})
_KINDS = {
    f"SPAN_KIND_{name}": number for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
_ERROR = (2, "STATUS_CODE_ERROR", "2")

T = TypeVar("T", bound=msgspec.Struct)


_typed = msgspec.json.Decoder(Request).decode
_any = msgspec.json.Decoder().decode

Complain = Callable[[str], None]
"""Told of each part that is left out; the reason holds nothing of it."""


class JsonReader:
    """Reads requests.

    Args:
        intake: Takes what they hold.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def read(self, text: bytes, complain: Complain) -> None:
        """Take one request, or a list of them.

        Raises:
            ValueError: It is no JSON, or no request; the message holds nothing of it.
        """
        try:
            request = _typed(text)
        except msgspec.ValidationError:
            self._apart(_parsed(text), complain)
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(reason_of(error)) from error
        if request.resource_spans is None and request.resource_logs is None:
            self._check(_parsed(text))
            return
        for group in request.resource_spans or ():
            number = self._resource(group.resource)
            for scope in group.scope_spans or ():
                name = scope.scope.name if scope.scope is not None else None
                for span in scope.spans or ():
                    self._span(number, name, span, complain)
        for logs in request.resource_logs or ():
            number = self._resource(logs.resource)
            for records in logs.scope_logs or ():
                for log in records.log_records or ():
                    self._log(number, log, complain)

    def _check(self, request: object) -> None:
        """An empty request is one, and metrics are passed over."""
        if not isinstance(request, dict) or (request and _ENVELOPES.isdisjoint(cast(dict[str, Any], request))):
            raise ValueError("JSON, but no OTLP request: neither resourceSpans nor resourceLogs")

    def _apart(self, request: object, complain: Complain) -> None:
        """A request in which something has the wrong type: all that has the right one is taken."""
        if isinstance(request, list):
            for part in cast(list[Any], request):
                try:
                    self.read(msgspec.json.encode(part), complain)
                except ValueError as error:
                    complain(str(error))
            return
        self._check(request)
        members = cast(dict[str, Any], request)
        for group in _objects(members.get("resourceSpans"), complain):
            number = self._loose_resource(group, complain)
            for scope in _objects(group.get("scopeSpans"), complain):
                said = scope.get("scope")
                name = cast(dict[str, Any], said).get("name") if isinstance(said, dict) else None
                for item in _objects(scope.get("spans"), complain):
                    span = _converted(item, SpanJson, complain)
                    if span is not None:
                        self._span(number, name if isinstance(name, str) else None, span, complain)
        for group in _objects(members.get("resourceLogs"), complain):
            number = self._loose_resource(group, complain)
            for scope in _objects(group.get("scopeLogs"), complain):
                for item in _objects(scope.get("logRecords"), complain):
                    log = _converted(item, LogJson, complain)
                    if log is not None:
                        self._log(number, log, complain)

    def _loose_resource(self, group: Mapping[str, Any], complain: Complain) -> int:
        found = group.get("resource")
        return self._resource(_converted(found, ResourceJson, complain) if found is not None else None)

    def _resource(self, resource: ResourceJson | None) -> int:
        return self._intake.resource(plain(resource.attributes) if resource is not None and resource.attributes else {})

    def _span(self, resource: int, scope: str | None, span: SpanJson, complain: Complain) -> None:
        try:
            flags, kind = span.flags, span.kind
            status = span.status
            self._intake.span(
                resource,
                id_bytes(span.trace_id, 16),
                id_bytes(span.span_id, 8).hex(),
                id_bytes(span.parent_span_id, 8).hex() if span.parent_span_id and span.parent_span_id != "0000000000000000" else None,
                kind=kind if isinstance(kind, int) else _KINDS.get(kind, 0) if kind else 0,
                started_ns=number(span.start_time_unix_nano),
                ended_ns=number(span.end_time_unix_nano),
                failed=status is not None and status.code in _ERROR,
                flags=number(flags),
                trace_state=span.trace_state or "",
                attributes=plain(span.attributes) if span.attributes else {},
                scope=scope,
                name=span.name,
                events=[event_of(event) for event in span.events] if span.events else (),
            )
        except ValueError as error:
            complain(str(error))

    def _log(self, resource: int, log: LogJson, complain: Complain) -> None:
        try:
            attributes = plain(log.attributes) if log.attributes else {}
            self._intake.log(
                resource,
                id_bytes(log.trace_id, 16) if log.trace_id else b"",
                (id_bytes(log.span_id, 8).hex() or None) if log.span_id and log.span_id.strip("0") else None,
                name=event_name(log.event_name, attributes),
                time_ns=number(log.time_unix_nano) or number(log.observed_time_unix_nano),
                attributes=attributes,
            )
        except ValueError as error:
            complain(str(error))


def is_request(text: bytes) -> bool:
    """Whether this is one whole JSON object."""
    try:
        return isinstance(_any(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def reason_of(error: Exception) -> str:
    """Why it is no JSON; of its text nothing but positions is in the message."""
    if isinstance(error, UnicodeDecodeError):
        return "no UTF-8"
    if isinstance(error, RecursionError):
        return "JSON that is nested too deep"
    return str(error)


def _parsed(text: bytes) -> object:
    try:
        return _any(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(reason_of(error)) from error


def _objects(value: object, complain: Complain) -> Iterable[dict[str, Any]]:
    if value is None:
        return
    if not isinstance(value, list):
        complain("a list that is none")
        return
    for item in cast(list[Any], value):
        if isinstance(item, dict):
            yield cast(dict[str, Any], item)
        else:
            complain("an object that is none")


def _converted(value: dict[str, Any], kind: type[T], complain: Complain) -> T | None:
    """The part; attributes of the wrong type are left out of it, and the rest is taken."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError):
        pass
    pairs = value.get("attributes")
    if isinstance(pairs, list):
        good: list[Any] = []
        for pair in cast(list[Any], pairs):
            try:
                msgspec.convert(pair, Pair)
                good.append(pair)
            except (msgspec.ValidationError, UnicodeError, RecursionError):
                complain("an attribute of the wrong type")
        try:
            return msgspec.convert({**value, "attributes": good}, kind)
        except (msgspec.ValidationError, UnicodeError, RecursionError):
            pass
    complain(f"a {kind.__name__.removesuffix('Json').lower()} with members of the wrong type")
    return None
