"""The relay as a child process: the parent's side, with the interface of `Relay`. Chosen by `SPANLINE_RELAY=process`."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spanline._guard import guard, warn_once_a_minute
from spanline.journal import cursors
from spanline.journal.locks import LeaderLock
from spanline.journal.reader import complete_end, segments
from spanline.relay.health import Health, Observer
from spanline.settings import Settings

TAKE_OVER_S = 1.0
_POLL_S = 0.02
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 10.0
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); from spanline.runtime.relay_child import main; main()"
"""The child finds our package where its parent did; settings come by the pipe, since command lines and environments can be read by others."""


class RelayProcess:
    """Keeps one child process a journal that delivers: of all processes that use the journal one has it.

    The child is spawned, not forked, by a thread; it ends with its parent, and is started again when it dies.

    Args:
        settings: What the child delivers, and where to.
        consumers: Names of the consumers, for `flush`.
        on_event: Told about what happens to each consumer.
        on_drop: Called with a reason for each event that went undelivered.

    Thread-safety: all methods may be called from any thread. Fork: a child of the app has no thread and no relay; its next
    `wake` begins anew, and while the parent has the relay it only waits for its turn.
    """

    def __init__(self, settings: Settings, consumers: Sequence[str], *, on_event: Observer | None, on_drop: Callable[[str], None]) -> None:
        self._settings = settings
        self._directory = settings.journal_dir
        self._consumers = tuple(consumers)
        self._on_event = on_event
        self._on_drop = on_drop
        self._pipes: tuple[int, int] | None = None
        self._reset()
        reference = weakref.ref(self)

        def in_child() -> None:
            living = reference()
            if living is not None:
                living._forget()

        os.register_at_fork(after_in_child=in_child)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        # Whoever holds it has the child; the consumers' own locks keep other relays of this journal apart from it.
        kind = zlib.crc32(" ".join(sorted(self._consumers)).encode())
        self._lead = LeaderLock(self._directory / cursors.FOLDER / f".process-{kind:08x}.lock")

    def _forget(self) -> None:
        """In a forked child: the parent's relay is none of ours; with our copies of the pipes open it would outlive its parent."""
        if self._process is not None:
            self._process.returncode = 0
        pipes, self._pipes = self._pipes, None
        for descriptor in pipes or ():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._reset()

    def start(self) -> None:
        """Make sure that somebody delivers; again after a fork or `close`."""
        if self._pid != os.getpid():
            self._forget()
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._closed = False
                self._stop = threading.Event()
                thread = threading.Thread(target=self._watch, args=(self._stop,), name="spanline-relay-process", daemon=True)
                # Without it the interpreter is shutting down: what is journalled is delivered by the next process.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def wake(self) -> None:
        """The journal has grown. The child looks by itself; a system call here would be on the request path."""
        if self._pid != os.getpid() or (self._thread is None and not self._closed):
            self.start()

    def health(self) -> dict[str, Health]:
        """Nothing: the numbers come by `on_event`."""
        return {}

    def flush(self, timeout_s: float) -> bool:
        """Wait until every consumer has got what was journalled before this call. False when the time was up first."""
        deadline = time.monotonic() + timeout_s
        targets = {segment.name: complete_end(segment) for segment in segments(self._directory)}
        if not self._consumers or not targets:
            return True
        self.start()
        asked: Any = None
        while not self._reached(targets):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if asked is not self._process:
                asked = self._process
                self._say(f"flush {left:.3f}")
            time.sleep(min(_POLL_S, left))
        return True

    def close(self, timeout_s: float) -> bool:
        """Flush within the deadline and end the child. What is left stays in the journal for the next process."""
        deadline = time.monotonic() + timeout_s
        done = self.flush(timeout_s)
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            self._stop.set()
            process = self._process
        if process is not None:
            self._say(f"close {max(0.0, deadline - time.monotonic()):.3f}")
            try:
                process.wait(max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        if thread is not None:
            thread.join(2.0)
        return done

    def _reached(self, targets: dict[str, int]) -> bool:
        there = {segment.name for segment in segments(self._directory)}
        for consumer in self._consumers:
            offsets = cursors.load(self._directory, consumer)
            if any(offsets.get(name, 0) < end for name, end in targets.items() if name in there):
                return False
        return True

    def _say(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._pipes is not None:
                os.write(self._pipes[1], line.encode() + b"\n")

    def _watch(self, stop: threading.Event) -> None:
        """The thread: have the lead, have a child, hear it until it ends."""
        pause = TAKE_OVER_S
        for consumer in self._consumers:
            with guard("relay.register"):
                cursors.register(self._directory, consumer)
        try:
            while not stop.is_set():
                with guard("relay.process"):
                    if self._lead.acquire():
                        began = time.monotonic()
                        self._run(stop)
                        pause = TAKE_OVER_S if time.monotonic() - began > _STEADY_S else min(_LONGEST_PAUSE_S, pause * 2)
                stop.wait(pause if self._lead.held() else TAKE_OVER_S)
        finally:
            self._lead.release()

    def _run(self, stop: threading.Event) -> None:
        child_in, say = os.pipe()
        hear, child_out = os.pipe()
        try:
            with self._lock:
                if stop.is_set():
                    return
                self._pipes = hear, say
                process = self._process = subprocess.Popen([sys.executable, "-c", _BOOT], stdin=child_in, stdout=child_out)  # noqa: S603
            os.close(child_in)
            os.close(child_out)
            child_in = child_out = -1
            with contextlib.suppress(BrokenPipeError):
                paths = json.dumps([path or str(Path.cwd()) for path in sys.path]).encode()
                os.write(say, paths + b"\n" + pickle.dumps(self._settings))
            rest = b""
            while found := os.read(hear, 65_536):
                *lines, rest = (rest + found).split(b"\n")
                for line in lines:
                    with guard("relay.told"):
                        self._told(json.loads(line))
            _wait(process)
            if not stop.is_set():
                warn_once_a_minute(
                    "relay.process", "spanline: the relay's process ended (status %s); it is started again", process.returncode
                )
        finally:
            with self._lock:
                self._pipes = self._process = None
            for descriptor in (child_in, child_out, say, hear):
                if descriptor >= 0:
                    os.close(descriptor)

    def _told(self, said: list[tuple[str, str, float]]) -> None:
        for consumer, what, value in said:
            if consumer:
                if self._on_event is not None:
                    self._on_event(consumer, what, value)
            else:
                for _ in range(int(value)):
                    self._on_drop(what)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Standard output has ended, so the child has, or is about to."""
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
