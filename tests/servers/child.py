"""A foreign server as a child process: ready when it answers, stopped by its pid, never left behind."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.servers.cache import cache

__all__ = ["LOGS", "cache", "child", "eventually", "free_port", "listens", "served"]

T = TypeVar("T")
POLL_S = 0.05
LOGS: dict[str, Path] = {}
"""Logs of the servers that run now, by name; shown beside a failed test."""
_FIRST, _LAST = 10_240, 32_000
# Processes begin at different ports: two that run tests at the same time do not hand out the same one.
_next_port = _FIRST + os.getpid() * 97 % (_LAST - _FIRST)


def free_port() -> int:
    """A loopback port that nobody listens on now, and that no outgoing connection is given: below the range for these."""
    global _next_port
    while True:
        _next_port = _FIRST + (_next_port + 1 - _FIRST) % (_LAST - _FIRST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", _next_port))
            return _next_port


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def eventually(question: Callable[[], T], timeout_s: float = 30.0, what: str = "it did not happen") -> T:
    """The first true answer within the time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


@contextlib.contextmanager
def served(command: Sequence[str], folder: Path, environ: Mapping[str, Any], name: str, health: str) -> Iterator[int]:
    """`child` that is ready when the URL `health` answers 200, with these variables added to ours."""
    # Neither what somebody set for spanline, nor for tracing: a server's own traces are none of ours.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANLINE_", "OPENLINEAGE_"))}
    kept["OTEL_TRACES_SAMPLER"] = "always_off"

    def ready() -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(health, timeout=1) as answer:
            return answer.status == 200
        return False

    with child(command, folder, kept | {name: str(value) for name, value in environ.items()}, name, ready) as pid:
        yield pid


@contextlib.contextmanager
def child(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    name: str,
    ready: Callable[[], bool],
    timeout_s: float = 90.0,
    *,
    user: pwd.struct_passwd | None = None,
    stop: str = "TERM",
) -> Iterator[int]:
    """Run a server in a folder, with its output in `<name>.log`, until the block ends.

    Args:
        user: Who to run it as; only root may name somebody.
        stop: The signal that ends it (`TERM`, `INT`); after ten seconds it is killed.

    Yields:
        Its pid, once `ready` says so.
    """
    log = folder / f"{name}.log"
    # A test process that is killed leaves no server behind. setpriv changes the user too: the kernel forgets the death signal at such a change.
    guarded, more = list(command), {}
    if shutil.which("setpriv"):
        become = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
        guarded = ["setpriv", *become, "--pdeathsig", "KILL", *command]
    elif user:
        more = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("wb") as out:
        process = subprocess.Popen(
            guarded,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **more,
        )
    key = name if name not in LOGS else f"{name} ({process.pid})"
    LOGS[key] = log
    try:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(POLL_S)
        yield process.pid
    finally:
        if process.poll() is None:
            process.send_signal(signal.Signals[f"SIG{stop}"])
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        del LOGS[key]
