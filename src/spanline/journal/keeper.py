"""Keeping house beside a writer: sealing and retention take milliseconds, so a short-lived thread does them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from spanline._guard import guard, warn_once_a_minute
from spanline.errors import JournalError
from spanline.journal import chain
from spanline.journal.retention import retain


class Keeper:
    """Seals this process's finished segments and removes old ones.

    Args:
        directory: The journal's folder.
        max_bytes: Most disk the journal takes.
        on_drop: Told about events that retention removes undelivered.
    """

    def __init__(self, directory: Path, max_bytes: int, on_drop: Callable[[str], None] | None) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self.reset()

    def reset(self) -> None:
        """Begin anew (in a forked child: the parent seals its own)."""
        self._lock = threading.RLock()
        self._finished: list[Path] = []
        self._thread: threading.Thread | None = None

    def finished(self, path: Path) -> None:
        """No further line goes into this segment."""
        with self._lock:
            self._finished.append(path)
            self.look()

    def look(self) -> None:
        """Look after the journal soon."""
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="spanline-journal", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # The interpreter is shutting down: the relay of the next process seals it.
            self._thread = thread

    def seal(self) -> None:
        """Seal what is finished, now.

        Raises:
            OSError: The disk refused; what is not sealed is tried again with the next segment.
            JournalError: Somebody else held the journal's lock for seconds.
        """
        with self._lock:
            paths, self._finished = self._finished, []
        try:
            while paths:
                if paths[0].exists():
                    chain.seal(paths[0])
                del paths[0]
        finally:
            with self._lock:
                self._finished[:0] = paths

    def close(self) -> None:
        """Seal what is finished, as far as the disk lets us; the relay of the next process does the rest."""
        try:
            self.seal()
        except (OSError, JournalError) as error:
            warn_once_a_minute("journal.keep", "spanline: journal %s cannot be looked after now (%s)", self._directory, error)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        pid = os.getpid()
        while True:
            done = False
            try:
                with guard("journal.keep"):
                    done = self._keep()
            finally:
                with self._lock:
                    over = not done or not self._finished or pid != os.getpid()
                    if over:
                        self._thread = None
            if over:
                return

    def _keep(self) -> bool:
        """Whether the disk let us."""
        try:
            self.seal()
            retain(self._directory, max_bytes=self._max_bytes, on_drop=self._on_drop)
        except (OSError, JournalError) as error:
            # A full disk takes no seal either.
            warn_once_a_minute("journal.keep", "spanline: journal %s cannot be looked after now (%s)", self._directory, error)
            return False
        return True
