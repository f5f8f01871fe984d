"""OTLP/protobuf: requests with traces or logs into the intake; a large one is walked part by part, never held whole.

Source: opentelemetry-proto 1.x, trace.proto, logs.proto and their collector services; traces, logs and metrics share field numbers
down to the single span, log record or metric, so the first of these tells which it is.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from spanline.convert.intake import Intake
from spanline.convert.otlp_json import Complain
from spanline.convert.wire import Stream, exactly, fields, signal_of_group, signal_of_item, signal_of_scope
from spanline.tracing.log_events import event_name

WHOLE = 16 << 20
"""Bytes of a part that is read at once; a larger one is walked."""


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
        for number, length in fields(stream, size):
            if number == 1 and length > self._whole:
                self._large_group(stream, length, complain)
                continue
            body = exactly(stream, length)
            if number == 1:
                self._group(body, complain)

    def _group(self, body: bytes, complain: Complain) -> None:
        signal = signal_of_group(body)
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
        for number, length in fields(stream, size):
            if number == 2 and resource is None:
                resource = self._intake.resource({})
            if number == 2 and length > self._whole:
                assert resource is not None
                self._large_scope(stream, length, resource, complain)
                continue
            body = exactly(stream, length)
            try:
                if number == 1:
                    resource = self._resource(Resource.FromString(body))
                elif number == 2 and resource is not None:
                    self._scope(body, resource, complain)
            except DecodeError as error:
                raise ValueError("no OTLP request in protobuf") from error

    def _scope(self, body: bytes, resource: int, complain: Complain) -> None:
        signal = signal_of_scope(body)
        if signal == "spans":
            scope = ScopeSpans.FromString(body)
            for span in scope.spans:
                self._span(resource, scope.scope.name, span, complain)
        elif signal == "logs":
            for log in ScopeLogs.FromString(body).log_records:
                self._log(resource, log, complain)

    def _large_scope(self, stream: Stream, size: int, resource: int, complain: Complain) -> None:
        name = ""
        for number, length in fields(stream, size):
            body = exactly(stream, length)
            if number == 1:
                name = _scope_name(body)
            if number != 2:
                continue
            signal = signal_of_item(body)
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


def _scope_name(body: bytes) -> str:
    try:
        return InstrumentationScope.FromString(body).name
    except DecodeError:
        return ""


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
