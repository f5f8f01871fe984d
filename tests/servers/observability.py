"""Jaeger, the Collector, Prometheus and Alertmanager as context managers: on free loopback ports, ready when they are yielded."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.requirements import server
from tests.servers.child import eventually, free_port, served

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Jaeger:
    """A Jaeger v2 with its traces in memory."""

    url: str
    """Base of the UI and of the query API."""
    otlp_http: str
    """Base for OTLP over HTTP, without `/v1/traces`."""
    otlp_grpc: str
    """`host:port` for OTLP over gRPC."""

    def spans(self, trace_id: str, *, at_least: int = 1, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """All spans of a trace as OTLP JSON, each with its resource's attributes under `resource`, once there are that many."""

        def found() -> list[dict[str, Any]]:
            answer = httpx.get(f"{self.url}/api/v3/traces/{trace_id}", timeout=10.0)
            if answer.status_code == 404:
                return []
            answer.raise_for_status()
            spans = []
            for resource in answer.json()["result"]["resourceSpans"]:
                attributes = plain(resource.get("resource", {}).get("attributes", []))
                spans += [{**span, "resource": attributes} for scope in resource["scopeSpans"] for span in scope["spans"]]
            return spans if len(spans) >= at_least else []

        return eventually(found, timeout_s, f"trace {trace_id} is not in Jaeger")

    def knows(self, trace_id: str) -> bool:
        """Whether the trace is there now."""
        return httpx.get(f"{self.url}/api/v3/traces/{trace_id}", timeout=10.0).status_code == 200

    def ui_config(self) -> dict[str, Any]:
        """The `ui.json` that the server was given, as it parsed it and hands it to its pages."""
        page = httpx.get(f"{self.url}/search", timeout=10.0).text
        start = page.index("JAEGER_CONFIG = ") + len("JAEGER_CONFIG = ")
        return json.JSONDecoder().raw_decode(page, start)[0]


@contextlib.contextmanager
def jaeger(folder: Path, ui: Mapping[str, Any] | None = None) -> Iterator[Jaeger]:
    """Jaeger. `ui` is its `ui.json` (`linkPatterns` …)."""
    binary = server("jaeger")
    health, query, query_grpc, grpc, http = (free_port() for _ in range(5))
    # In a folder of its own, which Jaeger watches: the log would be news to it.
    (folder / "ui").mkdir()
    (folder / "ui" / "ui.json").write_text(json.dumps(ui or {}), encoding="utf-8")
    environ = {
        "HEALTH_PORT": health, "QUERY_PORT": query, "QUERY_GRPC_PORT": query_grpc, "OTLP_GRPC_PORT": grpc, "OTLP_HTTP_PORT": http,
        "UI_CONFIG": folder / "ui" / "ui.json",
    }  # fmt: skip
    command = [str(binary), "--config", str(HERE / "jaeger" / "memory.yaml")]
    with served(command, folder, environ, "jaeger", f"http://127.0.0.1:{health}/status"):
        yield Jaeger(f"http://127.0.0.1:{query}", f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}")


