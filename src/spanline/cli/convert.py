"""`spanline convert`: OTLP traces and logs in, OpenLineage events out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from spanline.cli.options import settings_for
from spanline.convert.converter import Converter

BROKEN = 1
"""Exit status when something could not be read."""


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--to", type=click.Choice(["openlineage", "record"]), default="openlineage", show_default=True,
    help="What to write: START and terminal event of every run, or one record a run.",
)  # fmt: skip
@click.option("--namespace", metavar="NAME", help="Job namespace of all runs.")
@click.option("--service", metavar="NAME", help="Service of all runs, instead of what their resources say.")
@click.pass_context
def convert(ctx: click.Context, files: tuple[str, ...], to: str, namespace: str | None, service: str | None) -> None:
    """Convert OTLP traces and logs to OpenLineage events, one a line.

    FILE is protobuf (one request, or the Collector's length-delimited form) or JSON (one request, or one a line), also gzip; `-` or
    no FILE is standard input. All files of one call are one input. Nothing goes over the network, and nothing is left on the disk.

    Exit status 0 when all was read, 1 when something was broken (a line on standard error names it, the rest is converted).
    """
    names = list(dict.fromkeys(files or ("-",)))
    for name in names:
        _check(name)
    settings = settings_for()
    for warning in settings.warnings:
        _say(f"warning: {warning}")
    converter = Converter(settings, namespace=namespace or None, service=service or None, warn=lambda text: _say(f"warning: {text}"))
    broken = False

    for name in names:

        def report(line: int, reason: str, name: str = name) -> None:
            nonlocal broken
            broken = True
            _say(f"{name}:{line}: {reason}")

        if name == "-":
            converter.read(sys.stdin.buffer, report)
            continue
        with Path(name).open("rb") as stream:
            converter.read(stream, report)
    try:
        _write(converter, to)
    except BrokenPipeError:
        # Whoever reads has enough; the interpreter must not find a pipe to flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if broken:
        ctx.exit(BROKEN)


def _check(name: str) -> None:
    """All files are there before anything is written.

    Raises:
        click.UsageError: This one cannot be read.
    """
    if name == "-":
        return
    try:
        if not name:
            raise click.UsageError("an empty file name; `-` is standard input")
        if Path(name).is_dir():
            raise click.UsageError(f"{name}: a folder, expected a file")
        Path(name).open("rb").close()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{name}: {getattr(error, 'strerror', None) or 'not a file name'}") from error


def _write(converter: Converter, to: str) -> None:
    out = sys.stdout.buffer
    for line in converter.lines(to):
        out.write(line + b"\n")
    out.flush()


def _say(text: str) -> None:
    click.echo(f"spanline convert: {text}", err=True)
