"""`spanline runs`: the newest runs, filtered."""

from __future__ import annotations

import click

from spanline.cli.completing import jobs, names, refs
from spanline.cli.options import Moment, empty_page, existing_ledger, json_option, ledger_option, page_options, suggest
from spanline.cli.text import bad, faint, say, say_json, shown, status, table
from spanline.times import rfc3339


@click.command()
@click.option("--job", shell_complete=jobs, help="Job name, as in `fee-assistant.POST /chat`.")
@click.option("--outcome", type=click.Choice(["COMPLETE", "FAIL", "ABORT", "RUNNING"], case_sensitive=False), help="How it ended.")
@click.option(
    "--artifact", metavar="REF", shell_complete=refs, help="Runs that used or made it: kind:name@version, kind:name or namespace/name."
)
@click.option("--model", metavar="NAME", shell_complete=names("model"), help="The same as --artifact model:NAME; and so:")
@click.option("--prompt", metavar="NAME", shell_complete=names("prompt"), help="--artifact prompt:NAME.")
@click.option("--index", metavar="NAME", shell_complete=names("index"), help="--artifact index:NAME.")
@click.option("--tag", metavar="KEY=VALUE", help="Runs with this tag.")
@click.option("--conflict", is_flag=True, help="Only runs with a version conflict.")
@click.option("--tenant", metavar="DIGEST", help="Runs of this tenant: the keyed digest, as `spanline trace --json` shows it.")
@click.option("--subject", metavar="DIGEST", help="Runs of this person, by digest.")
@click.option("--session", metavar="DIGEST", help="Runs of this session, by digest.")
@click.option("--since", "since_ns", metavar="TIME", type=Moment(), help="Started then or later: RFC 3339, or 90s, 15m, 2h, 7d ago.")
@click.option("--until", "until_ns", metavar="TIME", type=Moment(), help="Started before.")
@page_options
@ledger_option
@json_option
def runs(
    job: str | None,
    outcome: str | None,
    artifact: str | None,
    model: str | None,
    prompt: str | None,
    index: str | None,
    tag: str | None,
    conflict: bool,
    tenant: str | None,
    subject: str | None,
    session: str | None,
    since_ns: int | None,
    until_ns: int | None,
    limit: int,
    after: str | None,
    ledger_url: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    if tag is not None:
        # The API writes key:value, people write key=value; the first mark of either parts them.
        key, mark, value = tag.partition("=" if "=" in tag else ":")
        if not mark or not key:
            raise click.BadParameter("expected KEY=VALUE", param_hint="--tag")
        tag = f"{key}:{value}"
    given = [f"{kind}:{name}" for kind, name in (("model", model), ("prompt", prompt), ("index", index)) if name is not None]
    if len(given) + (artifact is not None) > 1:
        raise click.UsageError("one of --artifact, --model, --prompt and --index at a time")
    artifact = given[0] if given else artifact
    with existing_ledger(ledger_url) as ledger:
        page = empty_page() if ledger is None else ledger.runs(
            limit=limit, after=after, job=job, outcome=outcome, artifact=artifact, tag=tag, conflict=conflict or None, tenant=tenant,
            subject=subject, session=session, since=_moment(since_ns), until=_moment(until_ns),
        )  # fmt: skip
        if ledger is not None and not page["items"] and after is None:
            suggest(lambda: ledger.impact(artifact, limit=1) if artifact else None)
            suggest(lambda: ledger.lastgood(job) if job else None)
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


def _moment(ns: int | None) -> str | None:
    return rfc3339(ns) if ns is not None else None
