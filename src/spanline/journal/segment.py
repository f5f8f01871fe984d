"""Segments: their file names, and whether the process that writes one still lives."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MAX_AGE_S = 3600.0
"""No writer touches a segment after that; what a reader in another container may rely on."""

_FOREIGN_QUIET_S = MAX_AGE_S + 600.0
_NAME = re.compile(
    r"(?P<created>\d{16})-(?P<boot>[0-9a-f]{8})-(?P<space>\d+)-(?P<pid>\d+)-(?P<ticks>\d+)-(?P<random>[0-9a-f]{8})\.ndjson\Z"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a journal.

    `created_us` is Unix microseconds; `boot`, `space`, `pid` and `ticks` name the writing process beyond doubt:
    boot of the host, pid namespace, process id, and the process's start in clock ticks since boot.
    """

    path: Path
    created_us: int
    boot: str
    space: int
    pid: int
    ticks: int
    size: int

    @property
    def name(self) -> str:
        """The file's name; sorts by creation."""
        return self.path.name


def new_name(created_us: int) -> str:
    """A file name for a segment that this process creates now. Unit: Unix microseconds."""
    pid = os.getpid()
    return f"{created_us:016d}-{_boot()}-{_space()}-{pid}-{_start_ticks(pid) or 0}-{os.urandom(4).hex()}.ndjson"


def parse(path: Path, size: int) -> Segment | None:
    """The segment at a path, from its name alone; None for any other file."""
    match = _NAME.match(path.name)
    if match is None:
        return None
    created, boot, space, pid, ticks, _ = match.groups()
    return Segment(path, int(created), boot, int(space), int(pid), int(ticks), size)


def alive(segment: Segment) -> bool:
    """Whether the writer may still append.

    A pid alone can be used again, so the process's start time is compared too. Where the writer lives in another
    pid namespace (a sidecar container on the same volume) nothing can be asked: then age decides, since no
    writer touches a segment after `MAX_AGE_S`.
    """
    if segment.boot != _boot():
        return False
    if segment.space != _space():
        return time.time() - segment.created_us / 1e6 < _FOREIGN_QUIET_S
    if segment.ticks == 0:
        return _pid_exists(segment.pid)
    return _start_ticks(segment.pid) == segment.ticks


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (proc(5), field 22 of stat); None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The command may hold blanks and parentheses: fields count from the last ")".
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in {b"Z", b"X"}:
        return None
    return int(fields[19])


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "00000000"


@lru_cache(maxsize=1)
def _space() -> int:
    """The pid namespace's inode number."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0
