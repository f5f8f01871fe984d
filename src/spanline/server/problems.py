"""Errors as people and programs read them: an HTML page for browsers, `application/problem+json` else (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from spanline._guard import guard
from spanline.errors import LedgerError, SpanlineError
from spanline.server.rendering import page

Handler = Callable[[Request], Awaitable[Response]]


class Problem(SpanlineError):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        title: What is wrong, in a few words.
        detail: What to do about it.
        headers: Response headers.
        context: What the HTML page shows beside it.
    """

    def __init__(self, status: int, title: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **context: object) -> None:
        super().__init__(f"{status} {title}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.context = context


def answering(site: str, handler: Handler) -> Handler:
    """`handler` whose errors become answers; internal ones are counted at `site` and never reach the application."""

    async def answer(request: Request) -> Response:
        problem = Problem(500, "spanline failed to answer", "The reason is in the log of this process; the application is not affected.")
        with guard(site):
            try:
                return await handler(request)
            except Problem as error:
                problem = error
            except LedgerError as error:
                problem = Problem(503, "The ledger cannot be read", f"{error}. `spanline doctor` says more.")
        return render(request, problem)

    return answer


def render(request: Request, problem: Problem) -> Response:
    """A problem as the client reads it."""
    if wants_html(request) and problem.status != HTTPStatus.METHOD_NOT_ALLOWED:
        template = str(problem.context.get("template", "error.html"))
        shown = {"title": problem.title, "detail": problem.detail, "status": problem.status, **problem.context}
        response = page(request, template, shown, status=problem.status)
    else:
        body = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
        response = json_response(body, status=problem.status, media_type="application/problem+json")
    response.headers.update(problem.headers)
    return response


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router refuses: unknown paths and methods."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = "Runs are at /runs, one run at /r/{id}." if status == HTTPStatus.NOT_FOUND else ""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return render(request, Problem(status, HTTPStatus(status).phrase, detail, headers=headers))


def json_response(value: Any, *, status: int = 200, media_type: str = "application/json") -> Response:
    """`value` as JSON in ASCII, so that lone surrogates from elsewhere cannot break it."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Response(body, status, media_type=media_type)


def wants_html(request: Request) -> bool:
    """Whether an error goes to a browser: `text/html` is named in `Accept`, and JSON is not preferred or asked for."""
    return prefers_html(request, default=False)


def prefers_html(request: Request, *, default: bool) -> bool:
    """Content negotiation between HTML and JSON; `?format=` decides, `default` where both are equal."""
    chosen = request.query_params.get("format")
    if chosen in {"json", "html"}:
        return chosen == "html"
    quality = {"html": -1.0, "json": -1.0}
    for part in request.headers.get("accept", "").split(","):
        kind, _, parameters = part.partition(";")
        name = kind.strip().lower()
        weight = _quality(parameters)
        if name in {"text/html", "application/xhtml+xml", "text/*"}:
            quality["html"] = max(quality["html"], weight)
        elif name in {"application/json", "application/*"} or name.endswith("+json"):
            quality["json"] = max(quality["json"], weight)
    if quality["html"] <= 0 and quality["json"] <= 0:
        # A zero refuses what it stands beside.
        return default and not quality["html"] > quality["json"]
    return quality["html"] >= quality["json"]


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
