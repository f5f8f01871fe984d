"""The two pages: one run, and the list of runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from spanline.server import words
from spanline.server.asking import ID, OUTCOMES, RUN_FILTERS, ask, id_of, paging, parameters, run_filter, unknown_run
from spanline.server.graph import drawing_of
from spanline.server.links import job_of, links
from spanline.server.parts import STATUS
from spanline.server.problems import Problem, json_response, prefers_html
from spanline.server.rendering import page
from spanline.server.source import Source
from spanline.server.view import view
from spanline.settings import Settings

_FIELDS = (("job", "job name"), ("model", "openai/gpt-4o"), ("prompt", "fees@v7"), ("index", "fees_corpus"), ("tag", "case:4711"))


class Pages:
    """The handlers of the pages.

    Args:
        ledger: Where runs are.
        settings: Where links lead.
        elsewhere: Base URL of the central server that has the pages; requests are sent there.
        explore: The pages of artifacts and comparisons are there too.
    """

    def __init__(self, ledger: Source, settings: Settings, elsewhere: str | None, *, explore: bool = False) -> None:
        self.explore = explore
        self.ledger = ledger
        self.settings = settings
        self.elsewhere = elsewhere

    async def run(self, request: Request) -> Response:
        """`GET /r/{id}`: the page of a run, or its JSON."""
        given = request.query_params.get("format")
        if given not in {None, "", "json", "html"}:
            raise Problem(400, "Parameter format is wrong", "json or html.")
        found = await self.find(id_of(request))
        # A run of a thousand operations takes a while to lay out; the event loop is the application's.
        return await run_in_threadpool(self._show, request, found)

    def _show(self, request: Request, found: dict[str, Any]) -> Response:
        if not prefers_html(request, default=True):
            return json_response(found)
        run = view(found, self.settings)
        conflicts = {(conflict.kind, conflict.label) for conflict in run.conflicts if not conflict.acknowledged}
        graph = drawing_of(self.ledger.lineage, f"run:{run.run_id}", conflicts=conflicts)
        return page(request, "run.html", {"run": run, "graph": graph, "explore": self.explore})

    async def find(self, id: str) -> dict[str, Any]:
        """The JSON of a run with its links.

        Raises:
            Problem: 404 when the ledger does not know it.
        """
        found = await ask(self.ledger.run, id)
        if found is None:
            raise unknown_run(id)
        return {**found, "links": links(found, self.settings)}

    async def runs(self, request: Request) -> Response:
        """`GET /runs`: the list, newest first; `?id=` opens one."""
        wanted = request.query_params.get("id", "").strip()
        if wanted:
            if self.explore and await self._is_reference(wanted):
                return RedirectResponse(f"artifact?ref={quote(wanted, safe='')}", 303)
            if not ID.match(wanted):
                raise Problem(
                    400, "That is not an id", "A trace, run, request or response id: letters, digits and . _ : - only, 128 at most."
                )
            return RedirectResponse(f"r/{quote(wanted, safe='')}", 303)
        given = parameters(request, {*RUN_FILTERS, "id"})
        answer = await ask(self.ledger.runs, **paging(given), **run_filter(given))
        if not prefers_html(request, default=True):
            return json_response(answer)
        kept = {name: value for name, value in given.items() if name in RUN_FILTERS}
        size = {"limit": given["limit"]} if "limit" in given else {}
        following = words.text_of(answer.get("next"))
        context = {
            "rows": [self._row(row) for row in words.entries(answer.get("items"))],
            "filter": {name: given.get(name, "") for name in RUN_FILTERS} | {"outcome": run_filter(given).get("outcome", "")},
            "filtered": bool(kept),
            "fields": _FIELDS,
            "outcomes": OUTCOMES.items(),
            "next_page": _query({**kept, **size, "after": following}) if following else "",
            "first_page": (_query({**kept, **size}) or "?") if "after" in given else "",
        }
        return await run_in_threadpool(page, request, "runs.html", context)

    async def _is_reference(self, text: str) -> bool:
        """Whether something typed into the search box names an artifact; where an id looks like one, the run goes first."""
        if (":" not in text and "/" not in text) or (ID.match(text) and await ask(self.ledger.resolve, text) is not None):
            return False
        try:
            await ask(self.ledger.lineage, text, direction="up", depth=0)
        except Problem:
            return False
        return not text.startswith("run:")

    async def run_elsewhere(self, request: Request) -> Response:
        """`GET /r/{id}` where a central server has the pages: a redirect, with nothing but the id."""
        how = "?format=json" if not prefers_html(request, default=True) else ""
        return RedirectResponse(f"{self.elsewhere}/r/{quote(id_of(request), safe='')}{how}", 307)

    async def runs_elsewhere(self, request: Request) -> Response:
        """`GET /runs` where a central server has the pages: a redirect with the known filters."""
        given = parameters(request, {*RUN_FILTERS, "id"})
        run_filter(given)
        return RedirectResponse(f"{self.elsewhere}/runs{_query(given)}", 307)

    def _row(self, row: dict[str, object]) -> dict[str, object]:
        status = words.text_of(row.get("status")).upper()
        conflicts = row.get("conflicts")
        run_id, trace_id = words.text_of(row.get("runId")), words.text_of(row.get("traceId"))
        return {
            "id": run_id or trace_id,
            "status": status if status in STATUS else "UNKNOWN",
            "status_word": STATUS.get(status, words.cut(status.title(), 24) or "Unknown"),
            "job": job_of(row, self.settings)[1] or "unknown job",
            "trace_id": trace_id or run_id,
            "started": words.text_of(row.get("startedAt")),
            "seconds": row.get("durationSeconds"),
            "release": words.text_of(row.get("release")),
            "conflicts": words.count(conflicts) if conflicts else "",
            "tags": sorted((key, words.text_of(value)) for key, value in words.mapping(row.get("tags")).items())[:6],
        }


def _query(values: dict[str, str]) -> str:
    return f"?{urlencode(values, errors='replace')}" if values else ""
