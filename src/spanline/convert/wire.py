"""The wire format of protobuf, as far as it takes to walk a message without reading it whole, and to tell spans from log records.

Source: Protocol Buffers encoding; opentelemetry-proto 1.x, trace.proto, logs.proto, metrics.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

_VARINT, _FIXED64, _LEN, _FIXED32 = 0, 1, 2, 5
_LIMIT = (1 << 31) - 1


class Stream(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes, fewer only at the end."""
        ...


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


def signal_of_group(body: bytes) -> str | None:
    """What a resource's group holds: `spans`, `logs` or `metrics`; None when nothing tells."""
    return _first_told(body, signal_of_scope)


def signal_of_scope(body: bytes) -> str | None:
    """What a scope's group holds."""
    return _first_told(body, signal_of_item)


def signal_of_item(body: bytes) -> str | None:
    """What an item is: `spans`, `logs` or `metrics`; None when it is empty or broken."""
    sizes: dict[int, int] = {}
    try:
        for number, wire, size in _tags(body):
            signal = _TELLING.get((number, wire))
            if signal is not None:
                return signal
            sizes[number] = size
    except ValueError:
        return None
    if 1 in sizes:
        # A span that says nothing but its ids, or a metric's name.
        return "spans" if (sizes[1], sizes.get(2)) == (16, 8) else "metrics"
    return "logs" if sizes else None


# Fields that only one of the three has, by number and wire type.
_TELLING = {
    **dict.fromkeys([(6, _VARINT), (7, _FIXED64), (8, _FIXED64), (10, _VARINT), (12, _VARINT), (13, _LEN), (14, _VARINT), (15, _LEN), (16, _FIXED32)], "spans"),
    **dict.fromkeys([(1, _FIXED64), (2, _VARINT), (6, _LEN), (7, _VARINT), (8, _FIXED32), (11, _FIXED64)], "logs"),
    (7, _LEN): "metrics",
}  # fmt: skip


def _first_told(body: bytes, told: Callable[[bytes], str | None]) -> str | None:
    """What the first part of a group that tells says; parts are in field 2 of both groups."""
    for number, start, end in _parts(body):
        if number == 2:
            signal = told(body[start:end])
            if signal is not None:
                return signal
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


def fields(stream: Stream, size: int | None) -> Iterator[tuple[int, int]]:
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


def exactly(stream: Stream, size: int) -> bytes:
    """So many bytes.

    Raises:
        ValueError: There are fewer.
    """
    body = stream.read(size)
    if len(body) < size:
        raise ValueError("protobuf that is cut off")
    return body
