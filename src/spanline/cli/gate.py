"""`spanline deploy gate`: what the ledger knows of a release, for a policy to judge."""

from __future__ import annotations

import json
from pathlib import Path

import click

from spanline.cli.options import existing_ledger, json_option, ledger_option, settings_for
from spanline.cli.text import say_json


@click.command()
@click.option("--release", required=True, metavar="VERSION", help="The release (service.version) that is to get traffic.")
@click.option("--service", metavar="NAME", help="Its service; SPANLINE_SERVICE by default.")
@click.option("--image-digest", metavar="SHA256", help="The image that is to be released; the policy then wants runs of it.")
@click.option("--since", metavar="TIME", help="Only runs started at or after (RFC 3339).")
@click.option("--until", metavar="TIME", help="Only runs started before (RFC 3339).")
@click.option("--limit", type=click.IntRange(1), default=2000, show_default=True, help="Most runs that are read, the newest first.")
@click.option("--server", "server_url", metavar="URL", help="Ask this `spanline serve`; SPANLINE_SERVER_URL by default.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to this file instead of standard output."
)
@ledger_option
@json_option
def gate(
    release: str,
    service: str | None,
    image_digest: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    server_url: str | None,
    output: Path | None,
    ledger_url: str | None,
    as_json: bool,
) -> None:
    """Print what is known of a release as one JSON document, the input of a release policy.

    \b
    spanline deploy gate --service fee-assistant --release 1.4.2 > release.json
    opa eval --fail --data deploy/policy --input release.json 'allowed := data.spanline.release.allow; allowed == true'
    """  # noqa: D301  (click's mark for lines that are not to be joined)
    del as_json  # there is no other form of it
    from spanline.deploy.gate import Source, gate_input
    from spanline.times import parse_rfc3339

    for option, moment in (("--since", since), ("--until", until)):
        try:
            parse_rfc3339(moment) if moment else None
        except ValueError:
            raise click.BadParameter(f"{moment!r} is no time; expected RFC 3339, e.g. 2026-11-21T12:00:00Z", param_hint=option) from None
    if server_url and ledger_url:
        raise click.UsageError("--server and --ledger: give one")
    settings = settings_for(service=service, server_url=server_url)
    if settings.service == "unknown_service":
        raise click.UsageError("which service? Give --service, or set SPANLINE_SERVICE.")

    def show(source: Source) -> None:
        document = gate_input(
            source, service=settings.service, release=release, image_digest=image_digest, since=since, until=until, limit=limit
        )  # fmt: skip
        if output is None:
            say_json(document)
        else:
            output.write_text(json.dumps(document), encoding="utf-8")

    if settings.server_url and not ledger_url:
        from spanline.cli.remote import RemoteLedger

        remote = RemoteLedger(settings, tries=3)
        try:
            show(remote)
        finally:
            remote.close()
        return
    with existing_ledger(ledger_url) as ledger:
        show(_Nothing() if ledger is None else ledger)


class _Nothing:
    """Nothing was recorded yet."""

    def runs(self, **filters: object) -> dict[str, object]:
        """No runs."""
        return {"items": [], "next": None}

    def run(self, id: str) -> None:
        """Unknown."""
