"""OTLP/JSON: requests with traces or logs into the intake; one that does not fit is taken apart span by span.

Source: OTLP 1.x, "JSON Protobuf Encoding": ids are hex, enums numbers (names are read too), 64-bit integers strings or numbers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from spanline.convert.intake import Intake
from spanline.dialects.reader import Event
from spanline.tracing.log_events import event_name

_ENVELOPES = frozenset({"resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"})
_KINDS = {
    f"SPAN_KIND_{name}": number for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
_ERROR = (2, "STATUS_CODE_ERROR", "2")

T = TypeVar("T", bound=msgspec.Struct)


class _Struct(msgspec.Struct, rename="camel", gc=False):
    """Unknown members are passed over, null is absence."""


class _Value(_Struct):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: _Array | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Array(_Struct):
    values: list[_Value] | None = None


class _Pair(_Struct):
    key: str
    value: _Value | None = None


class _Pairs(_Struct):
    values: list[_Pair] | None = None


class _Status(_Struct):
    code: int | str | None = None


class _Event(_Struct):
    name: str | None = None
    time_unix_nano: int | str | None = None
    attributes: list[_Pair] | None = None


class _Scope(_Struct):
    name: str | None = None


class _Span(_Struct):
    name: str | None = None
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    trace_state: str | None = None
    flags: int | str | None = None
    kind: int | str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_Pair] | None = None
    status: _Status | None = None
    events: list[_Event] | None = None


class _Log(_Struct):
    trace_id: str | None = None
    span_id: str | None = None
    time_unix_nano: int | str | None = None
    observed_time_unix_nano: int | str | None = None
    event_name: str | None = None
    attributes: list[_Pair] | None = None


class _Resource(_Struct):
    attributes: list[_Pair] | None = None


class _ScopeSpans(_Struct):
    scope: _Scope | None = None
    spans: list[_Span] | None = None


class _ScopeLogs(_Struct):
    log_records: list[_Log] | None = None


class _ResourceSpans(_Struct):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _ResourceLogs(_Struct):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] | None = None


class _Request(_Struct):
    resource_spans: list[_ResourceSpans] | None = None
    resource_logs: list[_ResourceLogs] | None = None


_typed = msgspec.json.Decoder(_Request).decode
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
                    span = _converted(item, _Span, complain)
                    if span is not None:
                        self._span(number, name if isinstance(name, str) else None, span, complain)
        for group in _objects(members.get("resourceLogs"), complain):
            number = self._loose_resource(group, complain)
            for scope in _objects(group.get("scopeLogs"), complain):
                for item in _objects(scope.get("logRecords"), complain):
                    log = _converted(item, _Log, complain)
                    if log is not None:
                        self._log(number, log, complain)

    def _loose_resource(self, group: Mapping[str, Any], complain: Complain) -> int:
        found = group.get("resource")
        return self._resource(_converted(found, _Resource, complain) if found is not None else None)

    def _resource(self, resource: _Resource | None) -> int:
        return self._intake.resource(_plain(resource.attributes) if resource is not None and resource.attributes else {})

    def _span(self, resource: int, scope: str | None, span: _Span, complain: Complain) -> None:
        try:
            flags, kind = span.flags, span.kind
            status = span.status
            self._intake.span(
                resource,
                _id(span.trace_id, 16),
                _id(span.span_id, 8).hex(),
                _id(span.parent_span_id, 8).hex() if span.parent_span_id and span.parent_span_id != "0000000000000000" else None,
                kind=kind if isinstance(kind, int) else _KINDS.get(kind, 0) if kind else 0,
                started_ns=_number(span.start_time_unix_nano),
                ended_ns=_number(span.end_time_unix_nano),
                failed=status is not None and status.code in _ERROR,
                flags=_number(flags),
                trace_state=span.trace_state or "",
                attributes=_plain(span.attributes) if span.attributes else {},
                scope=scope,
                name=span.name,
                events=[_event(event) for event in span.events] if span.events else (),
            )
        except ValueError as error:
            complain(str(error))

    def _log(self, resource: int, log: _Log, complain: Complain) -> None:
        try:
            attributes = _plain(log.attributes) if log.attributes else {}
            self._intake.log(
                resource,
                _id(log.trace_id, 16) if log.trace_id else b"",
                (_id(log.span_id, 8).hex() if log.span_id.strip("0") else None) if log.span_id else None,
                name=event_name(log.event_name, attributes),
                time_ns=_number(log.time_unix_nano) or _number(log.observed_time_unix_nano),
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
                msgspec.convert(pair, _Pair)
                good.append(pair)
            except (msgspec.ValidationError, UnicodeError, RecursionError):
                complain("an attribute of the wrong type")
        try:
            return msgspec.convert({**value, "attributes": good}, kind)
        except (msgspec.ValidationError, UnicodeError, RecursionError):
            pass
    complain(f"a {kind.__name__.strip('_').lower()} with members of the wrong type")
    return None


def _plain(pairs: Iterable[_Pair]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        if value is not None:
            text = value.string_value
            found[pair.key] = text if text is not None else _value(value)
    return found


def _event(event: _Event) -> Event:
    return event.name or "", _plain(event.attributes or ()), _number(event.time_unix_nano)


def _value(value: _Value) -> Any:
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return _number(value.int_value)
    if value.double_value is not None:
        try:
            return float(value.double_value)
        except ValueError:
            return None
    if value.bool_value is not None:
        return value.bool_value
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return _plain(value.kvlist_value.values or ())
    if value.bytes_value is not None:
        try:
            return base64.b64decode(value.bytes_value, validate=False)
        except (binascii.Error, ValueError):
            return None
    return None


def _number(value: int | str | None) -> int:
    if isinstance(value, int):
        return value
    if not value:
        return 0
    if len(value) <= 20 and value.lstrip("-").isdecimal() and value.isascii():
        try:
            return int(value)
        except ValueError:
            pass
    raise ValueError("a number that is none")


def _id(text: str | None, size: int) -> bytes:
    """Bytes of an id: hex, or base64 as general protobuf encoders write it; empty where it is neither."""
    if not text:
        return b""
    try:
        return bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
