"""Limits of headers, with the bytes read in the worst pieces; over sockets: tests/integration/test_slow_clients.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from spanline.server.patience import MAX_HEADERS, limited_protocol

BODY = b" " * (2 * MAX_HEADERS)
REFUSED = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(BODY)
NEXT = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


class _Written(asyncio.Transport):
    """Stands for the socket, so that the test says where one read ends and the next begins."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def _no_body_wanted(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def _statuses(base: type[asyncio.Protocol], reads: list[bytes]) -> list[bytes]:
    """The status of each answer, when a connection's bytes are read in these pieces."""

    async def scene() -> bytes:
        config = uvicorn.Config(_no_body_wanted, lifespan="off", log_config=None)
        build: Any = limited_protocol(base)
        protocol = build(config=config, server_state=ServerState(), app_state={})
        transport = _Written()
        protocol.connection_made(transport)
        for read in reads:
            if not transport.closed:
                protocol.data_received(read)
            await asyncio.sleep(0.01)
        protocol.connection_lost(None)
        return transport.data

    return [line.split()[1] for line in asyncio.run(scene()).split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.fixture(params=[HttpToolsProtocol, H11Protocol], ids=["httptools", "h11"])
def base(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    "reads",
    [
        [REFUSED, BODY, NEXT],
        [REFUSED, BODY + NEXT],
        [REFUSED, BODY + NEXT[:9], NEXT[9:]],
        [REFUSED + BODY[:9], BODY[9:], NEXT[:9], NEXT[9:]],
        [REFUSED + BODY + NEXT[:9], NEXT[9:]],
    ],
)
def test_the_end_of_a_body_counts_for_no_headers(base: Any, reads: list[bytes]) -> None:
    assert _statuses(base, reads) == [b"200", b"200"]


def test_headers_without_end_are_refused(base: Any) -> None:
    reads = [b"GET / HTTP/1.1\r\n"] + [b"x: " + b"y" * 1000 + b"\r\n"] * (MAX_HEADERS // 1000 + 1)
    assert _statuses(base, reads) in ([b"431"], [b"400"])
    assert _statuses(base, [REFUSED, BODY, *reads]) in ([b"200", b"431"], [b"200", b"400"])
