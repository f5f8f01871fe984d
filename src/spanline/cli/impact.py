"""`spanline impact`: which runs, jobs and releases used an artifact, and what was made from it."""

from __future__ import annotations

from typing import Any

import click

from spanline.cli.completing import refs
from spanline.cli.options import ask, json_option, ledger_option, page_options
from spanline.cli.text import bold, faint, say, say_json, shown, status, table


@click.command()
@click.argument("ref", shell_complete=refs)
@page_options
@ledger_option
@json_option
def impact(ref: str, limit: int, after: str | None, ledger_url: str | None, as_json: bool) -> None:
    """Show what REF went into.

    REF is kind:name@version, kind:name (all versions), release:service@version, run:<id> or namespace/name. Exit status 4 when it is not known.
    """
    found = ask(ledger_url, lambda ledger: ledger.impact(ref, limit=limit, after=after))
    if as_json:
        say_json(found)
        return
    from spanline.server import words

    runs = words.mapping(found.get("runs"))
    about = "about " if runs.get("approximate") else ""
    count = words.count(runs.get("count"))
    say(bold(f"{shown(found.get('ref'))} was used by {about}{count} run{'' if count == '1' else 's'}"))
    for title in ("job", "release"):
        rows = [
            [
                _name(item),
                _whose(item),
                words.count(item.get("runs")),
                words.moment(item.get("firstUsedAt")),
                words.moment(item.get("lastUsedAt")),
            ]
            for item in words.entries(found.get(f"{title}s"))
        ]
        if rows:
            _print([title, "", "runs", "first used", "last used"], rows)
    made = words.entries(found.get("artifacts"))
    if made:
        rows = [
            [shown(item.get("id")), shown(item.get("depth")), words.count(item.get("runs")), shown(item.get("evidence"))] for item in made
        ]
        _print(["made from it", "steps", "runs that used that", "known"], rows)
    items = words.entries(runs.get("items"))
    if items:
        rows = [
            [status(shown(item.get("status"))), words.moment(item.get("startedAt")), shown(item.get("job")),
             shown(item.get("traceId") or item.get("runId")), shown(item.get("release"))]
            for item in items
        ]  # fmt: skip
        _print(["status", "started", "job", "trace", "release"], rows)
    if runs.get("next"):
        say(faint(f"more: --after {shown(runs['next'])}"))


def _name(item: dict[str, Any]) -> str:
    return shown(item.get("job")) or f"{shown(item.get('service'))}@{shown(item.get('release'))}"


def _whose(item: dict[str, Any]) -> str:
    return "" if item.get("direct") is not False else faint("through what was made from it")


def _print(header: list[str], rows: list[list[str]]) -> None:
    say()
    for line in table(header, rows):
        say(line)
