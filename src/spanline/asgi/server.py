"""What the ASGI server beneath knows, for the servers that we know; of others nothing is assumed.

`receive()` cannot be asked whether a client is still there: it waits, and to give up one step of it breaks servers on trio and
middlewares that wait in task groups.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from spanline.asgi.types import Message, Receive, Send

_SERVERS = frozenset({"uvicorn", "hypercorn"})


def waiting(receive: Receive) -> list[Message]:
    """Messages that the server holds ready for the app, above all `http.disconnect`; none where nobody knows."""
    owner: Any = getattr(receive, "__self__", None)
    if owner is None:
        return []
    # uvicorn: `receive` is a method of the request's cycle, which notes that its connection is lost.
    if getattr(owner, "disconnected", False) is True:
        return [{"type": "http.disconnect"}]
    # hypercorn on asyncio: it is the get() of a queue.
    if isinstance(owner, asyncio.Queue):
        queue = cast("asyncio.Queue[Message]", owner)
        return [queue.get_nowait() for _ in range(queue.qsize())]
    return []


def is_of_server(send: Send) -> bool:
    """Whether messages go straight to the server: nobody between could still answer for an app that raised."""
    return type(getattr(send, "__self__", None)).__module__.partition(".")[0] in _SERVERS
