"""`spanline deploy boards`: dashboards, recording rules and alerts, for given addresses."""

from __future__ import annotations

from pathlib import Path

import click

from spanline.cli.links import write_files
from spanline.cli.options import json_option, settings_for

_OURS = ("grafana-dashboards/", "deploy/prometheus/")


@click.command()
@click.option("--base-url", metavar="URL", help="Where run pages are: `spanline serve`, or the service itself.")
@click.option("--grafana", metavar="URL", help="Grafana, as browsers reach it.")
@click.option("--jaeger", metavar="URL", help="Jaeger's UI.")
@click.option("--runbooks", metavar="URL", help="Where the runbooks are kept; the project's own by default.")
@click.option("--write", "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), required=True, help="Write below DIR.")
@json_option
def boards(base_url: str | None, grafana: str | None, jaeger: str | None, runbooks: str | None, folder: Path, as_json: bool) -> None:
    """Write the Grafana dashboards, recording rules and alerts below a folder.

    An address that is not given is taken from its setting (SPANLINE_GRAFANA_URL and so on), else from the compose example.
    """
    from spanline.deploy.generate import files
    from spanline.deploy.rules import Bases

    settings, example = settings_for(), Bases()
    at = Bases(
        grafana=grafana or settings.grafana_url or example.grafana,
        runbooks=runbooks or example.runbooks,
        runs=base_url or settings.base_url or settings.server_url or example.runs,
        jaeger=jaeger or settings.jaeger_url or example.jaeger,
    )
    wanted = {path: text for path, text in files(Bases(*(url.rstrip("/") for url in at))).items() if path.startswith(_OURS)}
    write_files(folder, wanted, as_json=as_json)
