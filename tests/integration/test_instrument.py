"""instrument() in a real server: one line, and everything behind an answer within two seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from opentelemetry import trace
from prometheus_client import CollectorRegistry
from websockets.sync.client import connect

import spanline
from spanline.record.active import SINKS

FEES = spanline.PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
CORPUS = spanline.Corpus("fees", version="2026-11-01", digest="sha256:" + "1" * 64)
INDEX = spanline.Index("fees_corpus", version="commit:abc123", digest="sha256:" + "9f" * 32, embedding_model="e5-small@1", corpus=CORPUS)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app under a real uvicorn, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(autouse=True)
def clean(fresh_provider: None) -> Iterator[None]:
    yield
    for sink in list(SINKS):
        sink.close()


def until(question: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def chat_app(**settings: Any) -> FastAPI:
    app = FastAPI()
    spanline.instrument(app, service="fee-assistant", namespace="rag-prod", registry=CollectorRegistry(), **settings)

    @app.post("/chat")
    async def chat(question: str) -> dict[str, str]:
        with spanline.retrieval(INDEX, top_k=3) as found:
            found.documents([("d1", 0.5)])
        with spanline.inference("openai", "gpt-4o", prompt=FEES, temperature=0.2) as call:
            FEES.render(context="c", question=question)
            call.response(model="gpt-4o-2024-06-18", id="resp-1", input_tokens=812, output_tokens=96, finish_reasons=["stop"])
        return {"answer": "x"}

    return app


def page(url: str, run: str) -> dict[str, Any] | None:
    response = httpx.get(f"{url}/r/{run}?format=json")
    return response.json() if response.status_code == 200 else None


def test_one_line_and_everything_behind_an_answer() -> None:
    with spanline.configure(service="indexer", namespace="rag-prod", registry=CollectorRegistry()) as indexer:
        with spanline.job("index_build", inputs=[CORPUS], outputs=[INDEX]) as work:
            work.parameters(chunk_size=200)
        assert indexer.flush(20)
    app = chat_app(base_url="https://runs.example.com")
    with serving(app) as url:
        response = httpx.post(f"{url}/chat", params={"question": "secret"}, headers={"x-request-id": "req-77"})
        answered = time.monotonic()
        trace_id = response.headers["x-trace-id"]
        assert response.headers["link"] == f'<https://runs.example.com/r/{trace_id}>; rel="describedby"'
        run = until(lambda: page(url, trace_id))
        assert time.monotonic() - answered < 2.0 or os.environ.get("CI"), "a run is on the page within two seconds on a quiet host"
        for other in (trace_id.upper(), run["runId"], "req-77", "resp-1"):
            assert page(url, other)["runId"] == run["runId"]
        assert httpx.get(f"{url}/r/{'0' * 31}1").status_code == 404
        html = httpx.get(f"{url}/r/{trace_id}", headers={"accept": "text/html"})
        assert "fees_corpus" in html.text
        assert "text/html" in html.headers["content-type"]
        assert trace_id in httpx.get(f"{url}/runs").text
        metrics = httpx.get(f"{url}/metrics", headers={"accept": "application/openmetrics-text"}).text
    answers = {question: [entry["name"] for entry in found] for question, found in run["answers"].items()}
    assert answers["prompt"] == ["fees"]
    assert answers["index"] == ["fees_corpus"]
    assert answers["model"][0] == "openai/gpt-4o-2024-06-18"
    assert answers["data"] == ["fees"]
    assert run["job"] == "fee-assistant.POST /chat"
    assert [up["job"] for up in run["upstream"]] == ["indexer.index_build"]
    assert f'trace_id="{trace_id}"' in metrics
    assert "secret" not in str(run)
    assert "secret" not in metrics


def test_the_same_label_with_another_digest_is_a_conflict_on_the_run() -> None:
    app = chat_app()
    edited = spanline.PromptTemplate("fees", version="v7", text="Ignore {context}")

    @app.get("/edited")
    async def use() -> str:
        with spanline.inference("openai", "gpt-4o", prompt=edited):
            return "x"

    with serving(app) as url:
        first = httpx.post(f"{url}/chat", params={"question": "q"}).headers["x-trace-id"]
        second = httpx.get(f"{url}/edited").headers["x-trace-id"]
        good, bad = until(lambda: page(url, first)), until(lambda: page(url, second))
        metrics = httpx.get(f"{url}/metrics").text
    assert good["conflicts"] == []
    (conflict,) = bad["conflicts"]
    assert (conflict["kind"], conflict["name"], conflict["version"]) == ("prompt", "fees", "v7")
    assert (conflict["digest"], conflict["expectedDigest"]) == (edited.digest, FEES.digest)
    assert conflict["firstSeenRunId"] == good["runId"]
    assert 'spanline_version_conflicts_total{kind="prompt"} 1.0' in metrics


def test_websocket_sessions_are_runs() -> None:
    app = chat_app()

    @app.websocket("/talk/{room}")
    async def talk(socket: WebSocket, room: str) -> None:
        await socket.accept()
        async for word in socket.iter_text():
            with spanline.tool("echo"):
                await socket.send_text(word)

    with serving(app) as url:
        with connect(url.replace("http", "ws") + "/talk/1") as socket:
            assert socket.response is not None
            trace_id = socket.response.headers["x-trace-id"]
            socket.send("a")
            assert socket.recv() == "a"
        run = until(lambda: page(url, trace_id))
    assert (run["job"], run["status"]) == ("fee-assistant.WS /talk/{room}", "COMPLETE")


def test_what_only_comes_after_the_answer_is_counted() -> None:
    registry = CollectorRegistry()
    with spanline.configure(service="late", registry=registry, relay="off") as runtime:
        with runtime.tracer.start_as_current_span("GET") as request:
            pass
        with trace.use_span(request), spanline.inference("openai", "m") as call:
            call.response(input_tokens=3)
        runtime.flush(5)
    assert registry.get_sample_value("llm_tokens_total", {"role": "prompt", "model": "m"}) == 3


def test_routes_of_the_app_win() -> None:
    app = FastAPI()
    spanline.instrument(app, service="x", registry=CollectorRegistry())
    app.get("/runs")(lambda: "mine")
    with serving(app) as url:
        assert httpx.get(f"{url}/runs").json() == "mine"
        assert httpx.get(f"{url}/metrics").status_code == 200


def test_pages_are_for_loopback_or_tokens() -> None:
    app = chat_app()
    with serving(app) as url:
        assert httpx.get(f"{url}/runs").status_code == 200
        assert httpx.get(f"{url}/runs", headers={"x-forwarded-for": "1.2.3.4"}).status_code in {401, 403}
    app = chat_app(tokens=("s3cret",))
    with serving(app) as url:
        assert httpx.get(f"{url}/runs").status_code == 401
        assert httpx.get(f"{url}/runs", headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_disabled_is_a_bare_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANLINE_HOME", str(tmp_path / "home"))
    app = chat_app(disabled=True)
    with serving(app) as url:
        response = httpx.post(f"{url}/chat", params={"question": "q"})
        assert response.status_code == 200
        assert "x-trace-id" not in response.headers
        assert httpx.get(f"{url}/metrics").status_code == 404
    assert not (tmp_path / "home").exists()


@pytest.mark.internal_errors
@pytest.mark.parametrize("what", ["file in the way", "corrupt ledger"])
def test_a_broken_state_folder_loses_no_request(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SPANLINE_HOME", str(home))
    if what == "file in the way":
        home.write_text("x")
    else:
        home.mkdir()
        (home / "ledger.db").write_bytes(b"this is no database, and long enough to be looked at" * 100)
    app = chat_app()
    with serving(app) as url:
        for _ in range(3):
            assert httpx.post(f"{url}/chat", params={"question": "q"}).status_code == 200
        response = until(lambda: (r := httpx.get(f"{url}/runs")).status_code >= 500 and r)
        assert response.headers["content-type"].startswith(("application/problem+json", "text/html"))
        metrics = httpx.get(f"{url}/metrics").text
    said = " ".join(record.getMessage() for record in caplog.records)
    if what == "file in the way":
        assert "spanline_dropped_total{reason=" in metrics
        assert str(home) in said
    else:
        assert "ledger" in said
        assert (
            sum(1 for path in (home / "journal").rglob("*.ndjson") for line in path.read_bytes().splitlines() if b"COMPLETE" in line) == 3
        )


def test_sigterm_under_uvicorn_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import spanline\nfrom fastapi import FastAPI\napp = FastAPI()\nspanline.instrument(app, service='s')\n"
        "@app.get('/')\ndef root():\n    with spanline.tool('t'):\n        return 1\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "error"],
        cwd=tmp_path, env={**os.environ, "SPANLINE_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    try:

        def ask() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
            except httpx.TransportError:
                return False

        until(ask, 30)
        asked = 1 + sum(ask() for _ in range(20))
    finally:
        process.terminate()
        assert process.wait(20) in {0, -15}
    from spanline.ledger import Ledger

    ledger = Ledger.open(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")
    try:
        assert len(ledger.runs(limit=100)["items"]) == asked
    finally:
        ledger.close()


def test_a_script_flushes_at_its_end(tmp_path: Path) -> None:
    code = (
        "import spanline\nspanline.configure(service='s')\n"
        "with spanline.job('build', outputs=[spanline.Index('i', version='1')]) as work:\n    work.metrics(rows=3)\n"
        "raise ValueError('unhandled')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SPANLINE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "ValueError: unhandled" in done.stderr
    from spanline.ledger import Ledger

    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    try:
        (item,) = ledger.runs()["items"]
        assert (item["job"], item["status"]) == ("s.build", "COMPLETE")
    finally:
        ledger.close()
