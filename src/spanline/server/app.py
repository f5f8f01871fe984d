"""The ASGI app: the two pages, and with `api=True` all that `spanline serve` answers."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from spanline.record.run import RunRecord
from spanline.server.access import Access
from spanline.server.api import Api, healthy, schema, schemas
from spanline.server.evaluating import Evaluating
from spanline.server.exploring import Exploring
from spanline.server.ingest import Ingest
from spanline.server.job import JobPage
from spanline.server.pages import Pages
from spanline.server.problems import answering, on_http_exception
from spanline.server.rendering import SecurityHeaders
from spanline.server.source import Source
from spanline.settings import Settings


class _AnyText(Convertor[str]):
    """A path's rest, slashes and line ends included, so that what is no id gets its 400 and not the router's 404."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("spanline_any", _AnyText())


def build_app(
    ledger: Source, settings: Settings, *, api: bool, require_loopback: bool, measured: Callable[[RunRecord], None] | None = None
) -> Starlette:
    """The server as an ASGI app; it takes full paths (`/r/…`, `/runs`), under any `root_path`.

    Args:
        ledger: Where runs are.
        settings: Tokens, and where links lead. Without `api`, `server_url` redirects both pages there.
        api: Also health, lineage API, OpenLineage in and schemas.
        require_loopback: Without tokens, answer peers on this machine only.
        measured: Told of evaluations that come in, as a record with nothing else.
    """
    access = Access(settings, require_loopback=require_loopback)
    elsewhere = None if api else settings.server_url
    pages = Pages(ledger, settings, elsewhere, explore=api)
    routes: list[BaseRoute]
    if elsewhere:
        routes = [
            Route("/r/{id:spanline_any}", answering("server.run", pages.run_elsewhere)),
            Route("/runs", answering("server.runs", pages.runs_elsewhere)),
        ]
    else:
        routes = [
            Route("/r/-/sign-in", answering("server.sign_in", access.sign_in), methods=["POST"]),
            Route("/r/-/sign-out", answering("server.sign_out", access.sign_out), methods=["POST"]),
            Route("/r/{id:spanline_any}", access.reading("server.run", pages.run)),
            Route("/runs", access.reading("server.runs", pages.runs)),
        ]
    if api:
        routes += _api_routes(ledger, pages, access, Evaluating(ledger, settings, measured=measured))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: on_http_exception},
    )
    # A redirect to a path with another slash would leave a mounted prefix.
    app.router.redirect_slashes = False
    return app


def _api_routes(ledger: Source, pages: Pages, access: Access, evaluating: Evaluating) -> list[BaseRoute]:
    questions, ingest, exploring = Api(ledger, pages, evaluating), Ingest(ledger), Exploring(ledger)
    return [
        Route("/", _to_runs),
        Route("/artifact", access.reading("server.artifact", exploring.artifact)),
        Route("/job", access.reading("server.job", JobPage(ledger).job)),
        Route("/diff", access.reading("server.diff", exploring.diff)),
        Route("/healthz", healthy),
        Route("/readyz", answering("server.ready", questions.ready)),
        Route("/api/v1/runs", access.reading("server.api.runs", questions.runs)),
        Route("/api/v1/runs/{id}/evaluations", access.writing("server.api.evaluate", questions.evaluate), methods=["POST"]),
        Route("/api/v1/runs/{id:spanline_any}", access.reading("server.api.run", questions.run)),
        Route("/api/v1/conflicts", access.reading("server.api.conflicts", questions.conflicts)),
        Route("/api/v1/gaps", access.reading("server.api.gaps", questions.gaps)),
        Route("/api/v1/artifacts", access.reading("server.api.artifacts", questions.artifacts)),
        Route("/api/v1/lineage", access.reading("server.api.graph", questions.lineage), methods=["GET"]),
        Route("/api/v1/impact", access.reading("server.api.impact", questions.impact)),
        Route("/api/v1/diff", access.reading("server.api.diff", questions.diff)),
        Route("/api/v1/lastgood", access.reading("server.api.lastgood", questions.lastgood)),
        Route("/api/v1/lineage", access.writing("server.api.lineage", ingest.one), methods=["POST"]),
        Route("/api/v1/lineage/batch", access.writing("server.api.batch", ingest.batch), methods=["POST"]),
        Route("/schemas", answering("server.schemas", schemas)),
        Route("/schemas/{facet}/{version}", answering("server.schema", schema)),
    ]


async def _to_runs(_request: Request) -> Response:
    return RedirectResponse("runs", 307)
