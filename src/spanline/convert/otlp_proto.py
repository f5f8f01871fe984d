"""OTLP/protobuf: requests with traces or logs into the intake; a large one is walked part by part, never held whole.

Source: opentelemetry-proto 1.x, trace.proto, logs.proto and their collector services; traces, logs and metrics share field numbers
down to the single span, log record or metric, so the first of these tells which it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from spanline.convert.intake import Intake
from spanline.convert.otlp_json import Complain
from spanline.tracing.log_events import event_name

WHOLE = 16 << 20
"""Bytes of a part that is read at once; a larger one is walked."""

_VARINT, _FIXED64, _LEN, _FIXED32 = 0, 1, 2, 5
_LIMIT = (1 << 31) - 1


class Stream(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes, fewer only at the end."""
        ...


class ProtoReader:
    """Reads requests.

    Args:
        intake: Takes what they hold.
        whole: Bytes of a part that is read at once.
    """

    def __init__(self, intake: Intake, whole: int = WHOLE) -> None:
        self._intake = intake
        self._whole = whole

    def request(self, stream: Stream, size: int | None, complain: Complain) -> None:
        """Take one request of so many bytes; None: to the end of the stream.

        Raises:
            ValueError: It is no request, or it is cut off; what came before is taken.
        """
        for number, length in _fields(stream, size):
            if number == 1 and length > self._whole:
                self._large_group(stream, length, complain)
                continue
            body = _exactly(stream, length)
            if number == 1:
                self._group(body, complain)

    def _group(self, body: bytes, complain: Complain) -> None:
        signal = _signal(body)
        try:
            if signal == "spans":
                spans = ResourceSpans.FromString(body)
                number = self._resource(spans.resource)
                for scope in spans.scope_spans:
                    for span in scope.spans:
                        self._span(number, scope.scope.name, span, complain)
            elif signal == "logs":
                logs = ResourceLogs.FromString(body)
                number = self._resource(logs.resource)
                for records in logs.scope_logs:
                    for log in records.log_records:
                        self._log(number, log, complain)
        except DecodeError as error:
            raise ValueError("no OTLP request in protobuf") from error

    def _large_group(self, stream: Stream, size: int, complain: Complain) -> None:
        resource: int | None = None
        for number, length in _fields(stream, size):
            if number == 2 and resource is None:
                resource = self._intake.resource({})
            if number == 2 and length > self._whole:
                assert resource is not None
                self._large_scope(stream, length, resource, complain)
                continue
            body = _exactly(stream, length)
            try:
                if number == 1:
                    resource = self._resource(Resource.FromString(body))
                elif number == 2 and resource is not None:
                    self._scope(body, resource, complain)
            except DecodeError as error:
                raise ValueError("no OTLP request in protobuf") from error

    def _scope(self, body: bytes, resource: int, complain: Complain) -> None:
        signal = _signal_of_scope(body)
        if signal == "spans":
            scope = ScopeSpans.FromString(body)
            for span in scope.spans:
                self._span(resource, scope.scope.name, span, complain)
        elif signal == "logs":
            for log in ScopeLogs.FromString(body).log_records:
                self._log(resource, log, complain)

    def _large_scope(self, stream: Stream, size: int, resource: int, complain: Complain) -> None:
        name = ""
        for number, length in _fields(stream, size):
            body = _exactly(stream, length)
            if number == 1:
                name = _scope_name(body)
            if number != 2:
                continue
            signal = _signal_of_item(body)
            try:
                if signal == "spans":
                    self._span(resource, name, Span.FromString(body), complain)
                elif signal == "logs":
                    self._log(resource, LogRecord.FromString(body), complain)
            except DecodeError:
                complain("a span or log record that is no protobuf")

    def _resource(self, resource: Any) -> int:
        return self._intake.resource(_plain(resource.attributes))

    def _span(self, resource: int, scope: str, span: Any, complain: Complain) -> None:
        parent: bytes = span.parent_span_id
        try:
            self._intake.span(
                resource,
                span.trace_id,
                span.span_id.hex(),
                parent.hex() if parent and any(parent) else None,
                kind=span.kind,
                started_ns=span.start_time_unix_nano,
                ended_ns=span.end_time_unix_nano,
                failed=span.status.code == Status.STATUS_CODE_ERROR,
                flags=span.flags,
                trace_state=span.trace_state,
                attributes=_plain(span.attributes),
                scope=scope or None,
                name=span.name,
                events=[(event.name, _plain(event.attributes), event.time_unix_nano) for event in span.events],
            )
        except ValueError as error:
            complain(str(error))

    def _log(self, resource: int, log: Any, complain: Complain) -> None:
        attributes = _plain(log.attributes)
        try:
            self._intake.log(
                resource,
                log.trace_id,
                log.span_id.hex() if any(log.span_id) else None,
                name=event_name(log.event_name, attributes),
                time_ns=log.time_unix_nano or log.observed_time_unix_nano,
                attributes=attributes,
            )
        except ValueError as error:
            complain(str(error))


