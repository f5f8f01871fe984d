"""The servers themselves: each starts on ports of its own, answers, and is gone after the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.servers import cache, observability, stores
from tests.servers.child import eventually, listens

pytestmark = pytest.mark.timeout(180)

OTLP = {"http": {"endpoint": "${env:OTLP_HTTP_ENDPOINT}"}, "grpc": {"endpoint": "${env:OTLP_GRPC_ENDPOINT}"}}
TO_FILE = {
    "extensions": {"health_check": {"endpoint": "${env:HEALTH_ENDPOINT}"}},
    "receivers": {"otlp": {"protocols": OTLP}},
    "exporters": {"file": {"path": "${env:OUTPUT_FOLDER}/traces.jsonl", "flush_interval": "50ms"}},
    "service": {
        "extensions": ["health_check"],
        "telemetry": {"metrics": {"level": "none"}},
        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
    },
}
SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "x",
    "kind": 1,
    "startTimeUnixNano": "1",
    "endTimeUnixNano": "2",
}
SPANS = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": [SPAN]}]}]}


def test_jaeger_takes_and_finds_a_trace(jaeger: observability.Jaeger) -> None:
    assert not jaeger.knows(SPAN["traceId"])
    httpx.post(f"{jaeger.otlp_http}/v1/traces", json=SPANS).raise_for_status()
    assert [span["spanId"] for span in jaeger.spans(SPAN["traceId"])] == [SPAN["spanId"]]


def test_jaeger_tells_how_it_read_its_pages_configuration(tmp_path: Path) -> None:
    with observability.jaeger(tmp_path, {"linkPatterns": [{"type": "traces", "url": "http://x.test/r/#{traceID}", "text": "Run"}]}) as it:
        assert it.ui_config()["linkPatterns"][0]["url"] == "http://x.test/r/#{traceID}"
    assert not listens(int(it.url.rpartition(":")[2]))


def test_collector_writes_what_it_gets(collector: Callable[..., observability.Collector]) -> None:
    it = collector(TO_FILE)
    httpx.post(f"{it.otlp_http}/v1/traces", json=SPANS).raise_for_status()
    (line,) = eventually(lambda: it.lines("traces.jsonl"))
    assert line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] == SPAN["spanId"]


def test_collector_that_does_not_start_says_why(collector: Callable[..., observability.Collector]) -> None:
    with pytest.raises(RuntimeError, match="nonsense"):
        collector(TO_FILE | {"exporters": {"nonsense": {}}})


def test_prometheus_scrapes_and_alerts_by_alertmanager(
    prometheus: Callable[..., observability.Prometheus], alertmanager: Callable[..., observability.Alertmanager], tmp_path: Path
) -> None:
    manager = alertmanager({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]})
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: x, rules: [{alert: Up, expr: 'up{job=\"manager\"} == 1', labels: {severity: page}}]}]")
    it = prometheus({"manager": [manager.address]}, rules=[rules], alertmanager=manager.address)
    it.scraped("manager")
    assert it.query_range('up{job="manager"}')
    assert it.exemplars("up") == []
    (alert,) = eventually(manager.alerts, 20.0, "no alert arrived")
    assert alert["labels"] | {"instance": ""} == {"alertname": "Up", "instance": "", "job": "manager", "severity": "page"}


def test_postgres_keeps_databases_apart(postgres: stores.Postgres) -> None:
    one, other = postgres.create(), postgres.create()
    postgres.psql(one, "create table t as select 1 as n")
    assert postgres.psql(one, "select n from t") == "1"
    assert postgres.psql(other, "select count(*) from pg_tables where tablename = 't'") == "0"


def test_kafka_listens(kafka: stores.Kafka) -> None:
    assert listens(int(kafka.bootstrap.rpartition(":")[2]))


def test_missing_server_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.requirements import server

    monkeypatch.setenv("SPANLINE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    for command, named in (("jaeger", "jaeger"), ("promtool", "prometheus"), ("amtool", "alertmanager"), ("kafka", "kafka")):
        with pytest.raises(pytest.skip.Exception, match=f"make servers SERVERS={named}$"):
            server(command)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="required in CI"):
        server("opa")


def test_every_listed_folder_is_there_and_pinned() -> None:
    for name, entry in cache.TABLE.items():
        if entry["how"] == "go":
            assert (cache.HERE / name / "go.sum").exists(), name
        if entry["how"] in {"go", "maven"}:
            assert entry["version"] in cache.place(name).name
