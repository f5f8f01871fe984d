"""One question to an endpoint: what it answered, or why it did not, without credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import urllib3

TIMEOUT_S = 1.5
_MOST = 256 * 1024
_UNSEEN = frozenset({"NameResolutionError", "ConnectTimeoutError"})


class Unreachable(Exception):
    """No answer; the text says why in a few words.

    Attributes:
        unseen: Nothing of it is to be seen from here: no such host, or silence. A browser elsewhere may reach it all the same.
    """

    def __init__(self, why: str, *, unseen: bool = False) -> None:
        super().__init__(why)
        self.unseen = unseen


class Answer(NamedTuple):
    """What came back: status, media type without parameters, the beginning of the body."""

    status: int
    kind: str
    body: bytes

    def mapping(self) -> dict[str, Any] | None:
        """The body as a JSON object; None when it is none."""
        try:
            found: object = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    @property
    def is_page(self) -> bool:
        """A web page, where an API was asked for one of its answers."""
        return "html" in self.kind

    @property
    def word(self) -> str:
        """What it was, for people."""
        return f"status {self.status}" + (" and a web page" if self.is_page else "")


class Asker:
    """Asks, without following redirects and without trying again. Thread-safety: any thread."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT_S), retries=False, headers={"user-agent": "spanline-doctor"}, num_pools=20
        )

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET.

        Raises:
            Unreachable: No answer.
        """
        return self._ask("GET", url, None, headers)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST.

        Raises:
            Unreachable: No answer.
        """
        return self._ask("POST", url, body, headers)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        given = {**self._pool.headers, **(headers or {})}
        try:
            response = self._pool.request(method, url, body=body, headers=given, redirect=False, preload_content=False)
            try:
                content = response.read(_MOST, decode_content=True)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unreachable(_why(error), unseen=type(_cause(error)).__name__ in _UNSEEN) from error
        kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
        return Answer(response.status, kind, content)


def shown(url: str) -> str:
    """A URL without credentials and query."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


def _why(error: BaseException) -> str:
    """The kind of failure. Texts of urllib3 hold the URL, and that may hold a password."""
    found = _cause(error)
    words = {
        "NameResolutionError": "no such host",
        "NewConnectionError": "connection refused",
        "ConnectTimeoutError": f"no connection within {TIMEOUT_S:g} s",
        "ReadTimeoutError": f"no answer within {TIMEOUT_S:g} s",
        "SSLError": "TLS failed (is it http, or is its certificate unknown here?)",
        "LocationParseError": "that is no URL",
    }
    inner = found.__cause__ or found.__context__
    if type(found).__name__ == "NewConnectionError" and isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return words.get(type(found).__name__, type(found).__name__)


def _cause(error: BaseException) -> BaseException:
    cause = getattr(error, "reason", None)
    return cause if isinstance(cause, BaseException) else error
