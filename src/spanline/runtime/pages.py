"""Pages of ours in the user's app: `/metrics`, `/r/{id}`, `/runs`; a route that the app has is left to it."""

from __future__ import annotations

from typing import Any, cast

from spanline._guard import guard
from spanline.asgi.types import ASGIApp, Receive, Scope, Send
from spanline.runtime.delivery import LazyLedger, LedgerHolder
from spanline.settings import Settings


class Pages:
    """Finds the page that answers a request.

    Args:
        settings: What is mounted, and who may read.
        ledgers: Whose runs the pages show.
        registry: The Prometheus registry of `/metrics`; None where metrics are off.
        app: FastAPI or Starlette app whose own routes win; None where the middleware wraps something else.
    """

    def __init__(self, settings: Settings, ledgers: LedgerHolder, registry: Any, app: Any) -> None:
        self._settings = settings
        self._ledgers = ledgers
        self._registry = registry
        self.app = app
        self._metrics: ASGIApp | None = None
        self._server: ASGIApp | None = None
        mount = {path.rstrip("/") for path in settings.mount}
        self._paths = frozenset(mount & {"/metrics", "/runs"})
        self._run = "/r/" if "/r" in mount else None

    def find(self, scope: Scope) -> ASGIApp | None:
        """The page for this request, or None. Costs a look-up for all other requests."""
        path: str = scope["path"]
        root = scope.get("root_path")
        if root and path.startswith(root):
            path = path[len(root) :]
        if path in self._paths:
            if self._taken(scope):
                return None
            return self._metrics_page() if path == "/metrics" else self._server_page()
        if self._run is not None and path.startswith(self._run) and not self._taken(scope):
            return self._server_page()
        return None

    def _taken(self, scope: Scope) -> bool:
        """The app has a route for it."""
        for route in getattr(self.app, "routes", ()):
            path = getattr(route, "path", None)
            if path in ("", "/{path:path}"):
                # A catch-all at the end (a front end's files) would hide the pages for good.
                continue
            match, _ = route.matches(scope)
            if match.value == 2:  # Match.FULL
                return True
        return False

    def _metrics_page(self) -> ASGIApp | None:
        if self._metrics is None and self._registry is not None:
            from spanline.metrics.exposition import asgi_metrics

            self._metrics = asgi_metrics(self._registry)
        return self._metrics

    def _server_page(self) -> ASGIApp | None:
        if "lineage" not in self._settings.features:
            return None
        if self._server is None:
            with guard("runtime.pages"):
                self._server = _server_app(self._settings, self._ledgers)
        return self._server


def _server_app(settings: Settings, ledgers: LedgerHolder) -> ASGIApp:
    """The pages; without the `server` extra a plain word that says what to install."""
    try:
        from spanline.server.app import build_app
    except ImportError:
        return _not_installed
    return build_app(cast(Any, LazyLedger(ledgers)), settings, api=False, require_loopback=True)


async def _not_installed(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    body = b'{"type":"about:blank","title":"The run page needs the server extra","status":501,"detail":"pip install \'spanline[server]\'"}'
    await send({"type": "http.response.start", "status": 501, "headers": [(b"content-type", b"application/problem+json")]})
    await send({"type": "http.response.body", "body": body})
