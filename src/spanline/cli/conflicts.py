"""`spanline conflicts`: labels that were seen with more than one digest; `ack` accepts one."""

from __future__ import annotations

import click

from spanline.cli.completing import refs
from spanline.cli.options import empty_page, existing_ledger, json_option, ledger_option, page_options
from spanline.cli.text import bad, faint, good, say, say_json, shown, warned


@click.group(invoke_without_command=True)
@click.option("--all", "with_acknowledged", is_flag=True, help="Also those that were acknowledged.")
@page_options
@ledger_option
@json_option
@click.pass_context
def conflicts(ctx: click.Context, with_acknowledged: bool, limit: int, after: str | None, ledger_url: str | None, as_json: bool) -> None:
    """List version conflicts: the same name and version with different content."""
    if ctx.invoked_subcommand is not None:
        return
    with existing_ledger(ledger_url) as ledger:
        page = empty_page() if ledger is None else ledger.conflicts(limit=limit, after=after)
    if as_json:
        say_json(page)
        return
    from spanline.server import words

    items = [item for item in words.entries(page.get("items")) if with_acknowledged or item.get("acknowledged") is not True]
    for item in items:
        version = f"@{shown(item['version'])}" if item.get("version") else ""
        mark = good("acknowledged") if item.get("acknowledged") is True else bad("conflict")
        say(f"{mark}  {shown(item.get('kind'))}:{shown(item.get('name'))}{version}  {faint('in ' + shown(item.get('namespace')))}")
        for digest in words.entries(item.get("digests")):
            count = digest.get("runs")
            used = f"{shown(count)} run{'' if count == 1 else 's'}" if count is not None else ""
            first = f"first seen {words.moment(digest.get('firstSeenAt'))} in run {shown(digest.get('firstSeenRunId'))}"
            say(f"    {shown(digest.get('digest'))}  {faint(', '.join(part for part in (first, used) if part))}")
    if not items:
        say(good("no version conflicts"))
    if page.get("next"):
        say(faint(f"more: --after {shown(page['next'])}"))


@conflicts.command()
@click.argument("ref", shell_complete=refs)
@click.argument("digest")
@ledger_option
@json_option
@click.pass_context
def ack(ctx: click.Context, ref: str, digest: str, ledger_url: str | None, as_json: bool) -> None:
    """Accept DIGEST as a content of REF (kind:name@version, or namespace/name@version)."""
    with existing_ledger(ledger_url or (ctx.parent and ctx.parent.params.get("ledger_url"))) as ledger:
        done = ledger is not None and bool(ledger.acknowledge(ref, digest))
    if as_json:
        say_json({"ref": ref, "digest": digest, "acknowledged": done})
    else:
        say(
            good(f"accepted: {shown(ref)} {shown(digest)}")
            if done
            else warned(f"{shown(ref)} was never seen with digest {shown(digest)}; `spanline conflicts` lists whole digests"),
            err=not done,
        )
    if not done:
        ctx.exit(4)
