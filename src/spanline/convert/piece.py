"""Piece: what is kept of one span or log record until the input ends; names, texts and contents are not in it."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from spanline.dialects.reading import Reading
from spanline.record.run import Evaluation, Release

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
"""`SpanKind` of OTLP."""


class Root(msgspec.Struct, array_like=True, gc=False):
    """What a span says that matters only where it is the local root of a run."""

    job: str | None = None
    namespace: str | None = None
    method: str | None = None
    route: str | None = None
    websocket: bool = False
    status: int | None = None
    request_id: str | None = None
    entry: str | None = None
    """Value of our tracestate entry: who owns the trace's run."""
    is_job: bool = False


class Piece(msgspec.Struct, array_like=True, gc=False):
    """One span, or what one log record says of a span. Ids are hex; times are Unix nanoseconds.

    A span has `kind` 0 … 5; a log record has kind -1, and either a reading, an evaluation or an error type.
    """

    kind: int
    span_id: str | None
    parent_id: str | None
    resource: int
    started_ns: int
    ended_ns: int
    failed: bool = False
    remote: bool | None = None
    """Whether the parent is in another process; None where the exporter does not say."""
    error_type: str | None = None
    root: Root | None = None
    reading: Reading | None = None
    evaluation: Evaluation | None = None
    response_id: str | None = None

    @property
    def is_log(self) -> bool:
        """A log record."""
        return self.kind < 0


class Resource(msgspec.Struct, gc=False):
    """What the resource of a process says."""

    service: str
    environment: str | None
    release: Release | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Piece).decode


def pack(piece: Piece) -> bytes:
    """The piece as bytes; lone surrogates, which no UTF-8 has, are dropped."""
    try:
        return _encode(piece)
    except UnicodeEncodeError:
        return _encode(_repaired(piece))


def unpack(data: bytes | memoryview) -> Piece:
    """The piece again."""
    return _decode(data)


def _repaired(piece: Piece) -> Piece:
    return msgspec.convert(_clean(msgspec.to_builtins(piece)), Piece)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode()
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in cast(dict[Any, Any], value).items()}
    return value
