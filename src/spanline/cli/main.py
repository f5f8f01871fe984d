"""`spanline`: the group of all commands; a command's module is imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from spanline.errors import SpanlineError

COMMANDS: dict[str, str] = {
    "convert": "spanline.cli.convert:convert",
    "serve": "spanline.cli.serve:serve",
    "relay": "spanline.cli.relay:relay",
    "consume": "spanline.cli.consume:consume",
    "trace": "spanline.cli.trace:trace",
    "runs": "spanline.cli.runs:runs",
    "artifacts": "spanline.cli.artifacts:artifacts",
    "lineage": "spanline.cli.lineage:lineage",
    "impact": "spanline.cli.impact:impact",
    "diff": "spanline.cli.diff:diff",
    "lastgood": "spanline.cli.lastgood:lastgood",
    "conflicts": "spanline.cli.conflicts:conflicts",
    "gaps": "spanline.cli.gaps:gaps",
    "erase": "spanline.cli.erase:erase",
    "export": "spanline.cli.export:export",
    "evaluate": "spanline.cli.evaluate:evaluate",
    "doctor": "spanline.cli.doctor:doctor",
    "journal": "spanline.cli.journal:journal",
    "deploy": "spanline.cli.deploy:deploy",
    "completion": "spanline.cli.completion:completion",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        return getattr(importlib.import_module(module), name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find what was typed; what is no command gets the nearest ones for an answer."""
        name = args[0]
        near = difflib.get_close_matches(name, COMMANDS, 3)
        if near and name not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}. Did you mean {' or '.join(map(repr, near))}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors become one line that says what to do."""
        try:
            return super().invoke(ctx)
        except SpanlineError as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Settings are environment variables (SPANLINE_…); `spanline doctor` shows which are in force and from where.",
)
@click.version_option(package_name="spanline", prog_name="spanline")
def main() -> None:
    """One trace id, from an answer to everything that made it."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows a question mark instead of failing.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
