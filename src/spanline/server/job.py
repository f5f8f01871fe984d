"""The page of a job: its last runs, what is good and bad of its releases, and what its newest run used that the last good one did not."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from spanline.server import words
from spanline.server.asking import ask, paging, parameters, required
from spanline.server.parts import STATUS
from spanline.server.problems import json_response, prefers_html
from spanline.server.rendering import page
from spanline.server.source import Source

_MOST = 200


class JobPage:
    """The handler of the page; it answers JSON too."""

    def __init__(self, ledger: Source) -> None:
        self.ledger = ledger

    async def job(self, request: Request) -> Response:
        """`GET /job?namespace=…&name=…`: without a namespace, the jobs of that name in all of them."""
        given = parameters(request, ("namespace", "name"))
        name, namespace = required(given, "name", "fee-assistant.POST /chat"), given.get("namespace", "")
        job = f"{namespace}/{name}" if namespace else name
        good = await ask(self.ledger.lastgood, job)
        listed = await ask(self.ledger.runs, job=job, **paging({"limit": "20", **given}))
        if not prefers_html(request, default=True):
            return json_response({"namespace": namespace or None, "name": name, "lastgood": good, "runs": listed})
        newest = words.text_of(next((row.get("runId") for row in words.entries(listed.get("items"))), None))
        run = await ask(self.ledger.run, newest) if newest and "after" not in given else None
        return await run_in_threadpool(page, request, "job.html", job_view(namespace, name, good, listed, run))


def job_view(namespace: str, name: str, good: dict[str, Any], listed: dict[str, Any], run: dict[str, Any] | None) -> dict[str, Any]:
    """What the page says.

    Args:
        namespace: Of the job, empty for all.
        name: Of the job.
        good: The answer of `lastgood`.
        listed: A page of its runs.
        run: The JSON of its newest run, None on later pages.
    """
    good_run, newest = words.text_of(good.get("run")), words.text_of(words.mapping(run).get("runId"))
    before = {_key(entry): entry for entry in words.entries(good.get("artifacts"))} if good_run else {}
    used = [_used(entry, before, newest, good_run) for entry in words.entries(words.mapping(run).get("artifacts"))]
    following, why = words.text_of(listed.get("next")), words.text_of(good.get("why"))
    here = {"namespace": namespace, "name": name} if namespace else {"name": name}
    return {
        "namespace": namespace,
        "name": name,
        "good": words.text_of(good.get("release")) or ("unnamed release" if good_run else ""),
        "why": why[:1].upper() + why[1:],
        "releases": _releases(good),
        "good_run": good_run,
        "newest": newest,
        "used": [entry for entry in used if entry["kind"] != "flow" and entry["role"] != "output"][:_MOST],
        "made": [entry for entry in used if entry["kind"] != "flow" and entry["role"] == "output"][:_MOST],
        "runs": [
            {**entry, "word": STATUS.get(words.text_of(entry.get("status")), "Unknown")} for entry in words.entries(listed.get("items"))
        ],
        "here": urlencode(here, errors="replace"),
        "following": urlencode({**here, "after": following}, errors="replace") if following else "",
    }


def _releases(good: dict[str, Any]) -> list[dict[str, object]]:
    """Good and bad, the newest first; those before the good one are not judged."""
    known: list[dict[str, object]] = []
    for entry in words.entries(good.get("refused"))[:_MOST]:
        reason, _, run = words.text_of(entry.get("reason")).partition(" on run ")
        known.append({**entry, "good": False, "reason": reason, "run": run})
    if good.get("run"):
        known.append({**good, "good": True})
    return [{**entry, "release": words.text_of(entry.get("release")) or "unnamed release"} for entry in known]


def _key(entry: dict[str, object]) -> tuple[str, str, str]:
    return words.text_of(entry.get("kind")), words.text_of(entry.get("namespace")), words.text_of(entry.get("name"))


def _used(entry: dict[str, object], before: dict[tuple[str, str, str], dict[str, object]], newest: str, good_run: str) -> dict[str, object]:
    kind, _, name = _key(entry)
    version, digest = words.text_of(entry.get("version")), words.text_of(entry.get("digest"))
    label = f"{name}@{version}" if version else name
    same = before.get(_key(entry))
    change = ""
    if good_run and newest != good_run:
        if same is None:
            change = "not used there"
        elif (words.text_of(same.get("version")), words.text_of(same.get("digest"))) != (version, digest):
            change = " ".join(
                part for part in (words.text_of(same.get("version")), words.short_digest(same.get("digest"))) if part
            ) or "no version"  # fmt: skip
    return {
        "kind": kind,
        "label": label,
        "ref": f"{kind}:{label}",
        "digest": digest,
        "role": words.text_of(entry.get("role")),
        "change": change,
    }
