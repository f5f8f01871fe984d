"""`spanline journal`: what is in the journals, whether they are unchanged, and what was parked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spanline.cli.options import journal_option, journals, json_option, settings_for
from spanline.cli.text import bad, bold, faint, good, say, say_json, shown, table, warned


@click.group()
def journal() -> None:
    """Look at the journals: segments, hash chain, parked events."""


def _folders(directory: Path | None) -> list[Path]:
    settings = settings_for()
    found = journals(directory, settings)
    if not found:
        say(f"no journal at {directory or settings.base / 'journal'}; name one with --journal, SPANLINE_HOME or SPANLINE_STATE", err=True)
    return found


@journal.command()
@journal_option
@json_option
def ls(journal_dir: Path | None, as_json: bool) -> None:
    """List segments, oldest first, and how far each consumer has read."""
    from spanline.journal import chain, cursors, reader
    from spanline.journal.segment import alive
    from spanline.times import rfc3339

    documents: list[dict[str, Any]] = []
    for folder in _folders(journal_dir):
        sealed = {str(entry["segment"]) for entry in chain.entries(folder) if "segment" in entry}
        read = cursors.registered(folder)
        found = [
            {
                "segment": s.name, "bytes": s.size, "createdAt": rfc3339(s.created_us * 1000), "pid": s.pid,
                "state": "sealed" if s.name in sealed else "open" if alive(s) else "unsealed",
                "unread": {consumer: max(0, s.size - offsets.get(s.name, 0)) for consumer, offsets in read.items()},
            }
            for s in reader.segments(folder)
        ]  # fmt: skip
        documents.append({"journal": str(folder), "segments": found, "consumers": sorted(read)})
    if as_json:
        say_json({"items": documents, "next": None})
        return
    for document in documents:
        say(bold(shown(document["journal"])))
        rows = [
            [s["segment"], f"{s['bytes']:,}", s["state"], ", ".join(f"{c} {n:,}" for c, n in s["unread"].items() if n) or good("all read")]
            for s in document["segments"]
        ]
        for line in table(["segment", "bytes", "state", "unread bytes"], rows) if rows else ["  empty"]:
            say(line)


@journal.command()
@journal_option
@json_option
@click.pass_context
def verify(ctx: click.Context, journal_dir: Path | None, as_json: bool) -> None:
    """Check every journal against its hash chain; exit status 1 if something was changed."""
    from spanline.journal.verify import verify as check

    reports = [(folder, check(folder)) for folder in _folders(journal_dir)]
    ok = all(report.ok for _, report in reports)
    if as_json:
        import msgspec

        say_json({"ok": ok, "items": [{"journal": str(folder), **msgspec.to_builtins(report)} for folder, report in reports], "next": None})
    for folder, report in () if as_json else reports:
        counts = f"{report.segments} segments, {report.sealed} sealed, {report.open} still written, {report.removed} removed"
        say(f"{good('unchanged') if report.ok else bad('CHANGED')}  {shown(str(folder))}  {faint(counts)}")
        for finding in report.findings:
            say(f"    {warned(shown(finding.kind))}  {shown(finding.message)}")
    ctx.exit(0 if ok else 1)


@journal.command()
@click.option("--limit", type=click.IntRange(1), help="How many; all by default.")
@click.option("--after", metavar="CURSOR", help="Go on after this cursor (`next` of the page before).")
@journal_option
@json_option
def parked(limit: int | None, after: str | None, journal_dir: Path | None, as_json: bool) -> None:
    """List the events that a consumer refused, and why."""
    from spanline.relay.parked import parked as parked_in

    found = [{**item.shown(), "journal": folder.name} for folder in _folders(journal_dir) for item in parked_in(folder)]
    # By what stays as it is when others are retried meanwhile; each was parked at a moment of its own.
    items = [item for item in sorted(found, key=_cursor) if after is None or _cursor(item) > after]
    following = _cursor(items[limit - 1]) if limit is not None and len(items) > limit else None
    items = items[:limit]
    if as_json:
        say_json({"items": items, "next": following})
        return
    if not items:
        say(good("nothing is parked"))
        return
    header = ["consumer", "run", "event", "status", "tries", "parked at", "reason"]
    rows = [
        [shown(item.get(key)) for key in ("consumer", "runId", "eventType", "status", "attempts", "parkedAt")]
        + [warned(shown(item.get("reason")))]
        for item in items
    ]
    for line in table(header, rows):
        say(line)
    if following is not None:
        say(faint(f"more: --after '{following}'"))
    say(faint("`spanline journal retry` tries them again"))


def _cursor(item: dict[str, Any]) -> str:
    return "/".join(str(item.get(key) or "") for key in ("journal", "consumer", "parkedAt", "runId", "eventType"))


@journal.command()
@click.argument("run_id", required=False)
@journal_option
@json_option
@click.pass_context
def retry(ctx: click.Context, run_id: str | None, journal_dir: Path | None, as_json: bool) -> None:
    """Try parked events again: those of RUN_ID, or all. Exit status 1 if something stays parked."""
    from spanline.cli.delivery import consumers_of
    from spanline.relay.parked import consumers as with_parked
    from spanline.relay.retry import retry as retry_in
    from spanline.runtime.delivery import LedgerHolder

    settings = settings_for()
    holder = LedgerHolder(settings)
    items: list[dict[str, Any]] = []
    for folder in _folders(journal_dir):
        waiting = set(with_parked(folder))
        consumers = consumers_of(settings, holder)
        done = retry_in(folder, [consumer for consumer in consumers if consumer.name in waiting], run_id=run_id)
        items += [{"journal": folder.name, "consumer": one.consumer, "sent": one.sent, "parked": one.parked} for one in done]
        # What is configured no more cannot be tried.
        items += [
            {"journal": folder.name, "consumer": name, "sent": 0, "parked": None, "reason": "not configured here"}
            for name in sorted(waiting - {consumer.name for consumer in consumers})
        ]
        for consumer in consumers:
            consumer.close(1.0)
    holder.close()
    if as_json:
        say_json({"items": items, "next": None})
    elif not items:
        say(good("nothing is parked"))
    for item in () if as_json else items:
        left = (
            bad("is not configured here; its events stay parked")
            if "reason" in item
            else f"{item['sent']} sent, {item['parked']} still parked"
        )
        say(f"{shown(item['journal'])}  {shown(item['consumer'])}: {left}")
    ctx.exit(1 if any(item["parked"] != 0 for item in items) else 0)
