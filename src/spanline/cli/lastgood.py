"""`spanline lastgood`: the last known good release of a job, and what speaks against each newer one."""

from __future__ import annotations

import click

from spanline.cli.completing import jobs
from spanline.cli.options import ask, json_option, ledger_option
from spanline.cli.text import bad, bold, faint, good, say, say_json, shown, warned


@click.command()
@click.option("--job", required=True, shell_complete=jobs, help="Job name, as in `fee-assistant.POST /chat`.")
@ledger_option
@json_option
@click.pass_context
def lastgood(ctx: click.Context, job: str, ledger_url: str | None, as_json: bool) -> None:
    """Name the last known good release of a job. Exit status 1 when there is none, 4 when the job is not known."""
    found = ask(ledger_url, lambda ledger: ledger.lastgood(job))
    is_good = found.get("run") is not None
    if as_json:
        say_json(found)
    else:
        from spanline.server import words

        name = shown(found.get("release")) or "a release without a name"
        say(f"{good(bold(name)) if is_good else bad('none')}  {shown(found.get('why'))}")
        if is_good:
            say(faint(f"  run {shown(found.get('run'))}"))
        for item in words.entries(found.get("artifacts")):
            say(f"  {shown(item.get('ref'))}  {faint(shown(words.short_digest(item.get('digest'))))}")
        for item in words.entries(found.get("refused")):
            refused = shown(item.get("release")) or "a release without a name"
            say(f"{warned('refused')}  {bold(refused)}  {shown(item.get('reason'))}")
    if not is_good:
        ctx.exit(1)
