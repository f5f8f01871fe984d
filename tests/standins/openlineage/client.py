"""Questions to the stand-in, or to a real server with the same API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote


class Catalogue:
    """Reads runs, jobs and graphs back. A 2xx for an event says that it was taken; only this says what became of it."""

    def __init__(self, url: str, kind: str) -> None:
        self.url = url
        self.kind = kind

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a path below `/api/v1`."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=20) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    def post(self, event: dict[str, Any]) -> int:
        """Post an event as it is."""
        request = urllib.request.Request(f"{self.url}/api/v1/lineage", json.dumps(event).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            status: int = response.status
            return status

    def run(self, run_id: str) -> dict[str, Any] | None:
        """A run; None when it is unknown."""
        status, found = self.get(f"jobs/runs/{run_id}")
        return found if status == 200 else None

    def job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A job; None when it is unknown."""
        status, found = self.get(f"namespaces/{quote(namespace, safe='')}/jobs/{quote(name, safe='')}")
        return found if status == 200 else None

    def jobs(self, namespace: str) -> set[str]:
        """Names of the jobs of a namespace."""
        status, found = self.get(f"namespaces/{quote(namespace, safe='')}/jobs?limit=1000")
        return {job["name"] for job in found["jobs"]} if status == 200 else set()

    def runs(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Runs of a job, newest first."""
        status, found = self.get(f"namespaces/{quote(namespace, safe='')}/jobs/{quote(name, safe='')}/runs?limit=100")
        return found["runs"] if status == 200 else []

    def graph(self, node: str, depth: int = 0) -> dict[str, dict[str, Any]]:
        """Nodes by id."""
        status, found = self.get(f"lineage?nodeId={quote(node, safe='')}&depth={depth}")
        return {each["id"]: each for each in found["graph"]} if status == 200 else {}

    def edges(self, namespace: str, name: str) -> tuple[set[str], set[str]]:
        """What the graph shows as a job's inputs and outputs, `namespace/name` each."""
        node = self.graph(f"job:{namespace}:{name}").get(f"job:{namespace}:{name}")
        assert node is not None, f"no node of {name}"
        inputs = {edge["origin"].removeprefix("dataset:").replace(":", "/", 1) for edge in node["inEdges"]}
        outputs = {edge["destination"].removeprefix("dataset:").replace(":", "/", 1) for edge in node["outEdges"]}
        return inputs, outputs
