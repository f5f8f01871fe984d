"""Ticker: a small thread for what time brings (stragglers, long runs), started when there is something to wait for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from spanline._guard import guard

INTERVAL_S = 0.25


class Ticker:
    """Calls a function every quarter of a second, from the first `start` on.

    Fork: a child has no thread; its next `start` makes one. Thread-safety: `start` may be called from anywhere, any number of times.

    Args:
        function: Called in the thread, under the guard.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._pid = 0
        self._stop = threading.Event()

    def start(self) -> None:
        """Make sure that the thread runs in this process."""
        pid = os.getpid()
        if self._pid == pid:
            return
        self._pid = pid
        self._stop = threading.Event()
        try:
            threading.Thread(target=self._run, args=(self._stop,), name="spanline-ticker", daemon=True).start()
        except RuntimeError:
            # No new threads while the interpreter shuts down: close() flushes instead.
            self._pid = 0

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL_S):
            with guard("ticker"):
                self._function()

    def stop(self) -> None:
        """Let the thread end."""
        self._stop.set()
        self._pid = 0
