"""`spanline export`: the ledger's days as Parquet files."""

from __future__ import annotations

import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from spanline.cli.options import Moment, json_option, ledger_option, need_server_extra, settings_for, sqlite_file
from spanline.cli.text import faint, good, say, say_json, shown, warned
from spanline.errors import ConfigurationError

_EVERY_S = 1.0


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--since", "since_ns", type=Moment(), help="From the day of this time on: RFC 3339, or 90s, 15m, 2h, 7d ago.")
@click.option(
    "--older-than", "--before", "before_ns", type=Moment(), help="Only whole days before this time; by default all before today, UTC."
)
@click.option("--no-events", "no_events", is_flag=True, help="Without the events as they came in, from which all else could be made again.")
@click.option("--again", is_flag=True, help="Also days that are there, also where the ledger has less of them: after an erasure.")
@ledger_option
@json_option
def export(
    folder: Path, since_ns: int | None, before_ns: int | None, no_events: bool, again: bool, ledger_url: str | None, as_json: bool
) -> None:
    """Write the ledger's whole days into FOLDER as Parquet files, a folder a table and day.

    A day is put in place whole; a day that is there is left, unless the ledger has learnt more of it. So it may be stopped at any time and run again,
    best once a day. Nothing is deleted from the ledger: that is SPANLINE_LEDGER_MAX_AGE.
    """
    need_server_extra("`spanline export`")
    from spanline.export.exporting import KEPT, WRITTEN, Exported
    from spanline.export.exporting import export as run
    from spanline.ledger.database import Database

    settings = settings_for(ledger_url=ledger_url)
    if settings.server_url and ledger_url is None:
        raise ConfigurationError(
            "the runs are on a server (SPANLINE_SERVER_URL): export them where its ledger is, or name one with --ledger"
        )
    file = sqlite_file(settings.effective_ledger_url)
    if file is not None and not file.exists():
        raise ConfigurationError(f"no ledger at {file}; name another with --ledger, SPANLINE_LEDGER_URL or SPANLINE_HOME")
    today = datetime.now(UTC).date()
    before = min(_day(before_ns), today) if before_ns is not None else today
    since = _day(since_ns) if since_ns is not None else None
    told_at = 0.0

    def progress(day: date, runs: int) -> None:
        nonlocal told_at
        if sys.stderr.isatty() and time.monotonic() - told_at >= _EVERY_S:
            told_at = time.monotonic()
            click.echo(f"\r{day}  {runs:,} runs", err=True, nl=False)

    found: list[Exported] = []
    database = Database(settings.effective_ledger_url)
    try:
        for one in run(database, folder, before=before, since=since, bodies=not no_events, again=again, on_progress=progress):
            found.append(one)
            if as_json:
                continue
            size = f"{one.runs:,} runs, {one.bytes:,} bytes"
            if told_at:
                click.echo("\r", err=True, nl=False)
            if one.what == KEPT:
                say(f"{one.day}  {warned('kept')}  {faint(f'{size}; the ledger has less of this day')}")
            else:
                say(f"{one.day}  {good(one.what) if one.what == WRITTEN else faint(one.what)}  {faint(size)}")
    finally:
        database.close()
    if as_json:
        items = [{"day": str(one.day), "what": one.what, "runs": one.runs, "bytes": one.bytes} for one in found]
        say_json({"folder": str(folder), "items": items, "next": None})
    elif not found:
        say(f"no whole day before {before} in the ledger; nothing was written to {shown(str(folder))}")


def _day(ns: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)).date()
