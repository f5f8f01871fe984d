"""OpenLineage in: `POST /api/v1/lineage` and `/lineage/batch`, bodies read within limits of size and time."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from spanline.server.asking import ask
from spanline.server.problems import Problem, json_response
from spanline.server.source import Failure, Source

MAX_BODY = 16 << 20
"""Most bytes of a body as sent, and of one event."""

MAX_UNPACKED = 64 << 20
"""Most bytes of a batch when unpacked."""

MAX_EVENTS = 10_000
BODY_TIMEOUT_S = 30.0
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)


class Ingest:
    """The two handlers."""

    def __init__(self, ledger: Source) -> None:
        self.ledger = ledger

    async def one(self, request: Request) -> Response:
        """`POST /api/v1/lineage`: one event; 201 when it is in the ledger."""
        body = await body_of(request, MAX_BODY)
        if body.lstrip()[:1] != b"{":
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "Not an event",
                "The body is one OpenLineage event, a JSON object; an array goes to /api/v1/lineage/batch.",
            )
        if rejected := (await ask(self.ledger.ingest, [body])).rejected:
            raise Problem(HTTPStatus.BAD_REQUEST, "Not a valid event", rejected[0].reason)
        return Response(status_code=HTTPStatus.CREATED)

    async def batch(self, request: Request) -> Response:
        """`POST /api/v1/lineage/batch`: an array of events; 200 with what became of each that failed."""
        body = await body_of(request, MAX_UNPACKED)
        events = await ask(_events_of, body)
        if len(events) > MAX_EVENTS:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many events", f"At most {MAX_EVENTS} in one batch.")
        rejected = (await ask(self.ledger.ingest, events)).rejected if events else ()
        return json_response(_summary(len(events), rejected))


async def body_of(request: Request, most: int) -> bytes:
    """The body of a write, unpacked.

    Args:
        request: With `content-type: application/json`, plain or gzip.
        most: Most bytes of the unpacked body.

    Raises:
        Problem: 415 for another type or coding, 413 when too large, 408 when too slow, 400 when broken.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Wrong content type", "Send content-type: application/json.")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unknown content encoding", "Send plain JSON or gzip.", headers={"accept-encoding": "gzip"}
        )
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > MAX_BODY:
        raise _too_large(MAX_BODY)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _too_large(MAX_BODY)
    except TimeoutError:
        headers = {"connection": "close"}
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, "Too slow", f"The body must be here within {BODY_TIMEOUT_S:.0f} s.", headers=headers
        ) from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "Incomplete request") from None
    return await ask(_unpacked, bytes(body), most) if coding != "identity" else bytes(body)


def _events_of(body: bytes) -> list[bytes]:
    """The elements of an array; where one of them is broken, as far as brackets and quotes show them: it alone is refused then."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _split(body)
        if found is None:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise Problem(HTTPStatus.BAD_REQUEST, "Not a batch", f"The body is a JSON array of OpenLineage events: {reason}.") from error
        return found


def _split(body: bytes) -> list[bytes] | None:
    found: list[bytes] = []
    depth, start = 0, 0
    for token in _TOKEN.finditer(body):
        sign = token[0]
        if depth == 1 and sign in (b",", b"]"):
            found.append(body[start : token.start()].strip())
            start = token.end()
        if sign in (b"[", b"{"):
            if depth == 0 and (sign == b"{" or body[: token.start()].strip()):
                return None
            start = start if depth else token.end()
            depth += 1
        elif sign in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                return found if sign == b"]" and not body[token.end() :].strip() else None
        if len(found) > MAX_EVENTS:
            break
    return found if len(found) > MAX_EVENTS else None


def _unpacked(body: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "Broken gzip", "The body is not what content-encoding says.") from error
    if len(plain) > most:
        raise _too_large(most)
    if not unpacker.eof or unpacker.unused_data:
        raise Problem(HTTPStatus.BAD_REQUEST, "Broken gzip", "The body is cut off, or something follows it.")
    return plain


def _too_large(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "Too large",
        f"At most {most >> 20} MB; send fewer events at once.",
        headers={"connection": "close"},
    )


def _summary(received: int, rejected: Sequence[Failure]) -> dict[str, Any]:
    """The answer to a batch, as OpenLineage's HTTP API 2.0.2 has it. A ledger that does not answer is a 503 for the whole batch."""
    failed = len(rejected)
    return {
        "status": "partial_success" if rejected else "success",
        "summary": {"received": received, "successful": received - failed, "failed": failed, "retriable": 0, "non_retriable": failed},
        "failed_events": [{"index": failure.index, "reason": failure.reason, "retriable": False} for failure in rejected],
    }
