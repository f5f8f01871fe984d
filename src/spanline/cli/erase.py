"""`spanline erase`: delete from the ledger all requests of a person, tenant or session."""

from __future__ import annotations

import click

from spanline.cli.options import existing_ledger, json_option, ledger_option
from spanline.cli.text import good, say, say_json, shown


@click.command()
@click.argument("whose", type=click.Choice(["subject", "tenant", "session"]))
@click.argument("digest")
@click.option("--yes", is_flag=True, help="Do not ask.")
@ledger_option
@json_option
def erase(whose: str, digest: str, yes: bool, ledger_url: str | None, as_json: bool) -> None:
    """Delete all requests of a person, tenant or session from the ledger.

    DIGEST is the keyed digest that stands for them, as `spanline trace` shows it (hmac-sha256:…). The journal is not touched: what was delivered
    goes from there with its segments.
    """
    if not yes:
        click.confirm(f"Delete all requests of {whose} {shown(digest)}?", abort=True, err=True)
    with existing_ledger(ledger_url) as ledger:
        deleted = 0 if ledger is None else ledger.erase(whose, digest)
    if as_json:
        say_json({"whose": whose, "digest": digest, "deleted": deleted})
    else:
        say(good(f"deleted {deleted} run{'' if deleted == 1 else 's'}"))
