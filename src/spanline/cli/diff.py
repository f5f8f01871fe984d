"""`spanline diff`: what differs between two runs, releases or time windows."""

from __future__ import annotations

from typing import Any, cast

import click

from spanline.cli.completing import jobs, refs
from spanline.cli.options import ask, json_option, ledger_option
from spanline.cli.text import bad, bold, faint, good, say, say_json, shown, table, warned

_SHOWN = 20
_COLOURS = {"version": warned, "digest": bad, "added": good, "removed": bad}


@click.command()
@click.argument("a", shell_complete=refs)
@click.argument("b", shell_complete=refs)
@click.option("--job", shell_complete=jobs, help="Only runs of this job, of releases and time windows.")
@ledger_option
@json_option
def diff(a: str, b: str, job: str | None, ledger_url: str | None, as_json: bool) -> None:
    """Show what differs from A to B.

    Each is a run (an id in any form), a release (release:service@version) or a time window (from/to, RFC 3339). Exit status 4 when one is not known.
    """
    found = ask(ledger_url, lambda ledger: ledger.diff(a, b, job=job))
    if as_json:
        say_json(found)
        return
    from spanline.server import words

    for side in ("a", "b"):
        about = words.mapping(found.get(side))
        facts = [shown(about.get("job") or about.get("service")), words.moment(about.get("startedAt") or about.get("from"))]
        if about.get("type") != "run":
            facts.append(f"{words.count(about.get('runs'))} runs")
        say(f"{bold(side)}  {shown(about.get('ref'))}  {faint(', '.join(fact for fact in facts if fact))}")
    changes = words.entries(found.get("changes"))
    rows = [
        [_COLOURS.get(str(item.get("change")), shown)(shown(item.get("change"))), f"{shown(item.get('kind'))}:{shown(item.get('name'))}",
         _version(item.get("a")), _version(item.get("b"))]
        for item in changes
    ]  # fmt: skip
    rows += [
        ["parameter", shown(item.get("name")), shown(item.get("a")), shown(item.get("b"))]
        for item in words.entries(found.get("parameters"))
    ]
    rows += [["tokens", name, *_pair(found, "usage", name)] for name in ("inputTokens", "outputTokens") if any(_pair(found, "usage", name))]
    rows.append(["seconds", "", *(_seconds(words.mapping(found.get("duration")).get(side)) for side in ("a", "b"))])
    rows += _outcomes(found)
    say()
    for line in table(["change", "what", "a", "b"], rows):
        say(line)
    documents = words.mapping(found.get("documents"))
    for name, mark in (("added", "+"), ("removed", "-"), ("changed", "~")):
        listed = documents.get(name)
        entries = cast("list[object]", listed) if isinstance(listed, list) else []
        for entry in entries[:_SHOWN]:
            say(f"{mark} document {shown(entry)}")
        if len(entries) > _SHOWN:
            say(faint(f"  … and {len(entries) - _SHOWN} more (--json has all)"))
    if not changes:
        say(good("both used the same versions of everything that is known of them"))


def _outcomes(found: dict[str, Any]) -> list[list[str]]:
    from spanline.server import words

    outcomes = words.mapping(found.get("outcomes"))
    sides = [words.mapping(outcomes.get(side)) for side in ("a", "b")]
    rows: list[list[str]] = []
    for name in ("status", "statuses", "conflicts", "guardrails", "guardrailFailures", "evaluations", "errors"):
        cells = [_value(side.get(name)) for side in sides]
        if cells[0] != cells[1]:
            rows.append(["outcome", name, *cells])
    return rows


def _version(value: object) -> str:
    from spanline.server import words

    entries = cast("list[object]", value) if isinstance(value, list) else [value] if value else []
    told: list[str] = []
    for entry in entries[:3]:
        item = words.mapping(entry)
        digest = words.short_digest(item.get("digest"))
        told.append(" ".join(shown(part) for part in (item.get("version"), digest) if part) or "no version")
    return ", ".join(told) + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")


def _pair(found: dict[str, Any], what: str, name: str) -> list[str]:
    from spanline.server import words

    return [shown(words.mapping(words.mapping(found.get(what)).get(side)).get(name)) for side in ("a", "b")]


def _seconds(value: object) -> str:
    from spanline.server import words

    return shown(words.mapping(value).get("p50", value if isinstance(value, int | float) else None))


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{shown(key)} {_value(entry)}" for key, entry in cast("dict[str, object]", value).items())
    if isinstance(value, list):
        return ", ".join(shown(entry) for entry in cast("list[object]", value))
    return shown(value)
