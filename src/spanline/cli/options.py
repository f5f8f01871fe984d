"""Options that several commands share, and how they open what they name."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import click

from spanline.cli.text import say
from spanline.errors import MissingExtra, SpanlineError, UnknownReference
from spanline.settings import Settings
from spanline.times import parse_rfc3339

if TYPE_CHECKING:
    from spanline.cli.remote import RemoteLedger
    from spanline.ledger import Ledger

NOT_FOUND = 4
"""Exit status of what nothing is known of (contract.md, "Command line")."""

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

L = TypeVar("L", "Ledger", "RemoteLedger")
F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]  (older versions of click have none)
    """A time: RFC 3339, or how long ago (`90s`, `15m`, `2h`, `7d`); Unix nanoseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed."""
        text = str(value).strip()
        ago = _AGO.match(text)
        if ago is not None:
            return time.time_ns() - int(float(ago[1]) * _SECONDS[ago[2]] * 1e9)
        try:
            return parse_rfc3339(text)
        except ValueError:
            self.fail(f"{text!r}: expected a time like 2026-11-21T12:00:00Z, or 90s, 15m, 2h, 7d ago", param, ctx)


def json_option(function: F) -> F:
    """`--json`: one JSON document instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(function)


def ledger_option(function: F) -> F:
    """`--ledger URL`."""
    return click.option("--ledger", "ledger_url", metavar="URL", help="Ledger to ask or keep (sqlite:///… or postgresql://…).")(function)


def page_options(function: F) -> F:
    """`--limit` and `--after` of lists."""
    function = click.option("--after", metavar="CURSOR", help="Go on after this cursor (`next` of the page before).")(function)
    return click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")(function)


def journal_option(function: F) -> F:
    """`--journal DIR`."""
    return click.option(
        "--journal", "journal_dir", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
        help="Journal of a service, or the folder with the journals of all.",
    )(function)  # fmt: skip


def settings_for(**given: Any) -> Settings:
    """Settings of this process, with what the options say; `None` says nothing."""
    return Settings.resolve({name: value for name, value in given.items() if value is not None})


def need_server_extra(feature: str) -> None:
    """Say which extra is missing.

    Raises:
        MissingExtra: The ledger's or the server's packages are not installed.
    """
    for module in ("sqlalchemy", "starlette", "uvicorn"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(feature, module, "server")


def empty_page() -> dict[str, Any]:
    """The answer where nothing was recorded yet."""
    return {"items": [], "next": None}


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for others and for databases in memory."""
    if not url.startswith("sqlite"):
        return None
    path = unquote(url.partition("///")[2].partition("?")[0])
    return Path(path) if path and path != ":memory:" else None


@contextmanager
def existing_ledger(url: str | None) -> Generator[Ledger | RemoteLedger | None]:
    """The ledger that the option or the settings name; None, with a word on standard error, where nothing was recorded yet.

    Where `SPANLINE_SERVER_URL` is set the runs are there and no ledger is kept here: it is asked, unless the option names a ledger.

    Raises:
        MissingExtra: The server extra is not installed.
        LedgerError: It cannot be opened.
    """
    settings = settings_for(ledger_url=url)
    if url is None and settings.server_url:
        from spanline.cli.remote import RemoteLedger

        with _asked(RemoteLedger(settings)) as remote:
            yield remote
        return
    file = sqlite_file(settings.effective_ledger_url)
    if file is not None and not file.exists():
        # A question makes no empty ledger.
        say(
            f"no ledger at {file}: nothing was recorded there yet. Name another with --ledger, SPANLINE_LEDGER_URL or SPANLINE_HOME.",
            err=True,
        )
        yield None
        return
    need_server_extra("The ledger")
    from spanline.ledger import Ledger

    with _asked(Ledger.open(settings.effective_ledger_url)) as ledger:
        yield ledger


def ask(url: str | None, question: Callable[[Ledger | RemoteLedger], dict[str, Any]]) -> dict[str, Any]:
    """The answer of the ledger; ends the command with exit status 4 where it does not know what is meant, or there is none."""
    try:
        with existing_ledger(url) as ledger:
            if ledger is not None:
                return question(ledger)
    except UnknownReference as error:
        say(str(error), err=True)
    raise click.exceptions.Exit(NOT_FOUND)


def suggest(question: Callable[[], object]) -> None:
    """Say on standard error what a list was empty for, and what is near: the ledger does not know the name. Else nothing is said."""
    try:
        question()
    except UnknownReference as error:
        say(str(error), err=True)


@contextmanager
def _asked(ledger: L) -> Generator[L]:
    try:
        yield ledger
    except SpanlineError:
        raise
    except ValueError as error:
        # A cursor, time or reference that is none; the ledger says which.
        raise click.UsageError(str(error)) from error
    finally:
        ledger.close()


def journals(directory: Path | None, settings: Settings) -> list[Path]:
    """Journal folders: the one given, or each of a folder of journals; of all services of this state folder by default."""
    base = directory if directory is not None else settings.base / "journal"
    if not base.is_dir():
        return []
    if any(base.glob("*.ndjson*")):
        return [base]
    return sorted(child for child in base.iterdir() if child.is_dir())
