"""Who may read: peers on this machine, or whoever has a token; and the sign-in of browsers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from spanline.server.problems import Handler, Problem, answering
from spanline.settings import Settings

COOKIE = "spanline_session"
SESSION_S = 12 * 3600

_FORWARDING = (
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-real-ip", "x-client-ip",
    "x-cluster-client-ip", "x-original-forwarded-for", "x-envoy-external-address", "true-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "via",
)  # fmt: skip
_MAX_FORM = 8192
_NEXT = re.compile(r"(?:r/[A-Za-z0-9._:-]{1,128}|runs)\Z")
# Names that nobody can register, so no foreign page can point one at 127.0.0.1 (RFC 6761, RFC 9476).
_PRIVATE_SUFFIXES = ("localhost", "local", "internal", "test", "invalid", "example")


class Access:
    """The rule of one app.

    Args:
        settings: `tokens` decide: with tokens everybody needs one, wherever they come from.
        require_loopback: Without tokens, answer peers on this machine only.
    """

    def __init__(self, settings: Settings, *, require_loopback: bool) -> None:
        self._tokens = tuple(token.encode() for token in settings.tokens)
        self._loopback = require_loopback

    def reading(self, site: str, handler: Handler) -> Handler:
        """`handler` behind the rule; browsers may use the cookie of the sign-in form."""
        return self._guarded(site, handler, cookie=True)

    def writing(self, site: str, handler: Handler) -> Handler:
        """`handler` behind the rule, for writes: a bearer token, never the cookie."""
        return self._guarded(site, handler, cookie=False)

    def _guarded(self, site: str, handler: Handler, *, cookie: bool) -> Handler:
        async def check(request: Request) -> Response:
            self.check(request, cookie=cookie)
            return await handler(request)

        return answering(site, check)

    def check(self, request: Request, *, cookie: bool = True) -> None:
        """Let a request pass, or not.

        Raises:
            Problem: 401 without a token, 403 for a peer that is not on this machine.
        """
        if self._tokens:
            if self._bearer(request) or (cookie and self._session(request)):
                return
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "Sign in", "This page needs one of the tokens in SPANLINE_TOKENS.",
                headers={"www-authenticate": 'Bearer realm="spanline"'}, template="sign_in.html", next=_next(request), wrong=False,
            )  # fmt: skip
        if self._loopback and (reason := not_local(request)):
            raise Problem(
                HTTPStatus.FORBIDDEN, "Answered on this machine only",
                f"{reason} Open the page on the machine itself (kubectl port-forward and ssh -L count), or set SPANLINE_TOKENS.",
            )  # fmt: skip

    async def sign_in(self, request: Request) -> Response:
        """The form's `POST`: a right token gives a cookie that holds a signature, not the token."""
        form = parse_qs((await _small_body(request)).decode("utf-8", "replace"))
        token = form.get("token", [""])[0].strip()
        where = form.get("next", ["runs"])[0]
        where = where if _NEXT.match(where) else "runs"
        if not self._tokens:
            raise Problem(HTTPStatus.NOT_FOUND, "No sign-in here", "SPANLINE_TOKENS is not set, so there is nothing to sign in to.")
        if not self._is_token(token.encode("utf-8", "replace")):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "Sign in", "That token is not one of SPANLINE_TOKENS.",
                headers={"www-authenticate": 'Bearer realm="spanline"'}, template="sign_in.html", next=where, wrong=True,
            )  # fmt: skip
        expires = int(time.time()) + SESSION_S
        response = RedirectResponse(f"../../{where}", HTTPStatus.SEE_OTHER)
        response.set_cookie(
            COOKIE, f"{expires}.{_signature(token.encode(), expires)}", max_age=SESSION_S, path="/", httponly=True,
            samesite="strict", secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
        )  # fmt: skip
        return response

    async def sign_out(self, _request: Request) -> Response:
        """Forget the cookie."""
        response = RedirectResponse("../../runs", HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    def _is_token(self, given: bytes) -> bool:
        right = False
        for token in self._tokens:
            # All are compared, each in constant time.
            right |= hmac.compare_digest(given, token)
        return right

    def _bearer(self, request: Request) -> bool:
        # Starlette reads header bytes as latin-1.
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(token.strip().encode("latin-1"))

    def _session(self, request: Request) -> bool:
        expiry, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not re.match(r"[0-9]{1,12}\Z", expiry) or int(expiry) < time.time():
            return False
        right = False
        for token in self._tokens:
            right |= hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), _signature(token, int(expiry)).encode())
        return right


def not_local(request: Request) -> str:
    """Why a request does not come from this machine; empty when it does.

    A proxy on this machine is a loopback peer too: its forwarding headers tell, and so does a public host name,
    which is also what a foreign page has whose name was re-pointed at 127.0.0.1 (DNS rebinding).
    """
    for name in _FORWARDING:
        if name in request.headers:
            return f"The request came through a proxy ({name})."
    host = request.client.host if request.client else ""
    if not _is_loopback(host):
        return "The request came from another machine."
    name = request.headers.get("host", "")
    name = (name.rpartition("]")[0].lstrip("[") if name.startswith("[") else name.partition(":")[0]).rstrip(".").lower()
    if "." in name and not _is_address(name) and name.rpartition(".")[2] not in _PRIVATE_SUFFIXES:
        return "The request was made to a public host name."
    return ""


def _is_loopback(host: str) -> bool:
    if host in {"localhost", "testclient"}:  # the latter is Starlette's test client; no socket has such a peer
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _signature(token: bytes, expires: int) -> str:
    return hmac.new(token, f"spanline page session until {expires}".encode(), hashlib.sha256).hexdigest()


def _next(request: Request) -> str:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "").rstrip("/")).lstrip("/")
    return path if _NEXT.match(path) else "runs"


async def _small_body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", "A sign-in is one short form.")
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "Incomplete request") from None
    return body
