"""The shapes of OTLP/JSON, and its values as Python's.

Source: OTLP 1.x, "JSON Protobuf Encoding": ids are hex, enums numbers (names are read too), 64-bit integers strings or numbers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec

from spanline.dialects.reader import Event


class _Struct(msgspec.Struct, rename="camel", gc=False):
    """Unknown members are passed over, null is absence."""


class Value(_Struct):
    """An attribute's value: one member is set."""

    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: Array | None = None
    kvlist_value: Pairs | None = None
    bytes_value: str | None = None


class Array(_Struct):
    """A list of values."""

    values: list[Value] | None = None


class Pair(_Struct):
    """An attribute."""

    key: str
    value: Value | None = None


class Pairs(_Struct):
    """Attributes inside of a value."""

    values: list[Pair] | None = None


class StatusCode(_Struct):
    """Of a span; its message stays behind."""

    code: int | str | None = None


class SpanEvent(_Struct):
    """An event of a span."""

    name: str | None = None
    time_unix_nano: int | str | None = None
    attributes: list[Pair] | None = None


class Scope(_Struct):
    """The instrumentation scope."""

    name: str | None = None


class SpanJson(_Struct):
    """A span."""

    name: str | None = None
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    trace_state: str | None = None
    flags: int | str | None = None
    kind: int | str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[Pair] | None = None
    status: StatusCode | None = None
    events: list[SpanEvent] | None = None


class LogJson(_Struct):
    """A log record; its body stays behind."""

    trace_id: str | None = None
    span_id: str | None = None
    time_unix_nano: int | str | None = None
    observed_time_unix_nano: int | str | None = None
    event_name: str | None = None
    attributes: list[Pair] | None = None


class ResourceJson(_Struct):
    """Of a process."""

    attributes: list[Pair] | None = None


class ScopeSpans(_Struct):
    """Spans of one scope."""

    scope: Scope | None = None
    spans: list[SpanJson] | None = None


class ScopeLogs(_Struct):
    """Log records of one scope."""

    log_records: list[LogJson] | None = None


class ResourceSpans(_Struct):
    """Spans of one process."""

    resource: ResourceJson | None = None
    scope_spans: list[ScopeSpans] | None = None


class ResourceLogs(_Struct):
    """Log records of one process."""

    resource: ResourceJson | None = None
    scope_logs: list[ScopeLogs] | None = None


class Request(_Struct):
    """A request, of traces, logs or both."""

    resource_spans: list[ResourceSpans] | None = None
    resource_logs: list[ResourceLogs] | None = None


def plain(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Attributes as a dict."""
    found: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        if value is not None:
            text = value.string_value
            found[pair.key] = text if text is not None else value_of(value)
    return found


def event_of(event: SpanEvent) -> Event:
    """A span event as the reader takes it."""
    return event.name or "", plain(event.attributes or ()), number(event.time_unix_nano)


def value_of(value: Value) -> Any:
    """A value as Python's; None for what is none."""
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return number(value.int_value)
    if value.double_value is not None:
        try:
            return float(value.double_value)
        except ValueError:
            return None
    if value.bool_value is not None:
        return value.bool_value
    if value.array_value is not None:
        return [value_of(item) for item in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return plain(value.kvlist_value.values or ())
    if value.bytes_value is not None:
        try:
            return base64.b64decode(value.bytes_value, validate=False)
        except (binascii.Error, ValueError):
            return None
    return None


def number(value: int | str | None) -> int:
    """A 64-bit integer, 0 for none.

    Raises:
        ValueError: It is no number; the message does not hold it.
    """
    if isinstance(value, int):
        return value
    if not value:
        return 0
    if len(value) <= 24:
        with suppress(ValueError):
            return int(value)
    raise ValueError("a number that is none")


def id_bytes(text: str | None, size: int) -> bytes:
    """Bytes of an id: hex, or base64 as general protobuf encoders write it; empty where it is neither."""
    if not text:
        return b""
    try:
        return bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
