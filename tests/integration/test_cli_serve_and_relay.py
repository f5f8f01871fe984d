"""The command line against real journals, a real ledger and a real server: each command as a process of its own."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from spanline.journal.writer import JournalWriter
from spanline.lineage.events import terminal_event
from spanline.record.artifact import Artifact
from spanline.record.run import Operation, RunRecord
from spanline.times import rfc3339

T = TypeVar("T")
FEES_V7 = "sha256:" + "ab" * 32


def record(trace_id: str, *, digest: str = FEES_V7, request_id: str | None = None, started_ns: int | None = None) -> RunRecord:
    started = started_ns or time.time_ns() - 1_000_000_000
    h = trace_id
    return RunRecord(
        run_id=f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}",
        trace_id=trace_id, span_id="00f067aa0ba902b7", namespace="rag-prod", job="fees.POST /chat", service="fees",
        started_ns=started, ended_ns=started + 800_000_000, outcome="COMPLETE", request_id=request_id, tags={"case": "4711"},
        operations=[Operation(span_id="00f067aa0ba902b8", kind="inference", name="chat gpt-4o", response_model="gpt-4o-2024-06-18", started_at=rfc3339(started), duration_seconds=0.7)],
        artifacts=[
            Artifact(kind="prompt", name="fees", version="v7", digest=digest, evidence="observed"),
            Artifact(kind="model", name="openai/gpt-4o-2024-06-18"),
            Artifact(kind="index", name="fees_corpus", version="commit:abc123", evidence="declared"),
        ],
    )  # fmt: skip


def journalled(home: Path, *records: RunRecord, service: str = "fees") -> Path:
    """Write records as a service would, into its journal."""
    folder = home / "journal" / service
    dropped: list[str] = []
    writer = JournalWriter(folder, on_drop=dropped.append, min_free_ratio=0.0)
    for one in records:
        assert writer.write(terminal_event(one, producer="https://example.com/spanline", schema_base="https://example.com/schemas"))
    writer.close()
    assert dropped == []
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    sources = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return {"PATH": os.environ["PATH"], "SPANLINE_HOME": str(home), **sources, **more}


def spanline(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spanline.cli", *args]
    return subprocess.run(command, env=environment(home, **env), capture_output=True, text=True, timeout=50, check=False)


@contextmanager
def serving(home: Path, *args: str, **env: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "spanline.cli", "serve", "--port", "0", *args]
    process = subprocess.Popen(command, env=environment(home, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        first = process.stdout.readline()
        match = re.search(r"(http://\S+)/runs", first)
        assert match, first + (process.stderr.read() if process.stderr else "")
        yield match[1], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def eventually(look: Callable[[], T], until: Callable[[T], bool], within_s: float = 15.0) -> T:
    deadline = time.monotonic() + within_s
    while not until(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "5bf92f3577b34da6a3ce929d0e0e4736"


def test_a_journalled_run_is_served_and_traced(tmp_path: Path) -> None:
    journalled(tmp_path, record(TRACE, request_id="req-1"))
    with serving(tmp_path) as (url, _):
        status, body = eventually(lambda: get(f"{url}/r/{TRACE}?format=json"), lambda answer: answer[0] == 200)
        served = json.loads(body)
        assert served["answers"]["prompt"][0]["name"] == "fees"
        status, page = get(f"{url}/r/{TRACE}", accept="text/html")
        assert (status, b"fees" in page) == (200, True)
        assert get(f"{url}/healthz")[0] == 200
        metrics = eventually(lambda: get(f"{url}/metrics")[1].decode(), lambda text: "spanline_relay_sent_total" in text)
        assert re.search(r'spanline_relay_sent_total\{consumer="ledger"\} 1', metrics)
        # A service that starts later is found.
        journalled(tmp_path, record(OTHER), service="late")
        eventually(lambda: get(f"{url}/r/{OTHER}?format=json")[0], lambda status: status == 200)
    for id in (TRACE, TRACE.upper(), served["runId"], "req-1"):
        done = spanline(tmp_path, "trace", id, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["runId"] == served["runId"]
    tree = spanline(tmp_path, "trace", TRACE).stdout
    for expected in ("COMPLETE", "fees.POST /chat", "fees@v7", "openai/gpt-4o-2024-06-18", "fees_corpus@commit:abc123", "chat gpt-4o"):
        assert expected in tree
    assert "\x1b" not in tree


def test_unknown_ids_are_4_and_odd_ones_2(tmp_path: Path) -> None:
    journalled(tmp_path, record(TRACE))
    assert spanline(tmp_path, "relay", "--once").returncode == 0
    done = spanline(tmp_path, "trace", OTHER)
    assert (done.returncode, done.stdout) == (4, "")
    assert OTHER in done.stderr
    assert spanline(tmp_path, "trace", "../../etc/passwd").returncode == 2


def test_relay_once_and_lists(tmp_path: Path) -> None:
    now = time.time_ns()
    journalled(
        tmp_path,
        record(TRACE, started_ns=now - 20_000_000_000),
        record(OTHER, digest="sha256:" + "cd" * 32, started_ns=now - 10_000_000_000),
    )
    done = spanline(tmp_path, "relay", "--once")
    assert done.returncode == 0, done.stderr
    assert "ledger" in done.stdout
    again = json.loads(spanline(tmp_path, "relay", "--once", "--json").stdout)
    assert (again["consumers"], again["delivered"]) == (["ledger"], True)
    runs = json.loads(spanline(tmp_path, "runs", "--json").stdout)
    assert [item["traceId"] for item in runs["items"]] == [OTHER, TRACE]
    page = json.loads(spanline(tmp_path, "runs", "--limit", "1", "--json").stdout)
    rest = json.loads(spanline(tmp_path, "runs", "--limit", "1", "--after", page["next"], "--json").stdout)
    assert [item["traceId"] for item in page["items"] + rest["items"]] == [OTHER, TRACE]
    for option in (
        ["--tag", "case=4711"],
        ["--tag", "case:4711"],
        ["--artifact", "prompt:fees@v7"],
        ["--job", "fees.POST /chat"],
        ["--outcome", "complete"],
    ):
        assert len(json.loads(spanline(tmp_path, "runs", *option, "--json").stdout)["items"]) == 2, option
    assert json.loads(spanline(tmp_path, "runs", "--tag", "case=1", "--json").stdout)["items"] == []
    assert [item["traceId"] for item in json.loads(spanline(tmp_path, "runs", "--conflict", "--json").stdout)["items"]] == [OTHER]
    table = spanline(tmp_path, "runs").stdout
    assert "conflict" in table
    assert TRACE in table

    (conflict,) = json.loads(spanline(tmp_path, "conflicts", "--json").stdout)["items"]
    assert (conflict["kind"], conflict["name"], conflict["version"], conflict["acknowledged"]) == ("prompt", "fees", "v7", False)
    assert "prompt:fees@v7" in spanline(tmp_path, "conflicts").stdout
    assert "← conflict" in spanline(tmp_path, "trace", OTHER).stdout
    accepted = spanline(tmp_path, "conflicts", "ack", "prompt:fees@v7", "sha256:" + "cd" * 32)
    assert accepted.returncode == 0, accepted.stderr
    assert spanline(tmp_path, "conflicts", "ack", "prompt:fees@v7", "sha256:" + "00" * 32).returncode == 4
    assert "no version conflicts" in spanline(tmp_path, "conflicts").stdout

    gaps = json.loads(spanline(tmp_path, "gaps", "--json").stdout)["items"]
    assert {gap["runId"].replace("-", "") for gap in gaps} == {TRACE, OTHER}


def test_relay_delivers_what_comes_until_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spanline.cli", "relay"]
    process = subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        journalled(tmp_path, record(TRACE))
        eventually(lambda: spanline(tmp_path, "trace", TRACE).returncode, lambda code: code == 0, 30)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert err == ""


def test_no_ledger_yet_is_said_and_none_is_made(tmp_path: Path) -> None:
    done = spanline(tmp_path, "trace", TRACE)
    assert done.returncode == 4
    assert "no ledger at" in done.stderr
    assert json.loads(spanline(tmp_path, "runs", "--json").stdout) == {"items": [], "next": None}
    assert list(tmp_path.iterdir()) == []


def test_a_second_server_on_the_port_says_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _):
        port = url.rpartition(":")[2]
        done = spanline(tmp_path, "serve", "--port", port)
        assert done.returncode == 1
        assert f"port {port} on 127.0.0.1 is taken" in done.stderr


def test_with_tokens_everybody_needs_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", SPANLINE_TOKENS="open-sesame") as (url, _):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert get(f"{url}/runs")[0] == 401
        assert get(f"{url}/runs", authorization="Bearer wrong")[0] == 401
        assert get(f"{url}/runs", authorization="Bearer open-sesame")[0] == 200


def test_the_journal_shows_and_verifies_itself(tmp_path: Path) -> None:
    folder = journalled(tmp_path, record(TRACE))
    (document,) = json.loads(spanline(tmp_path, "journal", "ls", "--json").stdout)["items"]
    assert [segment["state"] for segment in document["segments"]] == ["sealed"]
    assert spanline(tmp_path, "journal", "ls", "--journal", str(folder)).stdout.startswith(str(folder))
    done = spanline(tmp_path, "journal", "verify")
    assert (done.returncode, done.stdout.split()[0]) == (0, "unchanged")
    (segment,) = [path for path in folder.glob("*.ndjson") if path.name != "chain.ndjson"]
    segment.write_bytes(segment.read_bytes().replace(b"fees.POST /chat", b"fees.POST /like"))
    done = spanline(tmp_path, "journal", "verify", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    assert report["items"][0]["findings"][0]["kind"] == "changed"


class Picky(http.server.BaseHTTPRequestHandler):
    """An OpenLineage consumer that refuses everything until it is told otherwise."""

    refuse = True
    taken: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.refuse:
            self.taken.append(json.loads(body))
        self.send_response(422 if self.refuse else 201)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object, **__: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def picky() -> Iterator[tuple[str, type[Picky]]]:
    class Handler(Picky):
        taken: list[dict[str, Any]] = []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_refused_events_are_parked_and_retried(tmp_path: Path, picky: tuple[str, type[Picky]]) -> None:
    url, handler = picky
    journalled(tmp_path, record(TRACE))
    assert spanline(tmp_path, "relay", "--once", OPENLINEAGE_URL=url).returncode == 0
    (item,) = json.loads(spanline(tmp_path, "journal", "parked", "--json").stdout)["items"]
    assert (item["consumer"], item["status"], item["eventType"]) == ("openlineage", 422, "COMPLETE")
    assert item["runId"].replace("-", "") == TRACE
    assert "event" not in item
    assert "422" in spanline(tmp_path, "journal", "parked").stdout
    assert spanline(tmp_path, "journal", "retry", OPENLINEAGE_URL=url).returncode == 1
    not_here = spanline(tmp_path, "journal", "retry")
    assert (not_here.returncode, "not configured" in not_here.stdout) == (1, True)
    handler.refuse = False
    done = spanline(tmp_path, "journal", "retry", "--json", OPENLINEAGE_URL=url)
    assert (done.returncode, json.loads(done.stdout)["items"][0]["sent"]) == (0, 1)
    assert [event["eventType"] for event in handler.taken] == ["START", "COMPLETE"]
    assert json.loads(spanline(tmp_path, "journal", "parked", "--json").stdout)["items"] == []


def test_relay_once_says_when_something_is_left(tmp_path: Path) -> None:
    journalled(tmp_path, record(TRACE))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = spanline(tmp_path, "relay", "--once", "--timeout", "1", OPENLINEAGE_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert done.returncode == 1
    assert "stays in the journal" in done.stderr
