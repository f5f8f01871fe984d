"""Is this process one of several workers? Then one scrape shows one of them, unless prometheus_client's multi-process mode is on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from spanline._guard import logger
from spanline.metrics.shared import directory

LOOK_AFTER_S = (2.0, 10.0)
"""When it is looked, after the app began to serve; the others may come later."""
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_LISTEN = "0A"
_ACCEPTS = 0x10000


class Alone:
    """Looks twice for siblings that accept connections on our socket, and warns once. Not shared by threads."""

    def __init__(self) -> None:
        self._since = 0.0
        self._pid = 0
        self._looks = 0

    def look(self) -> None:
        """Called now and then."""
        if self._pid != os.getpid():
            self._pid, self._since, self._looks = os.getpid(), time.monotonic(), 0
        if self._looks >= len(LOOK_AFTER_S) or time.monotonic() - self._since < LOOK_AFTER_S[self._looks]:
            return
        self._looks += 1
        if directory() is None and others():
            self._looks = len(LOOK_AFTER_S)
            logger.warning(
                "spanline: this app has several workers, and each scrape of /metrics shows one of them. Set PROMETHEUS_MULTIPROC_DIR "
                "to an empty folder before the start, as prometheus_client documents it"
            )


def others() -> list[int]:
    """Children of our parent that listen on a socket of ours: the other workers of a pre-forking or spawning server. Linux only."""
    mine = _sockets(os.getpid())
    siblings: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{os.getppid()}/task").iterdir():
            siblings += [int(pid) for pid in (task / "children").read_text().split()]
    shared = {pid: common for pid in siblings if pid != os.getpid() and (common := mine & _sockets(pid))}
    if not shared:
        return []
    # A host's table of sockets is long: it is read only where two share one, which may be that of a log.
    listening = _listening()
    return [pid for pid, common in shared.items() if common & listening]


def _sockets(pid: int) -> set[str]:
    """Inode numbers of a process's sockets."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                match = _SOCKET.match(str(Path(entry.path).readlink()))
                if match:
                    found.add(match[1])
    return found


def _listening() -> set[str]:
    """Inode numbers of sockets that accept connections (proc(5): net/tcp, net/tcp6, net/unix)."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found.add(fields[9])
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[3], 16) & _ACCEPTS:
                found.add(fields[6])
    return found
