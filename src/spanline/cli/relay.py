"""`spanline relay`: delivery alone, beside an app whose own relay is off; and `spanline relay replay`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spanline.cli.options import Moment, journal_option, journals, json_option, ledger_option, settings_for, sqlite_file
from spanline.cli.text import bad, good, say, say_json, shown
from spanline.lineage.producer import PRODUCER
from spanline.settings import Settings, slug
from spanline.times import rfc3339

if TYPE_CHECKING:
    from spanline.ledger import Ledger


@click.group(invoke_without_command=True)
@journal_option
@ledger_option
@click.option("--once", is_flag=True, help="Deliver what is there, then end; exit status 1 if something is left after --timeout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="With --once.")
@json_option
@click.pass_context
def relay(ctx: click.Context, journal_dir: Path | None, ledger_url: str | None, once: bool, timeout_s: float, as_json: bool) -> None:
    """Deliver the journals of this state folder until a signal comes."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = journal_dir, ledger_url
        return
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
        told = {"journals": str(delivery.folder), "consumers": delivery.consumer_names}
        if not as_json:
            say(f"journals   {delivery.folder}")
            say(f"consumers  {', '.join(delivery.consumer_names) or 'none: no ledger (server extra) and no OPENLINEAGE_URL'}")
        if once:
            delivered = delivery.flush(timeout_s)
            if as_json:
                say_json({**told, "delivered": delivered})
            if not delivered:
                say(
                    f"not all was delivered in {timeout_s:g} s; it stays in the journal. `spanline doctor` says what does not answer.",
                    err=True,
                )
                delivery.close_s = 0.2  # the time is up
                ctx.exit(1)
            return
        if as_json:
            say_json(told)
        else:
            say("Ctrl-C ends it.")
        stop.wait()


@relay.command()
@click.option("--since", "since_ns", type=Moment(), required=True, help="Events of this time and later: RFC 3339, or 90s, 15m, 2h, 7d ago.")
@click.option("--to", "--until", "until_ns", type=Moment(), help="… and before this time; now by default.")
@click.option("--consumer", "names", multiple=True, metavar="NAME", help="Only to this one (of several: again); all transports by default.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="For one that is away."
)
@journal_option
@ledger_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    since_ns: int,
    until_ns: int | None,
    names: tuple[str, ...],
    timeout_s: float,
    journal_dir: Path | None,
    ledger_url: str | None,
    as_json: bool,
) -> None:
    """Send the events of a stretch of time once more: from the journal, and from the ledger what the journal has no more.

    A consumer knows an event that it has already by run id and time, so a replay may be repeated. What is refused is parked.
    Exit status 1 if something was parked or left.
    """
    from spanline.cli.delivery import consumers_of
    from spanline.relay.parked import ParkedStore
    from spanline.relay.replay import Head, Replayed, events
    from spanline.relay.replay import replay as send
    from spanline.runtime.delivery import LedgerHolder

    above = ctx.obj or (None, None)
    journal_dir, ledger_url = journal_dir or above[0], ledger_url or above[1]
    settings = settings_for(ledger_url=ledger_url)
    until_ns = time.time_ns() if until_ns is None else until_ns
    if since_ns >= until_ns:
        raise click.UsageError(f"--since ({rfc3339(since_ns)}) is not before --to ({rfc3339(until_ns)}): nothing lies between them")
    folders = journals(journal_dir, settings)
    holder = LedgerHolder(settings)
    consumers = {consumer.name: consumer for consumer in consumers_of(settings, holder)}
    for name in names:
        if name not in consumers:
            raise click.UsageError(f"no consumer {name!r}; configured here: {', '.join(sorted(consumers)) or 'none'}")
    wanted = [consumers[name] for name in names] or [consumer for name, consumer in consumers.items() if name != "ledger"]
    if not wanted:
        raise click.UsageError("no transport is configured: set OPENLINEAGE_URL, or OPENLINEAGE_CONFIG")

    def belongs(head: Head) -> bool:
        # Others send to the ledger too, and one given journal is that of one service.
        mine = journal_dir is None or any(slug(head.job.name).startswith(f"{folder.name}.") for folder in folders)
        return mine and head.producer == PRODUCER

    with ExitStack() as stack:
        stack.callback(holder.close)
        ledger = _ledger(settings)
        if ledger is not None:
            stack.callback(ledger.close)

        def kept() -> Iterable[bytes]:
            return ledger.originals(rfc3339(since_ns), rfc3339(until_ns)) if ledger is not None else ()

        items: list[Replayed] = []
        for consumer in wanted:
            stack.callback(consumer.close, 1.0)
            parked = ParkedStore(folders[0] if folders else settings.journal_dir, consumer.name)
            items.append(send(events(folders, since_ns, until_ns, kept, belongs), consumer, parked, timeout_s=timeout_s))
    if as_json:
        say_json(
            {"items": [{"consumer": one.consumer, "sent": one.sent, "parked": one.parked, "left": one.left} for one in items], "next": None}
        )
    for one in () if as_json else items:
        rest = ", ".join(f"{count} {what}" for count, what in ((one.parked, "parked"), (one.left, "left: it does not answer")) if count)
        say(f"{shown(one.consumer)}: {good(f'{one.sent} events sent')}{', ' + bad(rest) if rest else ''}")
    ctx.exit(1 if any(one.parked or one.left for one in items) else 0)


def _ledger(settings: Settings) -> Ledger | None:
    """The ledger that is there; a replay makes none."""
    from spanline.runtime.delivery import LedgerHolder

    file = sqlite_file(settings.effective_ledger_url)
    if (file is not None and not file.exists()) or not LedgerHolder(settings).wanted:
        return None
    from spanline.ledger import Ledger

    return Ledger.open(settings.effective_ledger_url)
