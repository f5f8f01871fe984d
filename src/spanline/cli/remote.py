"""The ledger of a central server, asked over HTTP: where `SPANLINE_SERVER_URL` is set, that is where the runs are."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3

from spanline.errors import SpanlineError, UnknownReference
from spanline.record.run import Evaluation
from spanline.settings import Settings

TIMEOUT_S = 30.0
PROBLEM = "application/problem+json"
MAX_LIMIT = 500
"""Most entries of a page; the server refuses more."""


class RemoteLedger:
    """A server's ledger, as the commands ask it. Connections are kept alive; no redirect is followed, for it would get the token.

    Args:
        settings: `server_url`, and the first of `tokens` as bearer token.
        tries: How often a question is asked when no answer comes.
        timeout_s: How long an answer is waited for.

    Raises (every method):
        SpanlineError: The server does not answer or refuses; the message says what to do.
        UnknownReference: The server does not know what is meant; the message names the nearest.
        ValueError: The server finds an argument wrong.
    """

    def __init__(self, settings: Settings, *, tries: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        self._base = settings.server_url or ""
        headers = {"accept": "application/json", "user-agent": "spanline"}
        if settings.tokens:
            headers["authorization"] = f"Bearer {settings.tokens[0]}"
        self._pool = urllib3.PoolManager(headers=headers, timeout=timeout_s, retries=urllib3.Retry(tries - 1, redirect=0, status=0))

    def run(self, id: str) -> dict[str, Any] | None:
        """The JSON of a run; None when it is unknown."""
        return self._ask("GET", f"/api/v1/runs/{quote(id, safe='')}")

    def runs(self, *, limit: int = 50, **filters: Any) -> dict[str, Any]:
        """A page of runs."""
        return self._page("runs", limit=limit, **filters)

    def conflicts(self, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """A page of version conflicts."""
        return self._page("conflicts", limit=limit, after=after)

    def gaps(self, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """A page of runs whose lineage is incomplete."""
        return self._page("gaps", limit=limit, after=after)

    def artifacts(self, *, limit: int = 50, after: str | None = None, kind: str | None = None, name: str | None = None) -> dict[str, Any]:
        """A page of artifacts."""
        return self._page("artifacts", limit=limit, after=after, kind=kind, name=name)

    def lineage(self, ref: str, *, direction: str = "both", depth: int = 5) -> dict[str, Any]:
        """The graph around a run or an artifact."""
        return self._known("lineage", ref=ref, direction=direction, depth=depth)

    def impact(self, ref: str, *, limit: int = 50, after: str | None = None) -> dict[str, Any]:
        """What an artifact went into."""
        return self._known("impact", ref=ref, limit=min(limit, MAX_LIMIT), after=after)

    def diff(self, a: str, b: str, *, job: str | None = None) -> dict[str, Any]:
        """What differs between two runs, releases or time windows."""
        return self._known("diff", a=a, b=b, job=job)

    def lastgood(self, job: str) -> dict[str, Any]:
        """The last known good release of a job."""
        return self._known("lastgood", job=job)

    def acknowledge(self, ref: str, digest: str) -> bool:
        """Not over HTTP."""
        del ref, digest
        raise SpanlineError(
            f"a conflict is acknowledged where the ledger is: run it beside {self._shown}, or name the ledger with --ledger"
        )

    def erase(self, whose: str, digest: str) -> int:
        """Not over HTTP."""
        del whose, digest
        raise SpanlineError(f"runs are erased where the ledger is: run it beside {self._shown}, or name the ledger with --ledger")

    def evaluate(self, id: str, evaluation: Evaluation) -> dict[str, Any] | None:
        """Put an evaluation on a run: `{runId, added}`; None when the run is unknown."""
        return self._ask("POST", f"/api/v1/runs/{quote(id, safe='')}/evaluations", msgspec.json.encode(evaluation))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    @property
    def _shown(self) -> str:
        parts = urlsplit(self._base)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def _page(self, what: str, *, limit: int, **filters: Any) -> dict[str, Any]:
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in filters.items() if value is not None}
        found = self._ask("GET", f"/api/v1/{what}?{urlencode({'limit': min(limit, MAX_LIMIT), **given})}")
        return found if found is not None else {"items": [], "next": None}

    def _known(self, what: str, **given: Any) -> dict[str, Any]:
        asked = urlencode({name: value for name, value in given.items() if value is not None}, errors="replace")
        found = self._ask("GET", f"/api/v1/{what}?{asked}")
        if found is None:
            raise UnknownReference(f"{self._shown} does not know it")
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any] | None:
        headers = {**self._pool.headers, "content-type": "application/json"} if body is not None else None
        try:
            response = self._pool.request(method, self._base + path, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            cause = type(getattr(error, "reason", None) or error).__name__
            raise SpanlineError(f"{self._shown} does not answer ({cause}); `spanline doctor` looks at all of it") from error
        answer = _mapping(response.data)
        if response.status == 200 and answer is not None:
            return answer
        if response.status in {401, 403}:
            raise SpanlineError(f"{self._shown} refuses (HTTP {response.status}): set SPANLINE_TOKENS to one of its tokens")
        if answer is None:
            raise SpanlineError(
                f"{self._shown} answers with HTTP {response.status} and no JSON object: is it `spanline serve`, and SPANLINE_SERVER_URL right?"
            )
        if response.status == 404 and path.startswith("/api/v1/runs/") and response.headers.get("content-type", "").startswith(PROBLEM):
            return None
        if "title" not in answer:
            raise SpanlineError(
                f"{self._shown} answers with HTTP {response.status} and is no `spanline serve`: is SPANLINE_SERVER_URL right?"
            )
        if response.status == 404 and answer["title"] == "Not known here":
            raise UnknownReference(str(answer.get("detail")))
        reason = f"{answer['title']}. {answer.get('detail') or ''}".strip()
        if response.status == 400:
            raise ValueError(reason)
        raise SpanlineError(f"{self._shown} answers with HTTP {response.status}: {reason}")


def _mapping(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) else None
