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
_SCOPES = frozenset({b"scopeSpans", b"scopeLogs"})
_GROUPS = frozenset({b"resourceSpans", b"resourceLogs"})
_LEVELS = frozenset(_ITEMS) | _SCOPES | _GROUPS


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
    batch = _Batch()
    path: list[bytes] = []
    while True:
        before = text.at
        found = text.bracket()
        if found is None:
            break
        if found in b"}]":
            if not path:
                raise Torn("JSON whose brackets do not match")
            if path.pop() in _LEVELS:
                yield from batch.flush(text)
            text.at += 1
        else:
            _enter(text, before, path, batch)
            if batch.size >= BATCH:
                yield from batch.flush(text)
        text.forget()
    yield from batch.flush(text)
    if path:
        raise Torn("JSON that is cut off")


class _Batch:
    """Items of one scope that wait to become a request."""

    def __init__(self) -> None:
        self.resource = self.scope = b"{}"
        self.kind = b"spans"
        self.items: list[bytes] = []
        self.size = 0

    def flush(self, text: _Text) -> Iterator[tuple[int, bytes]]:
        if self.items:
            group, scopes = _ITEMS[self.kind]
            inner = b'{"scope":%s,"%s":[%s]}' % (self.scope, self.kind, b",".join(self.items))
            line = text.line + text.data.count(b"\n", 0, text.at)
            yield line, b'{"%s":[{"resource":%s,"%s":[%s]}]}' % (group, self.resource, scopes, inner)
        self.items, self.size = [], 0


def _enter(text: _Text, before: int, path: list[bytes], batch: _Batch) -> None:
    """Deal with the value that opens here: go into it, keep it, or pass over it."""
    keys = _KEY.findall(text.data, before, text.at)
    key, name = keys[-1] if keys else b"", path[-1] if path else b""
    if key == b"resource" and name in _GROUPS:
        batch.resource = text.value()
    elif key == b"scope" and name in _SCOPES:
        batch.scope = text.value()
    elif not key and name in _ITEMS:
        batch.kind = name
        item = text.value()
        batch.items.append(item)
        batch.size += len(item)
    elif key in _LEVELS or not key:
        if not key and name in _GROUPS:
            batch.resource = b"{}"
        if not key and name in _SCOPES:
            batch.scope = b"{}"
        path.append(key or name)
        text.at += 1
    else:
        text.value()
