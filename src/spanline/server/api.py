"""The JSON questions of `spanline serve`, its health, and the schemas of our facets."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from spanline._guard import guard
from spanline.lineage import schema_store
from spanline.lineage.evaluated import evaluations_from
from spanline.server.asking import RUN_FILTERS, ask, depth_of, id_of, paging, parameters, required, run_filter, unknown_run
from spanline.server.evaluating import Evaluating
from spanline.server.ingest import body_of
from spanline.server.pages import Pages
from spanline.server.problems import Problem, json_response
from spanline.server.source import Source

MAX_EVALUATIONS_BODY = 1 << 20
"""Most bytes of a list of evaluations."""


class Api:
    """The handlers under `/api/v1`."""

    def __init__(self, ledger: Source, pages: Pages, evaluating: Evaluating) -> None:
        self.ledger = ledger
        self.pages = pages
        self.evaluating = evaluating

    async def runs(self, request: Request) -> Response:
        """`GET /api/v1/runs`: `{items, next}`."""
        given = parameters(request, RUN_FILTERS)
        return json_response(await ask(self.ledger.runs, **paging(given), **run_filter(given)))

    async def run(self, request: Request) -> Response:
        """`GET /api/v1/runs/{id}`: the JSON of a run."""
        return json_response(await self.pages.find(id_of(request)))

    async def evaluate(self, request: Request) -> Response:
        """`POST /api/v1/runs/{id}/evaluations`: one evaluation or a list; `{runId, added}`."""
        run = id_of(request)
        body = await body_of(request, MAX_EVALUATIONS_BODY)
        try:
            evaluations = evaluations_from(body, time.time_ns())
        except ValueError as error:
            raise Problem(400, "Not an evaluation", str(error)) from error
        done = await ask(self.evaluating.add, run, evaluations)
        if done is None:
            raise unknown_run(run)
        return json_response(done)

    async def conflicts(self, request: Request) -> Response:
        """`GET /api/v1/conflicts`: one entry a label."""
        return json_response(await ask(self.ledger.conflicts, **paging(parameters(request, ()))))

    async def gaps(self, request: Request) -> Response:
        """`GET /api/v1/gaps`: runs whose lineage is incomplete, and what would close it."""
        return json_response(await ask(self.ledger.gaps, **paging(parameters(request, ()))))

    async def artifacts(self, request: Request) -> Response:
        """`GET /api/v1/artifacts`: known artifacts, of one kind or of one name."""
        given = parameters(request, ("kind", "name"))
        chosen: dict[str, Any] = {name: given[name] for name in ("kind", "name") if name in given}
        return json_response(await ask(self.ledger.artifacts, **paging(given), **chosen))

    async def lineage(self, request: Request) -> Response:
        """`GET /api/v1/lineage?ref=…&direction=up|down|both&depth=N`: the graph around a run or an artifact."""
        given = parameters(request, ("ref", "direction", "depth"))
        ref = required(given, "ref", "index:fees_corpus@commit:abc123")
        return json_response(await ask(self.ledger.lineage, ref, direction=given.get("direction", "both"), **depth_of(given)))

    async def impact(self, request: Request) -> Response:
        """`GET /api/v1/impact?ref=…`: which runs, jobs and releases used it, and what they made."""
        given = parameters(request, ("ref",))
        return json_response(await ask(self.ledger.impact, required(given, "ref", "prompt:fees@v7"), **paging(given)))

    async def diff(self, request: Request) -> Response:
        """`GET /api/v1/diff?a=…&b=…`: what differs between two runs, releases or time windows."""
        given = parameters(request, ("a", "b", "job"))
        a, b = required(given, "a", "release:fee-assistant@1.4.2"), required(given, "b", "release:fee-assistant@1.5.0")
        return json_response(await ask(self.ledger.diff, a, b, job=given.get("job")))

    async def lastgood(self, request: Request) -> Response:
        """`GET /api/v1/lastgood?job=…`: the last known good release of a job, and why each newer one was refused."""
        given = parameters(request, ("job",))
        return json_response(await ask(self.ledger.lastgood, required(given, "job", "fee-assistant.POST%20/chat")))

    async def ready(self, _request: Request) -> Response:
        """`GET /readyz`: whether the ledger answers."""
        with guard("server.ready"):
            await ask(self.ledger.runs, limit=1)
            return json_response({"status": "ready"})
        raise Problem(503, "The ledger does not answer", "`spanline doctor` says why.")


async def healthy(_request: Request) -> Response:
    """`GET /healthz`: this process answers."""
    return json_response({"status": "ok"})


async def schemas(_request: Request) -> Response:
    """`GET /schemas`: what there is."""
    return json_response({"items": [{"facet": facet, "version": version} for facet, version in schema_store.names()]})


async def schema(request: Request) -> Response:
    """`GET /schemas/{facet}/{version}`: a published schema never changes."""
    facet, version = (str(request.path_params[name]) for name in ("facet", "version"))
    try:
        found = schema_store.schema(facet, version.removesuffix(".json"))
    except KeyError:
        raise Problem(404, "No such schema", "GET /schemas lists all.") from None
    response = json_response(found, media_type="application/schema+json")
    response.headers["cache-control"] = "public, max-age=86400, immutable"
    return response
