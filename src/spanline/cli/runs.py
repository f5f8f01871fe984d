"""`spanline runs`: the newest runs, filtered."""

from __future__ import annotations

import click

from spanline.cli.options import empty_page, existing_ledger, json_option, ledger_option, page_options
from spanline.cli.text import bad, faint, say, say_json, shown, status, table


@click.command()
@click.option("--job", help="Job name, as in `fee-assistant.POST /chat`.")
@click.option("--outcome", type=click.Choice(["COMPLETE", "FAIL", "ABORT", "RUNNING"], case_sensitive=False), help="How it ended.")
@click.option("--artifact", metavar="REF", help="Runs that used it: kind:name@version or kind:name.")
@click.option("--tag", metavar="KEY=VALUE", help="Runs with this tag.")
@click.option("--conflict", is_flag=True, help="Only runs with a version conflict.")
@click.option("--since", metavar="TIME", help="Started at or after (RFC 3339).")
@click.option("--until", metavar="TIME", help="Started before (RFC 3339).")
@page_options
@ledger_option
@json_option
def runs(
    job: str | None,
    outcome: str | None,
    artifact: str | None,
    tag: str | None,
    conflict: bool,
    since: str | None,
    until: str | None,
    limit: int,
    after: str | None,
    ledger_url: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    from spanline.times import parse_rfc3339

    for option, moment in (("--since", since), ("--until", until)):
        try:
            parse_rfc3339(moment) if moment else None
        except ValueError:
            raise click.BadParameter(f"{moment!r} is no time; expected RFC 3339, e.g. 2026-11-21T12:00:00Z", param_hint=option) from None
    if tag is not None:
        # The API writes key:value, people write key=value; the first mark of either parts them.
        key, mark, value = tag.partition("=" if "=" in tag else ":")
        if not mark or not key:
            raise click.BadParameter("expected KEY=VALUE", param_hint="--tag")
        tag = f"{key}:{value}"
    with existing_ledger(ledger_url) as ledger:
        page = empty_page() if ledger is None else ledger.runs(
            limit=limit, after=after, job=job, outcome=outcome, artifact=artifact, tag=tag, conflict=conflict or None, since=since, until=until
        )  # fmt: skip
    if as_json:
        say_json(page)
        return
    from spanline.server import words

    items = words.entries(page.get("items"))
    rows = [
        [
            status(shown(item.get("status"))), words.moment(item.get("startedAt")), words.duration(item.get("durationSeconds")),
            shown(item.get("job")), shown(item.get("traceId") or item.get("runId")), shown(item.get("release")),
            bad("conflict") if item.get("conflicts") else "",
        ]
        for item in items
    ]  # fmt: skip
    if not rows:
        say("no runs")
        return
    for line in table(["status", "started", "took", "job", "trace", "release", ""], rows):
        say(line)
    if page.get("next"):
        say(faint(f"more: --after {shown(page['next'])}"))
