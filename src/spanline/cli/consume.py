"""`spanline consume`: OpenLineage events of a Kafka topic into the ledger, as a member of a consumer group."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from spanline.cli.options import json_option, ledger_option, need_server_extra, settings_for, sqlite_file
from spanline.cli.text import say, say_json_line, shown, warned
from spanline.errors import TransportError
from spanline.times import rfc3339

if TYPE_CHECKING:
    from spanline.consume.intake import Progress
    from spanline.ledger import Ledger
    from spanline.settings import Settings


@click.command()
@click.argument("source", required=False)
@click.option("--topic", metavar="NAME", help="Which one, where the file names several.")
@click.option("--group", metavar="NAME", help="Consumer group; several processes of one group share the partitions.  [default: spanline]")
@click.option("--once", is_flag=True, help="Read to the end, then stop; exit status 1 if that takes longer than --timeout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS", help="With --once.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0.1), default=10.0, show_default=True, metavar="SECONDS", help="Between two lines."
)
@ledger_option
@json_option
@click.pass_context
def consume(
    ctx: click.Context, source: str | None, topic: str | None, group: str | None, once: bool, timeout_s: float, every_s: float,
    ledger_url: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write the OpenLineage events of a Kafka topic into the ledger, until a signal comes.

    SOURCE is kafka://host:port[,host:port]/topic, or an openlineage.yml with a transport of type kafka; by default what OPENLINEAGE_URL or
    OPENLINEAGE_CONFIG name. An event that comes twice is kept once; what is no event is parked (`spanline journal parked`).
    """
    need_server_extra("`spanline consume`")
    from spanline.consume.intake import Intake
    from spanline.consume.parking import Parking
    from spanline.consume.source import topic_of

    # Here a ledger is kept, not sent to another server.
    settings = replace(settings_for(ledger_url=ledger_url), server_url=None)
    read = topic_of(settings, source, topic=topic, group=group)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    intake = Intake(read, lambda: _ledger(settings), Parking(settings.base / "journal", read.name))
    if not as_json:
        say(f"topic   {shown(read.name)} at {shown(read.brokers)}, group {shown(read.group)}")
        say(f"ledger  {shown(_place(settings))}")
        say("Ctrl-C ends it." if not once else "to its end")
    progress = _Telling(intake.progress, as_json, every_s)
    done = False
    deadline = time.monotonic() + timeout_s
    try:
        while not (stop.is_set() or done or (once and time.monotonic() >= deadline)):
            intake.turn(stop.is_set)
            progress.now_and_then()
            done = once and intake.idle
    except TransportError as error:
        raise click.ClickException(f"{error}; start it again") from error
    finally:
        intake.close()
        progress.tell()
    if once and not done:
        if not stop.is_set():
            say(f"the end was not reached in {timeout_s:g} s{': ' + intake.progress.trouble if intake.progress.trouble else ''}", err=True)
        ctx.exit(1)


def _ledger(settings: Settings) -> Ledger:
    from spanline.cli.serve import make_folder
    from spanline.ledger import Ledger

    file = sqlite_file(settings.effective_ledger_url)
    if file is not None:
        make_folder(file.parent)
    return Ledger.open(settings.effective_ledger_url, max_bytes=settings.ledger_max_bytes, max_age_s=settings.ledger_max_age_s)


def _place(settings: Settings) -> str:
    from spanline.cli.serve import shown_url

    return shown_url(settings.effective_ledger_url)


@dataclass
class _Telling:
    """One line now and then of how it goes."""

    progress: Progress
    as_json: bool
    every_s: float
    told_at: float = 0.0
    told_read: int = 0
    told_trouble: str = ""

    def now_and_then(self) -> None:
        """Tell, when it is time, or something is new in the way."""
        if time.monotonic() - self.told_at >= self.every_s or (self.progress.trouble and self.progress.trouble != self.told_trouble):
            self.tell()

    def tell(self) -> None:
        """One line."""
        now, progress = time.monotonic(), self.progress
        rate = (progress.read - self.told_read) / (now - self.told_at) if self.told_at else 0.0
        self.told_at, self.told_read, self.told_trouble = now, progress.read, progress.trouble
        if self.as_json:
            say_json_line({"at": rfc3339(time.time_ns()), **_document(progress), "perSecond": round(rate, 1)})
            return
        lag = "lag unknown" if progress.lag is None else f"lag {progress.lag:,}"
        parts = [f"{progress.read:,} read", f"{progress.written:,} new", f"{rate:,.0f}/s", lag, f"{progress.partitions} partitions"]
        parts += [f"{count:,} {what}" for count, what in ((progress.duplicates, "known before"), (progress.empty, "empty")) if count]
        say(", ".join(parts) + (f", {warned(f'{progress.parked:,} parked')}" if progress.parked else ""))
        if progress.dropped:
            say(warned(f"{progress.dropped:,} parked events had to go: the topic still has them; see `spanline journal parked`"))
        if progress.trouble:
            say(warned(shown(progress.trouble)))


def _document(progress: Progress) -> dict[str, Any]:
    return {
        "read": progress.read, "written": progress.written, "duplicates": progress.duplicates, "empty": progress.empty,
        "parked": progress.parked, "dropped": progress.dropped, "lag": progress.lag, "partitions": progress.partitions,
        "trouble": progress.trouble or None,
    }  # fmt: skip
