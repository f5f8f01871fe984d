"""What the fault matrix stands on: clients that count answers, servers as processes, and what was lost in the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from tests.faults.receiver import Receiver
from tests.servers import child
from tests.servers.child import free_port, listens

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("SPANLINE_FAULT_ROUNDS", "5"))
BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
"""What is waited for comes within a second or two; on a host that is busy with something else it may take long."""

SERVERS: dict[str, list[str]] = {
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "tests.faults.app:app"],
    "gunicorn": ["gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", "--log-level", "warning", "--no-control-socket", "tests.faults.app:app"],
    "hypercorn": ["hypercorn", "-b", "127.0.0.1:{port}", "--log-level", "warning", "tests.faults.app:app"],
}  # fmt: skip


T = TypeVar("T")


def eventually(question: Callable[[], T], timeout_s: float = PATIENCE_S, what: str = "it did not happen") -> T:
    """The first true answer within the time."""
    return child.eventually(question, timeout_s, what)


class Load:
    """Clients that ask again and again; `runs` are the run ids whose answers came in full."""

    def __init__(self, port: int, clients: int = 4, path: str = "/ask", pause_s: float = 0.0, keep: bool = True) -> None:
        self.clients = clients
        self.runs: list[str] = []
        self.pids: set[int] = set()
        self.failures = 0
        self.seconds: list[float] = []
        self._port, self._path, self._pause_s, self._keep = port, path, pause_s, keep
        self._stop = threading.Event()
        self._left: int | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def until(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        eventually(lambda: len(self.runs) >= count, timeout_s, f"{len(self.runs)} of {count} answers, {self.failures} failures")

    def _ask(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
                began = time.perf_counter()
                connection.request("GET", self._path)
                response = connection.getresponse()
                body = response.read()
                took = time.perf_counter() - began
                trace_id = response.headers["x-trace-id"]
                if response.status != 200 or not trace_id:
                    raise http.client.HTTPException(f"status {response.status}")
                with self._lock:
                    self.runs.append(str(uuid.UUID(trace_id)))
                    self.seconds.append(took)
                    self.pids.add(int(body))
            except (OSError, http.client.HTTPException):
                self.failures += 1
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.02)
            if connection is not None and not self._keep:
                connection.close()
                connection = None
            if self._pause_s:
                time.sleep(self._pause_s)
        if connection is not None:
            connection.close()


def environ(home: Path, receiver: Receiver | None = None, **more: Any) -> dict[str, str]:
    """The variables of an app, and nothing of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANLINE_", "OTEL_", "OPENLINEAGE_", "PROMETHEUS_"))}
    kept |= {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "SPANLINE_HOME": str(home), "SPANLINE_SERVICE": "fees",
        "SPANLINE_OPENLINEAGE_PRESET": "openlineage", "SPANLINE_MIN_FREE_RATIO": "0",
        "OTEL_TRACES_EXPORTER": "none", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    if receiver is not None:
        kept["OPENLINEAGE_URL"] = receiver.url
    return kept | {name: str(value) for name, value in more.items()}


class Served:
    """A server that runs: its process, port and log."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def end(self, number: int = signal.SIGTERM, timeout_s: float = PATIENCE_S) -> int:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


def tree(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children") if Path(f"/proc/{pid}").exists() else ():
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *tree(child)]
    return found


@contextlib.contextmanager
def serving(
    server: str,
    home: Path,
    env: Mapping[str, str],
    *more: str,
    port: int | None = None,
    before: Sequence[str] = (),
    logs: Path | None = None,
) -> Iterator[Served]:
    """A server with the app, ready when its port answers; what is left of it is killed at the end."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = (logs or home.parent) / f"{server}-{port}.log"
    name, *arguments = [part.format(port=port) for part in SERVERS[server]]
    command = [*before, sys.executable, str(BIN / name), *more, *arguments]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            return listens(port)

        eventually(ready, what=f"{server} did not start: {log.read_text(errors='replace')[-2000:]}")
        yield Served(process, port, log)
    finally:
        for pid in [process.pid, *tree(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def cli(
    home: Path, *arguments: str, receiver: Receiver | None = None, timeout_s: float = PATIENCE_S, **more: Any
) -> subprocess.CompletedProcess[str]:
    """`spanline …` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "spanline.cli", *arguments], env=environ(home, receiver, **more), capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip


def rest_delivered(home: Path, receiver: Receiver, **more: Any) -> None:
    """Deliver what is left, as the next start would; `more` are variables."""
    done = cli(home, "relay", "--once", "--timeout", "40", receiver=receiver, **more)
    assert done.returncode == 0, done.stdout + done.stderr


def in_ledger(home: Path) -> dict[str, int]:
    """Run id to how many rows of it the ledger has."""
    found: dict[str, int] = {}
    with contextlib.closing(sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        if not ledger.execute("select 1 from sqlite_master where name = 'runs'").fetchone():
            return found  # it is being made
        for (run_id,) in ledger.execute("select run_id from runs"):
            key = str(uuid.UUID(bytes=run_id) if isinstance(run_id, bytes) else uuid.UUID(run_id))
            found[key] = found.get(key, 0) + 1
        return found


def lost(runs: Sequence[str], receiver: Receiver, home: Path) -> tuple[int, int]:
    """How many of these runs the receiver, and the ledger, have not got."""
    there, kept = receiver.over(), in_ledger(home)
    assert all(count == 1 for count in kept.values()), "a run twice in the ledger"
    with contextlib.closing(sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        told = ledger.execute("SELECT artifact, role, sum(runs) FROM uses GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
        borne_out = ledger.execute("SELECT artifact, role, count(*) FROM edges GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
        assert told == borne_out, "a count that its rows do not bear out"
    return sum(run not in there for run in runs), sum(run not in kept for run in runs)


@contextlib.contextmanager
def file_system(mount: Path, size: str) -> Iterator[Path]:
    """A file system of its own (`2m`, `256k`); the test is skipped where mounting one is not allowed."""
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