@dataclass(frozen=True)
class Collector:
    """An OpenTelemetry Collector."""

    otlp_http: str
    """Base for OTLP over HTTP, without `/v1/traces`."""
    otlp_grpc: str
    """`host:port` for OTLP over gRPC."""
    prometheus: str
    """`host:port` where a `prometheus` exporter is scraped."""
    folder: Path
    """Where `file` exporters write."""
    log: Path

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What a `file` exporter wrote so far: one OTLP JSON request a line."""
        file = self.folder / name
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line] if file.exists() else []


@contextlib.contextmanager
def collector(folder: Path, config: Path | Mapping[str, Any], **environ: Any) -> Iterator[Collector]:
    """A Collector with a configuration, as a file or as the mapping that it is.

    The configuration takes its addresses from the environment: `${env:OTLP_HTTP_ENDPOINT}`, `${env:OTLP_GRPC_ENDPOINT}`,
    `${env:HEALTH_ENDPOINT}`, `${env:PROMETHEUS_ENDPOINT}` (each `host:port`) and `${env:OUTPUT_FOLDER}`; `environ` adds more.
    It must have a `health_check` extension on `HEALTH_ENDPOINT`.
    """
    binary = server("collector")
    if not isinstance(config, Path):
        (folder / "collector.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        config = folder / "collector.yaml"
    output = folder / "output"
    output.mkdir(exist_ok=True)
    health, http, grpc, scraped = (f"127.0.0.1:{free_port()}" for _ in range(4))
    given = {
        "HEALTH_ENDPOINT": health, "OTLP_HTTP_ENDPOINT": http, "OTLP_GRPC_ENDPOINT": grpc, "PROMETHEUS_ENDPOINT": scraped,
        "OUTPUT_FOLDER": output, **environ,
    }  # fmt: skip
    with served([str(binary), "--config", str(config)], folder, given, "collector", f"http://{health}/"):
        yield Collector(f"http://{http}", grpc, scraped, output, folder / "collector.log")


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that keeps exemplars and scrapes every second."""

    url: str
    config: Path
    """Its `prometheus.yml`; change it and call `reload`."""

    def get(self, path: str, **parameters: Any) -> Any:
        """`data` of an API call, e.g. `get("query", query="up")`."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30.0)
        document = answer.json()
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The vector of an instant query, now or at a unix time."""
        return self.get("query", query=expression, **({} if at is None else {"time": at}))["result"]

    def query_range(self, expression: str, last_s: float = 60.0, step_s: float = 1.0) -> list[dict[str, Any]]:
        """The matrix of the last seconds."""
        now = time.time()
        return self.get("query_range", query=expression, start=now - last_s, end=now, step=step_s)["result"]

    def exemplars(self, expression: str, last_s: float = 600.0) -> list[dict[str, Any]]:
        """All exemplars of the series in an expression: `labels` (`trace_id`, `span_id`), `value`, `timestamp`, and `series`."""
        now = time.time()
        found = self.get("query_exemplars", query=expression, start=now - last_s, end=now + 5)
        return [{**exemplar, "series": entry["seriesLabels"]} for entry in found for exemplar in entry["exemplars"]]

    def scraped(self, job: str, timeout_s: float = 20.0) -> None:
        """Wait for a scrape of this job that began after the call and succeeded."""
        called = time.time()
        eventually(
            lambda: any(sample["value"][1] == "1" for sample in self.query(f'up{{job="{job}"}} and timestamp(up{{job="{job}"}}) > {called}')),
            timeout_s, f"{job} was not scraped: {self.get('targets')['activeTargets']}",
        )  # fmt: skip

    def reload(self) -> None:
        """Read the configuration and the rules again."""
        httpx.post(f"{self.url}/-/reload", timeout=10.0).raise_for_status()


@contextlib.contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, Sequence[str]] | None = None,
    *,
    rules: Sequence[Path] = (),
    alertmanager: str = "",
    config: Mapping[str, Any] | None = None,
    exemplars: bool = True,
    external_url: str = "",
) -> Iterator[Prometheus]:
    """Prometheus.

    Args:
        folder: Its own folder, for configuration, data and log.
        targets: Job to `host:port`s, scraped every second at `/metrics`.
        rules: Rule files, evaluated every second.
        alertmanager: `host:port` of an Alertmanager.
        config: A whole configuration instead of what the three above make.
        exemplars: False: without the storage for them, as Prometheus is by default.
        external_url: `--web.external-url`, in links of alerts.
    """
    binary = server("prometheus")
    made: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(found)}]} for job, found in (targets or {}).items()],
    }
    if alertmanager:
        made["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(dict(config or made)), encoding="utf-8")
    listen = f"127.0.0.1:{free_port()}"
    command = [
        str(binary), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={listen}", "--web.enable-lifecycle",
        "--log.level=warn", *(["--enable-feature=exemplar-storage"] if exemplars else []), *([f"--web.external-url={external_url}"] if external_url else []),
    ]  # fmt: skip
    prefix = "/" + external_url.partition("://")[2].partition("/")[2] if external_url else ""
    url = f"http://{listen}{prefix.rstrip('/')}"
    with served(command, folder, {}, "prometheus", f"{url}/-/ready"):
        yield Prometheus(url, file)


@dataclass(frozen=True)
class Alertmanager:
    """An Alertmanager alone, without gossip."""

    url: str
    address: str
    """`host:port`, as Prometheus wants it."""

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that it has now."""
        return httpx.get(f"{self.url}/api/v2/alerts", timeout=10.0).raise_for_status().json()


@contextlib.contextmanager
def alertmanager(folder: Path, config: Path | Mapping[str, Any]) -> Iterator[Alertmanager]:
    """Alertmanager with a configuration, as a file or as the mapping that it is (`route`, `receivers`)."""
    binary = server("alertmanager")
    if not isinstance(config, Path):
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        config = folder / "alertmanager.yml"
    listen = f"127.0.0.1:{free_port()}"
    command = [
        str(binary), f"--config.file={config}", f"--storage.path={folder / 'data'}", f"--web.listen-address={listen}", "--cluster.listen-address=",
    ]  # fmt: skip
    with served(command, folder, {}, "alertmanager", f"http://{listen}/-/ready"):
        yield Alertmanager(f"http://{listen}", listen)


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """OTLP JSON attributes as a mapping; integers are numbers, not texts."""
    return {entry["key"]: _plain(entry["value"]) for entry in attributes}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [_plain(entry) for entry in content.get("values", [])]
    return content
