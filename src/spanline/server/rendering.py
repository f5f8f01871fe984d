"""Templates to responses: one self-contained page, everything escaped, a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spanline.server import words
from spanline.server.parts import columns_with_values

_STATIC = Path(__file__).parent / "static"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_BASIC = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@cache
def _assets() -> tuple[Markup, Markup, str]:
    """The style, the script, and the content security policy that allows these two by hash."""
    style = (_STATIC / "page.css").read_text(encoding="utf-8")
    script = (_STATIC / "page.js").read_text(encoding="utf-8")
    policy = "; ".join([
        "default-src 'none'", f"style-src {_hash(style)}", f"script-src {_hash(script)}", "img-src data:",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    ])  # fmt: skip
    # Both are ours, from the package: the only text in a page that is not escaped.
    return Markup(style), Markup(script), policy  # noqa: S704


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _finalize(value: object) -> object:
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.match(value))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja leaves the types of these two open.
    filters, tests = cast("dict[str, object]", environment.filters), cast("dict[str, object]", environment.tests)
    filters |= {
        "duration": words.duration, "moment": words.moment, "ago": words.ago, "short": words.short_digest, "cut": words.cut,
        "revision": words.revision, "columns": columns_with_values,
    }  # fmt: skip
    tests["match_id"] = _is_id
    return environment


def base_of(request: Request) -> str:
    """Relative path from this page to where `/r` and `/runs` hang.

    Relative, so that pages work under any `root_path` and behind proxies that cut a prefix and say nothing.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "").rstrip("/"))
    return "../" * (path.count("/") - 1) or "./"


def page(request: Request, template: str, context: Mapping[str, object], *, status: int = 200) -> Response:
    """Render a template as a complete HTML response."""
    style, script, policy = _assets()
    text = _environment().get_template(template).render(**context, base=base_of(request), style=style, script=script)
    response = Response(text.encode("utf-8", "replace"), status, media_type="text/html")
    response.headers["content-security-policy"] = policy
    response.headers["vary"] = "accept, cookie, authorization"
    return response


class SecurityHeaders:
    """ASGI middleware: the headers that every answer of the server bears, unless it has its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, adding headers to the response start."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                present = {name.lower() for name, _ in headers}
                headers += [(k.encode(), v.encode()) for k, v in _BASIC.items() if k.encode() not in present]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, with_headers)
