"""Remote: runs of a server (`spanline serve`) over its HTTP API."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import quote, urlencode

import urllib3

from spanline.errors import SpanlineError

TIMEOUT_S = 30.0


class RemoteRuns:
    """Reads runs from a server. Connections are kept alive.

    Args:
        url: Base URL of the server.
        token: One of its `SPANLINE_TOKENS`, where it has some.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._base = url.rstrip("/")
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self._pool = urllib3.PoolManager(headers=headers, timeout=TIMEOUT_S, retries=urllib3.Retry(2, redirect=0, status=0))

    def runs(self, **filters: Any) -> dict[str, Any]:
        """A page of runs, as `Ledger.runs` gives it.

        Raises:
            SpanlineError: The server does not answer, or refuses.
        """
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        return self._get(f"/api/v1/runs?{query}") or {"items": [], "next": None}

    def run(self, id: str) -> dict[str, Any] | None:
        """The JSON of a run; None when it is unknown.

        Raises:
            SpanlineError: The server does not answer, or refuses.
        """
        return self._get(f"/api/v1/runs/{quote(id, safe='')}")

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            response = self._pool.request("GET", self._base + path)
        except urllib3.exceptions.HTTPError as error:
            raise SpanlineError(f"{self._base} does not answer: {type(error).__name__}. Is it the address of `spanline serve`?") from error
        if response.status == 404 and path.startswith("/api/v1/runs/"):
            return None
        if response.status in (401, 403):
            raise SpanlineError(f"{self._base} refuses (HTTP {response.status}): set SPANLINE_TOKENS to one of its tokens")
        try:
            answer = json.loads(response.data) if response.status == 200 else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SpanlineError(
                f"{self._base}{path.partition('?')[0]} answered HTTP {response.status} and no JSON object: is it `spanline serve`?"
            )
        return cast(dict[str, Any], answer)
