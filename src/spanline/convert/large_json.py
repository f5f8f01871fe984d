"""Large JSON: one request of any size, in pieces: spans and log records with their resource, as requests of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

CHUNK = 1 << 20
BATCH = 1 << 20
"""Bytes of spans that make one small request."""

_INERT = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_KEY = re.compile(rb'"((?:[^"\\]++|\\.)*+)"\s*:', re.DOTALL)
_ITEMS = {b"spans": (b"resourceSpans", b"scopeSpans"), b"logRecords": (b"resourceLogs", b"scopeLogs")}
_GROUPS = frozenset({b"resourceSpans", b"resourceLogs"})


class Torn(ValueError):
    """The text is cut off, or its brackets do not match."""


class _Text:
    """A window on the stream: what was passed is forgotten."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.data = b""
        self.at = 0
        self.line = 1

    def more(self) -> bool:
        chunk = self._read(max(CHUNK, len(self.data)))
        self.data += chunk
        return bool(chunk)

    def forget(self) -> None:
        if self.at > CHUNK:
            self.line += self.data.count(b"\n", 0, self.at)
            self.data = self.data[self.at :]
            self.at = 0

    def bracket(self) -> int | None:
        """Go to the next bracket outside of strings and return it; None at the end."""
        while True:
            end = _INERT.match(self.data, self.at).end()  # pyright: ignore[reportOptionalMemberAccess]  (it matches nothing too)
            if end < len(self.data) and self.data[end] != 0x22:
                self.at = end
                return self.data[end]
            # A string may go on in the next chunk.
            if not self.more():
                self.at = end
                return None

    def value(self) -> bytes:
        """The value whose bracket is here, whole."""
        start, depth = self.at, 0
        while True:
            found = self.bracket()
            if found is None:
                raise Torn("JSON that is cut off")
            depth += 1 if found in b"{[" else -1
            self.at += 1
            if depth == 0:
                return self.data[start : self.at]


def requests(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """Small requests, each with the line of the text where it ends.

    The resource is expected before what it describes, as all encoders write it.

    Args:
        read: Reads up to so many bytes, none at the end.

    Raises:
        Torn: The text is cut off; what came before was given.
    """
    text = _Text(read)
    path: list[bytes] = []
    resource = b"{}"
    batch: list[bytes] = []
    size = 0
    kind = b"spans"

    def flush() -> Iterator[tuple[int, bytes]]:
        nonlocal batch, size
        if batch:
            group, scope = _ITEMS[kind]
            body = b",".join(batch)
            line = text.line + text.data.count(b"\n", 0, text.at)
            yield line, b'{"%s":[{"resource":%s,"%s":[{"%s":[%s]}]}]}' % (group, resource, scope, kind, body)
        batch, size = [], 0

    while True:
        before = text.at
        found = text.bracket()
        if found is None:
            break
        if found in b"}]":
            if not path:
                raise Torn("JSON whose brackets do not match")
            closed = path.pop()
            if closed in _GROUPS or closed in _ITEMS:
                yield from flush()
            text.at += 1
            text.forget()
            continue
        # The key that this value has, or that of the list it is in.
        keys = _KEY.findall(text.data, before, text.at)
        key = keys[-1] if keys else b""
        name = path[-1] if path else b""
        if key == b"resource" and name in _GROUPS:
            resource = text.value()
        elif not key and name in _ITEMS and found == 0x7B:
            kind = name
            item = text.value()
            batch.append(item)
            size += len(item)
            if size >= BATCH:
                yield from flush()
        elif key in (*_ITEMS, *_GROUPS, b"scopeSpans", b"scopeLogs") or not key:
            if not key and name in _GROUPS:
                resource = b"{}"
            path.append(key or name)
            text.at += 1
        else:
            text.value()
        text.forget()
    yield from flush()
    if path:
        raise Torn("JSON that is cut off")
