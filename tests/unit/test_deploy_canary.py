"""`spanline deploy gate`: the document of a release, from pages of runs and from a server that misbehaves; and the docs that speak of the canary."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from spanline.cli.main import main
from spanline.cli.remote import RemoteLedger
from spanline.deploy import gate
from spanline.deploy.gate import gate_input
from spanline.errors import SpanlineError
from spanline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CONFLICT = {"kind": "prompt", "namespace": "prompts", "name": "fees", "version": "v7", "digest": "sha256:b", "expectedDigest": "sha256:a"}


class Runs:
    """A source that holds runs as the API gives them."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        self.by_id = {run["runId"]: run for run in runs}
        self.asked: list[dict[str, Any]] = []

    def runs(self, *, limit: int = 50, after: str | None = None, **filters: Any) -> dict[str, Any]:
        self.asked.append({"limit": limit, "after": after, **filters})
        first = int(after or 0)
        ids = list(self.by_id)
        following = str(first + limit) if first + limit < len(ids) else None
        return {"items": [{"runId": id} for id in ids[first : first + limit]], "next": following}

    def run(self, id: str) -> dict[str, Any] | None:
        found = self.by_id[id]
        return None if found.get("gone") else found


def run(id: str, **more: Any) -> dict[str, Any]:
    return {
        "runId": id,
        "service": "fees",
        "status": "COMPLETE",
        "release": {},
        "evaluations": [],
        "guardrails": [],
        "conflicts": [],
        "gaps": [],
        **more,
    }


def judged(source: Any, **more: Any) -> dict[str, Any]:
    return gate_input(source, service="fees", release="1.4", **more)


def test_all_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAGE", 3)
    source = Runs(*(run(f"r{n}") for n in range(8)))
    document = judged(source, since="2026-11-01T00:00:00Z")
    assert document["runs"]["count"] == 8
    assert document["complete"] is True
    assert [asked["after"] for asked in source.asked] == [None, "3", "6"]
    assert all(asked["artifact"] == "release:fees@1.4" and asked["since"] == "2026-11-01T00:00:00Z" for asked in source.asked)


def test_the_limit_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PAGE", 3)
    document = judged(Runs(*(run(f"r{n}") for n in range(8))), limit=4)
    assert (document["runs"]["count"], document["complete"]) == (4, False)
    assert judged(Runs(*(run(f"r{n}") for n in range(4))), limit=4)["complete"] is True


def test_every_key_is_there_without_any_run() -> None:
    document = judged(Runs())
    assert document.keys() >= {
        "schema",
        "generatedAt",
        "service",
        "release",
        "complete",
        "unread",
        "runs",
        "builds",
        "evaluations",
        "guardrails",
        "conflicts",
        "gaps",
    }
    assert "imageDigest" not in document


def test_runs_that_are_open_elsewhere_or_gone() -> None:
    document = judged(Runs(run("open", status="RUNNING"), run("other", service="index"), run("gone", gone=True), run("here")))
    assert document["runs"]["count"] == 1
    assert document["unread"] == ["gone"]


def test_what_child_runs_say_is_theirs() -> None:
    parent = run(
        "p", conflicts=[CONFLICT | {"runId": "c", "acknowledged": False}], evaluations=[{"name": "x", "passed": False, "runId": "c"}]
    )
    document = judged(Runs(parent))
    assert document["conflicts"] == document["evaluations"] == []


def test_the_same_conflict_counts_once_and_is_accepted_only_everywhere() -> None:
    shown = [run("a", conflicts=[CONFLICT | {"acknowledged": True}]), run("b", conflicts=[CONFLICT | {"acknowledged": False}])]
    (found,) = judged(Runs(*shown))["conflicts"]
    assert (found["runs"], found["acknowledged"], found["runId"]) == (2, False, "a")


