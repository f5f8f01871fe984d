"""Commands and the library against a real `spanline serve` over HTTP: the runs are there, and so do evaluations go."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

import spanline
from spanline.cli.main import main
from spanline.ledger import Ledger
from spanline.server.app import build_app
from spanline.settings import Settings
from tests.browser.conftest import serving
from tests.browser.incident import BAD, events


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger.open(f"sqlite:///{tmp_path / 'central.db'}")
    made.ingest(events())
    yield made
    made.close()


@pytest.fixture
def url(ledger: Ledger) -> Iterator[str]:
    settings = Settings.resolve({"tokens": ("right",), "base_url": "http://runs.example"}, {})
    with serving(build_app(ledger, settings, api=True, require_loopback=False)) as base:
        yield base


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    return lambda *arguments, token="right": CliRunner().invoke(main, arguments, env={"SPANLINE_SERVER_URL": url, "SPANLINE_TOKENS": token})


def test_trace_and_runs_ask_the_server(run: Callable[..., Result]) -> None:
    found = json.loads(run("trace", BAD, "--json").stdout)
    assert found["requestId"] == "req-bad"
    assert found["links"]["self"].startswith("http://runs.example/r/")
    assert "faithfulness" in run("trace", "req-bad").stdout
    assert run("trace", "nope").exit_code == 4
    items = json.loads(run("runs", "--json", "--conflict", "--tag", "case=4711").stdout)["items"]
    assert [item["traceId"] for item in items] == [BAD]
    assert len(json.loads(run("runs", "--json", "--limit", "1000").stdout)["items"]) == 3
    assert json.loads(run("conflicts", "--json").stdout)["items"]
    assert json.loads(run("gaps", "--json").stdout)["items"]


def test_the_questions_ask_the_server(run: Callable[..., Result], ledger: Ledger) -> None:
    job = ledger.run(BAD)["job"]
    asked: list[tuple[list[str], Any]] = [
        (["lineage", BAD, "--up"], ledger.lineage(BAD, direction="up")),
        (["impact", "prompt:fees"], ledger.impact("prompt:fees", limit=20)),
        (["diff", BAD, "req-bad"], ledger.diff(BAD, "req-bad")),
        (["lastgood", "--job", job], ledger.lastgood(job)),
        (["artifacts", "--kind", "index"], ledger.artifacts(limit=20, kind="index")),
    ]
    for command, expected in asked:
        done = run(*command, "--json")
        assert json.loads(done.stdout) == expected, command
    unknown = run("impact", "prompt:fee@v7")
    assert unknown.exit_code == 4
    assert "did you mean prompt:fees" in unknown.stderr
    assert run("diff", "prompt:fees@v7", "prompt:fees@v7").exit_code == 2
    assert "where the ledger is" in run("erase", "subject", "x", "--yes").stderr


def test_what_the_server_refuses_is_said(run: Callable[..., Result]) -> None:
    done = run("runs", token="wrong")
    assert done.exit_code == 1
    assert "set SPANLINE_TOKENS to one of its tokens" in done.output
    done = run("runs", "--after", "broken")
    assert done.exit_code == 2
    assert "A parameter is wrong" in done.output
    assert "where the ledger is" in run("conflicts", "ack", "prompt:fees@v7", "sha256:00").output


def test_an_option_that_names_a_ledger_wins(run: Callable[..., Result], tmp_path: Path) -> None:
    assert json.loads(run("runs", "--json", "--ledger", f"sqlite:///{tmp_path / 'other.db'}").stdout)["items"] == []


def test_evaluate(run: Callable[..., Result], ledger: Ledger) -> None:
    done = run("evaluate", "req-bad", "--name", "tone", "--failed", "--evaluator", "user", "--eval-set", "golden@v3", "--json")
    assert json.loads(done.stdout)["added"] == 1
    entry = next(entry for entry in ledger.run(BAD)["evaluations"] if entry["name"] == "tone")
    assert (entry["passed"], entry["evalSet"], entry["evalSetVersion"]) == (False, "golden", "v3")
    assert run("evaluate", "nope", "--name", "x", "--passed").exit_code == 4
    assert run("evaluate", BAD, "--name", "x").exit_code == 2
    assert run("evaluate", BAD, "--passed").exit_code == 2


def test_evaluate_a_run_of_the_local_ledger(tmp_path: Path) -> None:
    """The journal of the service gets it too, so that its other consumers have it."""
    env = {"SPANLINE_HOME": str(tmp_path)}
    with spanline.configure(service="fees", home=tmp_path, registry=CollectorRegistry()) as runtime:
        with spanline.job("build"):
            id = spanline.current().trace_id
        runtime.flush()
    done = CliRunner().invoke(main, ["evaluate", id, "--name", "recall", "--passed", "--score", "0.9"], env=env)
    assert done.exit_code == 0, done.output
    (entry,) = json.loads(CliRunner().invoke(main, ["trace", id, "--json"], env=env).stdout)["evaluations"]
    assert (entry["name"], entry["score"], entry["passed"]) == ("recall", 0.9, True)
    lines = [line for path in (tmp_path / "journal" / "fees").glob("*.ndjson*") for line in path.read_bytes().splitlines()]
    assert sum(b'"recall"' in line for line in lines) == 1
    assert json.loads(CliRunner().invoke(main, ["doctor", "--json"], env=env).stdout)["ok"], "the journal is whole"


@pytest.mark.usefixtures("fresh_provider")
def test_the_library_sends_a_late_evaluation_to_the_server(url: str, ledger: Ledger) -> None:
    with spanline.configure(service="judge", server_url=url, tokens=("right",), registry=CollectorRegistry()) as runtime:
        spanline.evaluation(BAD, "late", score=0.1, passed=False)
        spanline.evaluation("req-good", "late", passed=True)
        assert runtime.flush()
    assert next(entry for entry in ledger.run(BAD)["evaluations"] if entry["name"] == "late")["score"] == 0.1
    assert [entry["name"] for entry in ledger.run("req-good")["evaluations"]].count("late") == 1


@pytest.mark.usefixtures("fresh_provider")
def test_a_server_that_is_down_is_waited_for_and_the_caller_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost and nothing blocks: at the end what could not be placed is counted."""
    registry = CollectorRegistry()
    runtime = spanline.configure(service="judge", server_url="http://127.0.0.1:9", registry=registry)
    spanline.evaluation(BAD, "late", passed=True)
    assert not runtime.flush(0.3)
    runtime.close(0.1)
    assert registry.get_sample_value("spanline_dropped_total", {"reason": "evaluation"}) == 1


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (200, b"[]"), (302, b""), (500, b"oops"), (404, b"{}")])
def test_something_else_at_the_address_is_named(status: int, body: bytes) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:9/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any, **__: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        done = CliRunner().invoke(main, ["runs"], env={"SPANLINE_SERVER_URL": f"http://127.0.0.1:{server.server_port}"})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert done.exit_code == 1
    assert "SPANLINE_SERVER_URL right?" in done.output
