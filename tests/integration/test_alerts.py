"""promtool on rules and cases, and one alert from the service through Prometheus and Alertmanager to a receiver."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from spanline.deploy.generate import boards
from tests.alert_cases import CASES, FOLDER
from tests.board_stand import JOB, RULES, stand
from tests.requirements import server
from tests.servers.child import eventually
from tests.servers.observability import alertmanager

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"


def promtool(*arguments: str | Path) -> str:
    command = [str(server("promtool")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROMETHEUS, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_sound() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CASES)
def test_it_fires_when_it_should_and_not_otherwise(name: str) -> None:
    promtool("test", "rules", ROOT / FOLDER / f"{name}.test.yml")


def test_the_example_configurations_are_sound() -> None:
    # The file with the token is whoever deploys it to provide; the rules are checked above.
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    done = subprocess.run(
        [str(server("amtool")), "check-config", "alertmanager.yml"], capture_output=True, text=True, check=False, cwd=PROMETHEUS
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook; what Alertmanager sends."""
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.daemon_threads = True
    thread = threading.Thread(target=hook.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{hook.server_address[1]}", got
    finally:
        hook.shutdown()
        hook.server_close()
        thread.join(5)


@pytest.mark.timeout(120)
def test_an_alert_arrives_and_leads_to_the_run_behind_it(tmp_path: Path) -> None:
    """A prompt is edited without a new version: alert → runbook and board; board's query → exemplar or list → the page of that run."""
    (tmp_path / "alertmanager").mkdir()
    example = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    with receiver() as (hook, got):
        for named in example["receivers"]:
            named["webhook_configs"] = [{"url": f"{hook}/{named['name']}", "send_resolved": True}]
        example["route"] |= {"group_wait": "0s", "group_interval": "1s"}
        with (
            alertmanager(tmp_path / "alertmanager", example) as manager,
            stand(tmp_path, alertmanager=manager.address, external_url="http://prometheus.example.org/p") as service,
        ):
            traces = [httpx.post(f"{service.url}/chat", params={"prompt": prompt}).headers["x-trace-id"] for prompt in ("v7", "edited")]
            alert = eventually(
                lambda: next((a for m in got for a in m["alerts"] if a["labels"]["alertname"] == "LlmVersionConflict"), None), 60
            )
            assert alert["status"] == "firing"
            assert alert["labels"] == {"alertname": "LlmVersionConflict", "job": JOB, "kind": "prompt", "severity": "ticket"}
            assert alert["annotations"]["summary"] == f"{JOB}: a prompt has other content under a known version"
            assert alert["generatorURL"].startswith("http://prometheus.example.org/p/graph?")
            runbook = ROOT / "docs" / "runbooks" / urlsplit(alert["annotations"]["runbook_url"]).path.rpartition("/")[2]
            assert "/runs?conflict=true" in runbook.read_text()
            found = eventually(lambda: httpx.get(f"{service.url}/runs?conflict=true&format=json").json()["items"], 20)
            assert [item["traceId"] for item in found] == traces[1:]
            page = httpx.get(f"{service.url}/r/{traces[1]}?format=json").json()
            assert [(conflict["kind"], conflict["name"]) for conflict in page["conflicts"]] == [("prompt", "fees")]
            board = urlsplit(alert["annotations"]["dashboard_url"])
            assert board.path.rpartition("/")[2] in boards()
            assert parse_qs(board.query)["var-job"] == [JOB]
            for file in (ROOT / "docs" / "runbooks").glob("*.md"):
                for query in re.findall(r"```promql\n(.*?)```", file.read_text(), re.DOTALL):
                    service.prometheus.query(query)
