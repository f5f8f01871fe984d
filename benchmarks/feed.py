"""A process that feeds a journal in the background: `python -m benchmarks.feed FOLDER RATE`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
EVENT = b'{"eventType":"COMPLETE","padding":"' + b"x" * 4000 + b'"}'
RATE = 1000.0
"""Events a second that are relayed while an app serves."""


def start(folder: Path, rate: float, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """The process; it ends with the one that started it.

    Args:
        folder: The journal's.
        rate: Events a second.
        environment: Its environment; none: ours.
    """
    return subprocess.Popen([sys.executable, "-m", "benchmarks.feed", str(folder), str(rate)], cwd=_ROOT, env=environment)


def _feed(folder: Path, rate: float) -> None:
    from spanline.journal.writer import JournalWriter

    writer = JournalWriter(folder)
    parent = os.getppid()
    began, written = time.monotonic(), 0
    while os.getppid() == parent:
        due = int((time.monotonic() - began) * rate)
        for _ in range(due - written):
            writer.write(EVENT)
        written = due
        time.sleep(0.02)


if __name__ == "__main__":
    _feed(Path(sys.argv[1]), float(sys.argv[2]))
