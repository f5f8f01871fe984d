"""Load over real sockets: as fast as so many connections go, or so many requests a second whatever the answers take."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from benchmarks import workload

_HEAD = (
    f"POST {workload.PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(workload.BODY)}\r\n\r\n"
)
REQUEST = _HEAD.encode() + workload.BODY


@dataclass(frozen=True)
class Figures:
    """What a load found: answers, answers a second, latencies and the server's CPU time an answer. Unit: ms."""

    count: int
    per_second: float
    p50: float
    p99: float
    cpu: float = 0.0


class _Client(asyncio.Protocol):
    """One kept-alive connection. An answer is told by its Content-Length."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end].lower()
        at = head.index(b"content-length:") + 15
        if len(self._data) - end - 4 < int(head[at:].split(b"\r\n", 1)[0]) or self._answer is None:
            return
        self._data = b""
        if head.startswith(b"http/1.1 200"):
            self._answer.set_result(None)
        else:
            self._answer.set_exception(RuntimeError(head.split(b"\r\n", 1)[0].decode()))

    async def ask(self) -> None:
        """One request and its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(REQUEST)
        await self._answer


async def _closed(port: int, seconds: float, connections: int) -> list[float]:
    """Each connection asks again as soon as it is answered."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(connections)]
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def ask(client: _Client) -> None:
        while (began := time.perf_counter()) < end:
            await client.ask()
            taken.append(time.perf_counter() - began)

    await asyncio.gather(*map(ask, clients))
    return taken


async def _open(port: int, seconds: float, connections: int, rate: float) -> list[float]:
    """Requests come by chance, `rate` a second; time is counted from when one was due, so a stop is not left out."""
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[_Client] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait((await loop.create_connection(_Client, "127.0.0.1", port))[1])
    chance = random.Random(1)
    taken: list[float] = []
    asked: list[asyncio.Task[None]] = []

    async def ask(due: float) -> None:
        client = await free.get()
        await client.ask()
        taken.append(time.perf_counter() - due)
        free.put_nowait(client)

    due = time.perf_counter()
    end = due + seconds
    while (due := due + chance.expovariate(rate)) < end:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        asked.append(loop.create_task(ask(due)))
    await asyncio.gather(*asked)
    return taken


def run(port: int, seconds: float, *, connections: int = 16, rate: float | None = None) -> Figures:
    """Load a server.

    Args:
        port: Its port on 127.0.0.1.
        seconds: How long.
        connections: How many, kept alive.
        rate: Requests a second, open loop; None for as many as it takes.

    Raises:
        RuntimeError: An answer that is no 200.
        OSError: No connection.
    """
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=factory) as runner:
        taken = sorted(runner.run(_open(port, seconds, 4 * connections, rate) if rate else _closed(port, seconds, connections)))
    spent = time.perf_counter() - began
    return Figures(len(taken), len(taken) / spent, taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3)