def looks_like_request(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be one request: fields of one number only, which hold fields 1 to 3."""
    if len(head) < 2 or head[0] != 0x0A:
        return False
    size, at = 0, 1
    for shift in range(0, 35, 7):
        if at >= len(head):
            return False
        byte = head[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if size == 0 or at >= len(head):
        return size == 0
    return head[at] in (0x0A, 0x12, 0x1A) or head[at : at + 2] == b"\xc2\x3e"


def _signal(body: bytes) -> str | None:
    """What a resource's group holds; None for metrics and for nothing."""
    for number, start, end in _parts(body):
        if number == 2:
            signal = _signal_of_scope(body[start:end])
            if signal is not None:
                return signal
    return None


def _signal_of_scope(body: bytes) -> str | None:
    for number, start, end in _parts(body):
        if number == 2:
            return _signal_of_item(body[start:end])
    return None


def _signal_of_item(body: bytes) -> str | None:
    """A span has a trace id of 16 bytes in field 1 or a time in 7; a log record a time in 1 or 11 or a trace id in 9."""
    try:
        for number, wire, size in _tags(body):
            if (number == 1 and wire == _LEN and size == 16) or (number == 7 and wire == _FIXED64):
                return "spans"
            if (number in (1, 11) and wire == _FIXED64) or (number == 9 and wire == _LEN and size == 16):
                return "logs"
            if number == 7 and wire == _LEN:
                return None
    except ValueError:
        return None
    return None


def _tags(body: bytes) -> Iterator[tuple[int, int, int]]:
    at, end = 0, len(body)
    while at < end:
        tag, at = _varint(body, at)
        wire, size = tag & 7, 0
        if wire == _VARINT:
            _, at = _varint(body, at)
        elif wire == _LEN:
            size, at = _varint(body, at)
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("no protobuf")
        yield tag >> 3, wire, size


def _parts(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Fields that hold messages, as number, start and end."""
    at, end = 0, len(body)
    while at < end:
        tag, at = _varint(body, at)
        if tag & 7 != _LEN:
            raise ValueError("no OTLP request in protobuf")
        size, at = _varint(body, at)
        yield tag >> 3, at, at + size
        at += size


def _scope_name(body: bytes) -> str:
    try:
        return InstrumentationScope.FromString(body).name
    except DecodeError:
        return ""


def _varint(body: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            raise ValueError("protobuf that is cut off")
        byte = body[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
    raise ValueError("no OTLP request in protobuf")


def _fields(stream: Stream, size: int | None) -> Iterator[tuple[int, int]]:
    """Fields of a message that is read from a stream, as number and length; whoever iterates reads the bodies."""
    left = size if size is not None else _LIMIT << 8
    while left > 0:
        tag, used = _streamed(stream, last=size is None)
        if used == 0:
            return
        if tag & 7 != _LEN or tag >> 3 == 0:
            raise ValueError("no OTLP request in protobuf")
        length, more = _streamed(stream)
        left -= used + more + length
        if length > _LIMIT or left < 0:
            raise ValueError("protobuf that is cut off")
        yield tag >> 3, length


def _streamed(stream: Stream, *, last: bool = False) -> tuple[int, int]:
    """A number and how many bytes it took; none at the end, where the end is allowed."""
    found = 0
    for used in range(10):
        byte = stream.read(1)
        if not byte:
            if last and used == 0:
                return 0, 0
            raise ValueError("protobuf that is cut off")
        found |= (byte[0] & 0x7F) << (7 * used)
        if byte[0] < 0x80:
            return found, used + 1
    raise ValueError("no OTLP request in protobuf")


def _exactly(stream: Stream, size: int) -> bytes:
    body = stream.read(size)
    if len(body) < size:
        raise ValueError("protobuf that is cut off")
    return body


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_value(item) for item in found.values]
    if kind == "kvlist_value":
        return _plain(found.values)
    return found
