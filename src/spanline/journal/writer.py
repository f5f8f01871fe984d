"""Writing a journal: one `write(2)` an event, so that a killed process loses nothing that `write` returned for."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from spanline._guard import guard, report, warn_once_a_minute
from spanline.journal.disk import free_ratio, reason_of
from spanline.journal.keeper import Keeper
from spanline.journal.retention import FULL, total_bytes
from spanline.journal.segment import MAX_AGE_S, new_name

CHECK_S = 1.0
"""How often the disk is looked at, and how soon a failed disk is tried again."""

_LINE_END = ord("\n")  # as a number, which is looked for faster (see `lineage.encoding`)

_SHARES = 8
# A segment is at most that share of the whole, so that dropping the oldest one frees little; and a writer asks for the
# journal's size before it has used that share of what was free, so that as many writers together stay below the limit.


class JournalWriter:
    """Appends events to this process's own segment of a journal.

    Thread-safe, fork-safe (a child opens a segment of its own), and never raises: what cannot be written is
    counted through `on_drop(reason)`, logged once a minute, and tried again by itself.

    Args:
        directory: The journal's folder; made at the first write, for the owner only.
        max_segment_bytes: A segment is finished at this size (or an eighth of `max_bytes`).
        max_age_s: … and at this age. Unit: seconds, at most 3600.
        max_bytes: Most disk the whole journal takes, other processes' segments included.
        min_free_ratio: Below this share of free disk nothing is written.
        on_drop: Called once for each event that is not written, with one of `disk_full disk_low journal_full
            read_only directory_missing no_descriptors io_error`, or `retention` for old events that had to go.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_segment_bytes: int = 16 << 20,
        max_age_s: float = 600.0,
        max_bytes: int = 512 << 20,
        min_free_ratio: float = 0.05,
        on_drop: Callable[[str], None] | None = None,
    ) -> None:
        self._directory = directory
        self._segment_bytes = max(1, min(max_segment_bytes, max_bytes // _SHARES))
        self._max_age_s = min(max_age_s, MAX_AGE_S)
        self._max_bytes = max_bytes
        self._min_free_ratio = min_free_ratio
        self._on_drop = on_drop
        self._keeper = Keeper(directory, max_bytes, on_drop)
        self._created_us = 0
        self._reset()
        _forget_after_fork(self)

    def _reset(self) -> None:
        # Re-entrant: a signal handler may close the runtime in the middle of a write.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._fd = -1
        self._path: Path | None = None
        self._inode = 0
        self._size = 0
        self._checked = 0
        self._opened = 0.0
        self._room = -1
        self._check_at = 0.0
        self._retry_at = 0.0
        self._reason: str | None = None

    def write(self, line: bytes) -> bool:
        """Append one event. Never raises.

        Args:
            line: One JSON object, UTF-8, without newline.

        Returns:
            True when the operating system has it; False when it was dropped and counted.
        """
        try:
            return self._write(line)
        except Exception as error:  # noqa: BLE001  the guard, written out (ADR 3)
            report("journal.write", error)
        return False

    def _write(self, line: bytes) -> bool:
        if self._pid != os.getpid():
            self._after_fork_in_child()
        if _LINE_END in line:
            line = line.replace(b"\n", b" ")
        data = line + b"\n"
        length = len(data)
        with self._lock:
            now = time.monotonic()
            reason = None
            if self._fd < 0 or now >= self._check_at or self._size + length > self._segment_bytes or self._room < length:
                reason = self._prepare(now, length)
            if reason is None:
                reason = self._append(data, now)
                if reason is None:
                    return True
        self._drop(reason)
        return False

    def _append(self, data: bytes, now: float) -> str | None:
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            return self._fail(error, now)
        if written != len(data):
            return self._undo(now)
        self._size += written
        self._room -= written
        return None

    def _undo(self, now: float) -> str:
        """Take a half-written line back; this process is the segment's only writer and readers wait for the newline."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            # A segment that may end in half a line gets no further one.
            self._finish()
        if self._size:
            # It may be this file that must not grow (a quota), not the disk that is full.
            self._finish()
        return self._fail(OSError(errno.ENOSPC, "short write"), now)

    def _prepare(self, now: float, length: int) -> str | None:
        """Everything but the write itself; the reason when nothing can be written now."""
        if now < self._retry_at:
            return self._reason
        try:
            if self._fd >= 0:
                self._look_at_file(now)
                if self._size and (self._size + length > self._segment_bytes or now - self._opened >= self._max_age_s):
                    self._finish()
            if now >= self._check_at or self._room < length:
                try:
                    reason = self._measure(length)
                except OSError as error:
                    if self._fd < 0 or reason_of(error) != "no_descriptors":
                        raise
                    # How full the journal is cannot be asked now, but this segment is open: it is written to its end.
                    reason, self._room = None, self._segment_bytes
                if reason is not None:
                    return self._pause(reason, now)
                self._check_at = now + CHECK_S
            if self._fd < 0:
                self._open(now)
        except OSError as error:
            return self._pause(reason_of(error), now)
        return None

    def _look_at_file(self, now: float) -> None:
        """Go on in a new segment when somebody deleted this one, or closed our descriptor."""
        try:
            there = os.fstat(self._fd)
        except OSError:
            there = None
        if there is None or there.st_ino != self._inode:
            # The number may mean another file by now, so it is not closed.
            self._fd = -1
        elif there.st_nlink == 0:
            self._salvage(now)
        else:
            self._checked = self._size

    def _salvage(self, now: float) -> None:
        """What was written to a deleted segment since the last look goes into a new one.

        Raises:
            OSError: There is no new one yet; the deleted file is kept until there is.
        """
        deleted, lost = self._fd, os.pread(self._fd, self._size - self._checked, self._checked)
        self._open(now)
        os.close(deleted)
        if lost:
            reason = self._append(lost, now)
            for _ in range(lost.count(b"\n") if reason else 0):
                self._drop(reason or "")

    def _measure(self, length: int) -> str | None:
        total = total_bytes(self._directory)
        if total > self._max_bytes * FULL:
            self._keeper.look()
        if total + length > self._max_bytes:
            return "journal_full"
        self._room = max(length, (self._max_bytes - total) // _SHARES)
        disk = free_ratio(self._directory)
        return "disk_low" if disk is not None and disk < self._min_free_ratio else None

    def _open(self, now: float) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Names of one process rise even when the clock is set back: readers keep a run's events in order by them.
        self._created_us = max(time.time_ns() // 1000, self._created_us + 1)
        path = self._directory / new_name(self._created_us)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._path = path
        self._inode = os.fstat(self._fd).st_ino
        self._size = self._checked = 0
        self._opened = now
        self._reason = None

    def _fail(self, error: OSError, now: float) -> str:
        if error.errno == errno.EBADF:
            self._fd = -1
        elif error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            # Who knows what is in it: a new one is begun when the disk answers again.
            self._finish()
        return self._pause(reason_of(error), now)

    def _pause(self, reason: str, now: float) -> str:
        self._retry_at = self._check_at = now + CHECK_S
        self._room = -1
        self._reason = reason
        return reason

    def _drop(self, reason: str) -> None:
        warn_once_a_minute(
            "journal.drop",
            "spanline: journal %s takes no events (%s); your application is not affected, lineage is dropped",
            self._directory,
            reason,
        )
        if self._on_drop is not None:
            self._on_drop(reason)

    def _finish(self) -> None:
        """No further line goes into this segment; a thread seals it, since digests take milliseconds."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path is not None:
            self._keeper.finished(self._path)
            self._path = None

    def close(self) -> None:
        """Seal this process's segment. Never raises; a write after it opens a new segment."""
        with guard("journal.close"):
            if self._pid != os.getpid():
                self._after_fork_in_child()
                return
            with self._lock:
                self._close()
            if self._directory.is_dir():
                self._keeper.close()
            self._keeper.join(5.0)

    def _close(self) -> None:
        if self._fd >= 0:
            self._look_at_file(time.monotonic())
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        path, self._path = self._path, None
        if path is not None and self._size == 0:
            path.unlink(missing_ok=True)
        elif path is not None:
            self._keeper.finished(path)

    def _after_fork_in_child(self) -> None:
        """The parent goes on with its segment; the child takes no lock that it inherited and begins its own."""
        fd = self._fd
        self._reset()
        self._keeper.reset()
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    @property
    def backlog_bytes(self) -> int:
        """Bytes of all segments now on disk."""
        return total_bytes(self._directory)


def _forget_after_fork(writer: JournalWriter) -> None:
    reference = weakref.ref(writer)

    def in_child() -> None:
        living = reference()
        if living is not None:
            living._after_fork_in_child()  # pyright: ignore[reportPrivateUsage]

    os.register_at_fork(after_in_child=in_child)
