"""The route template of a request, as far as the router has told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from spanline.asgi.types import Scope

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""HTTP methods that the semantic conventions know; any other is `_OTHER` and could hold content."""


def route_template(scope: Scope, base: str) -> str | None:
    """The route template, mount prefixes included, e.g. `/api/items/{id}`; None before or without a match.

    Args:
        scope: The scope that the middleware passed down. Routers write `route` into it (Starlette 1.x, FastAPI) and mounts
            extend its `root_path`; FastAPI ≥ 0.165 keeps the template of an included router beside it.
        base: `root_path` as the middleware found it: where the server mounted the app, no part of the template.
    """
    route = scope.get("route")
    if route is None:
        return None
    fastapi: Any = scope.get("fastapi")
    context: Any = cast("dict[str, Any]", fastapi).get("effective_route_context") if type(fastapi) is dict else None
    template = getattr(context, "path_format", None) or getattr(route, "path_format", None) or getattr(route, "path", None)
    if not isinstance(template, str):
        return None
    if hasattr(route, "routes"):
        # A mount that ends here (static files): its own path is in root_path already.
        template = "/{path}"
    if scope.get("root_path", base) == base:
        return template or "/"
    return (_mounts(scope, base) + template) or "/"


def _mounts(scope: Scope, base: str) -> str:
    """Templates of the mounts walked through.

    A mount leaves what it matched in `root_path`, values instead of parameters; a value of a path parameter becomes its name
    again, for it could be content.
    """
    base = cast(str, scope.get("app_root_path", base))
    root = cast(str, scope.get("root_path") or "")
    if not root.startswith(base) or root == base:
        return ""
    prefix = root[len(base) :].rstrip("/")
    parameters = cast(Mapping[str, Any], scope.get("path_params") or {})
    if not parameters:
        return prefix
    names = {str(value): f"{{{name}}}" for name, value in parameters.items()}
    return "/".join(names.get(segment, segment) for segment in prefix.split("/"))
