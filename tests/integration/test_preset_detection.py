"""`auto`: the other end of `OPENLINEAGE_URL` is asked once what it is, by the relay's thread, and the app does not notice."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import spanline
from spanline.testing.validation import validate_event
from tests.integration.test_cli_serve_and_relay import serving
from tests.integration.test_marquez_preset import Serve, clean, serve  # noqa: F401
from tests.standins.openlineage.server import StandIn


class Receiver(ThreadingHTTPServer):
    """A plain OpenLineage receiver: it takes events and knows nothing else."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Take(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.server.events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer(201)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._answer(404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


async def test_what_answers_like_marquez_gets_its_preset(serve: Serve) -> None:  # noqa: F811
    with StandIn() as standin:
        service = serve(standin.url, "auto")
        run_id = ""
        for _ in range(3):
            run_id = await service.ask(refresh=1)
            service.sent()
        spanline.evaluation(run_id, "faithfulness", score=0.4, passed=False, eval_set=f"golden-{service.tag}@v2")
        service.sent()
        service.runtime.close()
        assert [path for method, path in standin.requests if method == "GET"] == ["/api/v1/namespaces"]
        assert all("parent" not in post["run"].get("facets", {}) for post in standin.posts)
        assert {post["job"]["name"] for post in standin.posts} == {
            service.chat, f"{service.name}.refresh-{service.tag}-0", f"{service.name}.evaluate"
        }  # fmt: skip
        for post in standin.posts:
            validate_event(json.dumps(post).encode())


async def test_a_plain_receiver_gets_plain_events(serve: Serve, receiver: Receiver) -> None:  # noqa: F811
    service = serve(receiver.url, "auto")
    run_id = ""
    for _ in range(2):
        run_id = await service.ask(refresh=1)
        service.sent()
    assert receiver.asked == ["/api/v1/namespaces"]
    kinds = [event["eventType"] for event in receiver.events if event["run"]["runId"] == run_id]
    assert kinds == ["START", "COMPLETE"]
    children = [event for event in receiver.events if "parent" in event["run"].get("facets", {})]
    assert {event["eventType"] for event in children} == {"START", "COMPLETE"}
    assert all(event["job"]["facets"]["jobType"] for event in receiver.events if event["eventType"] == "COMPLETE")


async def test_spanline_serve_is_a_plain_receiver(serve: Serve, tmp_path: Path) -> None:  # noqa: F811
    with serving(tmp_path / "central") as (base, _):
        service = serve(base, "auto")
        run_id = await service.ask(refresh=1)
        service.sent()
        with urllib.request.urlopen(f"{base}/r/{run_id}?format=json", timeout=10) as response:
            found = json.loads(response.read())
        assert found["status"] == "COMPLETE"
        assert {artifact["name"] for artifact in found["artifacts"]} >= {f"answer-{service.tag}", f"corpus-{service.tag}"}


async def test_an_end_that_never_answers_does_not_hold_up_the_app(serve: Serve) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        service = serve(f"http://127.0.0.1:{silent.getsockname()[1]}", "auto")
        await service.ask()
        started = time.monotonic()
        for _ in range(20):
            await service.ask()
        assert time.monotonic() - started < 5
        assert not service.runtime.flush(0.1)
        service.runtime.close(0.1)
