"""Exposition: `/metrics` as a raw ASGI app that never holds up the event loop."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from spanline._guard import warn_once_a_minute
from spanline.metrics import shared

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_GZIP_LEVEL = 1  # a scrape is read at once, on the next rack: time counts, not the last per cent
_MIN_GZIP = 1024


def asgi_metrics(registry: CollectorRegistry | None = None) -> AsgiApp:
    """An ASGI app that answers GET and HEAD with the registry's metrics.

    OpenMetrics (with exemplars) or Prometheus text, by `Accept`; gzip, when asked. Collecting 10,000 samples takes 150 ms
    and more, so it runs in a worker thread. `?name[]=` restricts the answer to some samples, as with prometheus_client.
    With `PROMETHEUS_MULTIPROC_DIR` set the answer is that of all workers.
    """
    source = registry if registry is not None else prometheus_client.REGISTRY

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            await _answer(send, 405, [(b"allow", b"GET, HEAD"), (b"content-type", b"text/plain; charset=utf-8")], b"use GET\n")
            return
        accept = _header(scope, b"accept")
        compress = _takes_gzip(_header(scope, b"accept-encoding"))
        names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]")
        try:
            body, content_type, encoded = await asyncio.to_thread(_bake, source, accept, compress, names)
        except Exception as error:  # noqa: BLE001  (somebody's collector in the same registry; a scrape must not look like a crash of the app)
            warn_once_a_minute("exposition", "spanline: collecting metrics failed: %s", type(error).__name__)
            await _answer(
                send, 500, [(b"content-type", b"text/plain; charset=utf-8")], f"collecting failed: {type(error).__name__}\n".encode()
            )
            return
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"vary", b"accept, accept-encoding"),
            (b"cache-control", b"no-store"),
        ]
        if encoded:
            headers.append((b"content-encoding", b"gzip"))
        await _answer(send, 200, headers, body, head=method == "HEAD")

    return app


def _bake(registry: CollectorRegistry, accept: str, compress: bool, names: list[str] | None) -> tuple[bytes, str, bool]:
    """Body, content type, and whether it is gzip."""
    try:
        encoder, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encoder, content_type = choose_encoder("")
    everything = shared.source(registry)
    source: Any = everything.restricted_registry(names) if names else everything
    body = encoder(source)
    if compress and len(body) >= _MIN_GZIP:
        return gzip.compress(body, _GZIP_LEVEL, mtime=0), content_type, True
    return body, content_type, False


def _header(scope: MutableMapping[str, Any], name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name)


def _takes_gzip(accept_encoding: str) -> bool:
    """`gzip` or `*` among the encodings, not refused by `q=0` (RFC 9110 §12.5.3)."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        weights[coding] = not any(p.replace(" ", "").rstrip("0") in {"q=", "q=0."} for p in parameters)
    return weights.get("gzip", weights.get("*", False))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, head: bool = False) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
