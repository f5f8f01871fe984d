"""Locks between processes: `fcntl.lockf`, which a forked child does not inherit.

Such a lock belongs to the process, and closing *any* descriptor of the file drops it. So a lock file is never opened
twice in one process: a table of this process's locks stands in front of the kernel's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path

from spanline.errors import JournalError

_POLL_S = 0.005

_table_lock = threading.Lock()
_short: dict[str, threading.Lock] = {}
_held: dict[str, LeaderLock] = {}


@contextlib.contextmanager
def exclusive(path: Path, timeout_s: float = 5.0) -> Generator[None]:
    """Hold a short lock on `path` between the threads of this process and all others.

    Raises:
        JournalError: Somebody held it longer than `timeout_s`.
        OSError: The lock file cannot be made.
    """
    deadline = time.monotonic() + timeout_s
    with _table_lock:
        mine = _short.setdefault(str(path.absolute()), threading.Lock())
    if not mine.acquire(timeout=timeout_s):
        raise JournalError(f"{path} is locked by another thread for more than {timeout_s:g} s")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(fd):
                if time.monotonic() >= deadline:
                    raise JournalError(f"{path} is locked by another process for more than {timeout_s:g} s")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(fd)
    finally:
        mine.release()


class LeaderLock:
    """A lock held for as long as its owner lives; whoever gets it leads.

    Not shared by threads: one worker owns one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = str(path.absolute())
        self._fd = -1

    def acquire(self) -> bool:
        """Try to become the leader; True when this object leads.

        Raises:
            OSError: The lock file cannot be made.
        """
        if self.held():
            return True
        self.release()
        with _table_lock:
            if self._key in _held:
                return False
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _try_lock(fd):
                os.close(fd)
                return False
            self._fd = fd
            _held[self._key] = self
            return True

    def held(self) -> bool:
        """Whether this object still leads: not after a fork, nor when somebody deleted the file."""
        if self._fd < 0:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except OSError:
            return False

    def release(self) -> None:
        """Stop leading."""
        with _table_lock:
            if _held.get(self._key) is self:
                del _held[self._key]
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def _try_lock(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            return False
        raise
    return True


def _after_fork_in_child() -> None:
    # The child owns none of the locks, so closing its descriptors harms nobody; the parent keeps leading.
    global _table_lock, _short
    _table_lock = threading.Lock()
    _short = {}
    for lock in list(_held.values()):
        lock._close()  # pyright: ignore[reportPrivateUsage]
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
