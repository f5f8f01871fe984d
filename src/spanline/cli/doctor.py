"""`spanline doctor`: what is configured, what answers, what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from spanline.cli.options import json_option, ledger_option, settings_for
from spanline.cli.text import bad, bold, faint, good, say, say_json, shown, warned


@click.command()
@ledger_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, ledger_url: str | None, as_json: bool) -> None:
    """Say what is configured and from where, what answers, and what is missing. Exit status 1 if something is broken."""
    from spanline.cli import checks
    from spanline.cli.endpoints import check_endpoints

    settings = settings_for(ledger_url=ledger_url)

    def all_findings() -> Iterator[checks.Finding]:
        yield from checks.check_settings(settings, os.environ)
        yield from checks.check_state(settings)
        yield from checks.check_journals(settings)
        yield from checks.check_ledger(settings)
        yield from checks.check_hash_key(settings)
        yield from checks.check_tracing(settings, os.environ)
        yield from checks.check_transports(settings)
        yield from check_endpoints(settings, os.environ)
        yield from checks.check_extras()

    marks = {"ok": good("ok    "), "note": faint("note  "), "warn": warned("warn  "), "broken": bad("BROKEN")}
    findings: list[checks.Finding] = []
    area = ""
    for finding in all_findings():
        findings.append(finding)
        if as_json:
            continue
        if finding.area != area:
            area = finding.area
            say(bold(area))
        say(f"  {marks[finding.level]}  {shown(finding.message)}")
        if finding.hint:
            say(f"          {faint(shown(finding.hint))}")
    broken = sum(finding.level == "broken" for finding in findings)
    if as_json:
        say_json({"ok": not broken, "checks": [finding._asdict() for finding in findings]})
    else:
        say()
        say(bad(f"{broken} thing{'s' if broken > 1 else ''} broken") if broken else good("nothing is broken"))
    ctx.exit(1 if broken else 0)
