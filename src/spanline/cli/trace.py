"""`spanline trace`: everything behind an answer."""

from __future__ import annotations

import re
from typing import Any

import click

from spanline.cli.options import NOT_FOUND, existing_ledger, json_option, ledger_option, settings_for
from spanline.cli.text import faint, say, say_json

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_TRIES = (
    "Is it whole? Compare it with the x-trace-id header of the response. A run is here about two seconds after its response.",
    "`spanline runs` lists what is here; `spanline doctor` says which ledger is asked, and whether runs are recorded and delivered.",
    "Another host's runs are in that host's ledger: name it with --ledger or SPANLINE_SERVER_URL.",
)


def checked_id(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """An id as it may be asked for.

    Raises:
        click.BadParameter: It cannot be one.
    """
    if not _ID.match(value):
        hint = "; an artifact is asked for with `spanline lineage` or `impact`" if "@" in value and ":" in value else ""
        raise click.BadParameter(f"expected 1 to 128 of the characters A-Z a-z 0-9 . _ : -{hint}", ctx, param)
    return value


@click.command()
@click.argument("id", callback=checked_id, metavar="ID")
@ledger_option
@json_option
@click.pass_context
def trace(ctx: click.Context, id: str, ledger_url: str | None, as_json: bool) -> None:
    """Show everything behind an answer.

    ID is a trace id (32 hex), a run id (dashed), a request id or a response id. Exit status 0 when found, 4 when not.
    """
    with existing_ledger(ledger_url) as ledger:
        if ledger is None:
            ctx.exit(NOT_FOUND)
        found = ledger.run(id)
    if found is None:
        say(f"nothing is known of {id}", err=True)
        for hint in _TRIES:
            say(faint(f"  {hint}"), err=True)
        ctx.exit(NOT_FOUND)
    from spanline.server.links import links

    # A server knows its own addresses.
    theirs: dict[str, Any] = found.get("links") or {}
    document = {**found, "links": {**links(found, settings_for(ledger_url=ledger_url)), **theirs}}
    if as_json:
        say_json(document)
        return
    from spanline.cli.tree import tree_of

    for line in tree_of(document):
        say(line)
