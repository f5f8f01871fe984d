"""Clients that never end their headers, or send no end of them: given up, so that they hold no connection for long.

uvicorn limits neither; bodies have limits of their own (`ingest.body_of`).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

HEADERS_S = 15.0
"""Most seconds from a connection, or from the first byte of a later request, to the end of its headers."""

MAX_HEADERS = 64 << 10
"""Most bytes of the headers of one request."""

_ANSWER = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = _ANSWER % b"408 Request Timeout"
_TOO_LARGE = _ANSWER % b"431 Request Header Fields Too Large"


class _Limits(asyncio.Protocol):
    """One connection; before uvicorn's protocol in a class that has both."""

    loop: Any
    transport: Any
    _in_headers = True
    _began = False
    _given_up: asyncio.TimerHandle | None = None
    _unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch(0)

    def on_message_begin(self) -> None:
        """With httptools: the first byte of a request."""
        self._in_headers = self._began = True
        cast(Any, super()).on_message_begin()

    def on_headers_complete(self) -> None:
        """With httptools: the last byte of its headers."""
        self._in_headers = False
        cast(Any, super()).on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        h11 = getattr(self, "conn", None)
        if h11 is not None:
            # Bytes are not counted: these may be the last of a body, and h11 has a limit of its own, 16 KiB.
            self._in_headers = self._began = str(h11.their_state) == "IDLE"
        # Where headers begin in these bytes, the bytes before may be of a body.
        self._watch(0 if self._began else len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self, received: int) -> None:
        if not self._in_headers:
            self._stop()
            return
        self._unread += received
        if self._unread > MAX_HEADERS:
            self._end(_TOO_LARGE)
        elif self._given_up is None:
            self._given_up = self.loop.call_later(HEADERS_S, self._end, _TOO_SLOW)

    def _stop(self) -> None:
        self._unread = 0
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None

    def _end(self, answer: bytes) -> None:
        self._stop()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


def limited_protocol(base: type[asyncio.Protocol] | None = None) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, with limits on the time and size of headers; for `uvicorn.Config(http=…)`.

    Args:
        base: One of uvicorn's protocols; none: the one that it takes itself, with httptools or h11.
    """
    if base is None:
        from uvicorn.protocols.http.auto import AutoHTTPProtocol

        base = AutoHTTPProtocol
    return type("LimitedProtocol", (_Limits, base), {})