def test_an_unknown_verdict_is_no_pass_and_missing_texts_are_texts() -> None:
    odd = run(
        "a",
        guardrails=[{"name": "g", "outcome": "maybe"}],
        conflicts=[{"kind": "model", "name": "m", "digest": "d", "expectedDigest": "e"}],
    )
    document = judged(Runs(odd))
    assert document["guardrails"] == {"g": {"pass": 0, "fail": 0, "error": 1, "skip": 0}}
    assert document["conflicts"][0]["version"] == ""
    assert document["conflicts"][0]["acknowledged"] is False


def test_builds_are_told_apart() -> None:
    builds = [{"imageDigest": "sha256:1", "codeRevision": "a"}, {"imageDigest": "sha256:2", "codeRevision": "a", "codeDirty": True}, {}]
    document = judged(Runs(*(run(f"r{n}", release=build) for n, build in enumerate([*builds, builds[0]]))))
    assert [(entry.get("imageDigest"), entry.get("codeDirty"), entry["runs"]) for entry in document["builds"]] == [
        ("sha256:1", None, 2), ("sha256:2", True, 1), (None, None, 1),
    ]  # fmt: skip


Answer = tuple[int, str, bytes]


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], Answer]], str]]:
    """A server that answers by path; its URL."""
    running: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[str], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = answer(self.path)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "application/problem+json", b"{}"), "SPANLINE_TOKENS"),
        ((403, "text/html", b"no"), "SPANLINE_TOKENS"),
        ((500, "text/html", b"<h1>oops</h1>"), "HTTP 500"),
        ((200, "text/html", b"<h1>Marquez</h1>"), "no JSON object"),
        ((200, "application/json", b"[]"), "no JSON object"),
        ((302, "text/plain", b""), "HTTP 302"),
        ((404, "text/plain", b"nothing here"), "HTTP 404"),
    ],
)
def test_another_server_is_named_for_what_it_is(serve: Any, answer: Answer, said: str) -> None:
    url = serve(lambda path: answer)
    remote = RemoteLedger(Settings.resolve({"server_url": url}, {}))
    try:
        with pytest.raises(SpanlineError, match=re.escape(said)):
            judged(remote)
    finally:
        remote.close()
    done = CliRunner().invoke(main, ["deploy", "gate", "--service", "fees", "--release", "1", "--server", url])
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_run_that_has_gone_between_two_questions_is_unread(serve: Any) -> None:
    page = json.dumps({"items": [{"runId": "r1"}], "next": None}).encode()
    url = serve(lambda path: (200, "application/json", page) if "?" in path else (404, "application/problem+json", b"{}"))
    remote = RemoteLedger(Settings.resolve({"server_url": url}, {}))
    try:
        assert judged(remote)["unread"] == ["r1"]
    finally:
        remote.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--release", "1"], "which service"),
        (["--service", "fees"], "--release"),
        (["--service", "fees", "--release", "1", "--since", "yesterday"], "RFC 3339"),
        (["--service", "fees", "--release", "1", "--server", "http://x", "--ledger", "sqlite:///y"], "give one"),
        (["--service", "fees", "--release", "1", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_options(options: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["deploy", "gate", *options])
    assert done.exit_code == 2
    assert said in done.output


def test_the_docs_name_the_canarys_limits_as_they_are() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    for document in yaml.safe_load_all((ROOT / "deploy" / "canary" / "analysis.yaml").read_text()):
        assert f"`{document['metadata']['name']}`" in text
        for metric in document["spec"]["metrics"]:
            (row,) = [line for line in text.splitlines() if f"| `{metric['name']}` |" in line]
            (name,) = set(re.findall(r"\{\{args\.([\w-]+)\}\}", metric["successCondition"]))
            (default,) = [entry["value"] for entry in document["spec"]["args"] if entry["name"] == name]
            assert re.search(rf"\b{re.escape(default)} \|", row), row


def test_links_in_the_docs_lead_somewhere() -> None:
    for name in ("deploy.md", "istio.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / name).read_text()):
            assert (ROOT / "docs" / target).exists(), f"{name}: {target}"
