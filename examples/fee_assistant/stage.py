"""The stage of the demonstration: a work folder, the model's process, the service's process, and questions over HTTP."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
LABEL = "2026-11-01"
RELEASE = "1.4.0"
START_S = 60.0
"""Longest wait for a process to be ready. Unit: seconds."""
RECORDED_S = 10.0
"""Longest wait for a run to be recorded. Unit: seconds."""
PROMPT_RULE = ", using only these fee rules"


class StageError(RuntimeError):
    """Something did not start; the message says what, and where its log is."""


@dataclass(frozen=True)
class Answer:
    """An answer of the service."""

    question: str
    text: str
    checked: bool
    provenance: dict[str, str]
    trace_id: str
    page: str


class Stage:
    """Everything that runs. A context manager: leaving it ends all processes. `home` belongs to the demonstration alone."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.corpus = home / "corpus"
        self.prompt = home / "prompts" / "fees@v7.txt"
        self.index = home / "index"
        self.url = ""
        self._model: subprocess.Popen[str] | None = None
        self._service: subprocess.Popen[str] | None = None
        self._model_url = ""
        self._open = contextlib.ExitStack()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _end(self._service)
        _end(self._model)
        self._open.close()

    def prepare(self) -> None:
        """Copy documents and prompt to the work folder, and forget what an earlier start recorded."""
        self.home.mkdir(parents=True, exist_ok=True)
        lock = self._open.enter_context((self.home / "lock").open("w", encoding="ascii"))
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StageError(f"another demonstration runs in {self.home}; set SPANLINE_CACHE to another folder") from None
        for name in ("corpus", "prompts", "index", "state", "logs"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        for name in ("corpus", "prompts"):
            shutil.copytree(HERE / name, self.home / name)
        (self.home / "logs").mkdir()
        # One socket for every start of the service: its address stays, and requests wait while it restarts.
        self._socket = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def environ(self) -> dict[str, str]:
        """Environment of all processes: one state folder, so that they share a ledger."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPANLINE_")}
        return kept | {
            "SPANLINE_STATE": str(self.home / "state"),
            "SPANLINE_BASE_URL": self.url,
            "OTEL_RESOURCE_ATTRIBUTES": f"service.version={RELEASE}",
            "FEE_ASSISTANT_HOME": str(self.home),
            "FEE_ASSISTANT_INDEX": LABEL,
            "FEE_ASSISTANT_MODEL_URL": self._model_url,
        }

    def start_model(self) -> None:
        """Start the language model; it takes a free port."""
        self._model = self._start("model", [], stdout=subprocess.PIPE)
        assert self._model.stdout is not None
        self._model_url = self._model.stdout.readline().strip()
        if not self._model_url:
            raise StageError(f"the model did not start: {self.home / 'logs' / 'model.log'}")

    def build_index(self, corpus: Path) -> str:
        """Run the offline job, under the label that never changes. Returns what it says of the index."""
        command = [sys.executable, str(HERE / "build_index.py"), "--corpus", str(corpus), "--index", str(self.index), "--label", LABEL]
        done = subprocess.run(command, env=self.environ(), capture_output=True, text=True, timeout=START_S, check=False)
        if done.returncode:
            raise StageError(f"the index was not built:\n{done.stderr}")
        return done.stdout.strip()

    def start_service(self) -> None:
        """Start the service, or start it again: prompt and index are read at the start."""
        _end(self._service)
        assert self._socket is not None
        self._service = self._start("service", [str(self._socket.fileno())], pass_fds=(self._socket.fileno(),))
        deadline = time.monotonic() + START_S
        while True:
            if self._service.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"the service did not start: {self.home / 'logs' / 'service.log'}")
            with contextlib.suppress(OSError):
                self._get("/openapi.json", timeout_s=1.0)
                return

    def ask(self, question: str) -> Answer:
        """Ask over HTTP; the trace id is a header of the response."""
        request = urllib.request.Request(
            f"{self.url}/chat", json.dumps({"question": question}).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=START_S) as response:
            trace_id = response.headers["x-trace-id"]
            body = json.load(response)
        return Answer(question, body["answer"], body["checked"], body["provenance"], trace_id, f"{self.url}/r/{trace_id}")

    def run(self, trace_id: str) -> dict[str, Any]:
        """The run behind an answer, from its page, as soon as it is recorded."""
        deadline = time.monotonic() + RECORDED_S
        while True:
            try:
                return json.loads(self._get(f"/r/{trace_id}?format=json", timeout_s=RECORDED_S))
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def trace(self, trace_id: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """`spanline trace`, as typed in a terminal."""
        command = [sys.executable, "-m", "spanline.cli", "trace", trace_id, *options]
        return subprocess.run(command, env=self.environ(), text=True, timeout=START_S, check=True, **more)

    def change_everything_silently(self) -> None:
        """The incident: an index rebuilt from the wrong documents under the old label, a prompt edited under the old version."""
        self.build_index(HERE / "corpus_staging")
        self.prompt.write_text(self.prompt.read_text(encoding="utf-8").replace(PROMPT_RULE, ""), encoding="utf-8")
        self.start_service()

    def _start(self, name: str, arguments: list[str], **more: Any) -> subprocess.Popen[str]:
        # Its standard input is ours: it ends when we do, whatever ends us. A session of its own: Ctrl-C reaches us alone.
        with open(self.home / "logs" / f"{name}.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, str(HERE / f"{name}.py"), *arguments],
                env=self.environ(), stdin=subprocess.PIPE, stderr=log, text=True, start_new_session=True, **more,
            )  # fmt: skip

    def _get(self, path: str, *, timeout_s: float) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=timeout_s) as response:
            return response.read()


def _end(process: subprocess.Popen[str] | None) -> None:
    if process is None:
        return
    assert process.stdin is not None
    process.stdin.close()
    for harder in (process.terminate, process.kill):
        try:
            process.wait(timeout=10.0)
            break
        except subprocess.TimeoutExpired:
            harder()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
