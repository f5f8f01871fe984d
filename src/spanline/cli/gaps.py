"""`spanline gaps`: runs whose lineage is incomplete, and how to complete it."""

from __future__ import annotations

import click

from spanline.cli.options import empty_page, existing_ledger, json_option, ledger_option, page_options
from spanline.cli.text import faint, good, say, say_json, shown, table, warned


@click.command()
@page_options
@ledger_option
@json_option
def gaps(limit: int, after: str | None, ledger_url: str | None, as_json: bool) -> None:
    """List runs with incomplete lineage, and what would complete it."""
    with existing_ledger(ledger_url) as ledger:
        page = empty_page() if ledger is None else ledger.gaps(limit=limit, after=after)
    if as_json:
        say_json(page)
        return
    from spanline.server import words

    items = words.entries(page.get("items"))
    rows = [[shown(item.get("runId")), warned(shown(item.get("missing"))), faint(shown(item.get("how")))] for item in items]
    if not rows:
        say(good("no gaps"))
        return
    for line in table(["run", "missing", "how to complete it"], rows):
        say(line)
    if page.get("next"):
        say(faint(f"more: --after {shown(page['next'])}"))
