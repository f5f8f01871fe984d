"""What boards are tested and drawn with: a service with traffic, two ailing consumers, and Prometheus with our rules."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.servers.child import child, free_port
from tests.servers.observability import Prometheus, prometheus

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "spanline.rules.yml"
JOB = "fee-assistant"

_USUAL: dict[str, Any] = {}
RARE: tuple[dict[str, Any], ...] = (
    {"index": "new", "found": 0}, {"index": "new", "found": 1}, {"fail": "model"}, {"fail": "retrieval"}, {"guard_says": "fail"},
    {"guard_says": "error"}, {"guard_says": "skip"}, {"slow": 3.0}, {"prompt": "edited"},
)  # fmt: skip


@dataclass
class Stand:
    """The service under traffic, and Prometheus that scrapes it."""

    url: str
    prometheus: Prometheus
    traces: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def ask(self, client: httpx.Client, chance: random.Random, rare: float, kinds: Sequence[dict[str, Any]]) -> None:
        """One request of the mix, and sometimes a verdict on its answer."""
        wanted = chance.choice(kinds) if chance.random() < rare else _USUAL
        if chance.random() < 0.2:
            self._note(client.post("/stream"))
            return
        answer = self._note(client.post("/chat", params=wanted))
        if answer.status_code == 200 and chance.random() < 0.5:
            score = chance.betavariate(2, 3) if wanted.get("index") == "new" else chance.betavariate(9, 2)
            client.post(f"/judge/{answer.json()['trace']}", params={"score": round(score, 3)})

    def _note(self, answer: httpx.Response) -> httpx.Response:
        trace = answer.headers["x-trace-id"]
        self.traces.add(trace)
        if answer.status_code >= 500:
            self.failed.add(trace)
        return answer

    @contextlib.contextmanager
    def traffic(self, workers: int = 3, rare: float = 0.4, kinds: Sequence[dict[str, Any]] = RARE) -> Iterator[None]:
        """Requests in the background until the block ends; a share of them of these `kinds`."""
        over = threading.Event()

        def work(number: int) -> None:
            chance = random.Random(number)
            # A server closes the connection of a request that raised; a kept one would meet that.
            with httpx.Client(base_url=self.url, timeout=30, headers={"connection": "close"}) as client:
                while not over.is_set():
                    self.ask(client, chance, rare, kinds)

        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work, number) for number in range(workers)]
            try:
                yield
            finally:
                over.set()
            for one in running:
                one.result()

    def once(self) -> None:
        """What happens seldom: a run with too many spans, an error inside spanline, an index long out of use."""
        for path in ("/too-many-spans", "/inner-error", "/long-ago"):
            httpx.post(f"{self.url}{path}", timeout=10).raise_for_status()


@contextlib.contextmanager
def stand(folder: Path, *, alertmanager: str = "", rules: Path = RULES, external_url: str = "", **environ: str) -> Iterator[Stand]:
    """The service under uvicorn, its consumers, and Prometheus; no traffic yet."""
    (folder / "prometheus").mkdir()
    (folder / "prices.json").write_text(json.dumps({"gpt-4o-2024-06-18": {"input": 2.5, "output": 10}, "e5-small": {"input": 0.02}}))
    with _consumers() as consumers:
        (folder / "openlineage.json").write_text(json.dumps({"transport": {"type": "composite", "transports": {
            "catalogue": {"type": "http", "url": f"{consumers}/refuses", "spanline": {"preset": "openlineage"}},
            "archive": {"type": "http", "url": f"{consumers}/away", "spanline": {"preset": "openlineage"}},
        }}}))  # fmt: skip
        port = free_port()
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPANLINE_", "OTEL_", "OPENLINEAGE_", "PROMETHEUS_"))
        }
        env = {
            **clean, "SPANLINE_HOME": str(folder / "home"), "SPANLINE_PRICE_TABLE": str(folder / "prices.json"), "SPANLINE_STRAGGLER_GRACE": "3",
            "OPENLINEAGE_CONFIG": str(folder / "openlineage.json"), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **environ,
        }  # fmt: skip
        command = [sys.executable, "-m", "uvicorn", "tests.board_service:app", "--port", str(port), "--log-level", "warning"]
        url = f"http://127.0.0.1:{port}"
        with child(command, folder, env, "service", lambda: _answers(f"{url}/metrics")):
            targets = {JOB: [f"127.0.0.1:{port}"]}
            with prometheus(folder / "prometheus", targets, rules=[rules], alertmanager=alertmanager, external_url=external_url) as server:
                yield Stand(url, server)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class _Consumer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(422 if self.path.startswith("/refuses") else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def _consumers() -> Iterator[str]:
    """Two consumers: one refuses everything, one is away for maintenance."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Consumer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
