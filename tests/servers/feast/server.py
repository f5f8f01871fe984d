"""Feast's OpenLineage consumer as a real HTTP consumer: with a store to read back from and, with `ui`, a page."""

from __future__ import annotations

import contextlib
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
from tests.servers.child import cache, child, free_port

NAME = "feast-0.67.0"
CONFIG = """project: spanline
provider: local
registry: {{registry_type: sql, path: "sqlite:///{base}/registry.db"}}
online_store: {{type: sqlite, path: online.db}}
offline_store: {{type: dask}}
entity_key_serialization_version: 3
openlineage:
  enabled: true
  consumer: {{enabled: true, store_type: sql, connection_string: "sqlite:///{base}/lineage.db", retention_days: 0{key}}}
"""


@dataclass(frozen=True)
class Feast:
    """A running consumer: `url` is what `OPENLINEAGE_URL` takes."""

    url: str

    def get(self, path: str, **query: Any) -> Any:
        """What its API tells about lineage; None when it knows nothing."""
        address = f"{self.url}/api/v1/lineage/openlineage{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def run(self, run_id: str) -> dict[str, Any] | None:
        """A run, as stored."""
        found = self.get(f"/runs/{run_id}")
        return found.get("run", found) if found else None

    def state(self, run_id: str) -> str | None:
        """State of a run; None when it is not stored."""
        found = self.run(run_id)
        return found["state"] if found else None

    def facets(self, run_id: str) -> dict[str, Any]:
        """Run facets, as stored."""
        found = self.run(run_id)
        return found["facets"] if found else {}

    def events(self) -> list[dict[str, Any]]:
        """All events, as stored, oldest first."""
        found = self.get("/events", limit=1000)["events"]
        return sorted(found, key=lambda event: event["created_at"])


def executable() -> Path:
    """Feast's command; skips the test where it is not installed (fails it in CI)."""
    named = os.environ.get("FEAST_EXE")
    found = Path(named) if named else cache() / NAME / "bin" / "feast"
    if not found.exists():
        missing("Feast's OpenLineage consumer was NOT run: make servers")
    return found


@contextlib.contextmanager
def feast(*, ui: bool = False, api_key: str | None = None) -> Iterator[Feast]:
    """A consumer with an empty store, in a folder of its own."""
    exe = str(executable())
    # In memory where there is such a folder: its store waits for the disk many times an event.
    base = Path(tempfile.mkdtemp(prefix="feast-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    (base / "feature_store.yaml").write_text(CONFIG.format(base=base, key=f', api_key: "{api_key}"' if api_key else ""))
    env = {"PATH": os.environ["PATH"], "HOME": str(base), "FEAST_USAGE": "False", "OTEL_SDK_DISABLED": "true", "LANG": "C.UTF-8"}
    server = Feast(f"http://127.0.0.1:{(port := free_port())}")
    # Both commands listen on all addresses unless told otherwise. The page wants the project to exist.
    command = [exe, "ui" if ui else "serve_lineage", "--host", "127.0.0.1", "--port", str(port)]

    def ready() -> bool:
        with contextlib.suppress(OSError):
            return server.get("/namespaces") is not None
        return False

    try:
        if ui:
            subprocess.run([exe, "apply", "--skip-source-validation"], cwd=base, env=env, check=True, capture_output=True, timeout=60)
        with child(command, base, env, "feast", ready):
            yield server
    finally:
        shutil.rmtree(base, ignore_errors=True)
