"""`spanline deploy links`: what other tools have to be told, for given addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from spanline.cli.options import json_option, settings_for
from spanline.cli.text import bold, faint, say, say_json

_EXAMPLE = "0af7651916cd43dd8448eb211c80319c"
_WHERE = {
    "links.env": "Environment of the service, and of `spanline serve`.",
    "grafana": "Grafana reads it below /etc/grafana (GF_PATHS_PROVISIONING); grafana-dashboards/ is mounted at the path of the provider.",
    "jaeger": "Jaeger v2: extensions.jaeger_query.ui.config_file names this file.",
}


@click.command()
@click.option("--base-url", metavar="URL", help="Where run pages are: `spanline serve`, or the service itself.")
@click.option("--grafana", metavar="URL", help="Grafana, as browsers reach it.")
@click.option("--jaeger", metavar="URL", help="Jaeger's UI.")
@click.option("--marquez", metavar="URL", help="Marquez' web UI.")
@click.option("--mlflow", metavar="URL", help="MLflow's UI.")
@click.option("--repository", metavar="URL", help="Repository of the service's code.")
@click.option("--traces", type=click.Choice(["jaeger", "tempo"]), default="jaeger", show_default=True, help="Where traces are.")
@click.option("--prometheus", metavar="URL", default="http://prometheus:9090", show_default=True, help="Prometheus, as Grafana reaches it.")
@click.option(
    "--trace-store", metavar="URL", help="Jaeger or Tempo, as Grafana reaches it  [default: http://jaeger:16686 or http://tempo:3200]"
)
@click.option("--loki", metavar="URL", help="Loki, as Grafana reaches it.")
@click.option("--write", "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Write the files below DIR.")
@json_option
def links(
    base_url: str | None, grafana: str | None, jaeger: str | None, marquez: str | None, mlflow: str | None, repository: str | None,
    traces: Literal["jaeger", "tempo"], prometheus: str, trace_store: str | None, loki: str | None, folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Print the configuration that makes spanline, Grafana, Jaeger (or Tempo and Loki) and Marquez lead to one another.

    An address that is not given is taken from its setting (SPANLINE_GRAFANA_URL and so on); a tool without one is left out.
    """
    from spanline.deploy.link_files import link_files
    from spanline.deploy.links import Places, environment, jaeger_ui
    from spanline.deploy.provisioning import Backends, dashboard_provider, datasources

    settings = settings_for()
    places = Places(
        base=base_url or settings.base_url or settings.server_url or "http://localhost:8008",
        grafana=grafana or settings.grafana_url,
        jaeger=jaeger or settings.jaeger_url,
        marquez=marquez or settings.marquez_url,
        mlflow=mlflow or settings.mlflow_url,
        repository=repository or settings.repository_url,
    )
    store: dict[str, str] = {traces: trace_store} if trace_store else {}
    backends = Backends(prometheus=prometheus, traces=traces, loki=loki, **store)
    files = link_files(places, backends)
    if folder is not None:
        write_files(folder, files, as_json=as_json)
        return
    if as_json:
        document: dict[str, Any] = {
            "environment": environment(places, traces=traces),
            "grafana": {"datasources": datasources(places, backends), "dashboards": dashboard_provider()},
            "jaeger": jaeger_ui(places) if traces == "jaeger" else None,
            "prometheus": {"flags": ["--enable-feature=exemplar-storage"]},
            "runPage": f"{places.base}/r/{{trace id, run id, request id or response id}}",
        }
        say_json(document)
        return
    for path, text in files.items():
        say(bold(f"── {path.removeprefix('deploy/')} "))
        say(faint(_WHERE[path.split("/")[1]]))
        say(text)
    say(bold("── Prometheus"))
    say(faint("Without this flag it drops exemplars, and no dot in a graph leads to a run."))
    say("--enable-feature=exemplar-storage\n")
    say(bold("── By hand"))
    say(f"run page     {places.base}/r/{_EXAMPLE}    (trace, run, request or response id)")
    if places.jaeger and traces == "jaeger":
        say(f"Jaeger       {places.jaeger}/trace/{_EXAMPLE}")


def write_files(folder: Path, files: dict[str, str], *, as_json: bool) -> None:
    """Write files below a folder, and say which."""
    from spanline.deploy.link_files import write

    try:
        written = write(folder, files)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from error
    if as_json:
        say_json({"written": [str(path) for path in written]})
        return
    for path in written:
        say(str(path))
