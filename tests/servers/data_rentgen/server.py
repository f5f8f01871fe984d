"""data-rentgen on a private PostgreSQL and Kafka: HTTP to Kafka, Kafka to PostgreSQL, and an API to read back from."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.requirements import missing
from tests.servers.child import cache, child, eventually, free_port, listens
from tests.servers.stores import Kafka, Postgres

NAME = "data-rentgen-0.7.2"
TOPIC = "input.runs"
MALFORMED = "input.runs__malformed"
SECRET = "0123456789abcdef0123456789abcdef"  # only ever on the loopback interface
PARTS = ("consumer", "server", "http2kafka")


@dataclass(frozen=True)
class Rentgen:
    """A running data-rentgen: what it knows comes from `api`; events go to `http` or to the topic `input.runs`."""

    api: str
    http: str
    token: str
    """Bearer token of the API."""
    key: str
    """Bearer token for sending."""
    folder: Path

    def get(self, path: str, **query: Any) -> Any:
        """An answer of its API."""
        address = f"{self.api}{path}?{urllib.parse.urlencode(query, doseq=True)}"
        request = urllib.request.Request(address, headers={"authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def runs(self, text: str) -> list[dict[str, Any]]:
        """What its search finds: by trace id or run id."""
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=300)
        return [{**item["data"], "job": item["job"]} for item in self.get("/v1/runs", search_query=text, since=since.isoformat())["items"]]

    def run(self, run_id: str) -> dict[str, Any]:
        """The run of ours, once it is stored and over."""

        def found() -> dict[str, Any] | None:
            mine = [run for run in self.runs(run_id) if run["external_id"].endswith(f"/{run_id}")]
            return mine[0] if len(mine) == 1 and mine[0]["status"] not in {"STARTED", "UNKNOWN"} else None

        return eventually(found, 60, f"data-rentgen does not show {run_id} as over: {self.runs(run_id)}") or {}


def python() -> Path:
    """Its interpreter; skips the test where it is not installed (fails it in CI)."""
    named = os.environ.get("RENTGEN_PYTHON")
    found = Path(named) if named else cache() / NAME / "bin" / "python"
    if not found.exists():
        missing("data-rentgen was NOT run: make servers SERVERS=data_rentgen (Python 3.12 or newer)")
    return found


@contextlib.contextmanager
def data_rentgen(postgres: Postgres, kafka: Kafka) -> Iterator[Rentgen]:
    """All three of its processes, on an empty database."""
    interpreter = str(python())
    folder = Path(tempfile.mkdtemp(prefix="data-rentgen-"))
    settings = {
        "database": {"url": postgres.url(postgres.create(), "asyncpg")},
        "kafka": {"bootstrap_servers": [kafka.bootstrap]},
        "consumer": {"auto_offset_reset": "earliest"},  # else what was sent before it joined its group is lost
        "auth": {
            "provider": "data_rentgen.server.providers.auth.dummy_provider.DummyAuthProvider",
            "access_token": {"secret_key": SECRET},
            "personal_tokens": {"enabled": True, "secret_key": SECRET},
        },
        "server": {"static_files": {"enabled": False}},  # the wheel has no such folder
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "OTEL_SDK_DISABLED": "true"}
    try:
        _prepare(interpreter, folder, env)
        _topics(kafka)
        with contextlib.ExitStack() as stack:
            ports = {part: free_port() for part in PARTS}
            for part, port in ports.items():
                command = [interpreter, "-m", f"data_rentgen.{part}", "--host", "127.0.0.1", "--port", str(port)]
                # All three start at once; they are waited for below.
                stack.enter_context(child(command, folder, env, part, lambda: True))
            eventually(lambda: all(listens(port) for port in ports.values()), 120, "data-rentgen did not start: see its logs")
            api = f"http://127.0.0.1:{ports['server']}"
            token, key = _tokens(api)
            yield Rentgen(api, f"http://127.0.0.1:{ports['http2kafka']}", token, key, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(interpreter: str, folder: Path, env: dict[str, str]) -> None:
    """Tables, and a partition for each year that a run id of version 7 may name."""
    year = dt.datetime.now(dt.UTC).year
    span = ["--granularity", "year", "--start", f"{year - 1}-01-01", "--end", f"{year + 2}-01-01"]
    for arguments in (["data_rentgen.db.migrations", "upgrade", "head"], ["data_rentgen.db.scripts.create_partitions", *span]):
        done = subprocess.run(
            [interpreter, "-m", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]


def _topics(kafka: Kafka) -> None:
    """Made before its consumer starts, which else waits for news of them."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    for made in admin.create_topics([NewTopic(TOPIC, 3, 1), NewTopic(MALFORMED, 1, 1)]).values():
        with contextlib.suppress(KafkaException):  # it is there already
            made.result(20)


def _tokens(api: str) -> tuple[str, str]:
    form = urllib.parse.urlencode({"grant_type": "password", "username": "me", "password": "x"}).encode()
    token = _post(f"{api}/v1/auth/token", form, {})["access_token"]
    made = _post(
        f"{api}/v1/personal-tokens", b'{"name": "tests"}', {"authorization": f"Bearer {token}", "content-type": "application/json"}
    )
    return token, made["content"]


def _post(url: str, body: bytes, headers: dict[str, str]) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
        return json.load(answer)
