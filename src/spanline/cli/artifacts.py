"""`spanline artifacts`: what is known: models, prompts, indexes, corpora, data sets, each version and digest one line."""

from __future__ import annotations

import difflib

import click

from spanline.cli.options import empty_page, existing_ledger, json_option, ledger_option, page_options, suggest
from spanline.cli.text import faint, say, say_json, shown, table
from spanline.record.artifact import NAMESPACES


@click.command()
@click.option("--kind", help="Only of this kind: model, prompt, index, corpus, dataset …")
@click.option("--name", help="Only of this name, without version.")
@page_options
@ledger_option
@json_option
def artifacts(kind: str | None, name: str | None, limit: int, after: str | None, ledger_url: str | None, as_json: bool) -> None:
    """List artifacts with their versions and digests."""
    with existing_ledger(ledger_url) as ledger:
        page = empty_page() if ledger is None else ledger.artifacts(limit=limit, after=after, kind=kind, name=name)
        if ledger is not None and not page["items"] and after is None:
            near = difflib.get_close_matches(kind or "", NAMESPACES, 1)
            if near and near != [kind]:
                say(f"no artifact is of the kind {shown(kind)}; did you mean {near[0]}?", err=True)
            else:
                suggest(lambda: ledger.impact(f"{kind}:{name}" if kind else str(name), limit=1) if name else None)
    if as_json:
        say_json(page)
        return
    from spanline.server import words

    items = words.entries(page.get("items"))
    rows = [
        [shown(item.get("ref")), faint(shown(words.short_digest(item.get("digest")))), words.moment(item.get("firstSeenAt")),
         words.moment(item.get("lastUsedAt")), faint(shown(item.get("namespace")))]
        for item in items
    ]  # fmt: skip
    if not rows:
        say("no artifacts")
        return
    for line in table(["artifact", "digest", "first seen", "last used", "namespace"], rows):
        say(line)
    if page.get("next"):
        say(faint(f"more: --after {shown(page['next'])}"))
