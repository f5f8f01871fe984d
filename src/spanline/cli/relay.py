"""`spanline relay`: delivery alone, beside an app whose own relay is off."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from spanline.cli.options import journal_option, ledger_option, settings_for, sqlite_file
from spanline.cli.text import say


@click.command()
@journal_option
@ledger_option
@click.option("--once", is_flag=True, help="Deliver what is there, then end; exit status 1 if something is left after --timeout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="With --once.")
@click.pass_context
def relay(ctx: click.Context, journal_dir: Path | None, ledger_url: str | None, once: bool, timeout_s: float) -> None:
    """Deliver the journals of this state folder until a signal comes."""
    from spanline.cli.delivery import Delivery
    from spanline.cli.serve import make_folder

    settings = settings_for(ledger_url=ledger_url)
    file = sqlite_file(settings.effective_ledger_url)
    if file is not None:
        make_folder(file.parent)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    with Delivery(settings, journal_dir) as delivery:
        say(f"journals   {delivery.folder}")
        say(f"consumers  {', '.join(delivery.consumer_names) or 'none: no ledger (server extra) and no OPENLINEAGE_URL'}")
        if once:
            if not delivery.flush(timeout_s):
                say(
                    f"not all was delivered in {timeout_s:g} s; it stays in the journal. `spanline doctor` says what does not answer.",
                    err=True,
                )
                delivery.close_s = 0.2  # the time is up
                ctx.exit(1)
            return
        say("Ctrl-C ends it.")
        stop.wait()
