"""What a shell offers to complete: names of artifacts and jobs from the ledger, where that is cheap, and silence where it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from spanline.cli.options import settings_for, sqlite_file
from spanline.record.artifact import NAMESPACES
from spanline.settings import Settings

MOST = 50
_WAIT_S = 0.3
_SERVER_WAIT_S = 1.5


def refs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`kind:`, then `kind:name`, then `kind:name@version`."""
    del param
    kind, colon, rest = incomplete.partition(":")
    if not colon:
        return _items(f"{kind}:" for kind in sorted(NAMESPACES) if kind.startswith(incomplete))
    name, at, version = rest.rpartition("@")
    if at and name:
        known = _ask(
            ctx,
            "SELECT DISTINCT version FROM artifacts WHERE kind = ? AND name = ? AND version <> ''",
            kind,
            name,
            like=(version, "version"),
        )
        return _items(f"{kind}:{name}@{version}" for version in known)
    known = _ask(ctx, "SELECT DISTINCT name FROM artifacts WHERE kind = ?", kind, like=(rest, "name"))
    return _items(f"{kind}:{name}" for name in known)


def names(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Names, then versions, of one kind."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _items(item.value.partition(":")[2] for item in refs(ctx, param, f"{kind}:{incomplete}"))

    return complete


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of jobs."""
    del param
    return _items(_ask(ctx, "SELECT DISTINCT name FROM jobs WHERE 1", like=(incomplete, "name")))


def _items(values: Iterable[str]) -> list[CompletionItem]:
    # What a shell or a terminal would act upon is not offered.
    return [CompletionItem(value) for value in values if value.isprintable()]


def _ask(ctx: click.Context, sql: str, *values: str, like: tuple[str, str]) -> list[str]:
    """The first names that begin so. Whatever goes wrong, there is nothing to offer: a shell is no place for an error."""
    beginning, column = like
    try:
        settings = settings_for(ledger_url=_given(ctx))
        if settings.server_url and _given(ctx) is None:
            return _ask_server(settings, sql, values, beginning)
        file = sqlite_file(settings.effective_ledger_url)
        if file is None or not file.exists():
            return []
        # Read only, past the ledger's own door: a key press must neither migrate it nor load all of its libraries.
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        try:
            query = f"{sql} AND {column} >= ? AND {column} < ? ORDER BY {column} LIMIT {MOST}"
            return [str(name) for (name,) in connection.execute(query, (*values, beginning, beginning + "\U0010ffff"))]
        finally:
            connection.close()
    except Exception:  # noqa: BLE001   Nothing to offer is the worst that may happen here.
        return []


def _ask_server(settings: Settings, sql: str, values: tuple[str, ...], beginning: str) -> list[str]:
    from spanline.cli.remote import RemoteLedger

    remote = RemoteLedger(settings, timeout_s=_SERVER_WAIT_S)
    try:
        if "FROM jobs" in sql:
            found = [str(item.get("job")) for item in remote.runs(limit=100)["items"]]
        else:
            kind, *name = values
            page = remote.artifacts(limit=500, kind=kind, name=name[0] if name else None)
            found = [str(item.get("version" if name else "name") or "") for item in page["items"]]
    finally:
        remote.close()
    return sorted({name for name in found if name and name.startswith(beginning)})[:MOST]


def _given(ctx: click.Context) -> str | None:
    above: Any = ctx.parent.params.get("ledger_url") if ctx.parent is not None else None
    return ctx.params.get("ledger_url") or above
